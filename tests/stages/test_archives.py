"""Data sets in archives: the same rows and pixels as from files, and what no archive may hold."""

import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.tensors import decode_all
from tests.stages.test_layouts import ARRAYS, FOOD, GIVEN, TABLE, arrays, collect, food, lights, lines, refused, table
from tests.stages.test_manifest import draw
from thaw.errors import UserError
from thaw.formats.thumbnails import reading_thumbnails
from thaw.images.decoding import UnreadableImageError
from thaw.images.reading import images_at, read_image
from thaw.images.reading.archives import BOMB_BYTES, members
from thaw.params.tensors import Tensors

KINDS = ["stored.zip", "deflated.zip", "gnu.tar", "pax.tar"]


def pack(archive: Path, files: dict[str, bytes]) -> None:
    """Write an archive of the kind that its name says."""
    kind = archive.name
    if kind.endswith(".zip"):
        method = zipfile.ZIP_DEFLATED if kind.startswith("deflated") else zipfile.ZIP_STORED
        with zipfile.ZipFile(archive, "w", method) as zipped:
            for name, content in files.items():
                zipped.writestr(name, content)
        return
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT if kind.startswith("pax") else tarfile.GNU_FORMAT) as tar:
        for name, content in files.items():
            tar.addfile(sized(name, len(content)), io.BytesIO(content))


def sized(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.type = size, kind
    return entry


def pack_every(step: int, folder: Path, kind: str) -> None:
    """Put all files of a folder into an archive at its top, or every other one, and another file into one beside it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    below = [path for path in files[1::2] if path.parent != folder][: step - 1]
    for place, paths in [(folder, files[::step]), *((path.parent, [path]) for path in below)]:
        pack(place / kind, {path.relative_to(place).as_posix(): path.read_bytes() for path in paths})
        for path in paths:
            path.unlink()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    return tmp_path / "images"


def trees(folder: Path) -> None:
    for label in ("oak", "silver birch", "Bäume"):
        for number in range(5):
            draw(folder / label / ("long " * 30 if number == 3 else "") / f"{number}.png", f"{label} {number}")
    draw(folder / "oak" / "photo.npy#3", "no row of an array")
    (folder / "oak" / "again.png").write_bytes((folder / "oak" / "1.png").read_bytes())
    (folder / "oak" / "bad.png").write_bytes(b"no image")


LAYOUTS: dict[str, tuple[Callable[[Path], object], dict[str, Any]]] = {
    "class_folders": (trees, {"on_bad_image": "skip", "near_duplicates": 20}),
    "folders of splits": (lights, {"split": GIVEN}),
    "label_prefix": (food, FOOD),
    "csv": (lambda at: table(at, lines()), TABLE),
    "npy": (arrays, ARRAYS),
}


@pytest.mark.parametrize("step", [1, 2], ids=["all", "half"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_lies_in_archives_is_what_files_were(folder: Path, layout: str, kind: str, step: int) -> None:
    make, dataset = LAYOUTS[layout]
    make(folder)
    files = [path for path in folder.rglob("*") if path.is_file()]
    expected = collect(folder, **dataset)
    pixels = list(decode(folder, expected.rows))
    pack_every(step, folder, kind)
    assert len([path for path in folder.rglob("*") if path.is_file()]) < len(files) or layout == "npy"
    if layout == "npy" and kind == "deflated.zip":
        assert "images.npy: compressed, so that no row" in refused(folder, **dataset).replace("labels", "images")
        return
    found = collect(folder, **dataset)
    assert (found.rows, found.skipped) == (expected.rows, expected.skipped)
    assert found.near_duplicates == expected.near_duplicates
    np.testing.assert_array_equal(list(decode(folder, found.rows)), pixels)
    with reading_thumbnails(folder.parent / "thumbnails.zip") as thumbnails:
        assert all(thumbnails[row.sha256].size for row in found.rows)
    (note,) = (note for note in found.notes if "read as if unpacked" in note)
    assert note not in expected.notes


def decode(folder: Path, rows: list[Any]) -> Any:
    yield from np.concatenate(
        list(
            decode_all(
                folder,
                [(row.path, row.sha256) for row in rows],
                Tensors(pixels=[6, 5], resize="pad", normalization="none"),
            )
        )
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [".DS_Store", "__MACOSX/oak/._1.png", "oak/Thumbs.db", "oak/.git/x.zip"])
def test_what_desktops_leave_behind_is_ignored_in_archives_too(folder: Path, kind: str, name: str) -> None:
    trees(folder)
    (folder / "oak" / "bad.png").unlink()
    expected = collect(folder)
    pack(folder / kind, {name: b"of no interest", f"{name}2": b"", "./": b""} if "DS" in name else {name: b"x"})
    found = collect(folder)
    assert found.rows == expected.rows
    if not name.endswith("zip"):
        assert any("ignored: hidden, or left behind" in note for note in found.notes)


def test_a_bad_image_is_named_with_its_archive(folder: Path) -> None:
    trees(folder)
    pack_every(1, folder, "stored.zip")
    assert f"\n  {folder / 'stored.zip'}: oak/bad.png: not an image in one of the formats" in refused(folder)


@pytest.mark.parametrize("kind", ["stored.zip", "deflated.zip"])
def test_bytes_that_are_damaged_in_a_zip_archive_are_a_bad_file(folder: Path, kind: str) -> None:
    trees(folder)
    (folder / "oak" / "bad.png").unlink()
    content = (folder / "oak" / "2.png").read_bytes()
    pack_every(1, folder, kind)
    written = bytearray((folder / kind).read_bytes())
    with zipfile.ZipFile(folder / kind) as zipped:
        at = zipped.getinfo("oak/2.png").header_offset + 30 + len("oak/2.png") + 100
    written[at] ^= 1
    (folder / kind).write_bytes(written)
    assert f"{folder / kind}: oak/2.png: damaged in the archive" in refused(folder)
    skipped = collect(folder, on_bad_image="skip").skipped
    assert ("oak/2.png", "damaged in the archive") in [(one.path, one.reason) for one in skipped]
    assert content not in written


@pytest.mark.parametrize("where", ["archive", "folder", "file", "same"])
def test_a_path_that_is_there_twice_is_an_error_that_names_both_places(folder: Path, where: str) -> None:
    trees(folder)
    image = (folder / "oak" / "1.png").read_bytes()
    if where != "file":
        (folder / "oak" / "1.png").unlink()
    pack(folder / "a.zip", {"oak/1.png": image, "./oak/1.png": image} if where == "same" else {"oak/1.png": image})
    if where == "archive":
        pack(folder / "b.tar", {"./oak/1.png": image})
    if where == "folder":
        pack(folder / "oak" / "b.tar", {"1.png": image})
    b = folder / "oak" / "b.tar" if where == "folder" else folder / "b.tar"
    assert refused(folder) == {
        "file": f"{folder / 'a.zip'}: 'oak/1.png' is also {folder / 'oak' / '1.png'}: remove one of them",
        "same": f"{folder / 'a.zip'}: './oak/1.png' is there twice: unpack it, put that right, and pack its folder by "
        "`thaw pack`",
    }.get(
        where,
        f"{b}: {'1.png' if where == 'folder' else 'oak/1.png'!r} is also in {folder / 'a.zip'}: remove one of them, or "
        "put each archive into a folder of its own, as it is read as if unpacked where it lies",
    )


def zipped(name: str, content: bytes = b"x", **changed: Any) -> bytes:
    """Return a zip archive of one file, with other values in what its directory says of it."""
    entry = zipfile.ZipInfo(name)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(entry, content, changed.pop("method", zipfile.ZIP_DEFLATED))
        for key, value in changed.items():
            setattr(entry, key, value)
    return file.getvalue()


def tarred(*entries: tarfile.TarInfo, **options: Any) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", **options) as archive:
        for entry in entries:
            archive.addfile(entry, io.BytesIO(bytes(max(entry.size, 0))))
    return file.getvalue()


def linked(kind: bytes) -> tarfile.TarInfo:
    entry = sized("oak/1.png", 0, kind)
    entry.linkname = "/etc/passwd"
    return entry


def negative() -> bytes:
    """Return a tar archive whose member ends before it begins, at which Python's own reader goes round for ever."""
    entry = sized("oak/.1.png", 0)
    header = bytearray(entry.tobuf())
    header[124:136] = b"\xff" * 10 + b"\xfe\x00"
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header[:512]):06o}\0 ".encode()
    return tarred(sized("oak/0.png", 0))[:512] + bytes(header[:512]) + bytes(1024)


WHOLE = tarred(sized("oak/1.png", 700), sized("oak/2.png", 700))
WRONG = {
    "outside.zip": (zipped("../1.png"), "'../1.png' leads out of the archive's folder"),
    "inside and out.zip": (zipped("oak/../../1.png"), "'oak/../../1.png' leads out"),
    "absolute.zip": (zipped("/oak/1.png"), "'/oak/1.png' leads out"),
    "outside.tar": (tarred(sized("../1.png", 1)), "'../1.png' leads out"),
    "absolute.tar": (tarred(sized("/oak/1.png", 1)), "'/oak/1.png' leads out"),
    "windows.zip": (zipped("oak\\1.png", create_system=0), r"'oak\\1.png' has \ between folders instead of /"),
    "latin.zip": (zipped("é.png").replace("é".encode(), b"e\xe9").replace(b"\0\x08\x08\0", b"\0\0\x08\0"), "not UTF-8"),
    "latin.tar": (tarred(sized("\udce9.png", 1)), r"'\udce9.png' is a name that is not UTF-8 text"),
    "lines.tar": (tarred(sized("a\nb.png", 1)), r"'a\nb.png' is a name that is not UTF-8 text or has control"),
    "zero.zip": (
        zipped("a_.png").replace(b"a_.png", b"a\0.png"),
        r"'a\x00.png' is a name that is not UTF-8 text or has",
    ),
    "encrypted.zip": (zipped("oak/1.png", flag_bits=1), "'oak/1.png' is encrypted"),
    "link.zip": (zipped("oak/1.png", external_attr=0o120777 << 16), "'oak/1.png' is a link"),
    "pipe.zip": (zipped("oak/1.png", external_attr=0o010777 << 16), "'oak/1.png' is neither a file nor a folder"),
    "link.tar": (tarred(linked(tarfile.SYMTYPE)), "'oak/1.png' is a link"),
    "hard link.tar": (tarred(linked(tarfile.LNKTYPE)), "'oak/1.png' is a link"),
    "pipe.tar": (tarred(sized("oak/1.png", 0, tarfile.FIFOTYPE)), "'oak/1.png' is neither a file nor a folder"),
    "method.zip": (zipped("oak/1.png", method=zipfile.ZIP_LZMA), "'oak/1.png' is compressed by the method 14, not by"),
    "bomb.zip": (
        zipped("oak/1.png", bytes(BOMB_BYTES // 100), file_size=BOMB_BYTES + 1),
        f"'oak/1.png' would become {BOMB_BYTES + 1:,} bytes from ",
    ),
    "overlapping.zip": (zipped("oak/1.png", compress_size=999), "'oak/1.png' lies where something else does"),
    "nested.zip": (zipped("oak/more.tar"), "'oak/more.tar' is an archive in an archive"),
    "nested.tar": (tarred(sized("oak/more.zip", 1)), "'oak/more.zip' is an archive in an archive"),
    "twice.tar": (tarred(sized("oak/1.png", 1), sized("oak/1.png", 1)), "'oak/1.png' is there twice"),
    "pointer.zip": (b"version https://git-lfs.github.com/spec/v1\n", "no archive, but what Git LFS has in its place"),
    "pointer.tar": (b"version https://git-lfs.github.com/spec/v1\n", "`git lfs pull` fetches it"),
    "cut.tar": (WHOLE[:2000], "truncated, damaged or no archive: get it once more, or remove it"),
    "cut inside.tar": (WHOLE[:2300], "'oak/2.png' is cut off, as the archive ends there"),
    "cut between.tar": (WHOLE[:1536], "truncated, damaged or no archive"),
    "header.tar": (WHOLE[:1540] + b"?" + WHOLE[1541:], "truncated, damaged or no archive"),
    "joined.tar": (WHOLE + WHOLE, "truncated, damaged or no archive"),
    "negative.tar": (negative(), "truncated, damaged or no archive"),
    "cut.zip": (zipped("oak/1.png")[:-30], "truncated, damaged or no archive"),
    "swallowed.zip": (zipped("oak/1.png", comment=b"PK\1\2" + bytes(42)), "truncated, damaged or no archive"),
    "empty.zip": (b"", "truncated, damaged or no archive"),
    "empty.tar": (b"", "truncated, damaged or no archive"),
    "text.tar": (b"no archive " * 100, "truncated, damaged or no archive"),
    "gzip.tar": (b"\x1f\x8b\x08" + bytes(600), "compressed as a whole: unpack it, and pack its folder by `thaw pack`"),
    "whole.tar.gz": (b"", "compressed as a whole"),
    "whole.7z": (b"", "compressed as a whole"),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_archive_that_cannot_be_read_is_named_with_the_member(folder: Path, name: str) -> None:
    trees(folder)
    content, words = WRONG[name]
    (folder / name).write_bytes(content)
    text = refused(folder, on_bad_image="skip")
    assert text.startswith(f"{folder / name}: ")
    assert words in text
    assert "\n" not in text


@pytest.mark.parametrize("size", [10, 10**6 - 1, 10**6 + 1])
def test_a_member_that_lies_about_its_size_is_a_bad_file(tmp_path: Path, size: int) -> None:
    (tmp_path / "a.zip").write_bytes(zipped("oak/1.png", bytes(10**6), file_size=size))
    (member,) = members(tmp_path / "a.zip").values()
    assert member
    with pytest.raises(UnreadableImageError, match="damaged in the archive"):
        member.read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_no_damage_hides_a_member(tmp_path: Path, kind: str) -> None:
    """Whatever single byte is another, each file is there with its bytes, has other bytes in tar, or is an error."""
    files = {f"oak/{number}.png": bytes([number]) * 40 for number in range(4)}
    pack(tmp_path / kind, files)
    whole = (tmp_path / kind).read_bytes()
    random, damaged = np.random.default_rng(0), tmp_path / kind
    ends = len(whole) if kind.endswith("zip") else 2048 * 2
    for place in random.choice(ends, 120, replace=False):
        changed = bytearray(whole)
        changed[place] ^= int(random.integers(1, 256))
        damaged.write_bytes(changed)
        try:
            found = members(damaged)
        except UserError:
            continue
        assert len(found) == len(files)


def test_predictions_see_what_is_in_archives_as_if_it_were_unpacked(folder: Path) -> None:
    trees(folder)
    (folder / "oak" / ".hidden.png").write_bytes(b"")
    expected = {str(path): path.read_bytes() for path in images_at([folder])}
    pack_every(2, folder, "deflated.zip")
    assert {str(one): one.read_bytes() for one in images_at([folder])} == expected
    inside = [str(one) for one in images_at([folder / "deflated.zip"])]
    assert {*inside} < {*expected}


def test_an_archive_is_no_data_set_but_a_folder_that_holds_it_is(folder: Path) -> None:
    pack(folder / "a.zip", {"photos/oak/1.png": b"", "photos/elm/1.png": b""})
    assert "a.zip: an archive, no folder; dataset.path in params.yaml names the folder" in refused(folder / "a.zip")
    assert refused(folder).endswith(
        "the only folder is 'photos', and classes seem to be in there: unpack it, and pack that folder by `thaw pack`"
    )


def test_archives_that_are_classes_belong_into_folders_of_their_own(folder: Path) -> None:
    for number, label in enumerate(("oak", "elm")):
        pack(folder / f"{label}.zip", {f"{number}.png": b""})
    assert "archives are read as if unpacked where they lie: put each into the folder of its class" in refused(folder)


def test_archives_that_are_splits_are_told_to_be_mixed(folder: Path) -> None:
    trees(folder)
    (folder / "oak" / "bad.png").unlink()
    pack(folder / "Train.zip", {})
    assert not [one for one in collect(folder).notes if "split anew" in one]
    pack(folder / "test.tar", {})
    (note,) = (one for one in collect(folder).notes if "split anew" in one)
    assert note.startswith("warning: Train.zip, test.tar are read as one data set, which is split anew; to keep")


def test_an_archive_that_changes_under_way_is_a_bad_file(folder: Path) -> None:
    trees(folder)
    (folder / "oak" / "bad.png").unlink()
    pack_every(1, folder, "gnu.tar")
    rows = collect(folder).rows
    with (folder / "gnu.tar").open("r+b") as file:
        file.seek(600)
        file.write(os.urandom(40))
    with pytest.raises(UserError, match=r"gnu\.tar: .*png: changed since the manifest was written; run `dvc repro`"):
        list(
            decode_all(
                folder,
                [(row.path, row.sha256) for row in rows],
                Tensors(pixels=[6, 5], resize="pad", normalization="none"),
            )
        )
    (folder / "gnu.tar").unlink()
    with pytest.raises(OSError, match="No such file"):
        read_image(folder, rows[0].path)
