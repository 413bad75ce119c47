"""Parts of the images, and logistic regression on one part after another; without Keras."""

from dataclasses import dataclass

import numpy as np

from thaw.formats.row_file import RowFile, Values, units_of
from thaw.params.variants import Solver
from thaw.training import logistic


@dataclass(frozen=True)
class Images:
    """Rows by the image that they show."""

    values: Values
    views: np.ndarray
    """Numbers of rows, (images, views); where an image has fewer, its first is repeated."""
    labels: np.ndarray
    """Ints (images,)."""
    units: np.ndarray
    """Ints (images,): the same for images that belong together."""
    classes: tuple[str, ...]

    @classmethod
    def of(cls, file: RowFile) -> "Images":
        """Return the images of all splits."""
        count = file.origin.views
        views = []
        for split, part in file.index.splits.items():
            rows = np.arange(part.start, part.stop)
            views.append(rows.reshape(count, -1).T if split == "train" else np.tile(rows[:, None], count))
        every = np.concatenate(views)
        first = every[:, 0]
        return cls(file, every, file.index.labels[first], units_of(file.index.groups[first]), file.index.classes)

    @property
    def grouped(self) -> bool:
        return len(np.unique(self.units)) < len(self.units)

    def rows(self, images: np.ndarray) -> np.ndarray:
        """Return the rows of all views of some images."""
        return np.unique(self.views[images])

    def row_labels(self) -> np.ndarray:
        """Return the class of every row, ints (rows,)."""
        labels = np.empty(self.views.max() + 1, self.labels.dtype)
        labels[self.views] = self.labels[:, None]
        return labels


class SolvedFolds:
    """Solves a head on one part after another."""

    def __init__(self, images: Images, fit: Solver):
        self._images, self._fit = images, fit

    def __call__(self, fitted: np.ndarray, held_out: np.ndarray, outside: np.ndarray) -> float:
        """Return the accuracy of a head that is fitted on all that is not outside, once C is chosen."""
        chosen = logistic.best(self._path(fitted, held_out, self._fit.C)).C
        return self._path(np.concatenate([fitted, held_out]), outside, [chosen])[0].val_accuracy

    def _path(self, train: np.ndarray, test: np.ndarray, strengths: list[float]) -> list[logistic.Candidate]:
        return solve(self._images, self._images.values, train, test, strengths)


def solve(
    images: Images, values: Values, train: np.ndarray, test: np.ndarray, strengths: list[float]
) -> list[logistic.Candidate]:
    """Solve a head on all views of some images, and score it on others themselves."""
    labels, rows, tested = images.row_labels(), images.rows(train), images.views[test, 0]
    return logistic.solve_path(values[rows], labels[rows], values[tested], labels[tested], strengths)
