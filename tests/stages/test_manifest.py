"""From a folder of images to the manifest and the tensors: the parts, and both stages as they are run."""

import csv
import errno
import hashlib
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.manifest import collecting as module
from stages.manifest.__main__ import main
from stages.manifest.labelled import Labelled, Skipped
from stages.manifest.splits import Member, assign
from tests.conftest import ROOT, named
from thaw.errors import UserError
from thaw.files.finding import files_at
from thaw.formats.manifest import SPLITS, Row
from thaw.formats.row_file import RowFile
from thaw.formats.thumbnails import writing_thumbnails
from thaw.images import reading
from thaw.images.decoding import pixels
from thaw.params.dataset import Dataset, Split
from thaw.params.labels import alike

SPLIT = {"method": "stratified", "test": 0.2, "validation": 0.2, "seed": 0}
FAIL = Dataset(path="data/raw/photos", layout="class_folders", split=Split(**SPLIT))
SKIP = FAIL.model_copy(update={"on_bad_image": "skip"})
CLASSES = ("oak", "pine")
PARAMS = """\
dataset:
  path: data/raw/photos
  layout: class_folders
  split: {method: stratified, test: 0.2, validation: 0.2}
tensors:
  small: {pixels: [8, 6], resize: stretch, normalization: lite}
"""


def draw(path: Path, seed: int | str) -> Path:
    """Write a small PNG that no other seed gives."""
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(list(str(seed).encode()))
    Image.fromarray(generator.integers(0, 256, (9, 11, 3), np.uint8)).save(path, "PNG")
    return path


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two classes of five images."""
    for label in CLASSES:
        for number in range(5):
            draw(tmp_path / "images" / label / f"{number}.png", f"{label} {number}")
    return tmp_path / "images"


def collect(folder: Path, dataset: Dataset) -> tuple[list[Row], list[Skipped]]:
    with writing_thumbnails(folder.parent / "thumbnails.zip") as thumbnails:
        found = module.collect(folder, dataset, thumbnails)
    return found.rows, found.skipped


def message(folder: Path, dataset: Dataset = FAIL) -> str:
    with pytest.raises(UserError) as caught:
        collect(folder, dataset)
    return str(caught.value)


def skipped(folder: Path) -> dict[str, str]:
    """What is left out with `on_bad_image: skip`, and why; everything else must be used."""
    rows, left_out = collect(folder, SKIP)
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {row.path for row in rows} == files - {one.path for one in left_out}
    assert [one.path for one in left_out] == sorted(one.path for one in left_out)
    return {one.path: one.reason for one in left_out}


# What is there


def test_every_image_is_a_row_with_its_class_and_digest(folder):
    rows, left_out = collect(folder, FAIL)
    assert left_out == []
    assert {(row.path, row.label) for row in rows} == {(f"{c}/{n}.png", c) for c in CLASSES for n in range(5)}
    for row in rows:
        assert row.sha256 == hashlib.sha256((folder / row.path).read_bytes()).hexdigest()


def test_a_missing_folder_is_named(tmp_path):
    text = message(tmp_path / "nowhere")
    assert text.startswith(f"{tmp_path / 'nowhere'}: no such folder; dataset.path")


def test_an_empty_folder_is_named(tmp_path):
    assert message(tmp_path) == f"{tmp_path}: expected a folder for each class, found none"


def test_one_class_is_too_few(tmp_path):
    draw(tmp_path / "oak" / "0.png", 0)
    assert message(tmp_path).endswith("expected images of two classes or more, found only 'oak'")


@pytest.mark.parametrize("dataset", [FAIL, SKIP], ids=["fail", "skip"])
def test_an_empty_class_is_named(folder, dataset):
    (folder / "birch" / "nested").mkdir(parents=True)
    (folder / "birch" / ".hidden").touch()
    assert message(folder, dataset) == f"{folder / 'birch'}: no images in this class; add some or remove the folder"
    for number in range(12):
        (folder / f"empty {number:02}").mkdir()
    assert message(folder, dataset).endswith(
        "; so with " + "".join(f"'empty {n:02}', " for n in range(10))[:-2] + " and 2 more"
    )


@pytest.mark.parametrize("dataset", [FAIL, SKIP], ids=["fail", "skip"])
@pytest.mark.parametrize(("count", "words"), [(1, "1 usable image;"), (2, "2 usable images;")])
def test_a_class_with_too_few_images_for_three_splits_is_named(folder, dataset, count, words):
    for number in range(count):
        draw(folder / "birch" / f"{number}.png", number)
        draw(folder / "ash" / f"{number}.png", f"ash {number}")
    assert message(folder, dataset).startswith(f"class 'ash' has {words}")
    assert message(folder, dataset).endswith("add images or remove the class; so with 'birch'")


def test_images_that_are_skipped_do_not_count_for_a_class(folder):
    for number in range(3):
        (folder / "oak" / f"{number}.png").write_bytes(b"")
    assert message(folder, SKIP).startswith("class 'oak' has 2 usable images;")


def test_a_class_whose_images_are_all_bad_is_named(folder):
    for number in range(5):
        (folder / "oak" / f"{number}.png").write_bytes(b"")
    assert message(folder, SKIP).startswith("class 'oak' has 0 usable images;")


def test_images_in_folders_inside_a_class_belong_to_it(folder):
    draw(folder / "oak" / "2021" / "spring" / "deep.png", "deep")
    rows, _ = collect(folder, FAIL)
    assert [row.label for row in rows if row.path == "oak/2021/spring/deep.png"] == ["oak"]


def test_a_folder_that_cannot_be_read_is_named_not_passed_over(folder, monkeypatch):
    draw(folder / "oak" / "locked" / "0.png", "locked")
    really_scan = os.scandir

    def scan(path):
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return really_scan(path)

    monkeypatch.setattr(os, "scandir", scan)
    assert message(folder, SKIP) == f"{folder / 'oak' / 'locked'}: cannot be read: Permission denied"


LEFT_BEHIND = [
    *(
        "Thumbs.db",
        "THUMBS.DB",
        "ehthumbs.db",
        "desktop.ini",
        ".DS_Store",
        "._0.png",
        "Icon\r",
        ".hidden.png",
        "~$a.docx",
    ),
    *("0.png:Zone.Identifier", "0.png\uf03aZone.Identifier", "0.png~", ".gitignore", "0.png.dvc", "0.dvc"),
    *("@eaDir/0.png/SYNOPHOTO_THUMB_M.png", "#recycle/0.png", "$RECYCLE.BIN/0.png", "System Volume Information/0.png"),
    *("__MACOSX/._0.png", "lost+found/0.png", "@Recycle/0.png", ".@__thumb/0.png", "@tmp/0.png", "#snapshot/0.png"),
    *("~snapshot/0.png", "Thumbs.db:encryptable", "0.png@SynoResource", "0.png@SynoEAStream"),
    *(".ipynb_checkpoints/0.png", "__pycache__/0.png", ".git/HEAD", ".Trash-1000/0.png", "Network Trash Folder/0.png"),
]


@pytest.mark.parametrize("place", [".", "oak", "oak/more"])
@pytest.mark.parametrize("name", LEFT_BEHIND, ids=ascii)
def test_what_desktops_storage_and_tools_leave_behind_is_ignored_and_counted(folder, name, place):
    draw(folder / "oak" / "more" / "deep.png", "deep")
    draw(folder / place / name, name)
    for tracked in ("0.png", "0"):  # by the files that end in .dvc
        draw(folder / place / tracked, f"{place} {tracked}")
    with writing_thumbnails(folder.parent / "thumbnails.zip") as thumbnails:
        found = module.collect(folder, SKIP, thumbnails)
    assert not any(name in path for path in (*(row.path for row in found.rows), *(one.path for one in found.skipped)))
    (note,) = found.notes
    first = (Path(place) / name.partition("/")[0]).as_posix()
    assert note == (f"1 file ignored: hidden, or left behind by desktops, network storage or tools, such as {first!r}")


def test_an_image_that_is_still_in_a_cloud_is_a_bad_file(folder):
    (folder / "oak" / ".5.png.icloud").write_bytes(b"bplist00")
    assert f"{folder / 'oak' / '.5.png.icloud'}: not an image" in message(folder)


@pytest.mark.parametrize("name", ["birch.dvc", "oak/9.png.dvc"])
def test_what_dvc_has_but_is_not_here_is_named(folder, name):
    (folder / name).write_text("outs: []")
    expected = f"{folder / name}".removesuffix(".dvc") + f": not here, but {Path(name).name} says that DVC has it; "
    assert message(folder) == expected + "`dvc pull` gets it"


def test_a_dvc_project_inside_a_data_set_is_refused(folder):
    (folder / "oak" / "cloned" / ".dvc").mkdir(parents=True)
    assert message(folder).startswith(f"{folder / 'oak' / 'cloned'}: a DVC project of its own, which DVC leaves out")


@pytest.mark.parametrize(
    "name",
    [
        "with spaces  and, commas.png",
        "bäume.png",
        "桜 の木.png",
        "дуб.png",
        "no\u00a0break.png",
        "3.45.12\u202fPM.png",
        "🌳\u200d🌲.png",
        "نیم\u200cفاصله.png",
        "e\u0301.png",
        "'quoted' \"twice\".png",
        "no ending",
        "photo.npy#3",
    ],
    ids=ascii,
)
def test_names_in_any_language_are_accepted(folder, name):
    draw(folder / "oak" / name, name)
    draw(folder / "pine" / name / name, name + " in a folder")
    assert {f"oak/{name}", f"pine/{name}/{name}"} <= {row.path for row in collect(folder, FAIL)[0]}


@pytest.mark.parametrize("name", [b"b\xe4ume.png", b"two\nlines.png", b"tab\t.png", b"escape\x1b[31m.png"], ids=repr)
@pytest.mark.parametrize("place", ["oak", ".", "a class"])
@pytest.mark.parametrize("dataset", [FAIL, SKIP], ids=["fail", "skip"])
def test_names_that_are_no_text_are_refused(folder, name, place, dataset):
    if place == "a class":
        os.mkdir(os.fsencode(folder) + b"/" + name)  # noqa: PTH102
        draw(folder / os.fsdecode(name) / "0.png", 0)
    else:
        (folder / place / os.fsdecode(name)).write_bytes(draw(folder / "oak" / "9.png", 9).read_bytes())
    text = message(folder, dataset)
    assert text.startswith(f"{folder}: the file name ")
    assert "is not UTF-8 text or has control characters; rename it" in text
    assert text.isprintable()


# Files that cannot be used


BAD = {
    "empty.jpg": (b"", "the file has no bytes"),
    "notes.txt": (b"birches by the lake\n", "not an image in one of the formats"),
    "damaged.bmp": (b"BM" + b"\0" * 50, "damaged"),
    "pointer.png": (b"version https://git-lfs.github.com/spec/v1\noid sha256:", "`git lfs pull` fetches it"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_named_with_its_reason(folder, name):
    content, reason = BAD[name]
    (folder / "oak" / name).write_bytes(content)
    first, second, *last = message(folder).splitlines()
    assert first == "files that cannot be used: 1"
    assert second.startswith(f"  {folder / 'oak' / name}: ")
    assert reason in second
    assert last == ["mend or remove them, or set dataset.on_bad_image: skip to leave them out and list them"]


def test_bad_files_are_left_out_and_listed_when_they_may_be_skipped(folder):
    for name, (content, _) in BAD.items():
        (folder / "oak" / name).write_bytes(content)
    reasons = skipped(folder)
    assert sorted(reasons) == sorted(f"oak/{name}" for name in BAD)
    for name, (_, reason) in BAD.items():
        assert reason in reasons[f"oak/{name}"]


@pytest.mark.parametrize(
    ("count", "shown", "more"), [(10, 10, None), (11, 10, "  and 1 more"), (25, 10, "  and 15 more")]
)
def test_ten_bad_files_are_shown_and_the_others_counted(folder, count, shown, more):
    for number in range(count):
        (folder / "oak" / f"bad {number:02}.jpg").touch()
    lines = message(folder).splitlines()
    assert lines[0] == f"files that cannot be used: {count}"
    assert lines[1 : shown + 1] == [
        f"  {folder / 'oak' / f'bad {number:02}.jpg'}: the file has no bytes" for number in range(shown)
    ]
    assert lines[shown + 1 : -1] == ([more] if more else [])


def test_a_file_beside_the_class_folders_is_a_bad_file(folder):
    draw(folder / "stray.png", "stray")
    assert f"{folder / 'stray.png'}: it lies beside the class folders, so it has no class" in message(folder)
    assert skipped(folder) == {"stray.png": "it lies beside the class folders, so it has no class"}


def test_a_link_to_nowhere_is_a_bad_file(folder):
    (folder / "oak" / "link.png").symlink_to(folder / "gone.png")
    told = "cannot be read: No such file or directory; it is a link that leads nowhere"
    assert f"{folder / 'oak' / 'link.png'}: {told}" in message(folder)
    assert [one.path for one in collect(folder, SKIP)[1]] == ["oak/link.png"]
    (folder / "birch").symlink_to(folder / "gone")
    assert f"{folder / 'birch'}: a link that leads nowhere" in message(folder)
    assert message(folder / "birch").startswith(f"{folder / 'birch'}: a link that leads nowhere; dataset.path")
    assert message(folder / "oak" / "0.png").startswith(f"{folder / 'oak' / '0.png'}: a file, no folder; dataset.path")


def test_a_file_without_permission_is_a_bad_file(folder, monkeypatch):
    locked, read = folder / "oak" / "0.png", reading.read_bytes

    def refuse(path):  # as the system does; it lets root read every file, and tests may run as root
        if path == locked:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(reading, "read_bytes", refuse)
    assert f"{locked}: cannot be read: Permission denied" in message(folder)
    assert skipped(folder) == {"oak/0.png": "cannot be read: Permission denied"}


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EIO, "Input/output error"), "cannot be read: Input/output error; see whether its disk"),
        (OSError(errno.EMFILE, "Too many open files"), "cannot be read: Too many open files; allow more open files"),
        (OSError(errno.ESTALE, "Stale file handle"), "cannot be read: Stale file handle"),
        (MemoryError(), "does not fit"),
    ],
)
def test_what_the_machine_cannot_read_at_the_moment_is_not_left_out(folder, monkeypatch, error, words):
    read = reading.read_bytes

    def fail(path):
        if path == folder / "oak" / "0.png":
            raise error
        return read(path)

    monkeypatch.setattr(reading, "read_bytes", fail)
    with pytest.raises((UserError, MemoryError), match=f"{folder / 'oak' / '0.png'}:? {words}"):
        collect(folder, SKIP)


def test_an_image_that_finds_no_memory_is_not_damaged(monkeypatch):
    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr("PIL.Image.open", fail)
    with pytest.raises(MemoryError):
        pixels(b"GIF89a", 8, 8, "pad")


def test_a_folder_without_permission_is_named(folder, monkeypatch):
    listed = Path.iterdir

    def refuse(path):
        if path == folder:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert f"{folder}: cannot be read: Permission denied" in message(folder)


@pytest.mark.parametrize("place", ["birch", "oak/more", "oak/more/yet"])
@pytest.mark.parametrize("target", ["elsewhere", "images/pine", "images"])
def test_a_link_to_a_folder_is_refused_since_dvc_does_not_follow_it(folder, place, target):
    draw(folder.parent / "elsewhere" / "far.png", "far")
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    (folder / place).symlink_to(folder.parent / target)
    text = message(folder, SKIP)
    assert text.startswith(f"{folder / place}: a link to a folder, behind which DVC does not look")
    assert "cp -rL" in text


def test_links_to_files_and_to_the_data_set_are_followed_as_dvc_does(folder):
    (folder / "oak" / "link.png").symlink_to(draw(folder.parent / "elsewhere" / "far.png", "far"))
    (folder.parent / "linked").symlink_to(folder)
    assert "oak/link.png" in {row.path for row in collect(folder.parent / "linked", FAIL)[0]}


def test_predictions_walk_as_data_sets_are_walked(folder):
    (folder / "oak" / "@eaDir").mkdir()
    draw(folder / "oak" / "@eaDir" / "0.png", "thumbnail")
    files = [folder / "oak" / f"{number}.png" for number in range(5)]
    assert files_at([folder / "oak", files[0]]) == files
    (folder / "oak" / "loop").symlink_to(folder)
    with pytest.raises(UserError, match="loop: a link to a folder"):
        files_at([folder])
    (folder.parent / "shortcut").symlink_to(folder / "pine")
    assert len(files_at([folder.parent / "shortcut"])) == 5


# Classes


@pytest.mark.parametrize(
    "others",
    [("OAK",), ("oak ",), (" oak", "Oak"), ("o\u200bak",), ("\uff4f\uff41\uff4b",), ("\ufeffoak",), ("Oa\u212a",)],
    ids=ascii,
)
def test_classes_that_look_the_same_are_refused_with_their_folders(folder, others):
    for label in others:
        draw(folder / label / "0.png", label)
    text = message(folder, SKIP)
    assert text.startswith(f"{folder}: these classes look the same: ")
    for label in ("oak", *others):
        assert f"{label!r} (the folder {label})" in text


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *(("1", "01"), ("1", "1.0"), ("10", "10."), ("-2", "-02.0"), ("0", "00"), ("caf\u00e9", "cafe\u0301")),
        *(("STRASSE", "stra\u00dfe"), ("silver birch", "silver  birch"), ("silver birch", "silver\u00a0birch")),
        *(("oak", "\u043eak"), ("OAK", "\u039f\u0391\u039a"), ("Oak", "\u041e\u0410\u041a")),
    ],
)
def test_labels_that_look_the_same_are_found(one, other):
    assert alike(["x", one, "y", other]) == [[one, other]]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("A", "a"),
        ("1", "10"),
        ("1.5", "15"),
        ("0.1", "1"),
        ("oak", "oak2"),
        ("-1", "1"),
        ("oak_1", "oak-1"),
        ("\u00e9", "e"),
        ("A", "\u0410"),
        ("\u0441\u043e\u0441\u043d\u0430", "coc"),
    ],
)
def test_labels_that_look_different_are_told_apart(one, other):
    assert alike([one, other]) == []


@pytest.mark.parametrize(
    "label", ["birch ", "\u00a0birch", "bir\u200bch", "birch\ufeff", "bir\u202ech", "bir\u2028ch"], ids=ascii
)
def test_a_class_with_something_that_nobody_sees_is_refused(folder, label):
    draw(folder / label / "0.png", 0)
    text = message(folder, SKIP)
    assert f"the class {label!r} (the folder {label}) " in text
    assert "begins or ends with a space" in text or "that cannot be seen" in text


@pytest.mark.parametrize(
    "label", ["نیم\u200cفاصله", "👩\u200d🌾", "silver\u00a0birch", "苹果", "e\u0301rable"], ids=ascii
)
def test_classes_in_any_language_are_accepted(folder, label):
    for number in range(3):
        draw(folder / label / f"{number}.png", number)
    assert label in {row.label for row in collect(folder, FAIL)[0]}


def test_classes_are_numbered_by_name_where_none_are_listed(folder):
    rows, _ = collect(folder, FAIL)
    assert {(row.label, row.number) for row in rows} == {("oak", 0), ("pine", 1)}


@pytest.mark.parametrize(
    ("names", "meant"),
    [
        (("train", "valid", "test"), "{train: train, validation: valid, test: test}}"),
        (("Training", "Validation", "Testing"), "{train: Training, validation: Validation, test: Testing}}"),
        (("train", "test"), "{train: train, test: test}, validation: 0.2}"),
        (("train", "val"), "{train: train, test: val}, validation: 0.2}"),
        (("training_set", "test_set"), "{train: training_set, test: test_set}, validation: 0.2}"),
        (("TRAIN", "dev", "holdout", "unlabelled"), "{train: TRAIN, validation: dev, test: holdout}}"),
        (("dev", "test"), "{train: ..., validation: dev, test: test}}"),
    ],
)
def test_folders_of_splits_are_not_taken_for_classes(tmp_path, names, meant):
    for name in names:
        draw(tmp_path / name / "oak" / "0.png", name)
    text = message(tmp_path, SKIP)
    assert "are folders of splits, not of classes; you probably mean dataset.split: {method: given, folders: " in text
    assert text.endswith(meant)


@pytest.mark.parametrize("names", [("train", "bus"), ("test", "control"), ("train", "training shoes")])
def test_a_class_may_be_named_as_splits_are(tmp_path, names):
    for name in names:
        for number in range(3):
            draw(tmp_path / name / f"{number}.png", f"{name} {number}")
    assert {row.label for row in collect(tmp_path, FAIL)[0]} == set(names)


def test_splits_inside_of_classes_are_not_mixed(folder):
    for split in ("Train", "test"):
        draw(folder / "oak" / split / "0.png", split)
    assert message(folder).startswith(f"{folder / 'oak'}: the folders in this class are those of splits")


def test_a_path_one_level_too_high_or_too_low_is_named(folder):
    assert message(folder.parent).endswith(
        f"the only folder is 'images', and classes seem to be in there: set dataset.path: {folder}"
    )
    assert message(folder / "oak").endswith(
        "if this is the folder of one class, dataset.path is the folder that it is in"
    )


@pytest.mark.parametrize(
    ("names", "layout"),
    [(("labels.csv", "0.png"), "csv"), (("train_images.npy",), "npy"), (("0_a.png", "1_b.png"), "label_prefix")],
)
def test_the_layout_that_is_probably_meant_is_named(tmp_path, names, layout):
    for name in names:
        draw(tmp_path / name, name)
    assert message(tmp_path).endswith(f"set dataset.layout: {layout}")


@pytest.mark.parametrize("between", [".", "_", " (", "-00", ""])
def test_classes_in_the_names_of_files_belong_into_a_table(tmp_path, between):
    for number in range(6):
        draw(tmp_path / f"{('cat', 'great dane')[number % 2]}{between}{number}.png", number)
    assert message(tmp_path).endswith(
        "if names of files tell their class, write it into a table labels.csv, and set dataset.layout: csv"
    )


def test_a_table_beside_the_only_folder_is_named(tmp_path):
    draw(tmp_path / "images" / "0.png", 0)
    (tmp_path / "labels.csv").write_text("path,label\n")
    assert message(tmp_path).endswith("it has no class; to read labels.csv, set dataset.layout: csv")


@pytest.mark.parametrize("least", [0, 1])
def test_the_class_that_is_the_first_out_of_order_is_named(tmp_path, least):
    for number in range(3 * 11):
        draw(tmp_path / "data" / str(least + number % 11) / f"{number}.png", number)
    with writing_thumbnails(tmp_path / "thumbnails.zip") as thumbnails:
        (note,) = module.collect(tmp_path / "data", FAIL, thumbnails).notes
    assert note.endswith(f"sorted as texts: output {2 - least} is '10'")


def test_folders_of_the_same_names_in_every_class_are_worth_a_line(folder):
    for one in ("2023", "2024"):
        for label in ("north", "south"):
            draw(folder.parent / "sites" / one / label / "0.png", f"{one} {label}")
            draw(folder.parent / "sites" / one / label / "1.png", f"{one} {label} 1")
    with writing_thumbnails(folder.parent / "thumbnails.zip") as thumbnails:
        (note,) = module.collect(folder.parent / "sites", FAIL, thumbnails).notes
        assert note.startswith("warning: the classes are 2023, 2024, and each holds the folders north, south")
        assert module.collect(folder, FAIL, thumbnails).notes == []


@pytest.mark.parametrize(("brightest", "is_told"), [(1, True), (16, True), (63, True), (64, False), (255, False)])
def test_images_that_are_nearly_black_are_told(folder, tmp_path, brightest, is_told, capsys):
    for number, path in enumerate(sorted(folder.glob("*/*.png"))):
        levels = np.random.default_rng(number).integers(0, brightest + 1, (6, 8), np.uint8)
        levels[0] = brightest
        Image.fromarray(levels).save(path)
    (tmp_path / "params.yaml").write_text(PARAMS)
    written = ("manifest.csv", "skipped.csv", "near.csv", "classes.csv", "samples.jpg", "thumbnails.zip")
    main(tmp_path / "params.yaml", "dataset", folder, *(tmp_path / name for name in written))
    expected = f"warning: all images are nearly black, with no level above {brightest} of 255 in their thumbnails"
    assert (expected in capsys.readouterr().out) == is_told


@pytest.mark.parametrize(("width", "is_told"), [(3000, True), (30000, False)])
def test_images_whose_16_bits_are_nearly_one_grey_are_told(folder, tmp_path, width, is_told, capsys):
    for number, path in enumerate(sorted(folder.glob("oak/*.png"))):
        levels = np.random.default_rng(number).integers(32768, 32768 + width, (6, 8), np.uint16)
        Image.fromarray(levels).save(path)
    (tmp_path / "params.yaml").write_text(PARAMS)
    written = ("manifest.csv", "skipped.csv", "near.csv", "classes.csv", "samples.jpg", "thumbnails.zip")
    main(tmp_path / "params.yaml", "dataset", folder, *(tmp_path / name for name in written))
    said = capsys.readouterr().out
    assert ("warning: 5 images with 16 bits a channel have no more than 11 of 255 levels" in said) == is_told
    assert ("warning" in said) == is_told


@pytest.mark.parametrize(("file_format", "name"), [("PNG", "0.jpg"), ("JPEG", "0.txt"), ("TIFF", "0")])
def test_a_wrong_ending_does_not_matter(folder, file_format, name):
    Image.open(draw(folder.parent / "new.png", "new")).save(folder / "pine" / name, file_format)
    rows, left_out = collect(folder, FAIL)
    assert f"pine/{name}" in {row.path for row in rows}
    assert left_out == []


@pytest.mark.parametrize("dataset", [FAIL, SKIP], ids=["fail", "skip"])
def test_equal_bytes_in_one_class_are_kept_once_and_listed(folder, dataset):
    for name in ("again.png", "once more.png"):
        (folder / "oak" / name).write_bytes((folder / "oak" / "3.png").read_bytes())
    rows, left_out = collect(folder, dataset)
    assert len(rows) == len({row.sha256 for row in rows}) == 10
    assert {(one.path, one.reason) for one in left_out} == {
        ("oak/again.png", "the same bytes as oak/3.png"),
        ("oak/once more.png", "the same bytes as oak/3.png"),
    }


def test_equal_bytes_in_two_classes_are_an_error_that_names_both(folder):
    (folder / "pine" / "twin.png").write_bytes((folder / "oak" / "3.png").read_bytes())
    expected = f"  {folder / 'pine' / 'twin.png'}: the same bytes as oak/3.png, which is in another class"
    assert expected in message(folder).splitlines()


def test_equal_bytes_in_two_classes_are_used_in_neither(folder):
    content = (folder / "oak" / "3.png").read_bytes()
    (folder / "oak" / "4 again.png").write_bytes(content)
    (folder / "pine" / "twin.png").write_bytes(content)
    assert skipped(folder) == {
        "oak/3.png": "the same bytes as a file in another class",
        "oak/4 again.png": "the same bytes as oak/3.png",
        "pine/twin.png": "the same bytes as oak/3.png, which is in another class",
    }


# The split


def images(**counts: int) -> dict[str, Labelled]:
    """That many images of each class, by digest; the order of digests is not that of paths."""
    files = [Labelled(f"{label}/{number:03}.png", label) for label, count in counts.items() for number in range(count)]
    return {hashlib.sha256(file.path.encode()).hexdigest(): file for file in files}


def split_of(found: dict[str, Labelled], **changes) -> dict[str, str]:
    members = [Member(file.path, file.label, digest, file.path) for digest, file in found.items()]
    classes = {file.label for file in found.values()}
    return dict(zip(found, assign(members, classes, Split(**{**SPLIT, **changes})), strict=True))


def test_the_same_seed_gives_the_same_split():
    assert split_of(images(oak=50, pine=30), seed=7) == split_of(images(oak=50, pine=30), seed=7)


def test_another_seed_gives_another_split_of_the_same_sizes():
    found = images(oak=50, pine=30)
    first, second = split_of(found, seed=7), split_of(found, seed=8)
    assert first != second
    assert Counter(first.values()) == Counter(second.values())


def test_classes_of_the_same_size_are_not_split_alike():
    found = images(oak=50, pine=50)
    assigned = split_of(found)
    by_class = {c: [assigned[d] for d, file in found.items() if file.label == c] for c in ("oak", "pine")}
    assert by_class["oak"] != by_class["pine"]


@pytest.mark.parametrize("count", [3, 4, 5, 6, 7, 10, 13, 50, 99])
@pytest.mark.parametrize(("test", "validation"), [(0.15, 0.15), (0.01, 0.01), (0.3, 0.1), (0.45, 0.45), (0.9, 0.05)])
def test_every_class_is_in_every_split_with_the_share_that_is_asked(count, test, validation):
    found = images(oak=count, pine=20)
    assigned = split_of(found, test=test, validation=validation)
    sizes = Counter(assigned[digest] for digest, file in found.items() if file.label == "oak")
    assert set(sizes) == set(SPLITS)
    assert sizes.total() == count
    if min(test, validation, 1 - test - validation) * count >= 1:
        assert abs(sizes["test"] - count * test) <= 0.5
        assert abs(sizes["validation"] - count * validation) <= 0.5
        assert abs(sizes["train"] - count * (1 - test - validation)) <= 1


def test_a_split_is_at_random_not_by_name():
    found = images(oak=100)
    assigned = split_of(found)
    tested = [int(file.path[-7:-4]) for digest, file in found.items() if assigned[digest] == "test"]
    assert len(tested) == 20
    assert 30 < np.mean(tested) < 70
    assert np.ptp(tested) > 60


METHODS = ("stratified", "shuffled", "stable", "given")


def grouped_at_random(random: np.random.Generator, method: str, mixed: bool) -> list[Member]:
    """Images of 90 units, most of them alone; a few of the others have up to twelve."""
    sizes = np.where(random.random(90) < 0.6, 1, random.integers(2, 13, size=90))
    units = np.repeat(np.arange(90), sizes)
    labels = random.integers(3, size=len(units)) if mixed else units % 3
    members = [
        Member(
            f"{random.integers(10**6):06} {place}",
            f"class {label}",
            hashlib.sha256(str([place, *random.integers(9, size=8)]).encode()).hexdigest(),
            f"unit {unit}",
            ("test" if unit % 10 < 2 else "train") if method == "given" else None,
        )
        for place, (unit, label) in enumerate(zip(units, labels, strict=True))
    ]
    return sorted(members, key=lambda member: member.path)


@pytest.mark.parametrize("mixed", [False, True], ids=["of one class", "of several classes"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(5))
def test_no_unit_is_torn_apart_and_shares_are_of_images(method: str, mixed: bool, seed: int) -> None:
    members = grouped_at_random(np.random.default_rng([seed, mixed]), method, mixed)
    shares = {"test": 0.2, "validation": 0.2}
    changes = {"method": method, "seed": seed, "test": None if method == "given" else 0.2}
    assigned = assign(members, {f"class {number}" for number in range(3)}, Split(**{**SPLIT, **changes}))
    splits: dict[str, set[str]] = {}
    for member, split in zip(members, assigned, strict=True):
        splits.setdefault(member.unit, set()).add(split)
    assert all(len(one) == 1 for one in splits.values())
    sizes = Counter(member.unit for member in members)
    dealt = {member.unit for member in members if member.given != "test"}
    count = sum(sizes[unit] for unit in dealt)
    for split, share in shares.items():
        got = sum(sizes[unit] for unit in dealt if splits[unit] == {split})
        if method == "stable":  # each unit falls where its hash says
            assert 0.05 < got / count < 0.4
        elif not (method == "given" and split == "test"):
            # A split has its share when the last unit of a class came to it.
            assert share * count - 3 <= got <= share * count + 3 * 12


@pytest.mark.parametrize(("units", "words"), [(1, "1"), (2, "2"), (3, None)])
def test_classes_that_share_their_units_are_counted_by_the_units_that_have_them(units: int, words: str | None) -> None:
    members = [
        Member(f"{label}/{number}", label, hashlib.sha256(f"{label}{number}".encode()).hexdigest(), str(number % units))
        for label in CLASSES
        for number in range(9)
    ]
    if words is None:
        for label in CLASSES:
            assigned = assign(members, set(CLASSES), Split(**SPLIT))
            assert {one for member, one in zip(members, assigned, strict=True) if member.label == label} == set(SPLITS)
    else:
        with pytest.raises(UserError, match=f"^class 'oak' has 9 usable images, which belong together in {words};"):
            assign(members, set(CLASSES), Split(**SPLIT))


# The stages


@pytest.fixture
def params(tmp_path, warm, monkeypatch) -> Path:
    monkeypatch.setattr(sys, "executable", str(warm / "python"))
    path = tmp_path / "params.yaml"
    path.write_text(PARAMS)
    return path


def run(stage: str, *arguments: Path | str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"stages.{stage}", *named(stage, *arguments)]
    environment = {**os.environ, "THAW_CACHE_LIMIT": "0"}
    return subprocess.run(command, cwd=ROOT, env=environment, text=True, capture_output=True, check=False)


def run_manifest(params: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    written = ("manifest", "skipped", "near_duplicates", "class_distribution", "samples", "thumbnails")
    return run(
        "manifest", params, "dataset", folder, *(params.parent / f"{name}{ENDS.get(name, '.csv')}" for name in written)
    )


def run_tensors(params: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return run("tensors", params, "tensors.small", folder, params.parent / "manifest.csv", params.parent / "small.h5")


ENDS = {"samples": ".jpg", "thumbnails": ".zip"}


def assert_refused(outcome: subprocess.CompletedProcess[str], *words: str) -> None:
    assert outcome.returncode == 1
    assert "error: " in outcome.stderr
    assert "Traceback" not in outcome.stderr
    for word in words:
        assert word in outcome.stderr


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.slow
def test_both_stages_write_the_images_of_a_folder(params, folder):
    (folder / "oak" / 'again, "quoted" bäume.png').write_bytes((folder / "oak" / "3.png").read_bytes())
    for outcome in (run_manifest(params, folder), run_tensors(params, folder)):
        assert outcome.returncode == 0, outcome.stderr
    with (params.parent / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["split"] for row in rows] == ["train"] * 6 + ["validation"] * 2 + ["test"] * 2
    assert {row["path"] for row in rows} == {f"{label}/{number}.png" for label in CLASSES for number in range(5)}
    with (params.parent / "skipped.csv").open(encoding="utf-8", newline="") as file:
        assert [*csv.reader(file)][1:] == [['oak/again, "quoted" bäume.png', "the same bytes as oak/3.png", ""]]
    tensors = RowFile(params.parent / "small.h5")
    assert [path.decode() for path in tensors.index.paths] == [row["path"] for row in rows]
    assert [key.decode() for key in tensors.index.keys] == [row["sha256"] for row in rows]
    assert [tensors.index.classes[label] for label in tensors.index.labels] == [row["label"] for row in rows]
    assert [group.decode() for group in tensors.index.groups] == [row["group"] for row in rows]
    assert tensors.index.splits == {"train": slice(0, 6), "validation": slice(6, 8), "test": slice(8, 10)}
    expected = [pixels((folder / row["path"]).read_bytes(), 8, 6, "stretch") for row in rows]
    np.testing.assert_array_equal(tensors.read(0, 10), np.stack(expected), strict=True)


@pytest.mark.slow
def test_the_manifest_stage_refuses_bad_data_and_leaves_what_was_there(params, folder):
    assert run_manifest(params, folder).returncode == 0
    earlier = contents(params.parent)
    (folder / "oak" / "0.png").write_bytes(b"")
    draw(folder / "oak" / "new.png", "new")
    assert_refused(run_manifest(params, folder), str(folder / "oak" / "0.png"), "the file has no bytes")
    assert contents(params.parent) == earlier


@pytest.mark.slow
def test_the_manifest_stage_refuses_a_name_that_is_not_utf8(params, folder):
    (folder / "oak" / os.fsdecode(b"b\xe4ume.png")).write_bytes(draw(folder / "oak" / "9.png", 9).read_bytes())
    params.write_text(PARAMS.replace("layout:", "on_bad_image: skip\n  layout:"))
    assert_refused(run_manifest(params, folder), "not UTF-8 text")


@pytest.mark.slow
def test_the_manifest_stage_lists_what_it_skips(params, folder):
    params.write_text(PARAMS.replace("layout:", "on_bad_image: skip\n  layout:"))
    for name in ("bad.png", "Thumbs.db"):
        (folder / "oak" / name).touch()
    outcome = run_manifest(params, folder)
    assert outcome.returncode == 0, outcome.stderr
    _, *skipped = (params.parent / "skipped.csv").read_text().splitlines()
    assert skipped == ["oak/bad.png,the file has no bytes,"]
    assert "10 images of 2 classes: 6 for train, 2 for validation, 2 for test; 1 left out" in outcome.stdout
    assert "1 file ignored: hidden, or left behind by desktops" in outcome.stdout


@pytest.mark.slow
def test_the_manifest_stage_numbers_the_classes_and_draws_names_of_any_script(params, folder):
    (folder / "oak").rename(folder / "яблоко")
    (folder / "pine").rename(folder / "苹果")
    outcome = run_manifest(params, folder)
    assert outcome.returncode == 0, outcome.stderr
    with (params.parent / "class_distribution.csv").open(encoding="utf-8", newline="") as file:
        rows = [(row["number"], row["class"], row["split"], row["images"]) for row in csv.DictReader(file)]
    splits = (("train", "3"), ("validation", "1"), ("test", "1"))
    assert rows == [(number, name, *split) for number, name in (("0", "яблоко"), ("1", "苹果")) for split in splits]


@pytest.mark.slow
@pytest.mark.parametrize(("bits", "share"), [(10, "1/64"), (12, "1/16"), (14, "1/4"), (15, None), (16, None)])
def test_the_manifest_stage_warns_of_images_that_use_few_of_their_bits(params, folder, bits, share):
    for number, path in enumerate(sorted((folder / "pine").iterdir())):
        levels = np.random.default_rng(number).integers(0, 2**bits, (6, 8), np.uint16)
        levels[0] = 2**bits - 1
        Image.fromarray(levels).save(path)
    outcome = run_manifest(params, folder)
    assert outcome.returncode == 0, outcome.stderr
    expected = (
        f"warning: 5 of 5 images with 16 bits a channel use no more than {bits} of them, and are shown at {share} of"
    )
    assert (expected in outcome.stdout) == bool(share)
    assert ("warning" in outcome.stdout) == bool(share)


@pytest.mark.slow
@pytest.mark.parametrize(("levels", "count"), [((0, 1), 5), ((0, 2), 0)])
def test_the_manifest_stage_warns_of_masks_that_look_black(params, folder, levels, count):
    for number, path in enumerate(sorted((folder / "pine").iterdir())):
        mask = np.random.default_rng(number).integers(0, 2, (9, 8 + number))
        Image.fromarray(np.array(levels, np.uint8)[mask]).save(path)
    Image.new("L", (5, 4)).save(folder / "oak" / "0.png")
    outcome = run_manifest(params, folder)
    assert outcome.returncode == 0, outcome.stderr
    assert (f"warning: {count} of 10 images have the levels 0 and 1 only" in outcome.stdout) == bool(count)


def test_how_many_bits_are_used_is_said_of_the_image_and_not_of_its_thumbnail(folder):
    stars = np.zeros((300, 300), np.uint16)
    stars[::50, ::50] = 60000
    Image.fromarray(stars).save(folder / "oak" / "stars.png")
    with writing_thumbnails(folder.parent / "thumbnails.zip") as thumbnails:
        assert module.collect(folder, FAIL, thumbnails).used_bits == [16]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda path: draw(path, "other"), "changed since the manifest was written"),
        (lambda path: path.write_bytes(b""), "changed since the manifest was written; run `dvc repro`"),
        (lambda path: path.unlink(), "cannot be read: No such file or directory"),
    ],
    ids=["other image", "no bytes", "gone"],
)
def test_the_tensors_stage_names_a_file_that_is_not_what_the_manifest_says(params, folder, change, reason):
    for outcome in (run_manifest(params, folder), run_tensors(params, folder)):
        assert outcome.returncode == 0, outcome.stderr
    earlier = contents(params.parent)
    change(folder / "pine" / "2.png")
    assert_refused(run_tensors(params, folder), f"{folder / 'pine' / '2.png'}: {reason}")
    assert contents(params.parent) == earlier


@pytest.mark.slow
def test_the_tensors_stage_names_a_missing_manifest(params, folder):
    assert_refused(run_tensors(params, folder), "manifest.csv: no such file; `dvc repro` makes it")
    assert not (params.parent / "small.h5").exists()
