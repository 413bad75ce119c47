"""What a model is trained on, batch by batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from thaw.formats.row_file import RowFile, Values, units_of
from thaw.networks.backend import keras
from thaw.params.variants import Training


@dataclass(frozen=True)
class Rows:
    """What a variant is trained on: rows of all splits, and which of them are for what."""

    values: Values
    labels: np.ndarray
    """Ints (rows,)."""
    units: np.ndarray
    """Ints (rows,): the same for rows of images that belong together, and for all views of an image."""
    classes: tuple[str, ...]
    train: list[np.ndarray]
    """Numbers of rows; one array for each view, all of the same images."""
    validation: np.ndarray
    """Numbers of rows."""


def rows_of(file: RowFile, train_on: Sequence[str], validate_on: str) -> Rows:
    """Return the rows of the splits that are trained on, and of the one that choices are made by."""
    views = file.origin.views if "train" in train_on else 1
    parts = []
    for split in train_on:
        numbers = _numbers(file, split)
        # The views of the train split stand one after the other; of another split there is one.
        parts.append(np.split(numbers, views) if split == "train" else [numbers] * views)
    train = [np.concatenate(of_one_view) for of_one_view in zip(*parts, strict=True)]
    units = units_of(file.index.groups)
    for view in np.split(_numbers(file, "train"), file.origin.views):
        units[view] = units[file.index.splits["train"]][: len(view)]
    return Rows(file, file.index.labels, units, file.index.classes, train, _numbers(file, validate_on))


def _numbers(file: RowFile, split: str) -> np.ndarray:
    part = file.index.splits[split]
    return np.arange(part.start, part.stop)


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches of training rows, pass after pass, each pass in an order of its own and over the next view.

    An epoch is a number of batches, and goes on where the one before it ended. What is in a batch depends on
    the seed, the epoch and the batch's number alone.

    Args:
        rows: of which those for training are taken.
        targets: what the loss compares a row's output with, by its label.
        fit: size of batches and epochs, and the seed.
    """

    def __init__(self, rows: Rows, targets: np.ndarray, fit: Training):
        super().__init__()
        self._rows, self._targets = rows, targets
        self._size, self._seed = fit.batch_size, fit.seed
        self._in_a_pass = -(-len(rows.train[0]) // fit.batch_size)
        self._in_an_epoch = fit.steps_per_epoch or self._in_a_pass
        self._epoch = 0
        self._order = lru_cache(maxsize=1)(self._shuffled)

    def begin(self, epoch: int, logs: object = None) -> None:
        """Go to an epoch, counted from 0."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._in_an_epoch

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        passed, place = divmod(self._epoch * self._in_an_epoch + number, self._in_a_pass)
        chosen = self._order(passed)[place * self._size : (place + 1) * self._size]
        return self._rows.values[chosen], self._targets[self._rows.labels[chosen]]

    def _shuffled(self, passed: int) -> np.ndarray:
        """Return the numbers of the rows of the next view, in the order of a pass."""
        view = self._rows.train[passed % len(self._rows.train)]
        return np.random.default_rng([self._seed, passed + 1]).permutation(view)


class WithLabels(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches of which the labels are an input, too: for layers that change both."""

    def __init__(self, batches: keras.utils.PyDataset):
        super().__init__()
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, number: int) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
        rows, targets = self._batches[number]
        return (rows, targets), targets


class ValidationBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches of validation rows, in their order."""

    def __init__(self, rows: Rows, targets: np.ndarray, size: int):
        super().__init__()
        self._rows, self._targets, self._size = rows, targets, size

    def __len__(self) -> int:
        return -(-len(self._rows.validation) // self._size)

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = self._rows.validation[number * self._size : (number + 1) * self._size]
        return self._rows.values[chosen], self._targets[self._rows.labels[chosen]]
