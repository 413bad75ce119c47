"""Training by gradient descent on one part of the images after another."""

import numpy as np

from stages.cross_validate.solved import Images, solve
from thaw.engines.keras import KerasEngine
from thaw.engines.openvino import finite
from thaw.formats.model_file import ModelRecord
from thaw.formats.row_file import Values
from thaw.networks.backend import keras
from thaw.networks.boundary import tail
from thaw.params.variants import Solver, Training, Variant
from thaw.progress import progress_by_rows
from thaw.training import logistic
from thaw.training.batches import Rows
from thaw.training.training import freeze, train

BATCH = 32


class TrainedFolds:
    """Trains a model by gradient descent on one part after another, from the same start."""

    def __init__(self, images: Images, variant: Variant, fit: Training, model: keras.Model, record: ModelRecord):
        self._images, self._variant, self._fit, self._model = images, variant, fit, model
        self._boundary, self._frozen = record.boundary, record.frozen
        self._weights = model.get_weights()
        self._solver = None
        if variant.start.startswith("variants/"):
            self._solver = Solver.model_validate(record.start_fit)
            body = self._inner(keras.Model(model.input, model.layers[-1].input))
            self._features = _predicted(body, images.values, np.arange(len(images.row_labels())))

    def __call__(self, fitted: np.ndarray, held_out: np.ndarray, outside: np.ndarray) -> float:
        """Return the accuracy of a model that is trained on the fitted images, the held-out ones for its choices."""
        images = self._images
        self._model.set_weights(self._weights)
        if self._solver:
            head = logistic.best(solve(images, self._features, fitted, held_out, self._solver.C))
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


def _predicted(model: keras.Model, values: Values, rows: np.ndarray) -> np.ndarray:
    batches = (values[rows[first : first + BATCH]] for first in range(0, len(rows), BATCH))
    # The model changes from fold to fold: another engine would take longer to get ready.
    engine = KerasEngine(model, batch_size=BATCH)
    predicted = progress_by_rows(engine.stream(batches), len(rows), "scoring")
    return np.concatenate(list(finite(predicted, "a fold's model")))
