"""Writing a file of rows; see `row_file`."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from thaw.files import replacing
from thaw.formats.row_file import Index, Origin, digest_of, row_digests


class RowWriter:
    """Takes rows in order; see `writing`."""

    def __init__(self, file: h5py.File, shape: tuple[int, ...], dtype: np.dtype):
        self._rows = file.create_dataset("rows", shape, dtype, track_times=False)
        self.digests = np.empty(shape[0], "S64")
        self.written = 0

    def write(self, batches: Iterable[np.ndarray]) -> None:
        """Write batches of the file's dtype behind the rows that are there."""
        for batch in batches:
            rows = np.ascontiguousarray(batch, self._rows.dtype)
            end = self.written + len(rows)
            self._rows[self.written : end] = rows
            self.digests[self.written : end] = row_digests(rows)
            self.written = end


@contextmanager
def writing(
    path: Path, index: Index, row_shape: tuple[int, ...], dtype: np.dtype, origin: Origin
) -> Iterator[RowWriter]:
    """Write a row file: whole, under its name, when the block has written every row.

    Args:
        path: where to.
        index: the images, one for each row to come.
        row_shape, dtype: of one row.
        origin: what the rows are made of.
    """
    with replacing(path) as temporary, _create(temporary) as file:
        writer = RowWriter(file, (len(index.labels), *row_shape), dtype)
        yield writer
        if writer.written != len(index.labels):
            raise ValueError(f"{writer.written} rows were written, {len(index.labels)} announced")
        header = json.dumps(
            {
                "classes": index.classes,
                "splits": {name: [part.start, part.stop] for name, part in index.splits.items()},
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


def _create(path: Path) -> h5py.File:
    """Create an HDF5 file whose own structures carry checksums, so that HDF5 notices when one is damaged.

    Without the times at which its parts were made: the same content is the same bytes.
    """
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_libver_bounds(h5py.h5f.LIBVER_V110, h5py.h5f.LIBVER_V110)
    creation = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    creation.set_obj_track_times(False)
    return h5py.File(h5py.h5f.create(bytes(path), h5py.h5f.ACC_TRUNC, creation, access))
