"""Where what saves time lies between runs, and how large it may become; no result depends on it."""

import errno
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path

from thaw.errors import UserError

FOLDER, LIMIT = "THAW_CACHE", "THAW_CACHE_LIMIT"
DEFAULT_GIGABYTES = 20.0


def project_folder() -> Path:
    """Return the folder for what is one project's: interrupted trainings, how long stages took, what is set aside."""
    named = Path(os.environ.get(FOLDER) or ".thaw")
    with suppress(RuntimeError):  # there is no home
        return named.expanduser()  # which not every place expands that sets variables
    return named


def shared_folder() -> Path:
    """Return the folder for what is named by all that it is made of, so that all projects of a user can share it.

    So a clone, a worktree, or an experiment in DVC's queue begins with what was computed in another. Where the user's
    folder for caches cannot be written, it is the project's folder.
    """
    if os.environ.get(FOLDER):
        return project_folder()
    caches = os.environ.get("XDG_CACHE_HOME") or ("~/Library/Caches" if sys.platform == "darwin" else "~/.cache")
    try:
        folder = Path(caches, "thaw").expanduser()
    except RuntimeError:  # there is no home
        return project_folder()
    there = next(path for path in (folder, *folder.parents) if os.access(path, os.F_OK))
    is_writable = folder.is_absolute() and there.is_dir() and os.access(there, os.W_OK | os.X_OK)
    return folder if is_writable else project_folder()


def rows_folder() -> Path:
    """Return the folder for what is kept for each image and each network, as large as `limit` allows."""
    return shared_folder() / "rows"


def limit() -> int:
    """Return how many bytes `rows_folder` may have; nothing is kept if none.

    Raises:
        UserError: the limit in the environment is no number from 0.
    """
    text = os.environ.get(LIMIT, "")
    try:
        most = int((float(text) if text else DEFAULT_GIGABYTES) * 10**9)
    except (ValueError, OverflowError):
        most = -1
    if most < 0:
        raise UserError(f"{LIMIT}: expected a number of gigabytes, got {text!r}")
    return most


def stored() -> list[tuple[int, int, Path]]:
    """Return what is in `rows_folder`, first what was not used for the longest time.

    Returns:
        For each file, when it was last used, in nanoseconds, how many bytes it has, and where it is.
    """
    found = []
    with suppress(OSError):  # other processes make room, too, and people remove folders
        for path in rows_folder().glob("*/*"):
            with suppress(OSError):
                stat = path.stat()
                found.append((stat.st_mtime_ns, stat.st_size, path))
    return sorted(found)


def room(total: int) -> int:
    """Return how many bytes `rows_folder` may have, of which it has `total`; half of what is free stays free.

    Raises:
        OSError: the folder is not there.
    """
    return min(limit(), (total + shutil.disk_usage(rows_folder()).free) // 2)


def make_room(count: int) -> None:
    """Remove what was not used for the longest time, until `count` bytes fit, as `room` says.

    What cannot be removed, such as another user's, stays.

    Raises:
        OSError: they do not fit, or the folder is not there.
    """
    files = stored()
    total = sum(size for _, size, _ in files)
    most = room(total) - count
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if most < 0:
        raise error
    for _, size, path in files:
        if total <= most:
            return
        try:
            path.unlink(missing_ok=True)
            total -= size
        except OSError as refused:
            error = refused
    if total > most:
        raise error
