"""Decode and resize every image of the manifest, once: to keep its pixels, or to know what they are."""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from thaw.formats.manifest import Row, class_names, read_manifest, splits_of
from thaw.formats.row_file import Index, Origin, row_digests
from thaw.formats.row_writer import writing
from thaw.images.decoded import decoded
from thaw.images.decoding import DECODER
from thaw.images.normalization import Normalization
from thaw.params.reading import read_entry
from thaw.params.tensors import Tensors
from thaw.progress import progress_by_rows
from thaw.reuse.fingerprint import fingerprint
from thaw.reuse.row_store import RowStore, rows_at_a_time
from thaw.stage import announce, run
from thaw.threads import on_all_cores

BATCH = 32
DIGEST = (64,)
"""Shape of what is stored of an image whose pixels are not kept: their SHA-256, as ASCII characters."""


def main(params: Path, entry: str, folder: Path, manifest: Path, tensors: Path) -> None:
    """Write the RGB pixels 0-255 of the images in `folder`, and the normalization that the networks begin with.

    Of pixels that are not kept, the file has the digests: whoever makes them again knows whether they are the same.
    """
    wanted = read_entry(params, entry, Tensors)
    rows, shape, dtype = read_manifest(manifest), (*wanted.pixels, 3), np.dtype(np.uint8)
    index = index_of(rows)
    # Pixels are stored before the normalization, and the split and the classes are no part of them.
    way = [wanted.pixels, wanted.resize, wanted.interpolation, DECODER]
    if wanted.keep:
        store = RowStore(fingerprint("stages.tensors", *way), shape, dtype)
    else:
        store = RowStore(fingerprint("stages.tensors", *way, "digests"), DIGEST, dtype)
    size, known = f"{shape[0]}x{shape[1]} pixels ({wanted.resize})", store.count(index.keys)
    unkept = "" if wanted.keep else ", which are not kept"
    announce(
        f"{entry}: {len(rows)} images to {size}{unkept}, on {os.cpu_count()} CPU cores; {known} were decoded before"
    )
    made_with = {
        **wanted.model_dump(exclude={"unlike_pretraining", "keep"}),
        "normalization": Normalization.of(wanted.normalization).to_json(),
    }

    def compute(missing: np.ndarray) -> Iterator[np.ndarray]:
        batches = decode_all(folder, [rows[number] for number in missing], wanted)
        return batches if wanted.keep else map(digests_of, batches)

    with writing(tensors, index, shape, dtype, Origin(made_with)) as file:
        batches = progress_by_rows(store.complete(index.keys, compute), len(rows), "decoding")
        if wanted.keep:
            file.write(batches)
        else:
            file.leave_out(batch.view("S64")[:, 0] for batch in batches)


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
        return decoded(folder, row.path, row.sha256, height, width, tensors.resize, tensors.interpolation)

    images = on_all_cores(decode, rows)
    while batch := list(islice(images, rows_at_a_time(height * width * 3, BATCH))):
        yield np.stack(batch)


def digests_of(pixels: np.ndarray) -> np.ndarray:
    """Return the SHA-256 of each row, uint8 (rows, 64), ASCII characters."""
    return np.array(row_digests(pixels), "S64").view(np.uint8).reshape(-1, *DIGEST)


if __name__ == "__main__":
    run(main)
