"""Activations of a frozen prefix, computed once."""

from collections.abc import Iterator

import numpy as np

from thaw.backend import keras
from thaw.progress import progress


def batched_predict(
    model: keras.Model, batches: Iterator[np.ndarray], total: int, size: int, label: str
) -> Iterator[np.ndarray]:
    """Run a model over batches of rows, in inference mode.

    The last batch is filled up, so that the model is compiled for one shape only and a row's result does not
    depend on how many rows came with it.

    Args:
        model: with one input and one output.
        batches: arrays (size, ...), the last one perhaps shorter.
        total: rows in all.
        size: rows in a full batch.
        label: for the progress bar.

    Yields:
        float32 arrays, as long as the batches.
    """
    none: list[int] = []
    with progress(none, total, label) as bar:
        for batch in batches:
            count = len(batch)
            if count < size:
                batch = np.concatenate([batch, np.repeat(batch[-1:], size - count, axis=0)])
            yield np.asarray(model.predict_on_batch(batch), np.float32)[:count]
            bar.update(count)
