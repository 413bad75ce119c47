"""Finding files, writing them whole or not at all, and naming them by their content."""

import csv
import errno
import hashlib
import io
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from thaw.errors import UserError

# Names in lower case.
IGNORED = {
    *("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "$recycle.bin", "system volume information"),
    *("__macosx", "icon\r", "network trash folder", "temporary items", "lost+found"),
    *("@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "@sharebin", "@tmp", "__pycache__"),
}
# Copies that editors keep, what DVC says of data beside them, where Windows has a download from: also as WSL writes it.
IGNORED_ENDS = ("~", ".dvc", ":zone.identifier", "\uf03azone.identifier")

LARGEST_FILE = 2**30
"""Bytes of a file that is read whole, such as an image: what has more is refused before memory is taken for it."""
KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}
# Errors that only writing has; the others can be of a file that is read meanwhile.
OF_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


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
def replacing(path: Path, needed: int | None = None) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block succeeds.

    Nobody ever sees a half-written file: when the block fails, `path` is what it was before.

    Args:
        path: where to.
        needed: how many bytes will be written, if that is known, for the message.

    Raises:
        OSError: it cannot be written; it names `path`.

    >>> with replacing(Path("note.txt")) as temporary:
    ...     written = temporary.write_text("whole")
    >>> Path("note.txt").read_text()
    'whole'
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        if error.errno in OF_WRITING or error.filename in map(str, (temporary, path, path.parent)):
            error.filename, error.filename2 = str(path), None
            _note_room(error, path.parent, needed)
        raise
    finally:
        with suppress(OSError):  # what forbids to remove it forbade to write it, which is told
            temporary.unlink(missing_ok=True)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield an empty folder for files that are needed for as long as the block lasts.

    Raises:
        OSError: there is no place for it, or no room in it; it names the place.
    """
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            yield Path(folder)
    except OSError as error:
        if error.errno in OF_WRITING or error.filename is None:
            error.filename, error.filename2 = f"the folder for temporary files, {tempfile.gettempdir()}", None
            _note_room(error, Path(tempfile.gettempdir()), None)
            error.add_note("TMPDIR can name another one")
        raise


def _note_room(error: OSError, folder: Path, needed: int | None) -> None:
    """Have a full disk's error say how much was needed, and how much is free."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        with suppress(OSError):
            free = f"{shutil.disk_usage(folder).free / 10**6:,.1f} MB are free there"
            error.add_note(f"{needed / 10**6:,.1f} MB are needed, {free}" if needed else free)


def require_regular(path: Path) -> os.stat_result:
    """Return what the system says of a file that can be read to its end: no pipe, socket, device or folder.

    Raises:
        OSError: it is something else, or not there.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        code = errno.EISDIR if stat.S_ISDIR(found.st_mode) else errno.EINVAL
        raise OSError(code, f"{_kind(found)}, where a file is expected", str(path))
    return found


def _kind(found: os.stat_result) -> str:
    return KINDS.get(stat.S_IFMT(found.st_mode), "something else")


def read_bytes(path: Path, most: int = LARGEST_FILE) -> bytes:
    """Return the bytes of a file that can be read to its end, and is not too large.

    Raises:
        OSError: it cannot be read, is no such file, or has more than `most` bytes.
    """
    found = require_regular(path)
    if found.st_size > most:
        raise OSError(errno.EFBIG, f"more than {most:,} bytes", str(path))
    # Of a file that grows, what it was; and what was put in its place meanwhile makes nobody wait.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        return file.read(found.st_size)


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
    require_regular(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
