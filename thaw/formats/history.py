"""Learning curves: scores by epoch, or by value of C."""

import math
from pathlib import Path

from thaw.errors import UserError
from thaw.formats.sealed_csv import reading_csv, write_csv


def write_history(path: Path, columns: dict[str, list[float]], model: str = "") -> None:
    """Write columns of equal length as CSV.

    Args:
        model: SHA-256 of the file of the model that was trained; none while it is.

    >>> write_history(Path("full.csv"), {"step": [1, 2], "loss": [0.7, 0.5]})
    >>> read_history(Path("full.csv"))
    {'step': [1.0, 2.0], 'loss': [0.7, 0.5]}
    """
    rows = zip(*columns.values(), strict=True)
    write_csv(path, list(columns), [[f"{value:.9g}" for value in row] for row in rows], model)


def read_history(path: Path, model: str | None = None) -> dict[str, list[float]]:
    """Return the columns that `write_history` wrote, by their names.

    Args:
        model: SHA-256 of the file of the model that they have to be of; None if they may be of any.

    Raises:
        UserError: the file is missing, damaged, something else, or of another model.
    """
    with reading_csv(path) as table:
        rows = [[float(value) for value in row] for row in table.rows]
        if table.columns[:1] != ["step"] or not rows:
            raise ValueError
    if model is not None and table.by != model:
        raise UserError(f"{path}: of another training than the predictions; run `dvc repro`")
    return {name: [row[column] for row in rows] for column, name in enumerate(table.columns)}


def best_step(history: dict[str, list[float]]) -> int | None:
    """Return the number, from 0, of the row with the least loss: of validation, or by which C was chosen.

    Of equal ones it is the first, the most regularized; None if none is finite.

    >>> best_step({"C": [0.1, 1.0, 10.0], "cv_loss": [0.3, 0.2, 0.4], "val_loss": [0.3, 0.2, 0.1]})
    1
    """
    losses = history.get("cv_loss", history["val_loss"])
    finite = [number for number, loss in enumerate(losses) if math.isfinite(loss)]
    return min(finite, key=losses.__getitem__, default=None)
