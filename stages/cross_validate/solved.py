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

    def by_row(self, column: np.ndarray) -> np.ndarray:
        """Return what a column (images,) says of the image of every row, (rows,)."""
        rows = np.empty(self.views.max() + 1, column.dtype)
        rows[self.views] = column[:, None]
        return rows


class SolvedFolds:
    """Solves a head on one part after another."""

    def __init__(self, images: Images, name: str, fit: Solver):
        self._images, self._name, self._fit = images, name, fit

    def __call__(self, fitted: np.ndarray, held_out: np.ndarray, outside: np.ndarray) -> float:
        """Return the accuracy of a head that is solved on all that is not outside; C is chosen inside of that."""
        images = self._images
        head = solve(self._name, images, images.values, np.concatenate([fitted, held_out]), self._fit)
        rows = images.views[outside, 0]
        return head.scores(images.values[rows], images.labels[outside])[1]


def solve(name: str, images: Images, values: Values, chosen: np.ndarray, fit: Solver) -> logistic.Candidate:
    """Solve a head on all views of some images.

    Args:
        name: the variant's address in params.yaml, for messages.
        values: features by the numbers of rows.
        chosen: numbers of images.
    """
    rows = images.rows(chosen)
    labels, units = images.by_row(images.labels)[rows], images.by_row(images.units)[rows]
    return logistic.best(logistic.solve_path(f"{name}.fit.C", values[rows], labels, units, fit.C))
