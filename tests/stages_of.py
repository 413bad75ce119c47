"""The stages that dvc.yaml makes of a params.yaml, without DVC."""

import importlib
import inspect
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.conftest import ROOT

DECLARED: dict[str, Any] = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]


@dataclass(frozen=True)
class Stage:
    """A stage, of which the check of all of params.yaml is left out."""

    module: str
    arguments: list[str]
    outs: list[str]

    def run(self) -> None:
        """Run it in this process and its folder."""
        module = importlib.import_module(self.module)
        main = (importlib.import_module(f"{self.module}.__main__") if hasattr(module, "__path__") else module).main
        kinds = {
            f"--{one.name.replace('_', '-')}": one.annotation for one in inspect.signature(main).parameters.values()
        }
        for out in self.outs:
            Path(out).parent.mkdir(parents=True, exist_ok=True)
        pairs = zip(self.arguments[::2], self.arguments[1::2], strict=True)
        main(*(Path(value) if kinds[name] in (Path, Path | None) else value for name, value in pairs))


def stages_of(params: dict[str, Any]) -> dict[str, Stage]:
    """Return the stages by the names that DVC gives them, each behind those that it needs, if variants are in order."""
    return dict(_stages(params))


def _stages(params: dict[str, Any]) -> Iterator[tuple[str, Stage]]:
    for name, declared in DECLARED.items():
        if "do" not in declared:
            yield name, _stage(declared, params)
            continue
        section = params[declared["foreach"].removeprefix("${").removesuffix("}")]
        for key, item in section.items():
            yield f"{name}@{key}", _stage(declared["do"], {**params, "key": key, "item": item})


def _stage(declared: dict[str, Any], scope: dict[str, Any]) -> Stage:
    def filled(text: str) -> str:
        """Put what stands in `scope` into the braces of a text."""
        return re.sub(
            r"\$\{(.+?)\}", lambda found: str(reduce(lambda node, key: node[key], found[1].split("."), scope)), text
        )

    line = declared["cmd"] if isinstance(declared["cmd"], str) else declared["cmd"][-1]
    _, _, module, *arguments = shlex.split(filled(line))
    outs = [out for kind in ("outs", "metrics", "plots") for out in declared.get(kind, ())]
    return Stage(module, arguments, [filled(out if isinstance(out, str) else next(iter(out))) for out in outs])
