"""The table of a variant's predictions for the images of a split, one row per image."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from thaw.files import reading_csv, write_csv

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
    model: str = ""
    """SHA-256 of the file of the model that says so."""


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write predictions as CSV, probabilities with the nine digits that tell any two float32 apart.

    >>> found = Predictions(["oak/1.jpg"], np.array([1]), np.array([[0.25, 0.75]]), ["fig", "oak"])
    >>> write_predictions(Path("full.csv"), found)
    >>> read_predictions(Path("full.csv")).probabilities
    array([[0.25, 0.75]])
    """
    names = predictions.classes
    rows = [
        [image, names[label], names[int(row.argmax())], *(f"{value:.9g}" for value in row)]
        for image, label, row in zip(predictions.paths, predictions.labels, predictions.probabilities, strict=True)
    ]
    write_csv(path, [*FIXED, *(PROBABILITY + name for name in names)], rows, predictions.model)


def read_predictions(path: Path, is_bound: bool = False) -> Predictions:
    """Read predictions.

    Args:
        is_bound: the file is known to be what it was; see `parse_csv`.

    Raises:
        UserError: the file is missing, damaged, or not one that `write_predictions` wrote.
    """
    with reading_csv(path, is_bound) as table:
        if table.columns[: len(FIXED)] != FIXED:
            raise ValueError
        classes = [name.removeprefix(PROBABILITY) for name in table.columns[len(FIXED) :]]
        rows = list(table.rows)
        return Predictions(
            paths=[row[0] for row in rows],
            labels=np.array([classes.index(row[1]) for row in rows], int),
            probabilities=np.array([[float(value) for value in row[len(FIXED) :]] for row in rows], float).reshape(
                len(rows), len(classes)
            ),
            classes=classes,
            model=table.by,
        )
