"""The layouts of a data set, the ways to split it, and what looks alike in it."""

import csv
import shutil
import subprocess
import sys
import unicodedata
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images
from sklearn.model_selection import train_test_split

from stages.manifest import collecting as module
from stages.manifest import near_duplicates
from stages.manifest.__main__ import torn_copies, undivided
from stages.manifest.collecting import Collection
from stages.manifest.near_duplicates import components, similar_pairs
from stages.manifest.splits import Member, assign
from stages.tensors import decode_all, index_of
from tests.conftest import ROOT, named
from tests.stages.test_manifest import draw
from thaw.errors import UserError
from thaw.formats.frames import frame
from thaw.formats.manifest import Row, class_names, read_manifest, write_manifest
from thaw.formats.predictions import Predictions, read_predictions, write_predictions
from thaw.formats.thumbnails import reading_thumbnails, writing_thumbnails
from thaw.params.dataset import Dataset, Split
from thaw.params.tensors import Tensors

GIVEN = {"method": "given", "folders": {"train": "Train", "test": "Test"}, "validation": 0.25}
SHARES = {"test": 0.2, "validation": 0.2}
STRATIFIED = {"method": "stratified", **SHARES}
FOOD = {
    "layout": "label_prefix",
    "classes": ["Bread", "Egg"],
    "split": {
        "method": "given",
        "folders": {"train": "training", "validation": "validation", "test": "evaluation"},
    },
}
ARRAYS = {"layout": "npy", "split": {"method": "given", "validation": 0.3}}
TABLE = {"layout": "csv", "split": STRATIFIED}


def collect(folder: Path, **dataset: Any) -> Collection:
    wanted = Dataset(**{"path": "data/raw/x", "layout": "class_folders", "split": STRATIFIED, **dataset})
    with writing_thumbnails(folder.parent / "thumbnails.zip") as thumbnails:
        return module.collect(folder, wanted, thumbnails)


def refused(folder: Path, **dataset: Any) -> str:
    with pytest.raises(UserError) as caught:
        collect(folder, **dataset)
    return str(caught.value)


def by_split(rows: list[Row]) -> dict[str, set[str]]:
    return {split: {row.path for row in rows if row.split == split} for split in ("train", "validation", "test")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    return tmp_path / "images"


# Folders for splits


def lights(folder: Path) -> None:
    for split, count in (("Train", 8), ("Test", 3)):
        for label in ("green", "red"):
            for number in range(count):
                draw(folder / split / label / f"{number}.png", f"{split} {label} {number}")


def test_folders_give_the_splits_and_a_share_of_training_is_for_validation(folder: Path) -> None:
    lights(folder)
    rows = collect(folder, split=GIVEN).rows
    parts = by_split(rows)
    assert parts["test"] == {f"Test/{label}/{number}.png" for label in ("green", "red") for number in range(3)}
    assert len(parts["validation"]) == 4
    assert all(path.startswith("Train/") for path in parts["validation"] | parts["train"])
    assert {row.label for row in rows if row.split == "validation"} == {"green", "red"}
    assert collect(folder, split=GIVEN | {"seed": 1}).rows != rows


def test_a_class_that_is_only_tested_is_named(folder: Path) -> None:
    lights(folder)
    draw(folder / "Test" / "amber" / "0.png", "amber")
    assert refused(folder, split=GIVEN).startswith("class 'amber' has images for test, but none for training")
    (folder / "Test" / "amber").rename(folder / "Test" / "greens")
    assert refused(folder, split=GIVEN).endswith("add some, or remove the class; did you mean 'green'?")


def test_where_a_split_lacks_images_those_that_are_left_out_are_told(folder: Path) -> None:
    lights(folder)
    shutil.rmtree(folder / "Test")
    shutil.copytree(folder / "Train", folder / "Test")
    assert refused(folder, split=GIVEN).endswith(
        f"none for training: add some, or remove the class; so with 'red'\nfiles that are left out: 16, such as "
        f"{folder / 'Train/green/0.png'}: the same bytes as Test/green/0.png"
    )


def test_a_folder_of_a_split_that_is_missing_is_named(folder: Path) -> None:
    lights(folder)
    assert refused(folder, split=GIVEN | {"folders": {"train": "Train", "test": "Tset"}}) == (
        f"{folder / 'Tset'}: no such folder; dataset.split.folders names it; did you mean 'Test'?"
    )
    assert refused(folder, split=GIVEN | {"folders": {"train": "Train", "test": "t" * 300}}).endswith("names it")
    for path in ("data/raw/x/Train", f"{folder.name}/Train"):
        assert refused(folder, split=GIVEN | {"folders": {"train": path, "test": "Test"}}).endswith(
            "dataset.split.folders names it; they are below dataset.path: write 'Train'"
        )
    (folder / "Test").rename(folder / ".test")
    assert refused(folder, split=GIVEN | {"folders": {"train": "Train", "test": "./.test"}}).startswith(
        f"{folder / '.test'}: hidden, or named as what other programs leave behind"
    )


@pytest.mark.parametrize("layout", ["label_prefix", "csv"])
def test_where_no_class_is_found_the_reason_is_named(folder: Path, layout: str) -> None:
    for number in range(6):
        draw(folder / f".photo-{number}.png" if layout == "csv" else folder / f"{number % 2}-{number}.png", number)
    rows = "".join(f".photo-{number}.png,{number % 2}\n" for number in range(6))
    (folder / "labels.csv").write_text("path,label\n" + rows)
    reason = {
        "csv": "6 files left out, such as '.photo-0.png': line 2 of labels.csv names it, but it is hidden",
        "label_prefix": "7 files left out, such as '0-0.png': its name does not begin with a class's number and _",
    }[layout]
    wanted = TABLE if layout == "csv" else {"layout": layout, "classes": ["Bread", "Egg"]}
    assert f"expected images of two classes or more, found none; {reason}" in refused(folder, **wanted)


def test_an_image_of_two_splits_stays_where_it_is_scored(folder: Path) -> None:
    lights(folder)
    (folder / "Train" / "red" / "again.png").write_bytes((folder / "Test" / "red" / "0.png").read_bytes())
    found = collect(folder, split=GIVEN)
    assert [(one.path, one.reason) for one in found.skipped] == [
        ("Train/red/again.png", "the same bytes as Test/red/0.png")
    ]


# Classes in the names of files


def food(folder: Path) -> None:
    for part in ("training", "validation", "evaluation"):
        for number in range(6):
            draw(folder / part / f"{number % 2}_{number}.png", f"{part} {number}")


def test_names_of_files_give_the_classes(folder: Path) -> None:
    food(folder)
    rows = collect(folder, **FOOD).rows
    assert {row.label for row in rows if "/0_" in row.path} == {"Bread"}
    assert {row.label for row in rows if "/1_" in row.path} == {"Egg"}
    assert {split: len(paths) for split, paths in by_split(rows).items()} == {"train": 6, "validation": 6, "test": 6}
    assert all(row.path.startswith("validation/") == (row.split == "validation") for row in rows)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("2_0.png", "dataset.classes has the numbers 0 to 1, not 2"),
        ("bread_1.png", "its name does not begin with a class's number and _"),
        ("1.png", "its name does not begin with a class's number and _"),
    ],
)
def test_a_name_that_tells_no_class_is_a_bad_file(folder: Path, name: str, reason: str) -> None:
    food(folder)
    draw(folder / "training" / name, "new")
    assert f"{folder / 'training' / name}: {reason}" in refused(folder, **FOOD)
    assert [(one.path, one.reason) for one in collect(folder, **FOOD, on_bad_image="skip").skipped] == [
        (f"training/{name}", reason)
    ]


@pytest.mark.parametrize("order", [("plum", "fig", "kiwi"), ("kiwi", "fig", "plum")])
def test_the_order_of_classes_is_the_models(folder: Path, order: tuple[str, ...]) -> None:
    for number in range(9):
        draw(folder / "names" / f"{number % 3}_{number}.png", number)
    (folder / "arrays").mkdir()
    arrays(folder / "arrays", train_labels=np.arange(20) % 3)
    for name, dataset in (("names", {"layout": "label_prefix"}), ("arrays", ARRAYS)):
        rows = collect(folder / name, **dataset, classes=list(order)).rows
        write_manifest(folder / "manifest.csv", rows)
        read = read_manifest(folder / "manifest.csv")
        assert class_names(read) == order
        index = index_of(read)
        assert index.classes == order
        assert [order[number] for number in index.labels] == [row.label for row in read]
        assert all(row.number == order.index(row.label) for row in read)


NO_ZERO = "numbers begin with 1 here, but with 0 in dataset.classes: subtract 1"
NO_GAP = "leave out such names, and number the other classes without a gap"


@pytest.mark.parametrize("bad", ["fail", "skip"])
@pytest.mark.parametrize(
    ("classes", "numbers", "named", "hint"),
    [
        (["fig", "kiwi", "plum", "lime"], (1, 2, 3), "'fig' (number 0)", NO_ZERO),
        (["fig", "kiwi", "plum"], (1, 2, 3), "'fig' (number 0)", NO_ZERO),
        (["fig", "kiwi", "plum"], (0, 2), "'kiwi' (number 1)", NO_GAP),
        (["fig", "kiwi", "plum", "lime"], (0, 1), "'plum' (number 2), 'lime' (number 3)", NO_GAP),
    ],
)
@pytest.mark.parametrize("layout", ["label_prefix", "npy"])
def test_a_listed_class_without_an_image_is_named(
    folder: Path, layout: str, classes: list[str], numbers: tuple[int, ...], named: str, hint: str, bad: str
) -> None:
    for number in range(12):
        draw(folder / f"{numbers[number % len(numbers)]}_{number}.png", number)
    arrays(folder, train_labels=np.array(numbers * 10)[:20], test_labels=np.array(numbers * 4)[:4])
    dataset = {"layout": layout} if layout == "label_prefix" else ARRAYS
    text = refused(folder, **dataset, classes=classes, on_bad_image=bad)
    assert hint in text
    assert named in text or (layout, "the classes have the numbers 0 to 2, not 3" in text) == ("npy", True)


def test_a_listed_class_of_which_no_image_can_be_used_is_named(folder: Path) -> None:
    food(folder)
    for path in folder.glob("*/0_*.png"):
        path.write_bytes(b"")
    assert refused(folder, **FOOD, on_bad_image="skip").startswith("class 'Bread' has 0 usable images")


# A table


def table(folder: Path, rows: list[str], header: str = "path,label") -> None:
    for number in range(10):
        draw(folder / "photos" / f"{number}.png", number)
    (folder / "labels.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


def lines(extra: str = "") -> list[str]:
    return [f"photos/{number}.png,{'ash' if number % 2 else 'elm'}{extra}" for number in range(10)]


def test_a_table_gives_classes_splits_and_groups(folder: Path) -> None:
    splits = ["train"] * 6 + ["validation"] * 2 + ["test"] * 2
    table(folder, [f"{line},{split}" for line, split in zip(lines(), splits, strict=True)], "path,label,split")
    rows = collect(folder, layout="csv", split={"method": "given"}).rows
    assert {row.path: row.split for row in rows} == {
        f"photos/{number}.png": split for number, split in enumerate(splits)
    }
    assert {row.path: row.label for row in rows}["photos/3.png"] == "ash"
    assert {row.group for row in rows} == {""}


@pytest.mark.parametrize("method", ["stratified", "shuffled", "stable"])
@pytest.mark.parametrize("seed", range(4))
def test_a_group_is_in_one_split(folder: Path, method: str, seed: int) -> None:
    for number in range(60):
        draw(folder / "photos" / f"{number}.png", number)
    rows = [f"photos/{n}.png,{'ash' if n % 2 else 'elm'},{f'tree {n // 6}' if n < 48 else ''}" for n in range(60)]
    (folder / "labels.csv").write_text("path,label,group\n" + "\n".join(rows) + "\n", encoding="utf-8")
    found = collect(folder, layout="csv", split=STRATIFIED | {"method": method, "seed": seed}).rows
    groups = {row.group for row in found if row.group}
    assert groups == {f"tree {number}" for number in range(8)}
    for group in groups:
        assert len({row.split for row in found if row.group == group}) == 1
    assert len({row.split for row in found if not row.group}) > 1


def test_given_splits_that_tear_groups_apart_are_refused_before_an_image_is_read(folder: Path) -> None:
    splits = ["train"] * 6 + ["validation"] * 2 + ["test"] * 2
    groups = ["a", "b", "b", "", "c", "c", "a", "", "a", ""]
    rows = [f"{line},{split},{group}" for line, split, group in zip(lines(), splits, groups, strict=True)]
    table(folder, rows, "path,label,split,group")
    (folder / "photos" / "3.png").write_bytes(b"")
    with pytest.raises(UserError) as caught:
        collect(folder, layout="csv", split={"method": "given"})
    assert str(caught.value) == (
        f"{folder / 'labels.csv'}: groups whose images are in several splits: 1\n"
        "  a: photos/0.png in train, photos/6.png in validation, photos/8.png in test\n"
        "put the images of a group into one split, or set dataset.split.method to another than given"
    )


@pytest.mark.parametrize("method", ["stratified", "shuffled", "given"])
@pytest.mark.parametrize("seed", range(4))
def test_equal_bytes_join_the_groups_that_they_are_in(folder: Path, method: str, seed: int) -> None:
    """An image of two groups is kept once, in one of them; the other's images still belong to it."""
    for number in range(60):
        draw(folder / "photos" / f"{number}.png", number)
    for number in range(0, 60, 12):
        twin = (folder / "photos" / f"{number}.png").read_bytes()
        (folder / "photos" / f"{number + 6}.png").write_bytes(twin)
    # Trees 0 and 1 share an image, 2 and 3, and so on.
    rows = [f"photos/{n}.png,{'ash' if n % 2 else 'elm'},tree {n // 6}" for n in range(60)]
    header = "path,label,group"
    if method == "given":
        rows = [f"{row},{'train' if n // 6 % 2 or n < 36 else 'test'}" for n, row in enumerate(rows)]
        header += ",split"
    (folder / "labels.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    if method == "given":
        with pytest.raises(UserError, match=r"groups whose images are in several splits: 2\n  tree 7: photos/"):
            collect(folder, layout="csv", split={"method": "given", "validation": 0.2})
        return
    found = collect(folder, layout="csv", split=STRATIFIED | {"method": method, "seed": seed}).rows
    for pair in range(5):
        own = [row for row in found if int(row.path[7:-4]) // 12 == pair]
        assert (len(own), len({row.split for row in own}), len({row.group for row in own})) == (11, 1, 1)


@pytest.mark.parametrize(
    ("group", "trained", "method", "told"),
    [
        ("tree", 2, "stratified", "2 of 10 images of 'ash', 2 of 10 images of 'elm'"),
        ("tree", 4, "stratified", ""),
        ("tree", 2, "given", ""),
        ("", 2, "shuffled", ""),
    ],
)
def test_groups_that_leave_little_for_training_are_told(group: str, trained: int, method: str, told: str) -> None:
    rows = [
        Row(f"{label}/{number}", label, "train" if number < trained else "test", "", group if number >= trained else "")
        for label in ("ash", "elm")
        for number in range(10)
    ]
    shares = {"validation": 0.2} if method == "given" else {"test": 0.2, "validation": 0.1}
    assert undivided(rows, Split(method=method, **shares)) == told


ROBOFLOW = "7_jpg.rf." + "0a" * 16


@pytest.mark.parametrize(
    ("one", "other", "are_copies"),
    [
        (ROBOFLOW, ROBOFLOW.replace("0a", "1b"), True),
        ("7", "7_aug", True),
        ("7", "aug_7", True),
        ("7", "7-flipped", True),
        ("7_aug_1", "7_aug_2", True),
        ("RS_HL 7", "RS_HL 7_new30degFlipLR", True),
        ("RS_HL 7_flipTB", "RS_HL 7_270deg", True),
        ("oak_7", "oak_7_rot90", True),
        ("more/oak_7", "oak_7.hflip", True),
        ("oak_7", "oak_8", False),
        ("oak_7", "oak_8_rot90", False),
        ("oak", "oak_rotten", False),
        ("oak", "oak_new house", False),
        ("7", "7_1", False),
        ("august_1", "1", False),
    ],
)
def test_augmented_copies_in_different_splits_are_told(one: str, other: str, are_copies: bool) -> None:
    def told(method: str, label: str = "ash", split: str = "test") -> bool:
        rows = [Row(f"{one}.jpg", "ash", "train", ""), Row(f"x/{other}.jpg", label, split, "")]
        return bool(torn_copies(rows, Split(method=method, **({} if method == "given" else SHARES))))

    assert told("stratified") == are_copies
    assert told("given") == (are_copies and one != ROBOFLOW)
    assert not told("stratified", label="elm")
    assert not told("stratified", split="train")


@pytest.mark.slow
@pytest.mark.parametrize("split", ["validation", "test"])
def test_the_stage_says_which_classes_a_split_lacks(folder: Path, tmp_path: Path, split: str) -> None:
    splits = ["train"] * 6 + ["validation"] * 2 + ["test"] * 2
    rows = [f"{line},{one}" for line, one in zip(lines(), splits, strict=True)]
    rows = [row.replace("ash", "elm") if row.endswith(split) else row for row in rows]
    table(folder, rows, "path,label,split")
    done = run_manifest(folder, "dataset: {path: data/raw/x, layout: csv, split: {method: given}}\n", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("warning")] == [
        f"warning: classes without an image in the {split} split: 'ash': "
        + {"validation": "no choice heeds them", "test": "the scores say nothing of them"}[split]
    ]


@pytest.mark.parametrize(
    ("header", "line", "words"),
    [
        ("path", "a.png", "labels.csv: expected the columns path, label and perhaps split, group; got path"),
        ("path,label,colour", "a.png,ash,red", "expected the columns"),
        ("path,label", "photos/gone.png,ash", "labels.csv:12: {folder}/photos/gone.png: no such file"),
        ("path,label", "photos/1.png,elm", "labels.csv:12: 'photos/1.png' is there twice"),
        ("path,label", "../x.png,elm", "labels.csv:12: '../x.png' leaves"),
        ("path,label", "/x.png,elm", "labels.csv:12: '/x.png' is absolute; paths are relative to {folder}"),
        ("path,label", "/old/photos/new.png,elm", "paths are relative to {folder}; write 'photos/new.png'"),
        ("path,label", "{folder}/photos/new.png,elm", "paths are relative to {folder}; write 'photos/new.png'"),
        ("path,label", "photos/,elm", "labels.csv:12: {folder}/photos: a folder"),
        ("path,label", "x.png,", "labels.csv:12: the label is empty"),
        ("path,label", ",elm", "labels.csv:12: the path is empty"),
        ("path,label", "x.png", "labels.csv:12: expected 2 values"),
        ("path,label", "x.png,elm,3", "labels.csv:12: expected 2 values"),
        ("path,label", "./photos/1.png,ash", "labels.csv:12: './photos/1.png' is there twice, before in line 3"),
        ("path,label", "photos//2.png,elm", "labels.csv:12: 'photos//2.png' is there twice, before in line 4"),
        ("path,label", "photos\\new.png,elm", "no such file; write 'photos/new.png'"),
        ("path,label", " photos/new.png,elm", "no such file; write 'photos/new.png'"),
        ("path,label", "data\\raw\\x\\photos\\new.png,elm", "no such file; write 'photos/new.png'"),
        ("path,label", "https://x.org/photos/new.png,elm", "no such file; write 'photos/new.png'"),
        ("path,label", "new,elm", "no such file; write 'photos/new.png'"),
        ("path,label", "Photos/New.PNG,elm", "no such file; write 'photos/new.png'"),
        ("path,label", "photos/new.jpg,elm", "no such file; write 'photos/new.png'"),
        ("path,label", "a.png,elm\nb.png,elm\nc.png,ash", "a.png: no such file; so it is with 2 more of 13 rows"),
        ("path,label", "x" * 300 + ",elm", "labels.csv:12: {folder}/" + "x" * 300 + ": no such file"),
        ("path,label", "photos/new.png,Elm", "these classes look the same: 'elm' (line 2), 'Elm' (line 12); write"),
        (
            "path,label",
            "photos/new.png,\u0435lm",
            "'elm' (line 2), '\u0435lm' (line 12); '\u0435lm' is '\\u0435lm'; write them",
        ),
        ("path,label", "photos/new.png,elm ", "these classes look the same: 'elm' (line 2), 'elm ' (line 12); write"),
        ("path,label", "photos/new.png, oak", "the class ' oak' (line 12) begins or ends with a space"),
        ("path,label", 'photos/new.png,"o\tak"', r"the class 'o\tak' (line 12) has control characters"),
        ("path,label", "photos/new.png,\ufeffoak", "(line 12) has control characters, or others that cannot be seen"),
        ("path,label,label", "photos/new.png,a,b", "got path, label, label; a column is there twice"),
        ("path,label,path", "photos/new.png,a,b", "a column is there twice"),
        (",path,label", "0,photos/new.png,a", "got '', path, label; leave out the others"),
        ("path,label,,", "photos/new.png,a,,", "got path, label, '', ''; leave out the others"),
        ("path/label", "photos/new.png/a", "expected the columns path, label and perhaps split, group; got path/label"),
        ("photos/0.png,a", "photos/new.png,a", "group; got photos/0.png, a; the first line has to name them so"),
        ("image,class", "photos/new.png,a", "group; got image, class; the first line has to name them so"),
        ("id,a,b,c", "new,0,1,0", "got id, a, b, c; if each class has a column, write the name of the one that is 1"),
        ("image,A,B", "new,0.0,1.0", "got image, A, B; if each class has a column, write the name of the one that is"),
        ("id,a,b", "new,1,1", "got id, a, b; the first line has to name them so"),
        ("id,label", "new,1", "got id, label; the first line has to name them so"),
        ("id,breed", "", "got id, breed; the first line has to name them so"),
        ('"path,label"', '"photos/new.png,a"', "group; got path,label; that is one column: put commas between names"),
        ("path label", "photos/new.png a", "group; got path label; that is one column: put commas between names"),
        (
            "version https://git-lfs.github.com/spec/v1",
            "size 9",
            "labels.csv: no table, but what Git LFS has in its place: `git lfs pull` fetches it",
        ),
        ("path;label", "photos/new.png,a", "labels.csv:2: expected 2 values, as the first line has"),
        ("path,label", '"photos/new.png"x,elm', "labels.csv:12: no CSV: ',' expected after '\"'"),
        ("path,label", '"photos/new.png,elm', "labels.csv:12: no CSV: unexpected end of data"),
        ("path,label,", "photos/new.png,a,", "got path, label, ''; leave out the others"),
        ("Unnamed: 0,path,label", "0,photos/new.png,a", "got Unnamed: 0, path, label; leave out the others"),
        ("sep=;\npath;label", "photos/new.png;a", "got sep=;; remove that line, the separator is found without it"),
        ("Path, label", "photos/new.png,a", "got Path, ' label'; write the names without spaces and capital letters"),
        ("Path;Label", "photos/new.png;a", "got Path, Label; write the names without spaces and capital letters"),
        (
            "path,label,group",
            "photos/new.png,a,tree 1 ",
            "labels.csv:2: the group 'tree 1 ' begins or ends with a space",
        ),
    ],
)
def test_a_mistake_in_a_table_is_named_with_its_line(folder: Path, header: str, line: str, words: str) -> None:
    rows = lines() if header == "path,label" else []
    table(folder, [*rows, line.format(folder=folder)], header)
    draw(folder / "photos" / "new.png", "new")
    assert words.format(folder=folder) in refused(folder, **TABLE)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_table_is_read_whatever_program_wrote_it(folder: Path, encoding: str, separator: str, end: str) -> None:
    for number in range(10):
        draw(folder / "photos" / f"{number}, é.png", number)
    (folder / "photos" / "4, é.png").rename(folder / "photos" / "4; é.png")
    with (folder / "labels.csv").open("w", encoding=encoding, newline="") as file:
        file.write(end if separator == "|" else "")
        writer = csv.writer(file, delimiter=separator, lineterminator=end, quoting=csv.QUOTE_ALL if end == "\r" else 0)
        writer.writerow(["label", "group", "path"])
        writer.writerows(
            [["a, b | c; d", 'the "old" tree'][number % 2], "", f"photos/{number}{';' if number == 4 else ','} é.png"]
            for number in range(10)
        )
        file.write(end * 2)
    rows = collect(folder, **TABLE).rows
    assert {row.path: row.label for row in rows} == {
        f"photos/{number}{';' if number == 4 else ','} é.png": ["a, b | c; d", 'the "old" tree'][number % 2]
        for number in range(10)
    }


def test_a_line_is_counted_as_editors_do(folder: Path) -> None:
    table(folder, [*lines(), "", "", 'photos/new.png,elm,"a', 'b"'], "path,label,group")
    assert "labels.csv:2: expected 3 values" in refused(folder, **TABLE)
    table(folder, [*lines(","), "", "", 'photos/new.png,elm,"a', 'b"'], "path,label,group")
    assert r"labels.csv:15: the group 'a\nb' has control characters" in refused(folder, **TABLE)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    ("encoding", "line"), [("latin-1", 12), ("mac-roman", 12), ("utf-16-le", 1), ("utf-16-be", 1), ("utf-32", 1)]
)
def test_a_table_in_another_encoding_is_refused(folder: Path, encoding: str, line: int, end: str) -> None:
    text = end.join(["path,label", *lines(), "photos/bäume.png,elm"])
    (folder / "labels.csv").write_text(text, encoding=encoding, newline="")
    assert f"labels.csv:{line}: no text in UTF-" in (told := refused(folder, **TABLE))
    assert told.endswith("; save the table as CSV in UTF-8")


@pytest.mark.parametrize(
    ("columns", "cells", "words"),
    [
        ("label", ["elm", "ash"], []),
        ("label", ["elm", "ash", "silver ash"], []),
        ("label", ["elm", "ash", "elm|ash"], ["warning: the class 'elm|ash' seems to be 'ash' and 'elm' in one"]),
        ("label", ["elm", "ash", "elm ash"], ["warning: the class 'elm ash' seems to be"]),
        ("label", ["elm", "ash", "\"['ash', 'elm']\""], ["warning: the class \"['ash', 'elm']\" seems to be"]),
        ("label", ["elm", "ash", '"{""choices"": [""ash"", ""elm""]}"'], ["seems to be 'ash' and 'elm' in one"]),
        (
            "label",
            ["elm", "ash", "nan"],
            ["warning: 9 images are of the class 'nan'; if that is a missing value, leave"],
        ),
        ("label", ["elm", "ash", "None"], []),
        (
            "label,group",
            ["elm,None", "ash,", "ash,", "elm,"],
            ["warning: 7 images are of the group 'None'; if that is"],
        ),
        ("label", ["0", "1", "2", "3"], []),
        ("label", ["00", "01"], []),
        ("label", ["2023", "2024"], []),
        ("label", ["1", "2", "elm"], []),
        ("label", ["1", "2", "3"], ["sorted as texts: output 0 is '1'"]),
        ("label", ["0", "2"], ["output 1 is '2'"]),
        ("label", ["10", "9", "0"], []),
        (
            "label,split",
            ["elm,train", "ash,test"],
            ["the column split of labels.csv is not used: dataset.split.method"],
        ),
        ("label,group", ["elm,a", "elm,b", "elm,", "ash,", "ash,A", "ash,"], []),
        (
            "label,group",
            ["elm,1", "elm,01", "elm,", "ash,", "ash,1.0", "ash,tree 1", "elm,Tree 1"],
            ["warning: these groups look the same, but are different ones: '01' and '1' and '1.0', and 1 more; write"],
        ),
    ],
)
def test_what_is_doubtful_in_a_table_is_told(folder: Path, columns: str, cells: list[str], words: list[str]) -> None:
    for number in range(28):
        draw(folder / "photos" / f"{number}.png", number)
    rows = [f"photos/{number}.png,{cells[number % len(cells)]}\n" for number in range(28)]
    (folder / "labels.csv").write_text(f"path,{columns}\n{''.join(rows)}", encoding="utf-8")
    notes = [one for one in collect(folder, **TABLE).notes if "does not name them" not in one]
    assert len(notes) == len(words)
    assert all(word in note for word, note in zip(words, notes, strict=True))


def test_folders_of_splits_in_a_table_are_told_to_be_mixed(folder: Path) -> None:
    names = [f"{'train' if number < 8 else 'Val'}/{number}.png" for number in range(12)]
    for name in names:
        draw(folder / name, name)
    rows = [f"{name},{'ash' if number % 2 else 'elm'}" for number, name in enumerate(names)]
    (folder / "labels.csv").write_text("\n".join(["path,label", *rows]), encoding="utf-8")
    (note,) = collect(folder, **TABLE).notes
    assert note.startswith(
        "warning: the folders Val, train are read as one data set, which is split anew; to keep these"
    )


WORDS = (
    *(
        "NA",
        "N/A",
        "#N/A",
        "<NA>",
        "n/a n/a",
        "null",
        "None",
        "nan",
        "NaT",
        "-nan",
        "-",
        "--",
        "''",
        ".",
        "inf",
        "-Infinity",
    ),
    *("007", "1e5", "1_000", "1,5", "1.50", "+3", "0x1F", "-0", "10%", "1/2", "²", "true", "no", "T"),
    *("2024-01-01", "12:30", "Jan", "1 2024", "=1+1", "#VALUE!", "{path}", "\\N"),
)
"""What pandas, spreadsheets and YAML take for missing values, numbers, truth values, dates and formulas."""


def test_every_class_of_a_table_stays_the_text_that_stands_there(folder: Path, tmp_path: Path) -> None:
    for number in range(3 * len(WORDS)):
        draw(folder / "photos" / f"{number}.png", number)
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "group"])
        writer.writerows(
            [f"photos/{n}.png", WORDS[n % len(WORDS)], WORDS[n % len(WORDS)] + str(n)] for n in range(3 * len(WORDS))
        )
    rows = collect(folder, layout="csv", split=STRATIFIED | {"test": 1 / 3, "validation": 1 / 3}).rows
    write_manifest(tmp_path / "manifest.csv", rows)
    for read in (rows, read_manifest(tmp_path / "manifest.csv")):
        assert {row.path: row.label for row in read} == {
            f"photos/{number}.png": WORDS[number % len(WORDS)] for number in range(3 * len(WORDS))
        }
        assert class_names(read) == tuple(sorted(WORDS))
    classes, test = list(class_names(rows)), [row for row in rows if row.split == "test"]
    probabilities = np.eye(len(classes))[::-1]
    said = Predictions([row.path for row in test], np.array([row.number for row in test]), probabilities, classes)
    write_predictions(tmp_path / "full.csv", said)
    for read in (said, read_predictions(tmp_path / "full.csv")):
        assert read.classes == classes
        assert [read.classes[label] for label in read.labels] == [row.label for row in test]
    shown = frame(tmp_path / "full.csv")
    assert shown["actual"].tolist() == [row.label for row in test]
    assert shown["predicted"].tolist() == classes[::-1]
    assert [*shown][3:] == [f"p_{word}" for word in classes]
    assert frame(tmp_path / "manifest.csv")["label"].tolist() == [
        row.label for row in read_manifest(tmp_path / "manifest.csv")
    ]


def test_what_is_doubtful_is_told_where_no_split_can_be_made(folder: Path) -> None:
    table(folder, [f"{line},nan" for line in lines()], "path,label,group")
    error, doubt = refused(folder, **TABLE).splitlines()
    assert "which belong together in 1" in error
    assert doubt.startswith("warning: 10 images are of the group 'nan'; if that is a missing value")


def test_an_unknown_split_and_a_table_without_splits_are_named(folder: Path) -> None:
    given = {"method": "given", "validation": 0.2}
    for written, meant in (("trian", "train"), ("val", "validation"), ("Test", "test")):
        table(folder, [*lines(",train"), f"x.png,elm,{written}"], "path,label,split")
        assert refused(folder, layout="csv", split=given) == (
            f"{folder / 'labels.csv'}:12: unknown split {written!r}; expected one of train, validation, test; did you "
            f"mean {meant!r}?"
        )
    another = "or set dataset.split.method to another than given"
    table(folder, lines())
    assert refused(folder, layout="csv", split=given) == (
        f"{folder}: there are no images for the split 'train'; add a column split to labels.csv, {another}"
    )
    table(folder, lines(",train"), "path,label,split")
    assert refused(folder, layout="csv", split=given) == (
        f"{folder}: there are no images for the split 'test'; add some, {another}"
    )
    (folder / "labels.csv").unlink()
    assert "labels.csv: no such file" in refused(folder, **TABLE)


@pytest.mark.parametrize(("written", "stored"), [("NFC", "NFD"), ("NFD", "NFC"), ("NFC", "NFC")])
def test_a_path_may_have_another_form_of_unicode_than_the_file(folder: Path, written: Any, stored: Any) -> None:
    name = "photos/b\u00e4ume.png"
    table(folder, [*lines(), f"{unicodedata.normalize(written, name)},elm"])
    draw(folder / unicodedata.normalize(stored, name), "trees")
    assert unicodedata.normalize(stored, name) in {row.path for row in collect(folder, **TABLE).rows}


def test_paths_are_spelled_in_one_way(folder: Path) -> None:
    table(folder, [line.replace("photos/", "./photos//") for line in lines()])
    assert {row.path for row in collect(folder, **TABLE).rows} == {f"photos/{number}.png" for number in range(10)}


@pytest.mark.parametrize("name", ["photos/.hidden.png", "@eaDir/0.png", "photos/__pycache__/0.png"])
def test_a_row_that_names_what_is_ignored_is_a_bad_file(folder: Path, name: str) -> None:
    table(folder, [*lines(), f"{name},elm"])
    draw(folder / name, name)
    reason = "line 12 of labels.csv names it, but it is hidden, or left behind by other programs"
    assert f"{folder / name}: {reason}" in refused(folder, **TABLE)
    found = collect(folder, **TABLE, on_bad_image="skip")
    assert [(one.path, one.reason) for one in found.skipped] == [(name, reason)]


def test_a_row_that_names_an_archive_is_a_bad_file(folder: Path) -> None:
    table(folder, [*lines(), "more.zip,elm"])
    with zipfile.ZipFile(folder / "more.zip", "w") as archive:
        archive.writestr("photos/new.png", b"")
    assert "line 12 of labels.csv names it, but it is an archive: name the files in it" in refused(folder, **TABLE)


def test_a_table_of_another_name_is_named(folder: Path) -> None:
    table(folder, lines())
    for before, name, told in (
        ("labels.csv", "train.csv", "train.csv would have to be named so"),
        ("train.csv", "labels.csv.txt", "labels.csv.txt would have to be named so"),
        ("labels.csv.txt", "Labels.XLSX", "save Labels.XLSX as that, in UTF-8"),
        ("photos/0.png", "val.tsv", "join Labels.XLSX, val.tsv in it, with a column split if that is what they tell"),
    ):
        (folder / before).rename(folder / name)
        assert refused(folder, **TABLE).endswith(f"reads paths and labels from it; {told}")


@pytest.mark.parametrize("layout", ["csv", "npy", "class_folders", "label_prefix"])
def test_files_that_nothing_names_are_counted(folder: Path, layout: str) -> None:
    dataset, by = {
        "csv": (TABLE, "labels.csv"),
        "npy": (ARRAYS, "the layout npy"),
        "class_folders": ({"split": GIVEN}, "dataset.split.folders"),
        "label_prefix": (FOOD, "dataset.split.folders"),
    }[layout]
    {"csv": lambda at: table(at, lines()), "npy": arrays, "class_folders": lights, "label_prefix": food}[layout](folder)
    assert collect(folder, **dataset).notes == []
    for number in range(3):
        draw(folder / "valid" / "red" / f"{number}.png", f"valid {number}")
    assert collect(folder, **dataset).notes == [f"3 files not used: {by} does not name them, such as 'valid/red/0.png'"]


# Arrays


def arrays(folder: Path, **changed: np.ndarray) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    made = {
        "train_images": random.integers(0, 256, (20, 6, 5, 3)).astype(np.uint8),
        "train_labels": np.arange(20) % 2,
        "test_images": random.integers(0, 256, (4, 6, 5, 3)).astype(np.uint8),
        "test_labels": np.arange(4)[:, None] % 2,
    } | changed
    for name, values in made.items():
        np.save(folder / f"{name}.npy", values)
    return made


@pytest.mark.parametrize("kind", ["colour", "grey", "one channel", "float"])
def test_arrays_become_tensors(folder: Path, kind: str) -> None:
    made = arrays(folder)
    if kind == "grey":
        made |= arrays(folder, train_images=made["train_images"][..., 0], test_images=made["test_images"][..., 0])
    if kind == "one channel":
        made |= arrays(folder, train_images=made["train_images"][..., :1], test_images=made["test_images"][..., :1])
    if kind == "float":
        arrays(folder, train_images=made["train_images"].astype(float), test_images=made["test_images"].astype(float))
    rows = collect(folder, **ARRAYS).rows
    assert {split: len(paths) for split, paths in by_split(rows).items()} == {"train": 14, "validation": 6, "test": 4}
    wanted = Tensors(pixels=[6, 5], resize="stretch", normalization="rescale")
    for row, pixels in zip(
        rows, np.concatenate(list(decode_all(folder, [(row.path, row.sha256) for row in rows], wanted))), strict=True
    ):
        name, _, number = row.path.partition(".npy#")
        expected = made[name][int(number)]
        expected = np.broadcast_to(expected[..., None] if expected.ndim == 2 else expected, (6, 5, 3))
        np.testing.assert_array_equal(pixels, expected)
        assert row.label == str(made[name.replace("images", "labels")].reshape(-1)[int(number)])


def test_ids_have_names_and_ids_without_are_in_order(folder: Path) -> None:
    arrays(folder, train_labels=np.arange(20) % 11)
    assert (
        sorted({row.label for row in collect(folder, **ARRAYS, classes=[f"c{n}" for n in range(11)]).rows})[0] == "c0"
    )
    labels = sorted({row.label for row in collect(folder, **ARRAYS).rows})
    assert labels == [f"{number:02}" for number in range(11)]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"train_labels": np.arange(19) % 2}, "train_labels.npy: 19 labels for 20 images"),
        ({"train_labels": np.zeros(20)}, "expected whole numbers of shape (n,), got float64 (20,)"),
        ({"train_labels": np.zeros((20, 2), int)}, "expected whole numbers of shape (n,), got int64 (20, 2)"),
        ({"train_labels": np.arange(20) % 3}, "train_labels.npy: row 2: the classes have the numbers 0 to 1, not 2"),
        ({"test_labels": np.array([0, 1, -1, 0])}, "test_labels.npy: row 2: the classes have the numbers 0 to 1"),
        ({"test_images": np.zeros((4, 6), np.uint8)}, "test_images.npy: expected images of shape"),
        ({"test_images": np.zeros((4, 6, 5, 2), np.uint8)}, "got (4, 6, 5, 2)"),
        ({"test_images": np.zeros((4, 6, 5, 3), int)}, "test_images.npy: expected pixels 0-255 as uint8, got int64"),
        ({"test_images": np.full((4, 6, 5, 3), 0.5)}, "test_images.npy#0: its values are not whole numbers from 0 to"),
        ({"test_images": np.full((4, 6, 5, 3), 0.5)}, "but 0.5 to 0.5; save them multiplied by 255, as uint8"),
        (
            {"test_images": np.tile([0.0, 1.0], (4, 6, 3))},
            "#0: its values are not whole numbers from 0 to 255, but 0 to 1",
        ),
        (
            {"test_images": np.ones((4, 3, 6, 5), np.uint8)},
            "got (4, 3, 6, 5); if its channels come first, save images.tr",
        ),
        ({"test_images": np.ones((4, 6, 5), bool)}, "as uint8, got bool; save images * np.uint8(255)"),
        ({"test_images": np.full((4, 6, 5), np.nan)}, "#0: its values are not whole numbers from 0 to 255, but nan"),
        ({"test_images": np.full((4, 6, 5), -0.5)}, "but -0.5 to -0.5"),
        ({"test_images": np.array([None] * 4)}, "test_images.npy: no array of numbers"),
        ({"train_labels": np.array([None] * 20)}, "train_labels.npy: no array of numbers"),
        ({"train_labels": np.zeros(20)}, "save labels.astype(int)"),
        (
            {"train_labels": np.eye(2)[np.arange(20) % 2]},
            "got float64 (20, 2); if each row has a 1 for its class, save",
        ),
        ({"train_labels": np.array(["ash", "elm"] * 10)}, "save numbers, and list the names in dataset.classes"),
        ({"train_labels": np.array(3)}, "expected whole numbers of shape (n,), got int64 ()"),
        ({"train_images": np.array(3)}, "train_images.npy: expected images of shape"),
        ({"train_labels": np.arange(20) % 2 + 1, "test_labels": np.array([1, 2, 1, 2])}, NO_ZERO),
        ({"train_labels": np.array([10**15] * 20)}, f"not {10**15}"),
    ],
)
def test_arrays_that_do_not_fit_are_named(folder: Path, changed: dict[str, np.ndarray], words: str) -> None:
    arrays(folder, **changed)
    assert words in refused(folder, **ARRAYS, classes=["ash", "elm"])


@pytest.mark.parametrize("name", ["train_images", "train_labels", "test_images", "test_labels"])
@pytest.mark.parametrize("content", ["archive", "damaged archive"])
def test_an_archive_named_as_an_array_is_named(folder: Path, name: str, content: str) -> None:
    arrays(folder)
    with (folder / f"{name}.npy").open("wb") as file:
        np.savez(file, x=np.arange(20))
        file.truncate(None if content == "archive" else 40)
    assert refused(folder, **ARRAYS) == (
        f"{folder / name}.npy: an archive of arrays (.npz); save each of them in a file of its own by numpy.save"
    )


def test_the_order_of_an_arrays_bytes_does_not_matter(folder: Path) -> None:
    made = arrays(folder)
    expected = collect(folder, **ARRAYS).rows
    arrays(folder, train_images=np.asfortranarray(made["train_images"]))
    assert collect(folder, **ARRAYS).rows == expected


def test_missing_and_broken_arrays_are_named(folder: Path) -> None:
    arrays(folder)
    (folder / "test_labels.npy").write_bytes(b"\x93NUMPY")
    assert "test_labels.npy: no array of numbers" in refused(folder, **ARRAYS)
    (folder / "test_labels.npy").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 3\n")
    assert "test_labels.npy: no array, but what Git LFS has in its place: `git lfs pull`" in refused(folder, **ARRAYS)
    (folder / "test_labels.npy").unlink()
    assert "test_labels.npy: no such file; the layout npy reads" in refused(folder, **ARRAYS)
    np.savez(folder / "all.npz", x_train=np.arange(3))
    assert refused(folder, **ARRAYS).endswith("; save each array of all.npz in such a file by numpy.save")


@pytest.mark.parametrize(("given", "validation", "words"), [(True, 0.2, "leave dataset"), (False, None, "set dataset")])
def test_a_validation_split_is_given_once(folder: Path, given: bool, validation: float | None, words: str) -> None:
    made = arrays(folder)
    if given:
        np.save(folder / "validation_images.npy", made["test_images"][::-1])
        np.save(folder / "validation_labels.npy", made["test_labels"])
    assert words in refused(folder, layout="npy", split={"method": "given", "validation": validation})


# Ways to split


def members(count: int) -> list[Member]:
    return [Member(f"{n:03}.png", "ash" if n % 3 else "elm", f"{n * 7919:064x}", str(n)) for n in range(count)]


def split(kind: str, seed: int = 0, **changes: Any) -> Any:
    shares = {"test": 0.1, "validation": 0.2, "seed": seed} | changes
    return Dataset(path="x", layout="class_folders", split={"method": kind, **shares}).split


def test_shuffling_that_leaves_a_split_or_a_class_empty_is_named() -> None:
    with pytest.raises(UserError, match=r"^dataset.split: 3 images cannot be divided so that each split has one: add"):
        assign(members(3), {"ash", "elm"}, split("shuffled", test=0.5, validation=0.4))
    units = [Member(f"{n}.png", "ash" if n % 2 else "elm", f"{n:064x}", str(n % 2)) for n in range(8)]
    with pytest.raises(
        UserError, match="none for training: add some, .* or set dataset.split.method: stratified; so with 'elm'$"
    ):
        assign(units, {"ash", "elm"}, split("shuffled"))


def test_shuffled_tests_what_scikit_learn_would() -> None:
    found = members(240)
    assigned = assign(found, {"ash", "elm"}, split("shuffled", seed=42))
    _, expected = train_test_split([member.path for member in found], test_size=0.1, random_state=42)
    assert {member.path for member, one in zip(found, assigned, strict=True) if one == "test"} == set(expected)
    assert assigned.count("validation") == 48


def test_stable_splits_do_not_move_when_images_are_added() -> None:
    found = members(400)
    few = dict(
        zip([member.path for member in found[::2]], assign(found[::2], {"ash", "elm"}, split("stable")), strict=True)
    )
    all_of_them = dict(
        zip([member.path for member in found], assign(found, {"ash", "elm"}, split("stable")), strict=True)
    )
    assert few.items() <= all_of_them.items()
    assert 20 <= list(all_of_them.values()).count("test") <= 60
    assert 50 <= list(all_of_them.values()).count("validation") <= 110
    assert assign(found, {"ash", "elm"}, split("stable", seed=1)) != list(all_of_them.values())


def test_a_split_that_stays_empty_is_named() -> None:
    with pytest.raises(UserError, match="no image falls to the split 'test': add images, or enlarge its share"):
        assign(members(6), {"ash", "elm"}, split("stable", test=0.001))


# What looks alike


def test_pairs_are_those_of_all_comparisons() -> None:
    hashes = np.random.default_rng(0).integers(0, 2**12, 700).astype(np.uint64)
    first, second, distance = similar_pairs(hashes, 2)
    expected = [
        (a, b, int(hashes[a] ^ hashes[b]).bit_count())
        for a in range(700)
        for b in range(a + 1, 700)
        if int(hashes[a] ^ hashes[b]).bit_count() <= 2
    ]
    assert sorted(zip(first.tolist(), second.tolist(), distance.tolist(), strict=True)) == expected


def test_components_join_chains() -> None:
    component = components(5, np.array([0, 1]), np.array([1, 4]))
    assert component[0] == component[1] == component[4]
    assert len(set(component.tolist())) == 3


def photos(folder: Path) -> None:
    """Write crops of two real photographs, each crop also recompressed and made smaller."""
    for label, photo in zip(("temple", "flower"), load_sample_images().images, strict=True):
        for number in range(12):
            top, left = 30 * (number // 4), 90 * (number % 4)
            crop = Image.fromarray(photo[top : top + 300, left : left + 300])
            path = folder / label / f"{number:02}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            crop.save(path, quality=95)
            if number % 4 == 0:
                crop.resize((180, 180)).save(folder / label / f"{number:02} copy.jpg", quality=60)


@pytest.mark.parametrize("seed", range(3))
def test_near_duplicates_are_found_and_kept_in_one_split(folder: Path, seed: int) -> None:
    photos(folder)
    found = collect(folder, near_duplicates=3, split=STRATIFIED | {"seed": seed})
    pairs = {(pair.first.path, pair.second.path) for pair in found.near_duplicates}
    for label in ("temple", "flower"):
        for number in (0, 4, 8):
            assert (f"{label}/{number:02} copy.jpg", f"{label}/{number:02}.jpg") in pairs
    assert all(pair.first.split == pair.second.split and pair.distance <= 3 for pair in found.near_duplicates)
    assert all(pair.first.group == pair.second.group != "" for pair in found.near_duplicates)
    assert collect(folder, split=STRATIFIED | {"seed": seed}).near_duplicates == []
    for method in ("stratified", "shuffled"):
        told = refused(folder, near_duplicates=32, split=STRATIFIED | {"method": method, "seed": seed})
        assert "stay together, 30 of 30 in one unit; lower dataset.near_duplicates, or leave it out" in told


@pytest.mark.parametrize(("bits", "mended"), [(0, "leave dataset.near"), (1, "lower dataset.near")])
def test_images_of_one_colour_look_alike(folder: Path, bits: int, mended: str) -> None:
    for number in range(6):
        path = folder / ("red", "blue")[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (20 + number, 20), path.parent.name).save(path)
    assert f"look alike stay together, 6 of 6 in one unit; {mended}" in refused(folder, near_duplicates=bits)


@pytest.mark.parametrize("spread", [1, 2**3, 2**60])
def test_more_pairs_than_anybody_looks_at_are_refused_before_they_fill_the_memory(
    spread: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = np.random.default_rng(0).integers(0, spread, 200).astype(np.uint64)
    pairs = len(similar_pairs(hashes, 20)[0])
    monkeypatch.setattr(near_duplicates, "MOST_PAIRS", pairs)
    assert len(similar_pairs(hashes, 20)[0]) == pairs
    monkeypatch.setattr(near_duplicates, "MOST_PAIRS", pairs - 1)
    with pytest.raises(UserError, match=f"of 200 images, more than {pairs - 1:,} pairs look alike; lower dataset.near"):
        similar_pairs(hashes, 20)


def run_manifest(folder: Path, params: str, out: Path) -> subprocess.CompletedProcess[str]:
    out.mkdir()
    (out / "params.yaml").write_text(params, encoding="utf-8")
    names = ("manifest.csv", "skipped.csv", "near_duplicates.csv", "distribution.csv", "samples.jpg", "thumbnails.zip")
    arguments = named("manifest", out / "params.yaml", "dataset", folder, *(out / name for name in names))
    command = [sys.executable, "-m", "stages.manifest", *arguments]
    return subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False)


@pytest.mark.slow
def test_the_stage_reports_leaks_and_writes_pictures_the_same_each_time(folder: Path, tmp_path: Path) -> None:
    lights(folder)
    photo = Image.fromarray(load_sample_images().images[0])
    photo.save(folder / "Train" / "red" / "photo.jpg", quality=95)
    photo.resize((300, 200)).save(folder / "Test" / "red" / "smaller.jpg")
    params = (
        "dataset:\n  path: data/raw/x\n  layout: class_folders\n  near_duplicates: 2\n"
        "  split: {method: given, folders: {train: Train, test: Test}, validation: 0.2}\n"
    )
    for name in ("one", "two"):
        done = run_manifest(folder, params, tmp_path / name)
        assert done.returncode == 0, done.stderr
        assert "warning: 1 pair that looks alike is in different splits: see" in done.stdout
    written = sorted(path.name for path in (tmp_path / "one").iterdir())
    for name in written:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    with (tmp_path / "one" / "near_duplicates.csv").open(encoding="utf-8", newline="") as file:
        (leak,) = csv.DictReader(file)
    assert (leak["path"], leak["split"]) == ("Test/red/smaller.jpg", "test")
    assert leak["other_path"] == "Train/red/photo.jpg"
    with (tmp_path / "one" / "distribution.csv").open(encoding="utf-8", newline="") as file:
        counts = {(row["number"], row["class"], row["split"]): row["images"] for row in csv.DictReader(file)}
    assert counts["0", "green", "test"] == "3"
    with (tmp_path / "one" / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with zipfile.ZipFile(tmp_path / "one" / "thumbnails.zip") as archive:
        assert sorted(archive.namelist()) == sorted(f"{row['sha256']}.jpg" for row in rows)
    with reading_thumbnails(tmp_path / "one" / "thumbnails.zip") as thumbnails:
        (digest,) = (row["sha256"] for row in rows if row["path"] == "Train/red/photo.jpg")
        small = thumbnails[digest]
        assert small.size == (128, 85)
        expected = np.asarray(photo.resize((128, 85), Image.Resampling.BICUBIC), float)
        assert np.abs(np.asarray(small, float) - expected).mean() < 8
    samples = Image.open(tmp_path / "one" / "samples.jpg")
    assert samples.width >= 7 * 96
    assert np.asarray(samples).std() > 20
