"""thaw.formats.row_file: what is written is read, byte for byte or not at all."""

import fcntl
import hashlib
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from thaw.errors import UserError
from thaw.formats.row_file import Index, Origin, RowFile
from thaw.formats.row_writer import writing

COUNT = 23
SHAPE = (2, 3)
ORIGIN = Origin({"pixels": [2, 3]}, boundary="ä")


def rows_of(dtype: str = "float32", count: int = COUNT) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *SHAPE)).astype(dtype)


def index_of(count: int = COUNT) -> Index:
    return Index(
        keys=np.array([hashlib.sha256(bytes([number])).hexdigest().encode() for number in range(count)], "S64"),
        paths=np.array([f"silver birch/bäume {number}.jpg".encode() for number in range(count)]),
        labels=np.arange(count, dtype=np.int32) % 2,
        groups=np.full(count, b""),
        classes=("oak", "silver birch"),
        splits={"train": slice(0, 13), "validation": slice(13, 18), "test": slice(18, count)},
    )


def write(path: Path, rows: np.ndarray, batch: int = 5, origin: Origin = ORIGIN) -> Path:
    with writing(path, index_of(len(rows)), rows.shape[1:], rows.dtype, origin) as file:
        for start in range(0, len(rows), batch):
            file.write([rows[start : start + batch]])
    return path


@pytest.fixture
def path(tmp_path) -> Path:
    return write(tmp_path / "rows.h5", rows_of())


def flip(path: Path, content: bytes, offset: int = 0) -> None:
    """Flip one bit of a file, `offset` behind where `content` stands in it."""
    data = bytearray(path.read_bytes())
    assert data.count(content) == 1
    data[data.index(content) + offset] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("count", [23, 24, 19])
def test_what_is_written_is_read(tmp_path, dtype, count):
    rows, index = rows_of(dtype, count), index_of(count)
    file = RowFile(write(tmp_path / "rows.h5", rows))
    np.testing.assert_array_equal(file.read(0, count), rows, strict=True)
    assert (len(file), file.row_shape, file.origin) == (count, SHAPE, ORIGIN)
    assert (file.index.classes, file.index.splits) == (index.classes, index.splits)
    for name in ("keys", "paths", "labels"):
        np.testing.assert_array_equal(getattr(file.index, name), getattr(index, name), strict=True)


def test_no_lock_is_taken_which_some_disks_of_networks_have_not(path: Path, tmp_path: Path) -> None:
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert len(RowFile(path)) == COUNT
    with writing(tmp_path / "more.h5", index_of(), SHAPE, "float32", ORIGIN) as file:
        (begun,) = tmp_path.glob(".more*")
        with begun.open("rb") as other:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.write([rows_of()])
    assert (tmp_path / "more.h5").read_bytes() == path.read_bytes()


def test_groups_are_in_a_file_that_has_any_and_cannot_be_taken_out(tmp_path):
    index = index_of()
    groups = np.array([f"Bäume {number // 4}".encode() if number > 9 else b"" for number in range(COUNT)])
    for name, one in {"alone": index, "grouped": replace(index, groups=groups)}.items():
        with writing(tmp_path / name, one, SHAPE, "float32", ORIGIN) as file:
            file.write([rows_of()])
        np.testing.assert_array_equal(RowFile(tmp_path / name).index.groups, one.groups, strict=True)
        with h5py.File(tmp_path / name) as file:
            assert ("groups" in file) == (name == "grouped")
    with h5py.File(tmp_path / "grouped", "r+") as file:
        del file["groups"]
    with pytest.raises(UserError, match="grouped: truncated or altered"):
        RowFile(tmp_path / "grouped")


def test_views_of_an_image_are_of_its_group():
    groups = np.array([str(number // 3).encode() for number in range(COUNT)])
    index = replace(index_of(), groups=groups).with_views("train", 3)
    assert dict(zip(index.keys, index.groups, strict=True)) == dict(zip(index_of().keys, groups, strict=True))
    assert len(index.groups) == len(index.keys) == COUNT + 2 * 13


def test_rows_lie_together_and_have_a_digest_each(path):
    digests = [hashlib.sha256(row.tobytes()).hexdigest().encode() for row in rows_of()]
    with h5py.File(path) as file:
        assert file["rows"].chunks is None
        assert file["digests"][()].tolist() == digests
    assert RowFile(path).digests.tolist() == digests


def test_every_slice_is_that_of_the_array(path):
    file, rows = RowFile(path), rows_of()
    for start in range(COUNT + 1):
        for stop in range(start, COUNT + 1):
            np.testing.assert_array_equal(file.read(start, stop), rows[start:stop], strict=True)


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (4, 3), (0, COUNT + 1), (COUNT + 1, COUNT + 1)])
def test_a_slice_outside_the_rows_is_refused(path, start, stop):
    with pytest.raises(IndexError, match=f"rows {start} to {stop} of {COUNT}"):
        RowFile(path).read(start, stop)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_split_is_its_rows_and_their_labels(path, split):
    rows, labels = RowFile(path).read_split(split)
    part = index_of().splits[split]
    np.testing.assert_array_equal(rows, rows_of()[part], strict=True)
    np.testing.assert_array_equal(labels, index_of().labels[part], strict=True)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 22, 23, 24, 1000])
def test_batches_are_all_rows_in_order_and_only_the_last_is_short(path, count):
    batches = list(RowFile(path).batches(count, slice(0, COUNT)))
    assert [len(batch) for batch in batches[:-1]] == [count] * ((COUNT - 1) // count)
    assert 1 <= len(batches[-1]) <= count
    np.testing.assert_array_equal(np.concatenate(batches), rows_of(), strict=True)


def test_the_rows_of_a_batch_do_not_change_while_the_next_is_read(path):
    batches, copies = [], []
    for batch in RowFile(path).batches(3, slice(0, COUNT)):
        batches.append(batch)
        copies.append(batch.copy())
    for batch, copy in zip(batches, copies, strict=True):
        np.testing.assert_array_equal(batch, copy)


@pytest.mark.parametrize("batch", [1, 3, 4, 8, 23])
def test_the_same_content_is_the_same_bytes_however_it_is_appended(tmp_path, path, batch):
    again = write(tmp_path / "elsewhere" / "another name.h5", rows_of(), batch)
    assert again.read_bytes() == path.read_bytes()


def test_a_file_has_no_times_in_it(path):
    # In HDF5's object headers, bit 5 of the byte behind signature and version says that four times follow.
    data = path.read_bytes()
    flags = [data[at + 5] for at in range(len(data)) if data.startswith(b"OHDR", at)]
    assert len(flags) >= 6, "one for the file, one for each of the five data sets"
    assert not any(flag & 1 << 5 for flag in flags)


@pytest.mark.parametrize("change", ["rows", "labels", "origin"])
def test_the_digest_tells_contents_apart(tmp_path, path, change):
    rows, origin, index = rows_of(), ORIGIN, index_of()
    if change == "rows":
        rows[-1, -1, -1] += 1
    elif change == "labels":
        index.labels[0] = 1
    else:
        origin = replace(ORIGIN, engine="another")
    with writing(tmp_path / "other.h5", index, SHAPE, "float32", origin) as file:
        file.write([rows])
    assert RowFile(tmp_path / "other.h5").digest != RowFile(path).digest


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="rows.h5: no such file; `dvc repro` makes it"):
        RowFile(tmp_path / "rows.h5")


@pytest.mark.parametrize("content", [b"", b"just some text\n", b"\x89HDF\r\n\x1a\n", b"\0" * 5000])
def test_what_is_no_row_file_is_named(tmp_path, content):
    path = tmp_path / "rows.h5"
    path.write_bytes(content)
    with pytest.raises(UserError, match="rows.h5: truncated or altered"):
        RowFile(path)


def test_an_hdf5_file_of_something_else_is_named(tmp_path):
    path = tmp_path / "rows.h5"
    with h5py.File(path, "w") as file:
        file["weights"] = np.zeros(3)
    with pytest.raises(UserError, match="rows.h5: truncated or altered"):
        RowFile(path)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 0.9, 0.999])
def test_a_truncated_file_is_named(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(UserError, match="rows.h5: truncated or altered"):
        RowFile(path)


def test_rows_by_number_come_in_the_order_that_is_asked_for(path):
    file, rows = RowFile(path), rows_of()
    for numbers in ([22, 0, 13, 13, 4], [7], [], list(range(COUNT))):
        np.testing.assert_array_equal(file[np.array(numbers, int)], rows[np.array(numbers, int)])
    for numbers in ([-1], [0, COUNT]):
        with pytest.raises(IndexError):
            file[np.array(numbers)]


@pytest.mark.parametrize("shape", [(), (5,)])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_rows_by_number_of_any_shape(tmp_path, shape, dtype):
    rows = np.arange(COUNT * int(np.prod(shape))).reshape(COUNT, *shape).astype(dtype)
    numbers = np.random.default_rng(0).permutation(COUNT)
    file = RowFile(write(tmp_path / "rows.h5", rows))
    np.testing.assert_array_equal(file[numbers], rows[numbers])
    assert file[numbers].dtype == dtype


@pytest.mark.parametrize("row", [0, 9, COUNT - 1])
def test_a_damaged_row_is_found_when_it_is_read_and_all_others_can_be_read(path, row):
    flip(path, rows_of()[row].tobytes(), offset=5)
    file, rows = RowFile(path), rows_of()
    others = np.delete(np.arange(COUNT), row)
    np.testing.assert_array_equal(file[others], rows[others])
    np.testing.assert_array_equal(file.read(0, row), rows[:row])
    np.testing.assert_array_equal(file.read(row + 1, COUNT), rows[row + 1 :])
    for start, stop in ((row, row + 1), (max(row - 1, 0), row + 1), (0, COUNT)):
        with pytest.raises(UserError, match="rows.h5: truncated or altered"):
            file.read(start, stop)
    with pytest.raises(UserError, match="rows.h5: truncated or altered"):
        file[np.array([2, row])]
    with pytest.raises(UserError, match="rows.h5: truncated or altered"):
        list(file.batches(3, slice(0, COUNT)))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b'"classes": ["oak"', id="header"),
        pytest.param(index_of().labels.tobytes(), id="labels"),
        pytest.param(index_of().keys[3], id="keys"),
        pytest.param(index_of().paths[3], id="paths"),
        pytest.param(hashlib.sha256(rows_of()[4].tobytes()).hexdigest().encode(), id="digests"),
    ],
)
def test_a_damaged_index_is_found_on_opening(path, content):
    flip(path, bytes(content), offset=len(content) // 2)
    with pytest.raises(UserError, match="rows.h5: truncated or altered"):
        RowFile(path)


def test_a_damaged_structure_is_found_or_does_not_matter(tmp_path, path):
    """Whatever byte of HDF5's own structures is damaged, rows come back as they were written or not at all."""
    data, rows = path.read_bytes(), rows_of()
    headers = [at for at in range(len(data)) if data.startswith(b"OHDR", at)]
    assert len(headers) >= 6, "one for the file, one for each of the five data sets"
    described = [at for header in headers for at in range(header, header + 80)]
    found = 0
    for number, at in enumerate([*range(64), *described]):
        damaged = tmp_path / f"{number}.h5"  # HDF5 would take a file of the same name for the one it has open
        damaged.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        try:
            read = RowFile(damaged).read(0, COUNT)
        except UserError:
            found += 1
        else:
            np.testing.assert_array_equal(read, rows, strict=True)
    assert found > 300


def test_a_file_has_no_heap_of_strings(path):
    # It has no checksum, and HDF5 loops for ever when a length in it is damaged.
    assert b"GCOL" not in path.read_bytes()


def test_a_header_of_any_length_is_read(tmp_path):
    # HDF5 keeps an attribute of more than 64 KiB in another place than a short one.
    index = replace(index_of(), classes=tuple(f"class {number:04}" for number in range(10_000)))
    with writing(tmp_path / "rows.h5", index, SHAPE, "float32", ORIGIN) as file:
        file.write([rows_of()])
    assert RowFile(tmp_path / "rows.h5").index.classes == index.classes


def test_a_failure_while_writing_leaves_the_earlier_file_and_nothing_else(path):
    earlier = path.read_bytes()
    with pytest.raises(ZeroDivisionError), writing(path, index_of(), SHAPE, "float32", Origin({})) as file:
        file.write([rows_of()[:7]])
        raise ZeroDivisionError
    assert path.read_bytes() == earlier
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_while_writing_a_first_file_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), writing(tmp_path / "rows.h5", index_of(), SHAPE, "float32", Origin({})):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_the_file_has_its_name_only_when_it_is_whole(tmp_path):
    path = tmp_path / "rows.h5"
    with writing(path, index_of(), SHAPE, "float32", ORIGIN) as file:
        file.write([rows_of()])
        assert not path.exists()
    assert path.exists()


@pytest.mark.parametrize("count", [0, COUNT - 1])
def test_fewer_rows_than_announced_are_refused(path, count):
    earlier = path.read_bytes()
    with (
        pytest.raises(ValueError, match=f"{count} rows were written, {COUNT} announced"),
        writing(path, index_of(), SHAPE, "float32", Origin({})) as file,
    ):
        file.write([rows_of()[:count]])
    assert path.read_bytes() == earlier


def test_more_rows_than_announced_are_refused(path):
    earlier = path.read_bytes()
    rows = rows_of()
    with pytest.raises((ValueError, TypeError)), writing(path, index_of(), SHAPE, "float32", Origin({})) as file:
        file.write([rows])
        file.write([rows[:2]])
    assert path.read_bytes() == earlier
