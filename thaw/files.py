"""Finding files, writing them whole or not at all, and naming them by their content."""

import csv
import hashlib
import io
import os
import re
import shutil
import socket
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import NoReturn

import psutil

from thaw.errors import UserError

# Names in lower case.
IGNORED = {
    *("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "$recycle.bin", "system volume information"),
    *("__macosx", "icon\r", "network trash folder", "temporary items", "lost+found"),
    *("@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "@sharebin", "@tmp", "__pycache__"),
}
# Copies that editors keep, what DVC says of data beside them, where Windows has a download from: also as WSL writes it.
IGNORED_ENDS = ("~", ".dvc", ":zone.identifier", "\uf03azone.identifier")

UNFINISHED = re.compile(r"\..*\.(?P<system>[0-9a-f]{8})-(?P<process>[0-9]+)\.partial(\..*)?", re.DOTALL)
"""What is not yet whole is named so: by the system and the process that write it."""
A_DAY = 24 * 60 * 60


def files_below(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the files in a folder, at any depth, and the files and folders in it that `is_ignored` names.

    Raises:
        UserError: a folder cannot be read, or is a link.
    """
    files: list[Path] = []
    ignored: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=refuse):
        ignored += [Path(parent) / name for name in sorted([*folders, *names]) if is_ignored(name)]
        folders[:] = sorted(one for one in folders if not is_ignored(one))
        for one in folders:
            if (Path(parent) / one).is_symlink():
                raise UserError(
                    f"{Path(parent) / one}: a link to a folder, behind which DVC does not look, so that changes there "
                    "would go unseen; put the files themselves in its place, such as by cp -rL"
                )
        files += [Path(parent) / name for name in sorted(names) if not is_ignored(name)]
    return files, ignored


def files_at(paths: Iterable[Path]) -> list[Path]:
    """Return the files that are named, and those in the folders that are named, at any depth; none twice.

    Raises:
        UserError: something cannot be read, or there is no file.
    """
    files: dict[Path, None] = {}
    for path in paths:
        try:
            path.stat()
        except OSError as error:
            refuse(error)
        files |= dict.fromkeys(files_below(path)[0] if path.is_dir() else [path])
    if not files:
        raise UserError(f"{', '.join(map(str, paths))}: no files are there")
    return list(files)


def is_ignored(name: str) -> bool:
    """Say whether a file or a folder is hidden, or is what desktops, network storage and tools leave behind.

    What stands for a file that is still in a cloud is not: a data set would be smaller than it seems.

    >>> [is_ignored(name) for name in ("oak.jpg", ".DS_Store", "Thumbs.db")]
    [False, True, True]
    """
    lower = name.lower()
    is_hidden = lower.startswith((".", "~$")) and not lower.endswith(".icloud")
    return is_hidden or lower in IGNORED or lower.endswith(IGNORED_ENDS)


def refuse(error: OSError) -> NoReturn:
    """Raise a `UserError` which says that the error's file or folder cannot be read."""
    raise UserError(f"{error.filename}: cannot be read: {error.strerror}")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block succeeds.

    Nobody ever sees a half-written file: when the block fails, `path` is what it was before. What killed processes left
    unfinished in the same folder is removed.

    >>> with replacing(Path("note.txt")) as temporary:
    ...     written = temporary.write_text("whole")
    >>> Path("note.txt").read_text()
    'whole'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}{unfinished(path.parent)}{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def unfinished(folder: Path) -> str:
    """Return the end of a name for what is not yet whole, once what killed processes left in the folder is removed."""
    _remove_unfinished(folder.absolute())
    return f".{_system()}-{os.getpid()}.partial"


@cache
def _remove_unfinished(folder: Path) -> None:
    """Remove, once in a process, what nobody finishes any more.

    Of processes of other machines and containers, whose numbers mean nothing here, that is what was not written to for
    a day.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if not (named := UNFINISHED.fullmatch(entry.name)):
                continue
            is_ours = named["system"] == _system() and not psutil.pid_exists(int(named["process"]))
            with suppress(OSError):
                if not is_ours and time.time() - entry.stat(follow_symlinks=False).st_mtime < A_DAY:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    Path(entry).unlink()


@cache
def _system() -> str:
    """Return what the processes that can see each other have in common: the machine, and the container."""
    container = ""
    with suppress(OSError):
        container = str(Path("/proc/self/ns/pid").readlink())
    return f"{zlib.crc32(f'{socket.gethostname()} {container}'.encode()):08x}"


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 with Unix line ends, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_csv(path: Path, columns: list[str], rows: Iterable[Iterable[str]]) -> None:
    """Write a CSV file as UTF-8 with Unix line ends, whole or not at all."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_text(path, text.getvalue())


def sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
