"""Learning curves: scores by epoch, or by value of C."""

import csv
import math
from pathlib import Path

from thaw.errors import UserError
from thaw.files import write_csv


def write_history(path: Path, columns: dict[str, list[float]]) -> None:
    """Write columns of equal length as CSV.

    >>> write_history(Path("full.csv"), {"step": [1, 2], "loss": [0.7, 0.5]})
    >>> read_history(Path("full.csv"))
    {'step': [1.0, 2.0], 'loss': [0.7, 0.5]}
    """
    rows = zip(*columns.values(), strict=True)
    write_csv(path, list(columns), [[f"{value:.9g}" for value in row] for row in rows])


def read_history(path: Path) -> dict[str, list[float]]:
    """Return the columns that `write_history` wrote, by their names.

    Raises:
        UserError: the file is missing or something else.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            names, *rows = csv.reader(file)
        return {name: [float(row[column]) for row in rows] for column, name in enumerate(names)}
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; `dvc repro` makes it, `dvc pull` fetches it") from None
    except (ValueError, IndexError):
        raise UserError(f"{path}: not a learning curve; delete it and run `dvc repro`") from None


def best_step(history: dict[str, list[float]]) -> int | None:
    """Return the number, from 0, of the row with the least loss: of validation, or by which C was chosen.

    Of equal ones it is the first, the most regularized; None if none is finite.

    >>> best_step({"C": [0.1, 1.0, 10.0], "cv_loss": [0.3, 0.2, 0.4], "val_loss": [0.3, 0.2, 0.1]})
    1
    """
    losses = history.get("cv_loss", history["val_loss"])
    finite = [number for number, loss in enumerate(losses) if math.isfinite(loss)]
    return min(finite, key=losses.__getitem__, default=None)
