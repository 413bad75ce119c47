"""thaw.reuse.row_store: what was computed is not computed again; whatever happens to the store, results are right."""

import hashlib
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT
from thaw.errors import UserError
from thaw.reuse import row_store
from thaw.reuse.folder import LIMIT
from thaw.reuse.row_store import HEADER, RowStore

SHAPE, DTYPE = (3, 2), np.dtype(np.float32)
ROW_BYTES = 24
BATCH = 4
RECORD = HEADER.size + BATCH * (68 + ROW_BYTES)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("THAW_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(LIMIT, raising=False)
    return tmp_path / "cache" / "rows"


def keys_of(numbers: Iterable[int]) -> np.ndarray:
    return np.array([hashlib.sha256(b"%d" % number).hexdigest().encode() for number in numbers])


def row(number: int) -> np.ndarray:
    return np.random.default_rng(number).standard_normal(SHAPE).astype(DTYPE)


class Computer:
    """Computes rows of numbers, in batches, and knows which."""

    def __init__(self, numbers: list[int]):
        self.numbers, self.computed, self.calls = numbers, list[int](), 0

    def __call__(self, missing: np.ndarray) -> Iterator[np.ndarray]:
        self.calls += 1
        for first in range(0, len(missing), BATCH):
            numbers = [self.numbers[place] for place in missing[first : first + BATCH]]
            self.computed += numbers
            yield np.stack([row(number) for number in numbers])


def complete(numbers: list[int], made_of: str = "some") -> list[int]:
    """Have the store complete the rows of some numbers, which must be right; return those that were computed."""
    computer, keys = Computer(numbers), keys_of(numbers)
    store = RowStore(made_of, SHAPE, DTYPE)
    known = store.count(keys)
    batches = list(store.complete(keys, computer))
    np.testing.assert_array_equal(np.concatenate(batches), np.stack([row(number) for number in numbers]), strict=True)
    assert known + len(computer.computed) >= len(numbers)
    return computer.computed


def segments(cache: Path) -> list[Path]:
    return sorted(cache.glob("*/*.rows"))


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def test_what_was_computed_is_not_computed_again() -> None:
    numbers = list(range(10))
    assert complete(numbers) == numbers
    assert complete(numbers) == []
    assert complete(numbers[::-1]) == []
    assert complete([3, 11, 0, 12, 9, 13]) == [11, 12, 13]
    assert complete([13, 1, 11]) == []


def test_rows_that_were_made_in_another_way_are_not_taken() -> None:
    complete([1, 2])
    assert complete([1, 2, 3], "another") == [1, 2, 3]


@pytest.mark.parametrize("place", range(10))
def test_a_damaged_row_is_recognized_and_computed_again(cache: Path, place: int) -> None:
    numbers = list(range(10))
    complete(numbers)
    record, within = divmod(place, BATCH)
    rows_in_record = min(BATCH, 10 - record * BATCH)
    flip(segments(cache)[0], record * RECORD + HEADER.size + rows_in_record * 68 + within * ROW_BYTES + 7)
    assert complete(numbers) == [place]
    assert complete(numbers) == []  # the row that was computed again is the one that is taken


@pytest.mark.parametrize("offset", [0, 8, 12, HEADER.size + 3, HEADER.size + 66, RECORD, RECORD + HEADER.size + 70])
def test_a_damaged_record_is_computed_again_and_all_before_it_is_kept(cache: Path, offset: int) -> None:
    numbers = list(range(10))
    complete(numbers)
    flip(segments(cache)[0], offset)
    assert complete(numbers) == numbers[offset // RECORD * BATCH :]
    assert complete(numbers) == []


@pytest.mark.parametrize("length", [0, 5, HEADER.size, RECORD - 1, RECORD, RECORD + 20, 2 * RECORD - 1, 2 * RECORD])
def test_a_segment_that_ends_anywhere_keeps_its_whole_records(cache: Path, length: int) -> None:
    numbers = list(range(10))
    complete(numbers)
    os.truncate(segments(cache)[0], length)
    assert complete(numbers) == numbers[length // RECORD * BATCH :]


@pytest.mark.parametrize("looked_for", [False, True])
def test_a_segment_that_goes_away_meanwhile_does_not_matter(looked_for: bool, cache: Path) -> None:
    numbers = list(range(100))
    complete(numbers[:50])
    computer, keys = Computer(numbers), keys_of(numbers)
    store = RowStore("some", SHAPE, DTYPE)
    if looked_for:
        assert store.count(keys) == 50
    shutil.rmtree(cache)
    rows = np.concatenate(list(store.complete(keys, computer)))
    np.testing.assert_array_equal(rows, np.stack([row(number) for number in numbers]))
    assert sorted(computer.computed) == numbers
    assert computer.calls == 1 + looked_for  # those that are lost are not computed one by one


def complete_in_a_process(numbers: list[int]) -> None:
    complete(numbers)


def test_processes_share_a_store() -> None:
    context = multiprocessing.get_context("spawn")
    parts = [list(range(0, 60)), list(range(40, 100)), list(range(30, 70))]
    processes = [context.Process(target=complete_in_a_process, args=(part,)) for part in parts]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert complete(list(range(100))) == []


def test_the_store_keeps_its_limit_and_what_was_used_last(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = 16 * RECORD
    monkeypatch.setenv(LIMIT, f"{limit / 1e9:.9f}")
    for start in range(0, 400, 20):
        complete(list(range(start, start + 20)), "some" if start % 40 else "another")
        assert complete([0, 1]) == ([0, 1] if start == 0 else [])
        # One record more than fits may stand at a segment's end.
        assert sum(path.stat().st_size for path in segments(cache)) <= limit + RECORD
    assert complete(list(range(380, 400)), "some") == []
    assert complete(list(range(20, 40)), "some") == list(range(20, 40))


def test_what_another_process_removes_while_it_is_read_is_computed_again(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_store, "SEGMENT_BYTES", RECORD)
    monkeypatch.setattr(row_store, "rows_at_a_time", lambda row_bytes: BATCH)
    numbers = list(range(50 * BATCH))
    complete(numbers)
    computer = Computer(numbers)
    batches = RowStore("some", SHAPE, DTYPE).complete(keys_of(numbers), computer)
    read = [next(batches)]
    monkeypatch.setenv(LIMIT, f"{8 * RECORD / 1e9:.9f}")
    complete(list(range(1000, 1000 + 10 * BATCH)), "another")
    assert not list(cache.glob("some/*"))
    read += batches
    np.testing.assert_array_equal(np.concatenate(read), np.stack([row(number) for number in numbers]))
    assert BATCH < len(computer.computed) < len(numbers)


def test_who_makes_room_at_the_same_time_gets_the_right_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIMIT, f"{16 * RECORD / 1e9:.9f}")
    parts = [list(range(start, start + 60)) for start in (0, 40, 20, 0) * 5]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(complete, parts))


def test_rows_that_cannot_be_listed_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path, pattern: str) -> Iterator[Path]:
        raise PermissionError

    complete([1, 2])
    monkeypatch.setattr(Path, "glob", refuse)
    assert complete([1, 2]) == [1, 2]


def test_half_of_what_is_free_stays_free(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_store, "SEGMENT_BYTES", RECORD)
    usage = shutil.disk_usage("/")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage._replace(free=8 * RECORD))
    for start in range(0, 200, 4):
        complete(list(range(start, start + 4)))
        assert sum(path.stat().st_size for path in segments(cache)) <= 9 * RECORD


def test_a_limit_of_nothing_stores_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIMIT, "0")
    assert complete([1, 2]) == [1, 2]
    assert complete([1, 2]) == [1, 2]
    assert not cache.exists()


@pytest.mark.parametrize("text", ["much", "1e999", "nan", "10 GB"])
def test_a_limit_that_is_no_number_is_named(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(LIMIT, text)
    with pytest.raises(UserError, match=f"{LIMIT}: expected a number of gigabytes, got '{text}'"):
        complete([1])


def test_results_do_not_need_a_disk_that_can_be_written(cache: Path, capfd: pytest.CaptureFixture[str]) -> None:
    cache.parent.mkdir()
    cache.write_text("a file where the store's folder should be")
    assert complete(list(range(20))) == list(range(20))
    warning = f"warning: {cache}: cannot be written: Not a directory; going on without it\n"
    assert capfd.readouterr().out == warning


def test_an_error_while_computing_passes_through_and_what_was_before_it_is_stored() -> None:
    def compute(missing: np.ndarray) -> Iterator[np.ndarray]:
        yield np.stack([row(number) for number in missing[:BATCH]])
        raise UserError("oak/7.jpg: changed")

    with pytest.raises(UserError, match=r"oak/7\.jpg: changed"):
        list(RowStore("some", SHAPE, DTYPE).complete(keys_of(range(9)), compute))
    assert complete(list(range(9))) == [4, 5, 6, 7, 8]


PRINT_FINGERPRINT = "from thaw.reuse.fingerprint import fingerprint; print(fingerprint('stages.tensors', [1]))"


@pytest.mark.slow
def test_a_fingerprint_is_that_of_the_code_too(tmp_path: Path) -> None:
    def found(folder: Path) -> str:
        shown = subprocess.run([sys.executable, "-c", PRINT_FINGERPRINT], cwd=folder, text=True, capture_output=True)
        assert shown.returncode == 0, shown.stderr
        return shown.stdout

    first, second = tmp_path / "one", tmp_path / "two"
    for folder in (first, second):
        for package in ("stages", "thaw"):
            shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    assert found(first) == found(second)
    with (second / "thaw" / "scoring" / "scoring.py").open("a") as file:  # has nothing to do with pixels
        file.write("more = 1\n")
    assert found(first) == found(second)
    decoding = second / "thaw" / "images" / "decoding.py"
    code = decoding.read_text(encoding="utf-8")
    for nothing in (
        f"# a comment\n\n{code}",
        re.sub('"""', '"""Another. ', code, count=1),
        code.replace("(\n", "(  # x\n\n"),
    ):
        assert nothing != code
        decoding.write_text(nothing, encoding="utf-8")
        assert found(first) == found(second)
    for another in (f"{code}\nmore = 1\n", re.sub(r"(?m)^(\s+)return ", r"\1return not ", code, count=1)):
        assert another != code
        decoding.write_text(another, encoding="utf-8")
        assert found(first) != found(second)
