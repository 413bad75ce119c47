"""Files of scores: those that Git tracks, and of which `dvc metrics diff` shows what changed, and a table by seed."""

import json
from pathlib import Path
from typing import Any

from thaw.files.writing import write_text
from thaw.formats.sealed_csv import DIGITS, reading_csv, write_csv

ROUNDING = 2.5e-6
"""By how much a change can exceed a range, only because scores are rounded."""
BY_SEED = ["split", "seed"]
"""Columns before those of the scores."""
SeedScores = dict[str, dict[int, dict[str, float]]]
"""By split and by seed, scores by their names; of the seeds, the variant's own is the first."""


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


def is_within(change: float, size: float) -> bool:
    """Say whether a score's change is no larger than a range of scores, all of which may have been rounded.

    >>> is_within(1 / 269, 0.977695 - 0.973978), is_within(-2 / 269, 0.977695 - 0.973978)
    (True, False)
    """
    return abs(change) < size + ROUNDING


def write_seed_scores(path: Path, scores: SeedScores) -> None:
    """Write scores by split and seed as CSV, rounded.

    >>> write_seed_scores(Path("half.csv"), {"test": {0: {"accuracy": 0.9}, 7: {"accuracy": 0.8}}})
    >>> read_seed_scores(Path("half.csv"))
    {'test': {0: {'accuracy': 0.9}, 7: {'accuracy': 0.8}}}
    """
    rows = [(split, seed, of_seed) for split, by_seed in scores.items() for seed, of_seed in by_seed.items()]
    write_csv(
        path,
        [*BY_SEED, *rows[0][2]],
        [[split, str(seed), *(f"{value:.{DIGITS}f}" for value in of_seed.values())] for split, seed, of_seed in rows],
    )


def read_seed_scores(path: Path) -> SeedScores:
    """Read what `write_seed_scores` wrote.

    Raises:
        UserError: the file is missing, damaged or something else.
    """
    scores: SeedScores = {}
    with reading_csv(path) as table:
        if table.columns[: len(BY_SEED)] != BY_SEED:
            raise ValueError
        for split, seed, *values in table.rows:
            of_seed = dict(zip(table.columns[len(BY_SEED) :], map(float, values), strict=True))
            scores.setdefault(split, {})[int(seed)] = of_seed
    return scores
