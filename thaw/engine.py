"""Running a model in inference mode, near the machine's limit.

On a CPU that is OpenVINO, 1.5 to 3 times as fast as TensorFlow; on a GPU, or where there is no OpenVINO, Keras.
"""

import os
import sys
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from typing import Any, Literal

import numpy as np

from thaw.backend import device, float32_is_float32, has_gpu, keras, same_bits, traced
from thaw.models import in_bfloat16

# OpenVINO reports its use over the network and keeps an identifier at home, unless this cannot be imported.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
try:
    import openvino as openvino
except ImportError:  # there are platforms without it
    openvino = None

Precision = Literal["float32", "bfloat16"]


class Engine(ABC):
    """A model that is ready to run; a row's result depends on nothing but the row."""

    name: str
    """What computes, and in which precision: the same on machines that compute the same bits."""

    @abstractmethod
    def stream(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Run the model over batches, which are taken some way ahead of the results.

        Args:
            batches: arrays (rows, ...) of uint8 or float32, of any lengths.

        Yields:
            float32 arrays (rows, ...), one for each batch, in order.
        """

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        """Run the model over one batch."""
        return next(self.stream([batch]))


def engine(model: keras.Model, precision: Precision = "float32", batch_size: int = 32) -> Engine:
    """Return the fastest engine for a model on this machine.

    Args:
        model: with one input and one output, their shapes known but for the number of rows.
        precision: `bfloat16` is faster where the machine has instructions for it; elsewhere a CPU takes float32.
        batch_size: rows that a GPU takes at a time.
    """
    exportable = keras.backend.backend() == "tensorflow"  # OpenVINO does not read what JAX exports
    if has_gpu() or openvino is None or not exportable:
        return KerasEngine(model, precision, batch_size)
    return OpenVinoEngine(model, precision)


class OpenVinoEngine(Engine):
    """Runs a model on the CPU, on all cores, one thread for each request.

    So no core waits for another, and rows are few enough at a time for a core's cache. Agrees with Keras to about 1e-6
    of the largest value in float32.
    """

    ROWS = 4
    WAITING = 4
    """Requests for each core, so that it has work while rows are read."""

    def __init__(self, model: keras.Model, precision: Precision = "float32"):
        cores = os.cpu_count() or 1
        # What Keras's own export does on TensorFlow, without files between, in half the time.
        graph = openvino.convert_model(traced(model, self.ROWS), share_weights=False)
        self._compiled = openvino.Core().compile_model(
            graph,
            "CPU",
            {
                # Without it, OpenVINO takes bfloat16 by itself on CPUs that have it.
                "INFERENCE_PRECISION_HINT": "f32" if precision == "float32" else "bf16",
                "NUM_STREAMS": cores,
                "INFERENCE_NUM_THREADS": cores,
                "ENABLE_CPU_PINNING": False,  # other processes may be on the same cores
            },
        )
        computes_in = self._compiled.get_property("INFERENCE_PRECISION_HINT")
        self.name = f"OpenVINO {version('openvino')}, {'float32' if computes_in == openvino.Type.f32 else 'bfloat16'}"

    def stream(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        count = self.WAITING * self._compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        idle = [self._compiled.create_infer_request() for _ in range(count)]
        shape = tuple(self._compiled.output().shape)[1:]
        running: deque[tuple[Any, np.ndarray, int]] = deque()
        results: deque[np.ndarray] = deque()

        def finish() -> None:
            request, result, first = running.popleft()
            request.wait()
            rows = len(result[first : first + self.ROWS])
            result[first : first + rows] = request.get_output_tensor().data[:rows]
            idle.append(request)

        for batch in batches:
            results.append(np.empty((len(batch), *shape), np.float32))
            for first in range(0, len(batch), self.ROWS):
                if not idle:
                    finish()
                rows = batch[first : first + self.ROWS]
                request = idle.pop()
                # Behind the last rows stand those of an earlier request: nobody looks at what comes of them.
                request.get_input_tensor().data[: len(rows)] = rows
                request.start_async()
                running.append((request, results[-1], first))
            while results and not (running and running[0][1] is results[0]):
                yield results.popleft()
        while results:
            while running and running[0][1] is results[0]:
                finish()
            yield results.popleft()


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
