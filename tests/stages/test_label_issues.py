"""Suspected wrong labels: flipped ones are found, by heads that have not seen the image."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.label_issues.__main__ import images_of, main
from tests.thaw.test_training import clusters
from thaw.errors import UserError
from thaw.formats.label_issues import LabelIssue, read_label_issues
from thaw.formats.row_file import Index, Origin, RowFile
from thaw.formats.row_writer import writing
from thaw.formats.thumbnails import thumbnail, writing_thumbnails

ENTRY = "label_issues.f"
CLASSES = ("ash", "elm", "fir")
PER_CLASS = 100


def rows(
    folder: Path, values: np.ndarray, labels: np.ndarray, views: int = 1, groups: np.ndarray | None = None
) -> Path:
    """Write features whose first half is for training, of which `values` has the views, and thumbnails of all."""
    count, half = len(labels), len(labels) // 2
    index = Index(
        keys=np.array([f"{number:064}".encode() for number in range(count)]),
        paths=np.array([f"{number}.png".encode() for number in range(count)]),
        labels=labels.astype(np.int32),
        groups=np.full(count, b"") if groups is None else groups,
        classes=CLASSES,
        splits={"train": slice(0, half), "validation": slice(half, half + 6), "test": slice(half + 6, count)},
    ).with_views("train", views)
    origin = Origin({}, features={"views": views})
    with writing(folder / "f.h5", index, values.shape[1:], np.float32, origin) as file:
        file.write([values])
    with writing_thumbnails(folder / "thumbnails.zip") as pictures:
        for key in index.keys:
            pictures.add(key.decode(), thumbnail(Image.new("RGB", (8, 8), "green")))
    return folder / "f.h5"


def run(folder: Path, features: Path, name: str = "found", entry: str = "{C: [0.1]}") -> list[LabelIssue]:
    (folder / "params.yaml").write_text(f"label_issues:\n  f: {entry}\n")
    outs = folder / f"{name}.csv", folder / f"{name}.jpg"
    main(folder / "params.yaml", ENTRY, features, folder / "thumbnails.zip", *outs)
    return read_label_issues(outs[0])


def flipped(labels: np.ndarray, share: float = 0.05) -> tuple[np.ndarray, set[str]]:
    """Return labels of which a share is another class's, and the paths of these images."""
    random = np.random.default_rng(0)
    wrong = random.choice(len(labels), round(share * len(labels)), replace=False)
    noisy = labels.copy()
    noisy[wrong] = (labels[wrong] + random.integers(1, len(CLASSES), len(wrong))) % len(CLASSES)
    return noisy, {f"{number}.png" for number in wrong}


def apart(per_class: int = PER_CLASS, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return features by which most images' classes can be told, in random order, and the classes."""
    features, labels = clusters(len(CLASSES), per_class, seed, features=12)
    order = np.random.default_rng(seed).permutation(len(labels))
    return features[order], labels[order]


def test_most_flipped_labels_are_among_the_worst(tmp_path: Path) -> None:
    features, labels = apart()
    noisy, wrong = flipped(labels)
    found = run(tmp_path, rows(tmp_path, features, noisy), entry="{}")
    assert len({one.path for one in found[: len(wrong)]} & wrong) >= 0.8 * len(wrong)
    right = {f"{number}.png": CLASSES[label] for number, label in enumerate(labels)}
    suspected = [one for one in found if one.suspected]
    assert 0.5 * len(wrong) < len(suspected) < 2 * len(wrong)
    assert found[: len(suspected)] == suspected
    assert [one.quality for one in found] == sorted(one.quality for one in found)
    assert all(one.given == CLASSES[noisy[int(one.path.removesuffix(".png"))]] for one in found)
    assert np.mean([one.suggested == right[one.path] for one in suspected if one.path in wrong]) > 0.9


def test_the_same_bytes_come_again(tmp_path: Path) -> None:
    features, labels = apart(30)
    file = rows(tmp_path, features, flipped(labels)[0])
    for name in ("first", "second"):
        run(tmp_path, file, name)
    for ending in ("csv", "jpg"):
        assert (tmp_path / f"first.{ending}").read_bytes() == (tmp_path / f"second.{ending}").read_bytes()
    with Image.open(tmp_path / "first.jpg") as sheet:
        assert sheet.height > 96


def test_an_image_is_judged_once_and_by_none_of_its_own_views(tmp_path: Path) -> None:
    features, labels = apart(30)
    noisy, wrong = flipped(labels)
    half = len(labels) // 2
    views = np.concatenate([features[:half], features[:half] * 1.001, features[half:]])
    found = run(tmp_path, rows(tmp_path, views, noisy, views=2))
    paths = [one.path for one in found]
    assert len(set(paths)) == len(paths)
    # By a view with the same wrong label, it would be right.
    assert len(wrong & set(paths)) >= 0.8 * len(wrong)
    file = RowFile(tmp_path / "f.h5")
    images = images_of(file)
    assert images.tolist() == [*range(half), *range(half), *range(2 * half, half + len(labels))]
    assert file.index.paths[images].tolist() == file.index.paths.tolist()


def test_images_of_a_group_are_in_one_fold(tmp_path: Path) -> None:
    features, labels = apart(30)
    noisy, wrong = flipped(labels)
    twice, groups = np.repeat(features, 2, axis=0), np.array([f"g{number // 2}".encode() for number in range(180)])
    found = run(tmp_path, rows(tmp_path, twice, np.repeat(noisy, 2), groups=groups))
    copies = {f"{2 * int(path.removesuffix('.png')) + more}.png" for path in wrong for more in (0, 1)}
    assert len(copies & {one.path for one in found}) >= 0.8 * len(copies)


def test_a_class_of_one_image_is_told_and_not_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    features, labels = apart(30)
    kept = np.flatnonzero((labels != 2) | (np.cumsum(labels == 2) == 1))
    found = run(tmp_path, rows(tmp_path, features[kept], labels[kept]), entry="{folds: 50}")
    assert "warning: 1 image is not judged, since there are too few others of: fir" in capsys.readouterr().out
    (alone,) = np.flatnonzero(labels[kept] == 2)
    assert f"{alone}.png" not in {one.path for one in found}


def test_where_nothing_can_be_judged_it_is_said(tmp_path: Path) -> None:
    features, labels = apart(30)
    kept = [int(np.flatnonzero(labels == label)[0]) for label in range(3)] * 3
    groups = np.array([b"a", b"b", b"c"] * 3)
    with pytest.raises(UserError, match=f"^{ENTRY}: fewer than two classes have images in two folds"):
        run(tmp_path, rows(tmp_path, features[kept], labels[kept], groups=groups))


@pytest.mark.parametrize("text", ["path,given\n", "path,given,suggested,quality,suspected\na,b,c,0.1,maybe\n", ""])
def test_another_file_is_no_table_of_issues(text: str, tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text(text)
    with pytest.raises(UserError, match=r"f\.csv: truncated or altered; delete it and run `dvc repro`"):
        read_label_issues(tmp_path / "f.csv")
