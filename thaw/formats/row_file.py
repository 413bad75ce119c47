"""One HDF5 file of rows, one row per image: what tensors and features are kept in; `row_writer` writes it.

Layout: `rows` (N, ...) contiguous, in manifest order, so that each split is one slice; `keys` (the SHA-256 of
each image's bytes), `paths` and `labels` (N,), and `groups` where there are any; `digests`, the SHA-256 of every row.
The attribute `header` is JSON: who made the file from what, the classes, the splits. The attribute `digest` is the
SHA-256 of the header, the index and the rows' digests, so that a reader can tell a damaged file at once, and a damaged
row when it reads it, without reading the rest.

Of tensors that are not kept, `rows` takes no room in the file: their pixels have to be made again from the images in
the folder that the attribute `images` names.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np

from thaw.errors import UserError
from thaw.files.reading import damaged, reading, require_regular
from thaw.formats.sealed_csv import require_title
from thaw.images.normalization import Normalization


@dataclass(frozen=True)
class Origin:
    """What the rows of a file were made of, and how."""

    tensors: dict[str, Any]
    """The tensors' entry of params.yaml, with the numbers of its normalization."""
    tensors_digest: str | None = None
    """`RowFile.digest` of the tensors that features were made of; None, as all that follows, for tensors."""
    features: dict[str, Any] | None = None
    """The features' entry of params.yaml."""
    backbone: dict[str, Any] | None = None
    """The backbone's entry of params.yaml."""
    backbone_digest: str | None = None
    """SHA-256 of the backbone's file."""
    boundary: str | None = None
    """The layer whose activations the rows are; None if they are pixels."""
    engine: str | None = None
    """What computed the rows, and in which precision."""

    @property
    def normalization(self) -> Normalization:
        return Normalization.from_json(self.tensors["normalization"])

    @property
    def views(self) -> int:
        """How many rows each training image has."""
        return int(self.features["views"]) if self.features else 1

    def to_json(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Index:
    """What a row file knows of its images, without their rows."""

    keys: np.ndarray
    """SHA-256 of the images' bytes, (N,) of 64 ASCII characters."""
    paths: np.ndarray
    """Images' paths below the data set's folder, UTF-8, (N,)."""
    labels: np.ndarray
    """Indices into `classes`, (N,) int32."""
    groups: np.ndarray
    """Names of the groups of images that belong together, UTF-8, (N,); empty for one that stands alone."""
    classes: tuple[str, ...]
    """Class names in the order of their numbers."""
    splits: dict[str, slice]
    """The rows of each split, in their order."""

    def with_views(self, split: str, views: int) -> "Index":
        """Return an index in which all rows of a split stand `views` times: the whole split, then again."""
        if views == 1:
            return self
        part = self.splits[split]
        more = (views - 1) * (part.stop - part.start)

        def repeated(column: np.ndarray) -> np.ndarray:
            return np.concatenate([column[: part.stop], *[column[part]] * (views - 1), column[part.stop :]])

        moved = {
            name: slice(one.start + more * (one.start >= part.stop), one.stop + more * (one.stop >= part.stop))
            for name, one in self.splits.items()
        }
        return Index(
            repeated(self.keys),
            repeated(self.paths),
            repeated(self.labels),
            repeated(self.groups),
            self.classes,
            moved,
        )


def units_of(groups: np.ndarray) -> np.ndarray:
    """Return ints (N,), the same for images of one of `groups` (N,); each that stands alone has its own.

    >>> units_of(np.array([b"tree 1", b"", b"tree 1", b""])).tolist()
    [1, 5, 1, 7]
    """
    _, units = np.unique(groups, return_inverse=True)
    alone = np.flatnonzero(groups == b"")
    units[alone] = len(groups) + alone
    return units


class Values(Protocol):
    """Rows by their numbers: an array, or a `RowFile`, of which no more than a batch is in memory."""

    def __getitem__(self, numbers: np.ndarray, /) -> Any: ...


class RowFile:
    """A row file that is read: its index at once, rows in slices, everything verified; see `writing` for an example.

    Raises:
        UserError: on opening or reading, when the file is missing, truncated or altered.
    """

    def __init__(self, path: Path | str):
        self.path = path = Path(path)
        with reading(path):
            size = require_regular(path).st_size
            self._file = h5py.File(path, "r")
            header = self._file.attrs["header"].decode()
            grouped = ["groups"] if "groups" in self._file else []
            names = ["keys", "paths", "labels", "digests", *grouped]
            columns = {name: stored(self._file, name, size)[()] for name in names}
            self.images = Path(os.fsdecode(self._file.attrs["images"])) if "images" in self._file.attrs else None
            """The folder with the images that the rows are made of, if the file does not have the rows; else None."""
            self._rows = stored(self._file, "rows", size if self.images is None else None)
            self.digest: str = self._file.attrs["digest"].decode()
            if digest_of(header, columns) != self.digest or len(self._rows) != len(columns["keys"]):
                raise ValueError
            known: dict[str, Any] = json.loads(header)
            require_title(path, known.pop("title"))
            parts: dict[str, list[int]] = known.pop("splits")
            self.index = Index(
                keys=columns["keys"],
                paths=columns["paths"],
                labels=columns["labels"],
                groups=columns.get("groups", np.full(len(columns["keys"]), b"")),
                classes=tuple(known.pop("classes")),
                splits={name: slice(*part) for name, part in sorted(parts.items(), key=lambda item: item[1])},
            )
            self.origin = Origin(**known)
        self.digests: np.ndarray = columns["digests"]
        self._verified = np.zeros(len(self.digests), bool)
        self._row_bytes = int(np.prod(self.row_shape)) * self._rows.dtype.itemsize

    @property
    def row_shape(self) -> tuple[int, ...]:
        return tuple(self._rows.shape[1:])

    def __len__(self) -> int:
        return int(self._rows.shape[0])

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return the rows from `start` to before `stop`, verified; (stop - start, *row_shape)."""
        if not 0 <= start <= stop <= len(self):
            raise IndexError(f"rows {start} to {stop} of {len(self)}")
        rows = np.empty((stop - start, *self.row_shape), self._rows.dtype)
        self._fill(rows, start)
        self._verify(rows, range(start, stop))
        return rows

    def __getitem__(self, numbers: np.ndarray) -> np.ndarray:
        """Return the rows with these numbers, in this order; (len(numbers), *row_shape).

        Rows lie one behind the other in the file, so each is read from its place, as fast as it would be copied from
        an array in memory while the operating system has the file's pages: nothing has to be kept here. A row is
        verified when it is read for the first time.
        """
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < len(self):
            raise IndexError(f"rows {numbers.min()} to {numbers.max()} of {len(self)}")
        rows = np.empty((len(numbers), *self.row_shape), self._rows.dtype)
        for place, number in enumerate(numbers.tolist()):
            self._fill(rows[place : place + 1], number)
        unknown = np.flatnonzero(~self._verified[numbers])
        self._verify(rows[unknown], numbers[unknown])
        return rows

    def _fill(self, rows: np.ndarray, start: int) -> None:
        """Read rows from `start` on; h5py would take 10 times as long for a small one."""
        if self.images is not None:
            raise UserError(f"{self.path}: has no pixels: its entry in params.yaml says keep: false")
        content = rows.reshape(-1).view(np.uint8).data
        offset = (self._rows.id.get_offset() or 0) + start * self._row_bytes
        while content:
            try:
                count = os.preadv(self._file.id.get_vfd_handle(), [content], offset)
            except OSError as error:
                error.filename = str(self.path)
                raise
            if not count:
                raise damaged(self.path)
            content, offset = content[count:], offset + count

    def _verify(self, rows: np.ndarray, numbers: Sequence[int] | np.ndarray) -> None:
        if len(rows) and row_digests(rows) != self.digests[numbers].tolist():
            raise damaged(self.path)
        self._verified[numbers] = True

    def read_split(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows and the labels of one split."""
        part = self.index.splits[name]
        return self.read(part.start, part.stop), self.index.labels[part]

    def batches(self, count: int, part: slice) -> Iterator[np.ndarray]:
        """Yield the rows of `part` in order, `count` at a time, at the end perhaps fewer."""
        for start in range(part.start, part.stop, count):
            yield self.read(start, min(start + count, part.stop))


def stored(file: h5py.File, name: str, most: int | None) -> h5py.Dataset:
    """Return a dataset that is in a file itself, as it is, before anything is read of it.

    Args:
        most: the bytes that it may have, as many as the file; None if it is not to be read.

    Raises:
        ValueError: it is elsewhere, in parts that may be compressed, or says to be larger than the file is.
    """
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise ValueError
    found = file[name]
    layout = found.id.get_create_plist().get_layout()
    if layout not in (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT) or found.external or (most or found.nbytes) < found.nbytes:
        raise ValueError
    return found


def row_digests(rows: np.ndarray) -> list[bytes]:
    """Return the SHA-256 of each row, as 64 ASCII characters."""
    return [hashlib.sha256(rows[place : place + 1].data).hexdigest().encode() for place in range(len(rows))]


def digest_of(header: str, columns: dict[str, np.ndarray]) -> str:
    """Return the SHA-256 of all but the rows."""
    content = hashlib.sha256(header.encode())
    for name in sorted(columns):
        column = columns[name]
        content.update(f"{name} {column.dtype.str} {column.shape}".encode())
        content.update(np.ascontiguousarray(column).data)
    return content.hexdigest()
