"""The networks that params.yaml can name, and where each can be cut; known without building one."""

import json
from functools import cache
from pathlib import Path

from thaw.params.keras_names import public_names

# Written by tests/boundary_table.py, from the networks themselves.
TABLE = Path(__file__).with_name("boundaries.json")


@cache
def known_architectures() -> list[str]:
    """Return `EfficientNetLite0` and the networks of keras.applications."""
    return ["EfficientNetLite0", *(name for name in public_names("applications") if name[0].isupper())]


@cache
def _table() -> dict[str, dict[str, list[str]]]:
    table: dict[str, dict[str, list[str]]] = json.loads(TABLE.read_text(encoding="utf-8"))
    return table


def boundaries(architecture: str, include_top: bool) -> list[str]:
    """Return the layers at which a network can be cut, from input to output."""
    table = _table().get(architecture, {})
    return table.get("network", []) + table.get("top" if include_top else "no_top", [])
