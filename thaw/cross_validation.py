"""Cross-validation of a variant: trained anew on every part of the images, scored on the part that was left out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t
from sklearn.model_selection import RepeatedStratifiedKFold, train_test_split

from thaw import logistic
from thaw.backend import keras
from thaw.batches import Rows, Values
from thaw.boundary import tail
from thaw.extraction import batched_predict
from thaw.keras_engine import KerasEngine
from thaw.params.evaluation import CrossValidation
from thaw.params.variants import Solver, Training, Variant
from thaw.row_file import RowFile
from thaw.scoring import CONFIDENCE
from thaw.training import freeze, train
from thaw.variants import begin

BATCH = 32


@dataclass(frozen=True)
class CrossValidated:
    """The mean accuracy over all fits and its 95 % interval, by the corrected resampled t-test."""

    accuracy: float
    accuracy_low: float
    accuracy_high: float
    fits: int


@dataclass(frozen=True)
class Images:
    """Rows by the image that they show."""

    values: Values
    views: np.ndarray
    """Numbers of rows, (images, views); where an image has fewer, its first is repeated."""
    labels: np.ndarray
    """Ints (images,)."""
    classes: tuple[str, ...]

    @classmethod
    def of(cls, file: RowFile) -> "Images":
        """Return the images of all splits."""
        count = file.made_of.get("features", {}).get("views", 1)
        views = []
        for split, part in file.index.splits.items():
            rows = np.arange(part.start, part.stop)
            views.append(rows.reshape(count, -1).T if split == "train" else np.tile(rows[:, None], count))
        every = np.concatenate(views)
        return cls(file, every, file.index.labels[every[:, 0]], file.index.classes)

    def rows(self, images: np.ndarray) -> np.ndarray:
        """Return the rows of all views of some images."""
        return np.unique(self.views[images])

    def row_labels(self) -> np.ndarray:
        """Return the class of every row, ints (rows,)."""
        labels = np.empty(self.views.max() + 1, self.labels.dtype)
        labels[self.views] = self.labels[:, None]
        return labels


def cross_validate(entry: str, variant: Variant, start: Path, file: RowFile, wanted: CrossValidation) -> CrossValidated:
    """Cross-validate a variant, every choice made anew inside every training part.

    A share of the training part is held out for the choices: of C, by early stopping. A head that the variant starts
    from, solved, is solved anew too, since it has seen images that a fold leaves out.

    Args:
        entry: the variant's address in params.yaml, for messages.
        variant: starts from a backbone, or from a variant with a solver.
        start: the file of what it starts from.
        file: its inputs.
        wanted: folds, repeats and their seed.

    Returns:
        The mean accuracy; its bounds are a 95 % interval from the corrected resampled t-test (Nadeau and Bengio
        2003), since the training parts overlap.
    """
    images = Images.of(file)
    one_fold: _Solved | _Trained
    if isinstance(variant.fit, Solver):
        one_fold = _Solved(images, variant.fit)
    else:
        one_fold = _Trained(images, variant, variant.fit, *begin(entry, variant, start, file))
    partition = RepeatedStratifiedKFold(n_splits=wanted.folds, n_repeats=wanted.repeats, random_state=wanted.seed)
    accuracies = []
    for inside, outside in partition.split(images.labels, images.labels):
        fitted, held_out = train_test_split(
            inside, test_size=1 / wanted.folds, stratify=images.labels[inside], random_state=wanted.seed
        )
        accuracies.append(one_fold(fitted, held_out, outside))
        print(f"fit {len(accuracies)} of {wanted.folds * wanted.repeats}: accuracy {accuracies[-1]:.4f}", flush=True)
    mean, spread = float(np.mean(accuracies)), float(np.std(accuracies, ddof=1))
    fits = len(accuracies)
    error = spread * np.sqrt(1 / fits + 1 / (wanted.folds - 1))
    half = float(t.ppf((1 + CONFIDENCE) / 2, fits - 1) * error)
    return CrossValidated(mean, max(0.0, mean - half), min(1.0, mean + half), fits)


class _Solved:
    """Solves a head on one part after another."""

    def __init__(self, images: Images, fit: Solver):
        self._images, self._fit = images, fit

    def __call__(self, fitted: np.ndarray, held_out: np.ndarray, outside: np.ndarray) -> float:
        """Return the accuracy of a head that is fitted on all that is not outside, once C is chosen."""
        chosen = logistic.best(self._path(fitted, held_out, self._fit.C)).C
        return self._path(np.concatenate([fitted, held_out]), outside, [chosen])[0].val_accuracy

    def _path(self, train: np.ndarray, test: np.ndarray, strengths: list[float]) -> list[logistic.Candidate]:
        return _solve(self._images, self._images.values, train, test, strengths)


class _Trained:
    """Trains a model by gradient descent on one part after another, from the same start."""

    def __init__(self, images: Images, variant: Variant, fit: Training, model: keras.Model, about: dict[str, Any]):
        self._images, self._variant, self._fit, self._model = images, variant, fit, model
        self._boundary, self._frozen = about["boundary"], about["frozen"]
        self._weights = model.get_weights()
        self._solver = None
        if variant.start.startswith("variants/"):
            self._solver = Solver.model_validate(about["start_fit"])
            body = self._inner(keras.Model(model.input, model.layers[-1].input))
            self._features = _predicted(body, images.values, np.arange(len(images.row_labels())))

    def __call__(self, fitted: np.ndarray, held_out: np.ndarray, outside: np.ndarray) -> float:
        """Return the accuracy of a model that is trained on the fitted images, the held-out ones for its choices."""
        images = self._images
        self._model.set_weights(self._weights)
        if self._solver:
            head = logistic.best(_solve(images, self._features, fitted, held_out, self._solver.C))
            self._model.layers[-1].set_weights([head.weights, head.bias])
        keras.utils.set_random_seed(self._fit.seed)
        freeze(self._model, self._frozen, self._fit.batch_norm)
        train_views = list(images.views[fitted].T)
        rows = Rows(images.values, images.row_labels(), images.classes, train_views, images.views[held_out, 0])
        train(self._model, self._boundary, rows, self._fit, self._variant.augmentation)
        probabilities = _predicted(self._inner(self._model), images.values, images.views[outside, 0])
        return float((probabilities.argmax(axis=1) == images.labels[outside]).mean())

    def _inner(self, model: keras.Model) -> keras.Model:
        """Return the part of a model that takes the rows."""
        return model if self._boundary is None else tail(model, self._boundary)


def _solve(
    images: Images, values: Values, train: np.ndarray, test: np.ndarray, strengths: list[float]
) -> list[logistic.Candidate]:
    """Solve a head on all views of some images, and score it on others themselves."""
    labels, rows, tested = images.row_labels(), images.rows(train), images.views[test, 0]
    return logistic.solve_path(values[rows], labels[rows], values[tested], labels[tested], strengths)


def _predicted(model: keras.Model, values: Values, rows: np.ndarray) -> np.ndarray:
    batches = (values[rows[first : first + BATCH]] for first in range(0, len(rows), BATCH))
    # The model changes from fold to fold: another engine would take longer to get ready.
    engine = KerasEngine(model, batch_size=BATCH)
    return np.concatenate(list(batched_predict(engine, batches, len(rows), "scoring")))
