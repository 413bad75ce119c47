"""Progress bars for whatever may take longer than a few seconds."""

from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def progress(items: Iterable[T], total: int, label: str, unit: str = "images") -> "tqdm[T]":
    """Wrap `items` in a bar that counts `unit`s; with `items` empty, the caller updates it."""
    return tqdm(items, total=total, desc=label, unit=f" {unit}", dynamic_ncols=True, mininterval=0.5)
