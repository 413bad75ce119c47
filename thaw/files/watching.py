"""Seeing that what a process reads does not change meanwhile."""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from thaw.errors import UserError
from thaw.files.finding import files_below
from thaw.files.reading import sha256

SMALL = 2**20
"""Bytes of a file that is known by its content, not by its age: it may be saved again as it was."""
A_MINUTE = 60 * 10**9
"""By which the clock of a file server may be ahead, in nanoseconds."""
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class _Run:
    """What a process has read and written."""

    watched: dict[str, tuple[Callable[[], object], object]]
    """By what it is called: how to look at it, and what was seen."""
    written: set[Path]


_runs: list[_Run] = []
"""That which is under way, if any."""


@contextmanager
def unchanged(paths: Iterable[Path]) -> Iterator[None]:
    """Make it an error if what is read in the block is not the same at its end, and remove what it wrote of `paths`.

    DVC notes what a stage was made of when it has ended: it would take for done what was never run.

    Args:
        paths: files and folders; those that the block writes are not watched. Of params files, entries are, as they are
            read.

    Raises:
        UserError: something has changed.
    """
    run = _Run({}, set())
    _runs.append(run)
    paths = [*paths]
    try:
        for path in paths:
            watch_path(path)
        yield
        require_unchanged()
    except UserError:
        for path in run.written.intersection(paths) if _has_changed() else ():
            path.unlink(missing_ok=True)
        raise
    finally:
        _runs.remove(run)


def watch(name: str, look: Callable[[], T]) -> T:
    """Return what is seen; inside of `unchanged`, it has to be the same at the end. None is nothing to watch."""
    seen = look()
    for run in _runs if seen is not None else ():
        run.watched[name] = look, seen
    return seen


def watch_path(path: Path) -> None:
    """Watch a file, or all that is in a folder, if something is there."""
    if path.suffix != ".yaml":
        watch(str(path), lambda: _identity(path))


def watch_late(path: Path, began: int) -> None:
    """Watch a file that was read at some time since `began`, in nanoseconds: since then, it must not have changed.

    One that is watched already stays so. A time far ahead is none at which it changed: the clock was set back since.
    """

    def is_as_it_was() -> bool:
        return path.exists() and not began < path.stat().st_mtime_ns < time.time_ns() + A_MINUTE

    for run in _runs:
        run.watched.setdefault(str(path), (is_as_it_was, True))


def unwatch(path: Path) -> None:
    """Leave a file or folder out of what is watched, as one that the process itself writes."""
    for run in _runs:
        run.watched.pop(str(path), None)
        run.written.add(path)


def require_unchanged() -> None:
    """Raise a `UserError` if something that is watched is not as it was."""
    for name, (look, seen) in [watched for run in _runs for watched in run.watched.items()]:
        if look() != seen:
            raise UserError(
                f"{name}: changed while it was in use, so that nothing is written; put it back as it was, or leave it "
                "as it is, and run `dvc repro` again"
            )


def _has_changed() -> bool:
    try:
        require_unchanged()
    except UserError:
        return True
    return False


def _identity(path: Path) -> object:
    """Return by what a file, or what is in a folder, is known; None if nothing is there."""
    try:
        if not path.is_dir():
            return sha256(path) if path.stat().st_size <= SMALL else stamp(path)
        stamps = hashlib.sha256()
        for file in files_below(path)[0]:
            stamps.update(f"{file}\0{stamp(file)}\n".encode(errors="surrogateescape"))
        return stamps.hexdigest()
    except OSError:
        return None


def stamp(path: Path) -> tuple[int, ...]:
    """Return by what a file is known to be the one that it was, without reading it."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ino
