"""Running a model in inference mode by Keras: on a GPU, and of networks that OpenVINO cannot have."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from thaw.engines.engine import Engine, Precision
from thaw.networks.backend import device, float32_is_float32, has_gpu, in_advance, keras, same_bits
from thaw.networks.models import in_bfloat16

AHEAD = 2
"""Batches that are computed while the one before them is fetched and used."""


class KerasEngine(Engine):
    """Runs a model as Keras does, compiled for one number of rows."""

    def __init__(self, model: keras.Model, precision: Precision = "float32", batch_size: int = 32):
        if precision == "bfloat16":
            model = in_bfloat16(model)
        else:
            float32_is_float32()
        self._compute, self._rows = in_advance(model), batch_size
        self.device = device()
        place = self.device if has_gpu() else "the CPU"
        self.name = f"Keras {keras.__version__} with {keras.backend.backend()} on {place}, {precision}"

    def stream(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        computed: deque[tuple[int, list[Any]]] = deque()
        for batch in batches:
            parts = [batch[first : first + self._rows] for first in range(0, len(batch), self._rows)]
            with same_bits():
                computed.append((len(batch), [self._compute(self._filled(part)) for part in parts]))
            if len(computed) > AHEAD:
                yield self._fetched(*computed.popleft())
        while computed:
            yield self._fetched(*computed.popleft())

    def _filled(self, rows: np.ndarray) -> np.ndarray:
        """Return rows with the last one repeated, as many as the model is compiled for."""
        missing = self._rows - len(rows)
        return np.concatenate([rows, np.repeat(rows[-1:], missing, axis=0)]) if missing else rows

    @staticmethod
    def _fetched(count: int, parts: list[Any]) -> np.ndarray:
        with same_bits():
            return np.concatenate([np.asarray(part, np.float32) for part in parts])[:count]
