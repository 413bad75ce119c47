"""Progress bars for whatever may take longer than a few seconds."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

import numpy as np
from tqdm import tqdm

T = TypeVar("T")


def progress(items: Iterable[T], total: int, label: str, unit: str = "images") -> "tqdm[T]":
    """Wrap `items` in a bar that counts `unit`s; with `items` empty, the caller updates it."""
    return tqdm(items, total=total, desc=label, unit=f" {unit}", dynamic_ncols=True, mininterval=0.5)


def progress_by_rows(batches: Iterable[np.ndarray], total: int, label: str) -> Iterator[np.ndarray]:
    """Yield batches under a bar that counts their rows."""
    bar: tqdm[np.ndarray] = progress((), total, label)
    with bar:
        for batch in batches:
            yield batch
            bar.update(len(batch))
