"""Reading entries of params.yaml. The schema of each section is a module of this package."""

import json
import re
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.reader import ReaderError

from thaw.errors import UserError
from thaw.files.reading import read_bytes
from thaw.files.watching import watch


class Entry(BaseModel):
    """One entry of params.yaml: nothing changes it once it is read.

    Unknown keys are refused, and values of another type are not converted: `true` is not 1, nor `"3"` 3.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


Seed = Annotated[int, Field(ge=0, lt=2**32)]
"""A seed of random numbers that NumPy, scikit-learn and Keras all take: from 0 to below 2**32."""

MOST_BYTES = 10**6
"""Of a params file, which has some thousand; to read ten times as many takes minutes."""

CONFLICT = re.compile(r"^(<{7} |\|{7} |={7}$|>{7} )", re.MULTILINE)
"""What Git puts before, between and behind the sides of a conflict; somebody may have removed a part of it."""

OTHER_VERSION = re.compile(r"^%YAML (?! *1\.2\s)", re.MULTILINE)
"""By which `017` would be 15 here and `on` true; to DVC, which does not heed it, they are 17 and a text."""

E = TypeVar("E", bound=Entry)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a params file as DVC does: by ruamel's safe loader, for which `1e-4` is a number.

    Raises:
        UserError: the file is missing, is no YAML, or is no mapping.
    """
    text = ""
    try:
        text = read_bytes(path, MOST_BYTES).decode("utf-8-sig")
        tree = None if OTHER_VERSION.search(text) else YAML(typ="safe", pure=True).load(text)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; copy one from recipes/ or restore it with git") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; give the path of a params file") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UserError(f"{path}:{line}: not UTF-8; save the file with that encoding") from None
    except MarkedYAMLError as error:
        if conflict := CONFLICT.search(text):
            line = text[: conflict.start()].count("\n") + 1
            raise UserError(
                f"{path}:{line}: a merge left conflicts; mend what stands between <<<<<<< and >>>>>>>"
            ) from None
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise UserError(f"{where}: not valid YAML: {error.problem or error.context}") from None
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UserError(
            f"{path}:{line}: not valid YAML: it has the character {chr(error.character)!r}; "
            "remove it, or save the file as UTF-8"
        ) from None
    except RecursionError:
        raise UserError(f"{path}: not valid YAML: nested too deeply") from None
    except Exception as error:  # besides its own, ruamel lets through what int(), date() and others raise
        reason = str(error).splitlines()[0].partition("; use sys.")[0]
        raise UserError(f"{path}: not valid YAML: {reason}; put what is no number or date between quotes") from None
    if version := OTHER_VERSION.search(text):
        line = text[: version.start()].count("\n") + 1
        raise UserError(f"{path}:{line}: DVC reads it by YAML 1.2, whatever %YAML says; remove that line")
    if tree is None:
        raise UserError(f"{path}: the file is empty; copy one from recipes/ or restore it with git")
    if not isinstance(tree, dict):
        raise UserError(f"{path}: expected sections such as dataset: and variants:, got {shown(tree)}")
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
    node = read_node(path, address)
    try:
        return schema.model_validate(node)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join([address, *map(str, first["loc"])])
        raise UserError(f"{path}: {where}: {first['msg'].removeprefix('Value error, ')}") from None


def read_node(path: Path, address: str) -> Any:
    """Return what a params file has at an address, which then is watched: see `thaw.files.watching.watch`.

    Raises:
        UserError: there is no such entry.
    """

    def look() -> Any:
        node: Any = read_yaml(path)
        for key in address.split("."):
            if not isinstance(node, dict) or key not in node:
                raise UserError(f"{path}: {address}: there is no such entry")
            node = node[key]
        return node

    return watch(f"{path}: {address}", look)


def shown(value: Any) -> str:
    """Return a value as a message shows it: as YAML would have it on one line, cut off when long.

    >>> shown({"test": 0.3, "validation": None})
    '{"test": 0.3, "validation": null}'
    """
    try:
        text = json.dumps(value, ensure_ascii=False, default=str, skipkeys=True)
    except ValueError:  # a whole number of thousands of digits, or an alias that contains itself
        return f"a {type(value).__name__} that does not fit into a message"
    return text if len(text) <= 60 else f"{text[:57]}..."
