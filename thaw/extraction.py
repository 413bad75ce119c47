"""Rows through an engine, with a progress bar."""

from collections.abc import Iterable, Iterator

import numpy as np

from thaw.engine import Engine
from thaw.progress import progress


def batched_predict(engine: Engine, batches: Iterable[np.ndarray], total: int, label: str) -> Iterator[np.ndarray]:
    """Run a model over batches of rows, in inference mode.

    Args:
        engine: has the model.
        batches: arrays (rows, ...), of any lengths; taken some way ahead of the results.
        total: rows in all.
        label: for the progress bar.

    Yields:
        float32 arrays, one for each batch.
    """
    none: list[int] = []
    with progress(none, total, label) as bar:
        for results in engine.stream(batches):
            yield results
            bar.update(len(results))
