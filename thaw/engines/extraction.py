"""Rows through an engine, with a progress bar."""

from collections.abc import Iterable, Iterator

import numpy as np

from thaw.engines.openvino import Engine
from thaw.progress import progress_by_rows


def batched_predict(engine: Engine, batches: Iterable[np.ndarray], total: int, label: str) -> Iterator[np.ndarray]:
    """Run a model over batches of rows, in inference mode.

    Args:
        engine: has the model.
        batches: arrays (rows, ...), of any lengths; taken some way ahead of the results.
        total: rows in all.
        label: for the progress bar.

    Returns:
        float32 arrays, one for each batch.
    """
    return progress_by_rows(engine.stream(batches), total, label)
