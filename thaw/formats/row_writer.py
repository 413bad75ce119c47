"""Writing a file of rows; see `row_file`."""

import ctypes
import json
import math
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from thaw.files.writing import OF_WRITING, replacing
from thaw.formats.row_file import Index, Origin, digest_of, row_digests
from thaw.formats.sealed_csv import title

DIGEST = np.dtype("S64")
OVERHEAD = 2**16
"""Bytes that are more than enough for what HDF5 and the header add."""


class RowWriter:
    """A row file that is being written, rows in order; see `writing`."""

    def __init__(self, file: h5py.File, shape: tuple[int, ...], dtype: np.dtype):
        self._rows = file.create_dataset("rows", shape, dtype, track_times=False)  # takes no room until it is written
        self.digests = np.empty(shape[0], DIGEST)
        self.written = 0

    def write(self, batches: Iterable[np.ndarray]) -> None:
        """Write batches of the file's dtype behind the rows that are there."""
        for batch in batches:
            rows = np.ascontiguousarray(batch, self._rows.dtype)
            end = self.written + len(rows)
            self._rows[self.written : end] = rows
            self.digests[self.written : end] = row_digests(rows)
            self.written = end

    def leave_out(self, digests: Iterable[np.ndarray]) -> None:
        """Note rows that the file is not to have, by batches of their digests, (rows,) of 64 ASCII characters."""
        for batch in digests:
            end = self.written + len(batch)
            self.digests[self.written : end] = batch
            self.written = end


@contextmanager
def writing(
    path: Path,
    index: Index,
    row_shape: tuple[int, ...],
    dtype: np.dtype,
    origin: Origin,
    images: Path | None = None,
) -> Iterator[RowWriter]:
    """Write a row file: whole, under its name, when the block has written every row.

    Args:
        path: where to.
        index: the images, one for each row to come.
        row_shape, dtype: of one row.
        origin: what the rows are made of.
        images: the folder with the images of which the rows can be made again, if the file is not to have them.

    Raises:
        ValueError: the block has written more or fewer rows than the index has.

    >>> index = Index(
    ...     keys=np.array([b"0" * 64, b"1" * 64]),
    ...     paths=np.array([b"oak/1.jpg", b"fig/1.jpg"]),
    ...     labels=np.array([1, 0], np.int32),
    ...     groups=np.array([b"", b""]),
    ...     classes=("fig", "oak"),
    ...     splits={"train": slice(0, 1), "test": slice(1, 2)},
    ... )
    >>> origin = Origin(tensors={"pixels": [1, 1]})
    >>> with writing(Path("rows.h5"), index, (1, 1, 3), np.dtype("uint8"), origin) as file:
    ...     file.write([np.array([[[[10, 20, 30]]], [[[40, 50, 60]]]])])
    >>> from thaw.formats.row_file import RowFile
    >>> file = RowFile(Path("rows.h5"))
    >>> len(file), file.row_shape
    (2, (1, 1, 3))
    >>> file.read_split("test")
    (array([[[[40, 50, 60]]]], dtype=uint8), array([0], dtype=int32))
    """
    needed = _size(index, row_shape if images is None else (0,), dtype)
    with replacing(path, needed) as temporary, _create(temporary, needed) as file:
        writer = RowWriter(file, (len(index.labels), *row_shape), dtype)
        yield writer
        if writer.written != len(index.labels):
            raise ValueError(f"{writer.written} rows were written, {len(index.labels)} announced")
        header = json.dumps(
            {
                "classes": index.classes,
                "splits": {name: [part.start, part.stop] for name, part in index.splits.items()},
                "title": title(path),
                **origin.to_json(),
            },
            sort_keys=True,
        )
        columns = {
            "keys": index.keys,
            "paths": index.paths,
            "labels": index.labels,
            "digests": writer.digests,
            **({"groups": index.groups} if index.groups.any() else {}),
        }
        for name, column in columns.items():
            file.create_dataset(name, data=column, track_times=False)
        # Of fixed length: HDF5 keeps other strings in a heap without checksums, and loops for ever on a damaged one.
        file.attrs["header"] = np.bytes_(header.encode())
        file.attrs["digest"] = np.bytes_(digest_of(header, columns).encode())
        if images is not None:  # beside what the digest is of, so that it is that of a file with the rows
            file.attrs["images"] = np.bytes_(bytes(images))


def _size(index: Index, row_shape: tuple[int, ...], dtype: np.dtype) -> int:
    """Return at least how many bytes a row file will have."""
    columns = sum(column.nbytes for column in (index.keys, index.paths, index.labels, index.groups))
    rows = math.prod((len(index.labels), *row_shape)) * np.dtype(dtype).itemsize
    return rows + columns + len(index.labels) * DIGEST.itemsize + len(json.dumps(index.classes)) + OVERHEAD


@contextmanager
def _create(path: Path, needed: int) -> Iterator[h5py.File]:
    """Create an HDF5 file whose own structures carry checksums, so that HDF5 notices when one is damaged.

    Without the times at which its parts were made: the same content is the same bytes. Its room is taken before
    anything is written: HDF5 crashes at the end of a process in which the disk became full under it.

    Raises:
        OSError: there is not so much room.
    """
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_libver_bounds(h5py.h5f.LIBVER_V110, h5py.h5f.LIBVER_V110)
    creation = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    creation.set_obj_track_times(False)
    size = 0
    try:
        with h5py.File(h5py.h5f.create(bytes(path), h5py.h5f.ACC_TRUNC, creation, access)) as file:
            _reserve(file.id.get_vfd_handle(), needed)
            yield file
            file.flush()
            size = file.id.get_filesize()
    except (OSError, RuntimeError) as error:  # HDF5 tells in words what the system said
        if code := re.search(r"errno = (\d+)", str(error)):
            raise OSError(int(code[1]), os.strerror(int(code[1]))) from None
        raise
    os.truncate(path, size)  # which gives back what was reserved and not needed


def _reserve(descriptor: int, size: int) -> None:
    """Have the system keep room for a file to grow to a size, where it can: where it cannot, nothing is done."""
    allocate = getattr(ctypes.CDLL(None, use_errno=True), "fallocate", None)
    if allocate is None:
        return
    allocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_longlong, ctypes.c_longlong]
    if allocate(descriptor, 0, 0, size) and (code := ctypes.get_errno()) in OF_WRITING:
        raise OSError(code, os.strerror(code))
