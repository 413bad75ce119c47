"""The table of a variant's predictions for the images of a split, one row per image."""

from array import array
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from thaw.formats.sealed_csv import reading_csv, write_csv

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
    names, guesses = predictions.classes, predictions.probabilities.argmax(axis=1)
    rows = (
        [image, names[label], names[guess], *(f"{value:.9g}" for value in row.tolist())]
        for image, label, guess, row in zip(
            predictions.paths, predictions.labels, guesses, predictions.probabilities, strict=True
        )
    )
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
        number = {name: number for number, name in enumerate(classes)}
        paths, labels, probabilities = list[str](), array("q"), array("d")
        for path_of_image, label, _, *values in table.rows:
            paths.append(path_of_image)
            labels.append(number[label])
            probabilities.extend(map(float, values))
        return Predictions(
            paths=paths,
            labels=np.array(labels, int),
            probabilities=np.array(probabilities, float).reshape(len(paths), len(classes)),
            classes=classes,
            model=table.by,
        )
