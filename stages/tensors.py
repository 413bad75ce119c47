"""Decode and resize every image of the manifest, once."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from thaw.errors import UserError
from thaw.formats.manifest import Row, class_names, read_manifest, splits_of
from thaw.formats.row_file import Index, Origin
from thaw.formats.row_writer import writing
from thaw.images.decoding import DECODER, UnreadableImageError, pixels
from thaw.images.normalization import Normalization
from thaw.images.reading import read_image
from thaw.params.reading import read_entry
from thaw.params.tensors import Tensors
from thaw.progress import progress_by_rows
from thaw.reuse.cluster import CHUNK_BYTES, connected
from thaw.reuse.fingerprint import fingerprint
from thaw.reuse.row_store import Plan, RowStore, rows_at_a_time
from thaw.stage import announce, run
from thaw.threads import on_all_cores

BATCH = 32
BATCHES_IN_A_CHUNK = 8
Image = tuple[Path, bytes | np.ndarray]
"""Its path, for messages, and the image as it is stored."""


def main(params: Path, entry: str, folder: Path, manifest: Path, tensors: Path) -> None:
    """Write the RGB pixels 0-255 of the images in `folder`, and the normalization that the networks begin with."""
    plan, index, origin = planned(params, entry, folder, manifest)
    with writing(tensors, index, plan.store.shape, plan.store.dtype, origin) as file:
        file.write(progress_by_rows(plan.rows(), len(plan.keys), "decoding"))


def planned(params: Path, entry: str, folder: Path, manifest: Path) -> tuple[Plan, Index, Origin]:
    """Return the rows of an entry of `tensors`, and what their file says of them; announces them.

    Raises:
        UserError: a file cannot be read, or the cluster cannot be used.
    """
    wanted = read_entry(params, entry, Tensors)
    rows, shape = read_manifest(manifest), (*wanted.pixels, 3)
    index = index_of(rows)
    # Pixels are stored before the normalization, and the split and the classes are no part of them.
    made_of = fingerprint("stages.tensors", wanted.pixels, wanted.resize, wanted.interpolation, DECODER)
    store = RowStore(made_of, shape, np.dtype(np.uint8))
    cluster = connected()
    if cluster:
        cluster.use(partial(decoder, wanted), decoder(wanted)[0])
    size, where = f"{shape[0]}x{shape[1]} pixels ({wanted.resize})", cluster or f"{os.cpu_count()} CPU cores"
    announce(f"{entry}: {len(rows)} images to {size}, on {where}; {store.count(index.keys)} were decoded before")
    made_with = {
        **wanted.model_dump(exclude={"unlike_pretraining"}),
        "normalization": Normalization.of(wanted.normalization).to_json(),
    }

    def compute(missing: np.ndarray) -> Iterator[np.ndarray]:
        images = [rows[number] for number in missing]
        return cluster.stream(chunks(folder, images, wanted)) if cluster else decode_all(folder, images, wanted)

    return Plan(index.keys, store, compute), index, Origin(made_with)


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
    decoded = on_all_cores(lambda row: decode(folder / row.path, source_of(folder, row), tensors), rows)
    while batch := list(islice(decoded, batch_of(tensors))):
        yield np.stack(batch)


def chunks(folder: Path, rows: list[Row], tensors: Tensors) -> Iterator[list[Image]]:
    """Yield the images of rows as they are stored, some megabytes at a time: what a node of a cluster decodes."""
    most = BATCHES_IN_A_CHUNK * batch_of(tensors)
    chunk: list[Image] = []
    size = 0
    for path, source in on_all_cores(lambda row: (folder / row.path, source_of(folder, row)), rows):
        chunk.append((path, source))
        size += len(source) if isinstance(source, bytes) else source.nbytes
        if size >= CHUNK_BYTES or len(chunk) == most:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def decoder(tensors: Tensors) -> tuple[str, Callable[[list[Image]], np.ndarray]]:
    """Return what a node of a cluster does with a chunk, and before it what decides on pixels, on any processor."""
    from thaw.images import decoding  # the node's: a stage's own names are sent with what they stand for here

    kind = ", ".join(f"{library} {number}" for library, number in decoding.DECODER.items())
    return kind, lambda chunk: np.stack([decode(path, source, tensors) for path, source in chunk])


def batch_of(tensors: Tensors) -> int:
    """Return how many images are decoded at a time."""
    height, width = tensors.pixels
    return rows_at_a_time(height * width * 3, BATCH)


def source_of(folder: Path, row: Row) -> bytes | np.ndarray:
    """Return a row's image as it is stored; see `read_image`."""
    with complaining(folder / row.path):
        digest, source = read_image(folder, row.path)
        if digest != row.sha256:
            raise UnreadableImageError("changed since the manifest was written")
        return source


def decode(path: Path, source: bytes | np.ndarray, tensors: Tensors) -> np.ndarray:
    """Return the pixels of an image, uint8 (height, width, 3); its path is for messages."""
    with complaining(path):
        height, width = tensors.pixels
        return pixels(source, height, width, tensors.resize, tensors.interpolation)


@contextmanager
def complaining(path: Path) -> Iterator[None]:
    """Make a `UserError` of an image that cannot be read, or is not what it was."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except (UnreadableImageError, IndexError) as error:
        raise UserError(f"{path}: {error}; run `dvc repro` to list the images anew") from None


if __name__ == "__main__":
    run(main)
