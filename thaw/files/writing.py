"""Writing files whole or not at all."""

import errno
import os
import re
import shutil
import socket
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import psutil

from thaw.files.watching import unwatch

# Errors that only writing has; the others can be of a file that is read meanwhile.
OF_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
UNFINISHED = re.compile(r"\..*\.(?P<system>[0-9a-f]{8})-(?P<process>[0-9]+)\.partial(\..*)?", re.DOTALL)
"""What is not yet whole is named so: by the system and the process that write it."""
A_DAY = 24 * 60 * 60
TEMPORARY = "the folder for temporary files"
"""How that is told, which may be on another disk than what is written meanwhile."""


@contextmanager
def replacing(path: Path, needed: int | None = None) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block succeeds.

    Nobody ever sees a half-written file: when the block fails, `path` is what it was before. What killed processes left
    unfinished in the same folder is removed.

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
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.stem}{unfinished(path.parent)}{path.suffix}")
        try:
            yield temporary
            temporary.replace(path)
            unwatch(path)
        finally:
            with suppress(OSError):  # what forbids to remove it forbade to write it, which is told
                temporary.unlink(missing_ok=True)
    except OSError as error:
        place = Path(str(error.filename or path))  # whatever is read meanwhile names its file
        is_elsewhere = place.name.endswith(TEMPORARY)
        if (
            (error.errno in OF_WRITING and not is_elsewhere)
            or place in (path, path.parent)
            or UNFINISHED.fullmatch(place.name)
        ):
            error.filename, error.filename2 = str(path), None
            _note_room(error, path.parent, needed)
        raise


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
        is_nowhere = error.filename is None and error.errno == errno.ENOENT  # says tempfile
        if error.errno in OF_WRITING or is_nowhere:
            place = tempfile.tempdir or os.environ.get("TMPDIR", "/tmp")
            error.filename, error.filename2 = f"{place}, {TEMPORARY}", None
            _note_room(error, Path(place), None)
            error.add_note("TMPDIR can name another one")
        raise


def _note_room(error: OSError, folder: Path, needed: int | None) -> None:
    """Have a full disk's error say how much was needed, and how much is free."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        with suppress(OSError):
            free = f"{shutil.disk_usage(folder).free / 10**6:,.1f} MB are free there"
            error.add_note(f"{needed / 10**6:,.1f} MB are needed, {free}" if needed else free)


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
