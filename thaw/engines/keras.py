"""Running a Keras model in inference mode, near the machine's limit: by OpenVINO, or by Keras itself."""

from collections.abc import Iterable, Iterator

import numpy as np

from thaw.engines.converting import graph_of, runs_on_openvino
from thaw.engines.openvino import Engine, OpenVinoEngine, Precision
from thaw.networks.backend import device, float32_is_float32, has_gpu, keras, same_bits
from thaw.networks.models import in_bfloat16


def engine(model: keras.Model, precision: Precision = "float32", batch_size: int = 32) -> Engine:
    """Return the fastest engine for a model on this machine.

    Args:
        model: with one input and one output, their shapes known but for the number of rows.
        precision: `bfloat16` is faster where the machine has instructions for it; elsewhere a CPU takes float32.
        batch_size: rows that a GPU takes at a time.
    """
    if runs_on_openvino() and (graph := graph_of(model)):
        return OpenVinoEngine(graph, precision)
    return KerasEngine(model, precision, batch_size)


class KerasEngine(Engine):
    """Runs a model as Keras does, compiled for one number of rows."""

    def __init__(self, model: keras.Model, precision: Precision = "float32", batch_size: int = 32):
        if precision == "bfloat16":
            model = in_bfloat16(model)
        else:
            float32_is_float32()
        self._model, self._rows = model, batch_size
        place = device() if has_gpu() else "the CPU"
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
