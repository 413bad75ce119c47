"""The pixels that features are computed from: images, and augmented views of those that are trained on."""

import hashlib
import json
from collections.abc import Iterator

import numpy as np

from thaw.params.features import Features
from thaw.row_file import RowFile


class Views:
    """The pixels of the features' rows: those of the train split stand once for each view, the whole split, then again.

    The first view is the image itself, and every other one is augmented.
    """

    def __init__(self, images: RowFile, wanted: Features):
        self._images, self._wanted = images, wanted
        rows, part = np.arange(len(images)), images.index.splits["train"]
        of_train = [rows[part]] * (wanted.views - 1)
        views = [np.full_like(again, view) for view, again in enumerate(of_train, start=1)]
        self._rows = np.concatenate([rows[: part.stop], *of_train, rows[part.stop :]])
        self._views = np.concatenate([np.zeros(part.stop, int), *views, np.zeros(len(images) - part.stop, int)])
        self.keys = np.array([self._key(row, view) for row, view in zip(self._rows, self._views, strict=True)])
        """What each row is made of, in the order of the rows: SHA-256 of its pixels, or of them and the change."""

    def _key(self, row: int, view: int) -> bytes:
        pixels: bytes = self._images.digests[row]
        if not view:
            return pixels
        change = [int(view), self._wanted.augmentation, self._wanted.seed, self._images.index.keys[row].decode()]
        return hashlib.sha256(pixels + json.dumps(change).encode()).hexdigest().encode()

    def batches(self, numbers: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the pixels of some rows in batches, uint8 or float32 (rows, height, width, 3)."""
        augmentation = None
        for start in range(0, len(numbers), self._wanted.batch_size):
            chosen = numbers[start : start + self._wanted.batch_size]
            rows, views = self._rows[chosen], self._views[chosen]
            pixels = self._images[rows]
            if views.any():
                if augmentation is None:
                    from thaw.augmentation import Augmentation  # loads Keras

                    augmentation = Augmentation(self._wanted.augmentation, self._wanted.seed)
                pixels = pixels.astype(np.float32)
                keys = self._images.index.keys[rows]
                for place in np.flatnonzero(views):
                    pixels[place] = augmentation(pixels[place], bytes(keys[place]), int(views[place]))
            yield pixels
