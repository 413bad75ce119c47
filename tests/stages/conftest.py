"""The check of params.yaml, as a function of what is in it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from stages.check.checking import check_params
from tests.stages.check_cases import Tree
from thaw.errors import UserError


def lines_of(path: Path) -> list[str]:
    """Check a file, and return the lines of the message; none, if there is none."""
    try:
        check_params(path)
    except UserError as error:
        head, *lines = str(error).split("\n")
        count = "1 error" if len(lines) == 1 else f"{len(lines)} errors"
        assert head == f"{path}: {count}, nothing was run"
        return [line.removeprefix("  ") for line in lines]
    return []


@pytest.fixture
def errors(tmp_path: Path) -> Callable[[Tree], list[str]]:
    """A function that writes params to a file, checks them, and returns the lines of the message."""

    def lines(tree: Tree) -> list[str]:
        path = tmp_path / "params.yaml"
        yaml = YAML(typ="safe", pure=True)
        yaml.sort_base_mapping_type_on_output = False
        yaml.dump(tree, path)
        return lines_of(path)

    return lines
