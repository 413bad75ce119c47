"""The table of a variant's predictions for the images of a split, one row per image."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from thaw.errors import UserError
from thaw.files import write_csv

FIXED = ["path", "actual", "predicted"]
PROBABILITY = "p_"


@dataclass(frozen=True)
class Predictions:
    """What a variant says of the images of a split."""

    paths: list[str]
    """Images' paths below the data set's folder."""
    labels: np.ndarray
    """True classes, ints (images,)."""
    probabilities: np.ndarray
    """Class probabilities, floats (images, classes)."""
    classes: list[str]
    """Class names in the order of their numbers."""


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write predictions as CSV, probabilities with the nine digits that tell any two float32 apart.

    >>> found = Predictions(["oak/1.jpg"], np.array([1]), np.array([[0.25, 0.75]]), ["fig", "oak"])
    >>> write_predictions(Path("full.csv"), found)
    >>> print(Path("full.csv").read_text(), end="")
    path,actual,predicted,p_fig,p_oak
    oak/1.jpg,oak,oak,0.25,0.75
    """
    names = predictions.classes
    rows = [
        [image, names[label], names[int(row.argmax())], *(f"{value:.9g}" for value in row)]
        for image, label, row in zip(predictions.paths, predictions.labels, predictions.probabilities, strict=True)
    ]
    write_csv(path, [*FIXED, *(PROBABILITY + name for name in names)], rows)


def read_predictions(path: Path) -> Predictions:
    """Read predictions.

    Raises:
        UserError: the file is not one that `write_predictions` wrote.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file)
        if header[: len(FIXED)] != FIXED:
            raise ValueError
        classes = [name.removeprefix(PROBABILITY) for name in header[len(FIXED) :]]
        return Predictions(
            paths=[row[0] for row in rows],
            labels=np.array([classes.index(row[1]) for row in rows], int),
            probabilities=np.array([[float(value) for value in row[len(FIXED) :]] for row in rows], float).reshape(
                len(rows), len(classes)
            ),
            classes=classes,
        )
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; `dvc repro` makes it, `dvc pull` fetches it") from None
    except (ValueError, IndexError):
        raise UserError(f"{path}: not a table of predictions; delete it and run `dvc repro`") from None
