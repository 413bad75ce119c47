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
from thaw.files.reading import require_regular
from thaw.reuse.folder import LIMIT, limit, make_room, room, rows_folder, stored
from thaw.threads import ahead

SEGMENT_BYTES = 256 * 2**20
BATCH_BYTES = 2**20
HEADER = struct.Struct("<8sII")
"""`MAGIC`, the number of rows, the CRC-32 of the entries."""
MAGIC = b"thawrows"
ENTRY = np.dtype([("key", "S64"), ("crc", "<u4")])
PLACE = np.dtype([("crc", "<u4"), ("segment", "<i4"), ("offset", "<u8")])
"""Of a row; its segment is `NOWHERE` if it is not stored."""
NOWHERE = -1
ENTRIES_AT_A_TIME = 2**14
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
        self._made_of = zlib.crc32(made_of.encode())  # begins every checksum, so that no other's row passes
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
        self._found: tuple[np.ndarray, np.ndarray] | None = None
        """Keys that were looked for, and where their rows are."""

    def count(self, keys: np.ndarray) -> int:
        """Return how many of the keys have a row in the store."""
        return int((self._find(keys)["segment"] != NOWHERE).sum())

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
        """Return where the row of each key is, of several the last, `PLACE` (rows,); the store is read once for all."""
        if self._found and self._found[0] is keys:
            return self._found[1]
        places = np.full(len(keys), np.array((0, NOWHERE, 0), PLACE))
        order = np.argsort(keys, kind="stable")
        for entries, of_entries in self._entries():
            at = np.searchsorted(keys, entries, sorter=order)
            new = np.arange(len(entries))
            while len(new):  # once, but for rows that are wanted several times
                new = new[at[new] < len(keys)]
                new = new[keys[order[at[new]]] == entries[new]]
                places[order[at[new]]] = of_entries[new]
                at += 1
        self._found = keys, places
        return places

    def complete(self, keys: np.ndarray, compute: Compute, part: slice = slice(None)) -> Iterator[np.ndarray]:
        """Yield the rows of keys, in order, some at a time: from the store, or computed and then stored.

        Reading, computing and storing go on while the caller uses the rows.

        Args:
            keys: of the rows, (rows,) of 64 bytes each.
            compute: takes the numbers of the keys whose rows are missing, in order; yields the rows in batches.
            part: those of the keys whose rows are wanted; all by default.

        Yields:
            Arrays (rows, *shape).
        """
        return ahead(self._complete(keys, compute, part))

    def _complete(self, keys: np.ndarray, compute: Compute, part: slice) -> Iterator[np.ndarray]:
        places = self._find(keys)
        is_missing = places["segment"] == NOWHERE
        start, stop, _ = part.indices(len(keys))
        computed = self._computed(keys, start + np.flatnonzero(is_missing[start:stop]), compute)
        count = rows_at_a_time(self.row_bytes)
        for first in range(start, stop, count):
            rows = np.empty((min(count, stop - first), *self.shape), self.dtype)
            lost = []
            for place in range(len(rows)):
                number = first + place
                if is_missing[number]:
                    rows[place] = next(computed)
                elif not self._read(places[number], rows[place : place + 1]):
                    lost.append(place)
            if lost:
                rows[lost] = [*self._computed(keys, first + np.array(lost), compute)]
            yield rows

    def _computed(self, keys: np.ndarray, numbers: np.ndarray, compute: Compute) -> Iterator[np.ndarray]:
        done = 0
        for batch in compute(numbers) if len(numbers) else ():
            batch = np.ascontiguousarray(batch, self.dtype)
            self._append(keys[numbers[done : done + len(batch)]], batch)
            done += len(batch)
            yield from batch

    def _entries(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the keys of stored rows, and where these are, in the order of time, many at a time."""
        waiting, count = list[tuple[np.ndarray, np.ndarray]](), 0
        for number, path in enumerate(self._segments):
            with suppress(OSError):
                for entries in self._read_entries(path, number):
                    waiting.append(entries)
                    count += len(entries[0])
                    if count >= ENTRIES_AT_A_TIME:
                        yield _joined(waiting)
                        waiting, count = [], 0
        if waiting:
            yield _joined(waiting)

    def _read_entries(self, path: Path, segment: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the keys of rows, and where these are, up to where the file is damaged or ends within a record."""
        require_regular(path)
        with path.open("rb") as file:
            end = os.fstat(file.fileno()).st_size
            while len(header := file.read(HEADER.size)) == HEADER.size:
                magic, count, crc = HEADER.unpack(header)
                if magic != MAGIC or file.tell() + count * (ENTRY.itemsize + self.row_bytes) > end:
                    return
                content = file.read(count * ENTRY.itemsize)
                if zlib.crc32(content, self._made_of) != crc:
                    return
                entries, places = np.frombuffer(content, ENTRY), np.empty(count, PLACE)
                places["crc"], places["segment"] = entries["crc"], segment
                places["offset"] = file.tell() + np.arange(count) * self.row_bytes
                yield entries["key"], places
                file.seek(count * self.row_bytes, os.SEEK_CUR)

    def _read(self, place: np.void, row: np.ndarray) -> bool:
        """Fill a row; return whether what is stored is sound."""
        content = row.reshape(-1).view(np.uint8).data
        try:
            file = self._open(self._segments[place["segment"]])
            count = os.preadv(file.fileno(), [content], int(place["offset"]))
        except OSError:
            return False
        return count == self.row_bytes and zlib.crc32(content, self._made_of) == place["crc"]

    def _append(self, keys: np.ndarray, rows: np.ndarray) -> None:
        """Store rows, unless the disk does not take them: results do not need the store."""
        if not self._writes:
            return
        entries = np.empty(len(keys), ENTRY)
        entries["key"] = keys
        entries["crc"] = [zlib.crc32(rows[place : place + 1].data, self._made_of) for place in range(len(rows))]
        content = entries.tobytes()
        try:
            if self._segment is None or self._segment.tell() >= self._segment_bytes():
                self._segment = self._next_segment()
            self._segment.write(HEADER.pack(MAGIC, len(keys), zlib.crc32(content, self._made_of)) + content)
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
        return self.store.complete(self.keys, self.compute, part)


def _joined(several: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    keys, places = (np.concatenate(column) for column in zip(*several, strict=True))
    return keys, places


def _opened(path: Path) -> BinaryIO:
    """Open a segment; it then counts as used, and can be read to its end even if another process removes it."""
    require_regular(path)
    with suppress(OSError):  # another user's, or of a folder that cannot be written
        os.utime(path)
    return path.open("rb", buffering=0)
