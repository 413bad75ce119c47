"""Decode and resize every image of the manifest, once."""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from thaw.errors import UserError
from thaw.formats.manifest import Row, class_names, read_manifest, splits_of
from thaw.formats.row_file import Index, Origin
from thaw.formats.row_writer import writing
from thaw.images.decoding import DECODER, UnreadableImageError, pixels
from thaw.images.normalization import Normalization
from thaw.images.reading import found_at, read_image
from thaw.params.reading import read_entry
from thaw.params.tensors import Tensors
from thaw.progress import progress_by_rows
from thaw.reuse.fingerprint import fingerprint
from thaw.reuse.row_store import RowStore, rows_at_a_time
from thaw.stage import announce, run
from thaw.threads import on_all_cores

BATCH = 32


def main(params: Path, entry: str, folder: Path, manifest: Path, tensors: Path) -> None:
    """Write the RGB pixels 0-255 of the images in `folder`, and the normalization that the networks begin with."""
    wanted = read_entry(params, entry, Tensors)
    rows, shape, dtype = read_manifest(manifest), (*wanted.pixels, 3), np.dtype(np.uint8)
    index = index_of(rows)
    # Pixels are stored before the normalization, and the split and the classes are no part of them.
    store = RowStore(
        fingerprint("stages.tensors", wanted.pixels, wanted.resize, wanted.interpolation, DECODER), shape, dtype
    )
    size, known = f"{shape[0]}x{shape[1]} pixels ({wanted.resize})", store.count(index.keys)
    announce(f"{entry}: {len(rows)} images to {size}, on {os.cpu_count()} CPU cores; {known} were decoded before")
    made_with = {
        **wanted.model_dump(exclude={"unlike_pretraining"}),
        "normalization": Normalization.of(wanted.normalization).to_json(),
    }
    with writing(tensors, index, shape, dtype, Origin(made_with)) as file:
        decoded = store.complete(
            index.keys, lambda missing: decode_all(folder, [rows[number] for number in missing], wanted)
        )
        file.write(progress_by_rows(decoded, len(rows), "decoding"))


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
        try:
            digest, source = read_image(folder, row.path)
            if digest != row.sha256:
                raise UnreadableImageError("changed since the manifest was written")
            return pixels(source, height, width, tensors.resize, tensors.interpolation)
        except OSError as error:
            raise UserError(f"{found_at(folder, row.path)}: cannot be read: {error.strerror}") from None
        except (UnreadableImageError, IndexError) as error:
            raise UserError(f"{found_at(folder, row.path)}: {error}; run `dvc repro` to list the images anew") from None

    decoded = on_all_cores(decode, rows)
    while batch := list(islice(decoded, rows_at_a_time(height * width * 3, BATCH))):
        yield np.stack(batch)


if __name__ == "__main__":
    run(main)
