"""Reading entries of params.yaml. The schema of each section is a module of this package."""

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from thaw.errors import UserError


class Entry(BaseModel):
    """One entry of params.yaml: unknown keys are refused, and nothing changes it once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


E = TypeVar("E", bound=Entry)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a params file as DVC does: by ruamel's safe loader, for which `1e-4` is a number.

    Raises:
        UserError: the file is missing, is no YAML, or is no mapping.
    """
    try:
        tree = YAML(typ="safe", pure=True).load(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; copy one from recipes/ or restore it with git") from None
    except MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = (error.problem or str(error)).splitlines()[0]
        raise UserError(f"{where}: not valid YAML: {problem}") from None
    if not isinstance(tree, dict):
        raise UserError(f"{path}: expected sections such as dataset: and variants:, found none")
    return tree


def read_entry(path: Path, address: str, schema: type[E]) -> E:
    """Read one entry of a params file and nothing else of it.

    Args:
        path: the params file.
        address: the entry's section and key, such as `variants.full`, or a section without entries,
            such as `dataset`: what dvc.yaml names under `params`.
        schema: the entry's type.

    Raises:
        UserError: there is no such entry, or it is not valid.
    """
    node: Any = read_yaml(path)
    for key in address.split("."):
        if not isinstance(node, dict) or key not in node:
            raise UserError(f"{path}: {address}: there is no such entry")
        node = node[key]
    try:
        return schema.model_validate(node)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join([address, *map(str, first["loc"])])
        raise UserError(f"{path}: {where}: {first['msg']}") from None
