"""The pixels that features are computed from: images, and augmented views of those that are trained on."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from threading import Lock, local
from typing import TYPE_CHECKING

import numpy as np

from thaw.errors import UserError
from thaw.formats.row_file import RowFile, Values, row_digests
from thaw.images.decoded import decoded
from thaw.params.features import Features
from thaw.threads import on_all_cores

if TYPE_CHECKING:
    from stages.features.augmentation import Augmentation


class FromImages:
    """The pixels of tensors that keep none, decoded from the images by their numbers, for as long as they are used.

    Args:
        tensors: what is known of them.
        folder: the data set's.
    """

    def __init__(self, tensors: RowFile, folder: Path):
        self._tensors, self._folder = tensors, folder

    def __getitem__(self, numbers: np.ndarray) -> np.ndarray:
        """Return uint8 pixels (len(numbers), height, width, 3).

        Raises:
            UserError: an image is missing or has changed, or decodes to other pixels than those that were noted.
        """
        rows = np.stack([self._decoded(number) for number in numbers])
        if row_digests(rows) != self._tensors.digests[numbers].tolist():
            raise UserError(
                f"{self._tensors.path}: the images decode to other pixels here than where it was written; "
                "`dvc repro --force` on the stage that writes it notes those of this machine's decoder"
            )
        return rows

    def _decoded(self, number: int) -> np.ndarray:
        index, made_with = self._tensors.index, self._tensors.origin.tensors
        path, digest = index.paths[number].decode(), index.keys[number].decode()
        height, width = made_with["pixels"]
        return decoded(self._folder, path, digest, height, width, made_with["resize"], made_with["interpolation"])


class Views:
    """The pixels of the features' rows: those of the train split stand once for each view, the whole split, then again.

    The first view is the image itself, and every other one is augmented.

    Args:
        images: tensors.
        wanted: how many views, and by which layers.
    """

    def __init__(self, images: RowFile, wanted: Features):
        self._images, self._wanted = images, wanted
        self._pixels: Values = images if images.images is None else FromImages(images, images.images)
        rows, part = np.arange(len(images), dtype=np.int32), images.index.splits["train"]
        of_train = [rows[part]] * (wanted.views - 1)
        views = [np.full_like(again, view) for view, again in enumerate(of_train, start=1)]
        self._rows = np.concatenate([rows[: part.stop], *of_train, rows[part.stop :]])
        self._views = np.concatenate(
            [np.zeros(part.stop, np.int32), *views, np.zeros(len(images) - part.stop, np.int32)]
        )
        self.keys = images.digests if wanted.views == 1 else images.digests[self._rows]
        """What each row is made of, in the order of the rows: SHA-256 of its pixels, or of them and the change."""
        for place in np.flatnonzero(self._views):
            self.keys[place] = self._key(self._rows[place], self._views[place])
        self._making, self._of_thread = Lock(), local()

    def _key(self, row: int, view: int) -> bytes:
        pixels: bytes = self._images.digests[row]
        change = [int(view), self._wanted.augmentation, self._wanted.seed, self._images.index.keys[row].decode()]
        return hashlib.sha256(pixels + json.dumps(change).encode()).hexdigest().encode()

    def batches(self, numbers: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the pixels of some rows in batches, uint8 or float32 (rows, height, width, 3); made on all cores."""
        size = self._wanted.batch_size
        return on_all_cores(self._batch, (numbers[start : start + size] for start in range(0, len(numbers), size)))

    def _batch(self, numbers: np.ndarray) -> np.ndarray:
        rows, views = self._rows[numbers], self._views[numbers]
        pixels: np.ndarray = self._pixels[rows]
        if views.any():
            pixels = pixels.astype(np.float32)
            keys = self._images.index.keys[rows]
            augmentation = self._augmentation()
            for place in np.flatnonzero(views):
                pixels[place] = augmentation(pixels[place], bytes(keys[place]), int(views[place]))
        return pixels

    def _augmentation(self) -> "Augmentation":
        """Return this thread's augmentation, which can change one image at a time."""
        if not hasattr(self._of_thread, "augmentation"):
            with self._making:
                from stages.features.augmentation import Augmentation  # loads Keras

                self._of_thread.augmentation = Augmentation(self._wanted.augmentation, self._wanted.seed)
        augmentation: Augmentation = self._of_thread.augmentation
        return augmentation
