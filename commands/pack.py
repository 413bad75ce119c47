"""`thaw pack`: a data set of many files as a few archives."""

import argparse
import os
import shlex
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from stat import S_IFREG
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from commands.output import counted
from thaw.errors import UserError, reasons
from thaw.files.writing import unfinished
from thaw.images.decoding import UnreadableImageError
from thaw.images.reading import Contents, contents, found_at, read_file
from thaw.images.reading.archives import NO_TEXT, is_text
from thaw.progress import progress
from thaw.threads import on_all_cores

LEAST, MORE, MOST = 128 * 10**6, 128 * 10**6, 512 * 10**6
"""The bytes of an archive's files at least (but before a large one), that follow on average, at most (or one file)."""
UNIX = 3
BESIDE = (".csv", ".npy")
"""Files that are not packed: tables change more often than images, and arrays are large already."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("folder", type=Path, help="of a data set, in any layout")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="a new folder; FOLDER-packed by default")


def main(folder: Path, out: Path | None = None) -> None:
    """Write a data set's files into zip archives, which every layout reads as if they were unpacked where they are.

    DVC then hashes, pushes and pulls a few files of some hundred megabytes. They are the same bytes for the same files.
    Tables and arrays stay files; archives are packed anew; hidden files are left out. Nothing of FOLDER is changed.
    """
    out = out or Path(f"{folder.resolve() if folder.name in ('', '..') else folder}-packed")
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    if Path(os.path.realpath(out)).is_relative_to(os.path.realpath(folder)):
        raise UserError(f"{out}: inside of the folder that is packed; give --out the name of another")
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"{out}: there is something already; remove it, or give --out the name of a new folder")
    inside = contents(folder)
    files = sorted(inside.files)
    if not files:
        raise UserError(f"{folder}: no files are there")
    for path in files:
        if not is_text(path):
            raise UserError(f"{folder}: {path!r} {NO_TEXT}; rename it")
    beside = [path for path in files if path.lower().endswith(BESIDE) and (folder / path).is_file()]
    sizes = {path: _size(inside, path) for path in sorted({*files}.difference(beside))}
    try:
        with _new(out.resolve() if out.is_symlink() else out) as folder_of_parts:
            archives = _write(folder, list(parts(sizes.items())), folder_of_parts)
            for path in beside:
                _copy(folder / path, folder_of_parts / path)
    except OSError as error:
        raise UserError(f"{out}: cannot be written: {reasons(error)}") from None
    print(f"{out}: {counted(len(sizes), 'file')} in {counted(archives, 'archive')}, {len(beside)} beside")
    add = shlex.join(["dvc", "add", str(out)])
    print(f"It takes the place of {folder} in dataset.path, with the same rows and scores; then `{add}`.")


def parts(files: Iterable[tuple[str, int]]) -> Iterator[list[str]]:
    """Divide files, each with its bytes, into those of one archive each, in their order.

    Where an archive ends is told by a hash of its last file's path, as in content-defined chunking (Muthitacharoen et
    al. 2001, LBFS): soon after a file that was added or removed, the archives are those of before, which DVC has.

    >>> list(parts([("1.jpg", 300_000_000), ("2.jpg", 300_000_000)]))
    [['1.jpg'], ['2.jpg']]
    """
    part: list[str] = []
    total = 0
    for path, size in files:
        if part and total + size > MOST:
            yield part
            part, total = [], 0
        part.append(path)
        total += size
        if total >= LEAST and int.from_bytes(sha256(path.encode()).digest()[:8]) < size / MORE * 2**64:
            yield part
            part, total = [], 0
    if part:
        yield part


def _size(inside: Contents, path: str) -> int:
    member = inside.held.get(path)
    try:
        return member.size if member else (inside.folder / path).stat().st_size
    except OSError as error:
        raise UserError(f"{inside.folder / path}: cannot be read: {error.strerror}") from None


def _write(folder: Path, divided: list[list[str]], out: Path) -> int:
    """Write archives of a folder's files; return how many they are."""

    def read(path: str) -> bytes:
        try:
            return read_file(folder, path)
        except OSError as error:
            raise UserError(f"{found_at(folder, path)}: cannot be read: {error.strerror}") from None
        except UnreadableImageError as error:
            raise UserError(f"{found_at(folder, path)}: {error}") from None

    names = [path for part in divided for path in part]
    data = on_all_cores(read, names)
    none: list[str] = []
    with progress(none, len(names), "packing", "files") as bar:
        for number, part in enumerate(divided):
            with ZipFile(out / f"part-{number:03}.zip", "w", ZIP_STORED) as archive:
                for path in part:
                    entry = ZipInfo(path)  # of 1980
                    entry.create_system, entry.external_attr = UNIX, (S_IFREG | 0o644) << 16
                    archive.writestr(entry, next(data))
                    bar.update()
    return len(divided)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        read = source.open("rb")
    except OSError as error:
        raise UserError(f"{source}: cannot be read: {error.strerror}") from None
    with read, target.open("wb") as written:
        shutil.copyfileobj(read, written)


@contextmanager
def _new(folder: Path) -> Iterator[Path]:
    """Make a folder: whole, under its name, when the block succeeds."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}{unfinished(folder.parent)}")
    temporary.mkdir()
    try:
        yield temporary
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
