"""Decode and resize every image of the manifest, once: to keep its pixels, or to know what they are."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import accumulate, islice
from pathlib import Path

import numpy as np

from thaw.formats.manifest import SPLITS, Row, manifest_rows
from thaw.formats.row_file import Index, Origin, row_digests
from thaw.formats.row_writer import writing
from thaw.images.decoded import decode, decoded, stored
from thaw.images.decoding import DECODER, Interpolation, Resize
from thaw.images.normalization import Normalization
from thaw.params.reading import read_entry
from thaw.params.tensors import Tensors
from thaw.progress import progress_by_rows
from thaw.reuse.cluster import CHUNK_BYTES, connected
from thaw.reuse.fingerprint import fingerprint
from thaw.reuse.row_store import Plan, RowStore, rows_at_a_time
from thaw.stage import announce, run
from thaw.threads import cores, on_all_cores

BATCH = 32
BATCHES_IN_A_CHUNK = 8
DIGEST = (64,)
"""Shape of what is stored of an image whose pixels are not kept: their SHA-256, as ASCII characters."""
ROWS_AT_A_TIME = 4096
"""Of the manifest."""
Listed = tuple[str, str]
"""An image's path below the data set's folder, and the SHA-256 that the manifest has of it."""
Image = tuple[str, bytes | np.ndarray]
"""Where it lies, for messages, and the image as it is stored."""


def main(params: Path, entry: str, folder: Path, manifest: Path, tensors: Path) -> None:
    """Write the RGB pixels 0-255 of the images in `folder`, and the normalization that the networks begin with.

    Of pixels that are not kept, the file has the digests: whoever makes them again knows whether they are the same.
    """
    wanted = read_entry(params, entry, Tensors)
    plan, index, origin = planned(params, entry, folder, manifest)
    images = None if wanted.keep else folder
    with writing(tensors, index, (*wanted.pixels, 3), plan.store.dtype, origin, images) as file:
        batches = progress_by_rows(plan.rows(), len(plan.keys), "decoding")
        if wanted.keep:
            file.write(batches)
        else:
            file.leave_out(batch.view("S64")[:, 0] for batch in batches)


def planned(params: Path, entry: str, folder: Path, manifest: Path) -> tuple[Plan, Index, Origin]:
    """Return the rows of an entry of `tensors`, and what their file says of them; announces them.

    Raises:
        UserError: a file cannot be read, or the cluster cannot be used.
    """
    wanted = read_entry(params, entry, Tensors)
    index, shape = index_of(manifest_rows(manifest)), (*wanted.pixels, 3)
    # Pixels are stored before the normalization, and the split and the classes are no part of them.
    way = [wanted.pixels, wanted.resize, wanted.interpolation, DECODER]
    made_of = fingerprint("stages.tensors", *way, *([] if wanted.keep else ["digests"]))
    store = RowStore(made_of, shape if wanted.keep else DIGEST, np.dtype(np.uint8))
    cluster = connected()
    if cluster:
        cluster.use(partial(decoder, wanted), decoder(wanted)[0])
    count = cores()
    where = cluster or f"{count} CPU core{'s' * (count > 1)}"
    size = f"{shape[0]}x{shape[1]} pixels ({wanted.resize})"
    unkept, known = "" if wanted.keep else ", which are not kept", store.count(index.keys)
    announce(f"{entry}: {len(index.keys)} images to {size}{unkept}, on {where}; {known} were decoded before")
    made_with = {
        **wanted.model_dump(exclude={"unlike_pretraining", "keep"}),
        "normalization": Normalization.of(wanted.normalization).to_json(),
    }

    def compute(missing: np.ndarray) -> Iterator[np.ndarray]:
        images = ((index.paths[number].decode(), index.keys[number].decode()) for number in missing)
        if cluster:
            return cluster.stream(chunks(folder, images, wanted))
        return (made_of_pixels(batch, wanted) for batch in decode_all(folder, images, wanted))

    return Plan(index.keys, store, compute), index, Origin(made_with)


def index_of(rows: Iterable[Row]) -> Index:
    """Return the index of a file with one row for each of a manifest's, which are gone through once."""
    keys, numbers = bytearray(), bytearray()
    paths, groups = list[np.ndarray](), list[np.ndarray]()
    classes, splits = dict[int, str](), Counter[str]()
    rows = iter(rows)
    while some := [*islice(rows, ROWS_AT_A_TIME)]:
        keys += np.array([row.sha256.encode() for row in some], "S64").tobytes()
        numbers += np.array([row.number for row in some], np.int32).tobytes()
        paths.append(np.array([row.path.encode() for row in some]))
        groups.append(np.array([row.group.encode() for row in some]))
        classes |= {row.number: row.label for row in some}
        splits.update(row.split for row in some)
    ends = accumulate(splits[split] for split in SPLITS)
    return Index(
        keys=np.frombuffer(keys, "S64"),
        paths=np.concatenate(paths),
        labels=np.searchsorted(sorted(classes), np.frombuffer(numbers, np.int32)).astype(np.int32),
        groups=np.concatenate(groups),
        classes=tuple(classes[number] for number in sorted(classes)),
        splits={
            split: slice(end - splits[split], end) for split, end in zip(SPLITS, ends, strict=True) if splits[split]
        },
    )


def decode_all(folder: Path, listed: Iterable[Listed], tensors: Tensors) -> Iterator[np.ndarray]:
    """Yield the pixels of images, in order, decoded on all cores, some at a time.

    Yields:
        uint8 arrays (images, height, width, 3), RGB.

    Raises:
        UserError: a file is not what it was when the manifest was written.
    """
    images = on_all_cores(lambda one: decoded(folder, one[0], one[1], *size_of(tensors)), listed)
    while batch := list(islice(images, batch_of(tensors))):
        yield np.stack(batch)


def chunks(folder: Path, listed: Iterable[Listed], tensors: Tensors) -> Iterator[list[Image]]:
    """Yield images as they are stored, some megabytes at a time: what a node of a cluster decodes."""
    most = BATCHES_IN_A_CHUNK * batch_of(tensors)
    chunk: list[Image] = []
    size = 0
    for one in on_all_cores(lambda one: stored(folder, *one), listed):
        chunk.append(one)
        size += len(one[1]) if isinstance(one[1], bytes) else one[1].nbytes
        if size >= CHUNK_BYTES or len(chunk) == most:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def decoder(tensors: Tensors) -> tuple[str, Callable[[list[Image]], np.ndarray]]:
    """Return what a node of a cluster does with a chunk, and before it what decides on pixels, on any processor."""
    from thaw.images import decoding  # the node's: a stage's own names are sent with what they stand for here

    kind = ", ".join(f"{library} {number}" for library, number in decoding.DECODER.items())

    def rows_of(chunk: list[Image]) -> np.ndarray:
        return made_of_pixels(np.stack([decode(place, source, *size_of(tensors)) for place, source in chunk]), tensors)

    return kind, rows_of


def size_of(tensors: Tensors) -> tuple[int, int, Resize, Interpolation]:
    """Return how images become pixels, as `decoded` takes it."""
    height, width = tensors.pixels
    return height, width, tensors.resize, tensors.interpolation


def batch_of(tensors: Tensors) -> int:
    """Return how many images are decoded at a time."""
    height, width = tensors.pixels
    return rows_at_a_time(height * width * 3, BATCH)


def made_of_pixels(pixels: np.ndarray, tensors: Tensors) -> np.ndarray:
    """Return what is stored of images: their pixels, or the SHA-256 of each, uint8 (images, 64), ASCII characters."""
    return pixels if tensors.keep else np.array(row_digests(pixels), "S64").view(np.uint8).reshape(-1, *DIGEST)


if __name__ == "__main__":
    run(main)
