"""Files of scores that Git tracks, and of which `dvc metrics diff` shows what changed."""

import json
from pathlib import Path
from typing import Any

from thaw.files import DIGITS, write_text


def write_metrics(path: Path, scores: dict[str, Any]) -> None:
    """Write scores as JSON, floats rounded.

    Args:
        path: where to.
        scores: numbers and texts by their names, or such dictionaries.
    """
    write_text(path, json.dumps(_rounded(scores), indent=2) + "\n")


def _rounded(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _rounded(value) for key, value in tree.items()}
    return round(tree, DIGITS) if isinstance(tree, float) else tree
