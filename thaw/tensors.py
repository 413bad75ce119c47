"""From the files of a manifest to pixels of one shape."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from thaw.errors import UserError
from thaw.images import UnreadableImageError, pixels
from thaw.manifest import Row, class_names, splits_of
from thaw.overlap import on_all_cores
from thaw.params.tensors import Tensors
from thaw.row_file import Index
from thaw.row_store import rows_at_a_time
from thaw.sources import read

BATCH = 32


def index_of(rows: list[Row]) -> Index:
    """Return the index of a file with one row for each of a manifest's."""
    classes = class_names(rows)
    number = {name: index for index, name in enumerate(classes)}
    return Index(
        keys=np.array([row.sha256.encode() for row in rows], dtype="S64"),
        paths=np.array([row.path.encode() for row in rows]),
        labels=np.array([number[row.label] for row in rows], dtype=np.int32),
        groups=np.array([row.group.encode() for row in rows]),
        classes=classes,
        splits=splits_of(rows),
    )


def decode_all(folder: Path, rows: list[Row], tensors: Tensors) -> Iterator[np.ndarray]:
    """Yield the pixels of each row's image, in order, decoded on all cores, some at a time.

    Yields:
        uint8 arrays (images, height, width, 3), RGB.

    Raises:
        UserError: a file is not what it was when the manifest was written.
    """
    height, width = tensors.pixels

    def decode(row: Row) -> np.ndarray:
        path = folder / row.path
        try:
            digest, source = read(folder, row.path)
            if digest != row.sha256:
                raise UnreadableImageError("changed since the manifest was written")
            return pixels(source, height, width, tensors.resize, tensors.interpolation)
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror}") from None
        except (UnreadableImageError, IndexError) as error:
            raise UserError(f"{path}: {error}; run `dvc repro` to list the images anew") from None

    decoded = on_all_cores(decode, rows)
    while batch := list(islice(decoded, rows_at_a_time(height * width * 3, BATCH))):
        yield np.stack(batch)
