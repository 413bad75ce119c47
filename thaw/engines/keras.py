"""Running a model in inference mode by Keras: on a GPU, and of networks that OpenVINO cannot have."""

from collections.abc import Iterable, Iterator

import numpy as np

from thaw.engines.engine import Engine, Precision
from thaw.networks.backend import device, float32_is_float32, has_gpu, keras, same_bits
from thaw.networks.models import in_bfloat16


class KerasEngine(Engine):
    """Runs a model as Keras does, compiled for one number of rows."""

    def __init__(self, model: keras.Model, precision: Precision = "float32", batch_size: int = 32):
        if precision == "bfloat16":
            model = in_bfloat16(model)
        else:
            float32_is_float32()
        self._model, self._rows = model, batch_size
        self.device = device()
        place = self.device if has_gpu() else "the CPU"
        self.name = f"Keras {keras.__version__} with {keras.backend.backend()} on {place}, {precision}"

    def stream(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        for batch in batches:
            parts = [self._predict(batch[first : first + self._rows]) for first in range(0, len(batch), self._rows)]
            yield np.concatenate(parts)

    def _predict(self, rows: np.ndarray) -> np.ndarray:
        count = len(rows)
        if count < self._rows:
            rows = np.concatenate([rows, np.repeat(rows[-1:], self._rows - count, axis=0)])
        with same_bits():
            return np.asarray(self._model.predict_on_batch(rows), np.float32)[:count]
