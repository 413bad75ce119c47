"""What many rows take, by what is counted and allocated: not so much more than the rows themselves, and linear."""

import hashlib
import io
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages import tensors
from stages.manifest.near_duplicates import masks, similar_pairs
from stages.tensors import index_of
from thaw.errors import UserError
from thaw.formats import frames, thumbnails
from thaw.formats.manifest import Row, manifest_rows, write_manifest
from thaw.formats.predictions import Predictions, read_predictions, write_predictions
from thaw.formats.thumbnails import reading_thumbnails, writing_thumbnails
from thaw.reuse import row_store
from thaw.reuse.row_store import RowStore

FEW, MANY = 500, 4500
"""Both more than what is handled at a time makes a difference to."""


def bytes_a_row(prepare: Callable[[int], Callable[[], object]]) -> float:
    """Return how many bytes each row beyond the first takes, at the most at a time."""

    def peak(count: int) -> int:
        action = prepare(count)
        tracemalloc.start()
        try:
            action()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(FEW)  # what is made once
    return (peak(MANY) - peak(FEW)) / (MANY - FEW)


def digest_of(number: int) -> str:
    return hashlib.sha256(b"%d" % number).hexdigest()


def test_the_index_takes_its_columns_and_not_the_manifests_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensors, "ROWS_AT_A_TIME", 100)

    def prepare(count: int) -> Callable[[], object]:
        rows = [Row(f"oak/{number:06}.jpg", "oak", "train", digest_of(number)) for number in range(count)]
        write_manifest(tmp_path / "manifest.csv", rows)
        return lambda: index_of(manifest_rows(tmp_path / "manifest.csv"))

    assert bytes_a_row(prepare) < 2 * (64 + len("oak/000000.jpg") + 1 + 4)  # as a list, a row takes 400


@pytest.mark.slow
def test_predictions_are_written_and_read_row_by_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "ROWS_AT_A_TIME", 100)
    classes = [str(number) for number in range(40)]

    def said(count: int) -> Predictions:
        values = np.random.default_rng(0).random((count, len(classes)))
        return Predictions([f"{number:06}.jpg" for number in range(count)], np.zeros(count, int), values, classes)

    def prepare_writing(count: int) -> Callable[[], object]:
        one = said(count)
        return lambda: write_predictions(tmp_path / "full.csv", one)

    def prepare_reading(count: int) -> Callable[[], object]:
        write_predictions(tmp_path / "full.csv", said(count))
        return lambda: read_predictions(tmp_path / "full.csv")

    assert bytes_a_row(prepare_writing) < 40  # of 40 numbers as text, one takes 60

    assert bytes_a_row(prepare_reading) < 3 * 8 * len(classes)
    prepare_reading(MANY)
    table, read = frames.frame(tmp_path / "full.csv"), read_predictions(tmp_path / "full.csv")
    assert table["path"].tolist() == read.paths == said(MANY).paths
    np.testing.assert_array_equal(table.iloc[:, 3:], read.probabilities)
    np.testing.assert_allclose(read.probabilities, said(MANY).probabilities, rtol=1e-8)


def test_thumbnails_are_the_zip_file_that_zipfile_writes_in_a_tenth_of_its_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 50_000)  # so that places of some are too large for their field
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "green").save(file, "JPEG")
    jpeg, path, plain = file.getvalue(), tmp_path / "thumbnails.zip", tmp_path / "plain.zip"
    digests = [digest_of(number) for number in range(MANY)]

    def write(count: int) -> Callable[[], object]:
        def action() -> None:
            with writing_thumbnails(path) as pictures:
                for digest in digests[:count]:
                    pictures.add(digest, jpeg)

        return action

    assert bytes_a_row(write) < 300
    with zipfile.ZipFile(plain, "w") as archive:
        for digest in digests:
            member = zipfile.ZipInfo(f"{digest}.jpg", thumbnails.EPOCH)
            member.comment = hashlib.sha256(digest.encode() + jpeg).digest()
            archive.writestr(member, jpeg)
    write(MANY)()
    assert path.read_bytes() == plain.read_bytes()
    with reading_thumbnails(path) as pictures:
        for number in (0, 1, MANY // 2, MANY - 1):
            assert pictures[digests[number]].size == (8, 8)
        with pytest.raises(UserError, match=r"thumbnails\.zip: truncated or altered"):
            pictures["0" * 64]


def test_a_store_takes_no_memory_for_rows_that_nobody_wants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THAW_CACHE", str(tmp_path))
    monkeypatch.setattr(row_store, "ENTRIES_AT_A_TIME", 100)
    keys = np.array([digest_of(number).encode() for number in range(MANY)])
    wanted = keys[[7, 3, 7, FEW - 1]]

    def compute(numbers: np.ndarray) -> Iterator[np.ndarray]:
        for first in range(0, len(numbers), 50):
            yield numbers[first : first + 50].astype(np.float32)[:, None]

    def store(count: int) -> RowStore:
        return RowStore(str(count), (1,), np.dtype(np.float32))

    def prepare(count: int) -> Callable[[], object]:
        list(store(count).complete(keys[:count], compute))
        return lambda: store(count).count(wanted)

    assert bytes_a_row(prepare) < 2
    opened = store(MANY)
    assert opened.count(wanted) == 4
    rows = np.concatenate(list(opened.complete(wanted, compute)))
    assert rows[:, 0].tolist() == [7, 3, 7, FEW - 1]
    assert np.concatenate(list(opened.complete(wanted, compute, slice(1, 3))))[:, 0].tolist() == [3, 7]


@pytest.mark.parametrize(("most", "bits"), [(0, 9), (1, 12), (4, 14), (4, 64), (12, 30), (20, 64), (32, 64)])
def test_images_that_look_alike_are_those_of_all_comparisons(most: int, bits: int) -> None:
    random = np.random.default_rng(most)
    hashes = random.integers(0, 2**bits - 1, 600, np.uint64, endpoint=True)
    hashes[400:] = hashes[:200] ^ (np.uint64(1) << random.integers(0, 64, 200).astype(np.uint64))
    hashes[:100] = hashes[0]  # more than are compared with their neighbours alone
    first, second, distances = similar_pairs(hashes, most)
    every = np.bitwise_count(hashes[:, None] ^ hashes[None])
    expected = np.nonzero(np.triu(every <= most, 1))
    np.testing.assert_array_equal((first, second), expected)
    np.testing.assert_array_equal(distances, every[expected])


@pytest.mark.parametrize("most", [0, 2, 4, 8])
def test_comparisons_of_images_grow_with_their_number_and_not_with_its_square(most: int) -> None:
    for images in (10_000, 100_000, 1_000_000):
        keys = masks(images, most)
        of_each = sum(images / 2 ** int(np.bitwise_count(key)) / 2 for key in keys)
        assert len(keys) < 200  # times that they are sorted
        assert of_each < 600  # others that a hash is compared with
