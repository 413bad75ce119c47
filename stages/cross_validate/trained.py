"""Training by gradient descent on one part of the images after another."""

import itertools
from collections.abc import Iterator

import numpy as np

from stages.cross_validate.solved import Images, solve
from thaw.engines.engine import finite
from thaw.engines.keras import KerasEngine
from thaw.formats.model_file import ModelRecord
from thaw.formats.row_file import Values
from thaw.networks.backend import keras
from thaw.networks.boundary import tail
from thaw.networks.models import HEAD
from thaw.params.variants import Solver, Training, Variant
from thaw.progress import progress_by_rows
from thaw.training.batches import Rows
from thaw.training.training import add_head, freeze, train

BATCH = 32


class TrainedFolds:
    """Trains a model by gradient descent on one part after another, from the same start.

    Each fold has a seed of its own, so that what is random in a training is among what the folds differ by.
    """

    def __init__(
        self, images: Images, name: str, variant: Variant, fit: Training, model: keras.Model, record: ModelRecord
    ):
        self._images, self._name, self._variant, self._fit, self._model = images, name, variant, fit, model
        self._boundary, self._frozen = record.boundary, record.frozen
        self._seeds = seeds(fit.seed)
        self._weights = model.get_weights()
        self._solver = None
        if variant.start.startswith("variants/"):
            self._solver = Solver.model_validate(record.start_fit)
            of_head = model.layers[-1].input
            if self._boundary and model.get_layer(self._boundary).output is of_head:
                self._features = images.values
            else:
                body = self._inner(keras.Model(model.input, of_head))
                self._features = _predicted(body, images.values, np.arange(images.views.max() + 1))

    def __call__(self, fitted: np.ndarray, held_out: np.ndarray, outside: np.ndarray) -> float:
        """Return the accuracy of a model that is trained on the fitted images, the held-out ones for its choices."""
        images, fit = self._images, self._fit.model_copy(update={"seed": next(self._seeds)})
        keras.utils.set_random_seed(fit.seed)
        self._model.set_weights(self._weights)
        if self._solver:
            head = solve(self._variant.start.replace("/", "."), images, self._features, fitted, self._solver)
            self._model.layers[-1].set_weights([head.weights, head.bias])
        else:
            body = [layer for layer in self._model.layers if not layer.name.startswith(HEAD)][-1]
            self._model = add_head(
                keras.Model(self._model.input, body.output), self._variant.head or [], len(images.classes)
            )
        freeze(self._model, self._frozen, fit.batch_norm)
        train_views = list(images.views[fitted].T)
        labels, units = images.by_row(images.labels), images.by_row(images.units)
        rows = Rows(images.values, labels, units, images.classes, train_views, images.views[held_out, 0])
        train(self._model, self._boundary, rows, fit, self._variant.augmentation)
        probabilities = _predicted(self._inner(self._model), images.values, images.views[outside, 0])
        return float((probabilities.argmax(axis=1) == images.labels[outside]).mean())

    def _inner(self, model: keras.Model) -> keras.Model:
        """Return the part of a model that takes the rows."""
        return model if self._boundary is None else tail(model, self._boundary)


def seeds(seed: int) -> Iterator[int]:
    """Yield a seed for each fold, drawn by NumPy's `SeedSequence` from a variant's seed and the fold's number, from 0.

    >>> first, second = itertools.islice(seeds(0), 2)
    >>> first != second, first == next(seeds(0)), first == next(seeds(1))
    (True, True, False)
    """
    for fold in itertools.count():
        yield int(np.random.SeedSequence([seed, fold]).generate_state(1)[0])


def _predicted(model: keras.Model, values: Values, rows: np.ndarray) -> np.ndarray:
    batches = (values[rows[first : first + BATCH]] for first in range(0, len(rows), BATCH))
    # The model changes from fold to fold: another engine would take longer to get ready.
    engine = KerasEngine(model, batch_size=BATCH)
    predicted = progress_by_rows(engine.stream(batches), len(rows), "scoring")
    return np.concatenate(list(finite(predicted, "a fold's model")))
