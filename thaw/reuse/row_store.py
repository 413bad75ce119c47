"""Rows that were computed before, kept between runs: a cache that may be deleted at any time.

Rows made in one way share a folder, named by the fingerprint of how they are made, whatever project they are made in.
In it, every process appends to segments of its own, a batch at a time, so that processes need no locks, and one that is
killed leaves all batches but the one it was writing. A record is a header, the rows' keys with a checksum of each row,
and the rows. Where the store becomes larger than its limit, the segments that were not used for the longest time are
removed; to who reads one, its rows are missing.
"""

import os
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from socket import gethostname
from typing import BinaryIO

import numpy as np

from thaw.errors import UserError
from thaw.reuse.folder import LIMIT, limit, make_room, room, rows_folder, stored
from thaw.threads import ahead

SEGMENT_BYTES = 256 * 2**20
BATCH_BYTES = 2**20
HEADER = struct.Struct("<8sII")
"""`MAGIC`, the number of rows, the CRC-32 of the entries."""
MAGIC = b"thawrows"
ENTRY = np.dtype([("key", "S64"), ("crc", "<u4")])
PLACE = np.dtype([("key", "S64"), ("crc", "<u4"), ("segment", "<u4"), ("offset", "<u8")])
Compute = Callable[[np.ndarray], Iterator[np.ndarray]]


def rows_at_a_time(row_bytes: int, most: int = 256) -> int:
    """Return how many rows to handle at a time, so that they are about a megabyte.

    >>> rows_at_a_time(row_bytes=64 * 64 * 3)
    85
    """
    return max(1, min(most, BATCH_BYTES // max(1, row_bytes)))


class RowStore:
    """Rows of one shape, all made in the same way; keys are 64 ASCII characters.

    Args:
        made_of: the fingerprint of how the rows are made from what their keys name.
        shape, dtype: of one row.

    Raises:
        UserError: the limit in the environment is no number.
    """

    def __init__(self, made_of: str, shape: tuple[int, ...], dtype: np.dtype):
        self._root = rows_folder()
        self._folder = self._root / made_of
        self.shape, self.dtype = shape, dtype
        self.row_bytes = int(np.prod(shape)) * dtype.itemsize
        self._limit = limit()
        self._open = lru_cache(maxsize=200)(_opened)
        self._segment: BinaryIO | None = None
        self._writes = self._limit > 0
        self._has_to_keep = False
        self._segments: list[Path] = []
        with suppress(OSError):  # rows that cannot be listed or read, or that are removed meanwhile, are only missing
            self._segments = sorted(self._folder.glob("*.rows"))
        places = [np.empty(0, PLACE)]
        for number, path in enumerate(self._segments):
            with suppress(OSError):
                places += self._read_entries(path, number)
        found = np.concatenate(places)
        self._places = found[np.argsort(found["key"], kind="stable")]

    def count(self, keys: np.ndarray) -> int:
        """Return how many of the keys have a row in the store."""
        return int((self._find(keys) >= 0).sum())

    def require_room(self, count: int) -> None:
        """Have all rows kept, of which there are to be `count`: one that cannot be is an error from now on.

        Raises:
            UserError: they are more than the store may have, so that the last would push out the first; or the folder
                cannot be written.
        """
        needed = count * (self.row_bytes + ENTRY.itemsize) + self._segment_bytes() + HEADER.size * count
        self._has_to_keep = True
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            most = room(sum(size for _, size, _ in stored()))
        except OSError as error:
            raise self._unwritten(error) from None
        if needed > most:
            what = f"{count} rows take {needed / 1e9:.1f} GB, and {self._root} may have {most / 1e9:.1f} GB"
            way = f"`export {LIMIT}={np.ceil(needed / 1e9):.0f}`" if needed > self._limit else "free some of its disk"
            raise UserError(f"{LIMIT}: {what}, so that the last would push out the first: {way}")

    def _unwritten(self, error: OSError) -> UserError:
        return UserError(
            f"{self._root}: cannot be written on {gethostname()}: {error.strerror}; the rows before are kept"
        )

    def _find(self, keys: np.ndarray) -> np.ndarray:
        """Return where each key is among the places, the last where there are several; -1 where there is none."""
        last = np.searchsorted(self._places["key"], keys, side="right") - 1
        return np.where((last >= 0) & (self._places["key"][last] == keys), last, -1) if len(self._places) else last

    def complete(self, keys: np.ndarray, compute: Compute) -> Iterator[np.ndarray]:
        """Yield the rows of keys, in order, some at a time: from the store, or computed and then stored.

        Reading, computing and storing go on while the caller uses the rows.

        Args:
            keys: of the rows, (rows,) of 64 bytes each.
            compute: takes the numbers of the keys whose rows are missing, in order; yields the rows in batches.

        Yields:
            Arrays (rows, *shape).
        """
        return ahead(self._complete(keys, compute))

    def _complete(self, keys: np.ndarray, compute: Compute) -> Iterator[np.ndarray]:
        places = self._find(keys)
        computed = self._computed(keys, np.flatnonzero(places < 0), compute)
        count = rows_at_a_time(self.row_bytes)
        for first in range(0, len(keys), count):
            rows = np.empty((min(count, len(keys) - first), *self.shape), self.dtype)
            for place in range(len(rows)):
                number = first + place
                if places[number] < 0:
                    rows[place] = next(computed)
                elif not self._read(self._places[places[number]], rows[place : place + 1]):
                    rows[place] = next(self._computed(keys, np.array([number]), compute))
            yield rows

    def _computed(self, keys: np.ndarray, numbers: np.ndarray, compute: Compute) -> Iterator[np.ndarray]:
        done = 0
        for batch in compute(numbers) if len(numbers) else ():
            batch = np.ascontiguousarray(batch, self.dtype)
            self._append(keys[numbers[done : done + len(batch)]], batch)
            done += len(batch)
            yield from batch

    def _read_entries(self, path: Path, segment: int) -> Iterator[np.ndarray]:
        """Yield where rows are, up to where the file is damaged or ends within a record."""
        with path.open("rb") as file:
            end = os.fstat(file.fileno()).st_size
            while len(header := file.read(HEADER.size)) == HEADER.size:
                magic, count, crc = HEADER.unpack(header)
                if magic != MAGIC or file.tell() + count * (ENTRY.itemsize + self.row_bytes) > end:
                    return
                content = file.read(count * ENTRY.itemsize)
                if zlib.crc32(content) != crc:
                    return
                places = np.empty(count, PLACE)
                places[["key", "crc"]] = np.frombuffer(content, ENTRY)
                places["segment"] = segment
                places["offset"] = file.tell() + np.arange(count) * self.row_bytes
                yield places
                file.seek(count * self.row_bytes, os.SEEK_CUR)

    def _read(self, place: np.void, row: np.ndarray) -> bool:
        """Fill a row; return whether what is stored is sound."""
        content = row.reshape(-1).view(np.uint8).data
        try:
            file = self._open(self._segments[place["segment"]])
            count = os.preadv(file.fileno(), [content], int(place["offset"]))
        except OSError:
            return False
        return count == self.row_bytes and zlib.crc32(content) == place["crc"]

    def _append(self, keys: np.ndarray, rows: np.ndarray) -> None:
        """Store rows, unless the disk does not take them: results do not need the store."""
        if not self._writes:
            return
        entries = np.empty(len(keys), ENTRY)
        entries["key"] = keys
        entries["crc"] = [zlib.crc32(rows[place : place + 1].data) for place in range(len(rows))]
        content = entries.tobytes()
        try:
            if self._segment is None or self._segment.tell() >= self._segment_bytes():
                self._segment = self._next_segment()
            self._segment.write(HEADER.pack(MAGIC, len(keys), zlib.crc32(content)) + content)
            self._segment.write(rows.data)
            self._segment.flush()
        except OSError as error:
            if self._has_to_keep:
                raise self._unwritten(error) from None
            print(f"warning: {self._root}: cannot be written: {error.strerror}; going on without it", flush=True)
            self._writes = False

    def _segment_bytes(self) -> int:
        return min(SEGMENT_BYTES, self._limit // 8)

    def _next_segment(self) -> BinaryIO:
        if self._segment is not None:
            self._segment.close()
        self._folder.mkdir(parents=True, exist_ok=True)
        make_room(self._segment_bytes())
        # Names are in the order of time: of two rows with one key, the later is taken.
        return (self._folder / f"{time.time_ns():020}-{os.getpid()}.rows").open("xb")


@dataclass(frozen=True)
class Plan:
    """Rows that are wanted, and what computes those that are not stored."""

    keys: np.ndarray
    store: RowStore
    compute: Compute
    """As `RowStore.complete` takes it."""

    def rows(self, part: slice = slice(None)) -> Iterator[np.ndarray]:
        """Yield the rows of a part of the keys, in order, some at a time; arrays (rows, *shape)."""
        first = part.indices(len(self.keys))[0]
        return self.store.complete(self.keys[part], lambda missing: self.compute(missing + first))


def _opened(path: Path) -> BinaryIO:
    """Open a segment; it then counts as used, and can be read to its end even if another process removes it."""
    with suppress(OSError):  # another user's
        os.utime(path)
    return path.open("rb", buffering=0)
