"""Finding files, writing them whole or not at all, and naming them by their content."""

import csv
import errno
import hashlib
import os
import re
import shutil
import socket
import stat
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn, TypeVar

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
DIGITS = 6
"""Decimal places of scores that are written: what is behind them differs from one kind of processor to another."""
# What Python and the libraries raise of files whose bytes are others than those that were written.
DAMAGE = (
    *(ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError, EOFError),
    *(zipfile.BadZipFile, zlib.error, csv.Error),
)
ZEROS = "sha256:" + "0" * 64
SEAL = re.compile(r"(?:of (\S+) )?(?:by ([0-9a-f]{64}) )?sha256:([0-9a-f]{64})")

SMALL = 2**20
"""Bytes of a file that is known by its content, not by its age: it may be saved again as it was."""
T = TypeVar("T")
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
        place = Path(str(error.filename))
        if error.errno in OF_WRITING or place in (path, path.parent) or UNFINISHED.fullmatch(place.name):
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
        if error.errno in OF_WRITING or error.filename is None:
            place = tempfile.tempdir or os.environ.get("TMPDIR", "/tmp")
            error.filename, error.filename2 = f"{place}, the folder for temporary files", None
            _note_room(error, Path(place), None)
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

    One that is watched already stays so.
    """
    for run in _runs:
        run.watched.setdefault(str(path), (lambda: path.exists() and path.stat().st_mtime_ns <= began, True))


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
            return sha256(path) if path.stat().st_size <= SMALL else _stamp(path)
        stamps = hashlib.sha256()
        for file in files_below(path)[0]:
            stamps.update(f"{file}\0{_stamp(file)}\n".encode(errors="surrogateescape"))
        return stamps.hexdigest()
    except OSError:
        return None


def _stamp(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ino


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


def write_csv(path: Path, columns: list[str], rows: Iterable[Iterable[str]], by: str = "") -> None:
    """Write a CSV file as UTF-8 with Unix line ends, whole or not at all, and sealed.

    Behind the columns stands an empty one, whose name is the seal: which file of the project it is, by what it was
    made, and the SHA-256 of the file as it is with zeros in that number's place. So tools read the table as any other.

    Args:
        by: SHA-256 of what made it; none if that is of no interest.

    >>> write_csv(Path("trees.csv"), ["name"], [["oak"], ["fig"]])
    >>> print(Path("trees.csv").read_text(), end="")
    name,sha256:fc43312ed898b3ba6e24f18aca6ee57c0e5b207679c82be9750dfde15c4d6231
    oak,
    fig,
    """
    content, of = hashlib.sha256(), title(path)
    with replacing(path) as temporary, temporary.open("wb") as file:

        def write(text: str) -> None:
            content.update(text.encode())
            file.write(text.encode())

        writer = csv.writer(SimpleNamespace(write=write), lineterminator="\n")
        writer.writerow([*columns, f"{f'of {of} ' if of else ''}{f'by {by} ' if by else ''}{ZEROS}"])
        place = file.tell() - len("0" * 64 + "\n")
        writer.writerows([*row, ""] for row in rows)
        file.seek(place)
        file.write(content.hexdigest().encode())


@dataclass(frozen=True)
class Table:
    """A table that is read."""

    columns: list[str]
    rows: Iterator[list[str]]
    """As many texts as there are columns; behind the last row, a `ValueError` says if the table was altered."""
    of: str
    """Which file of the project it is; see `title`."""
    by: str
    """SHA-256 of what made it; empty if that is not known."""


def parse_csv(lines: Iterable[str], is_bound: bool = False) -> Table:
    """Return the table that lines with their ends are.

    Args:
        is_bound: the lines are known to be what they were, by Git or by DVC: they need no seal, as earlier versions
            wrote none.

    Raises:
        ValueError, csv.Error: `write_csv` did not write them, or they were altered.
    """
    head: list[str] = []
    content, lines = hashlib.sha256(), iter(lines)

    def hashed() -> Iterator[str]:
        for line in lines:
            content.update(line.encode())
            yield line

    for line in lines:  # a name may have several lines
        head.append(line)
        if seal := SEAL.fullmatch(line.removesuffix("\n").rpartition(",")[2]):
            break
    else:
        if not is_bound:
            raise ValueError
        reader = csv.reader(head, strict=True)
        return Table(next(reader), reader, "", "")
    header = next(csv.reader(head, strict=True))
    before, _, behind = "".join(head).rpartition(f"sha256:{seal[3]}")
    content.update(f"{before}{ZEROS}{behind}".encode())

    def rows() -> Iterator[list[str]]:
        for row in csv.reader(hashed(), strict=True):
            if len(row) != len(header) or row[-1]:
                raise ValueError
            yield row[:-1]
        if content.hexdigest() != seal[3]:
            raise ValueError

    return Table(header[:-1], rows(), seal[1] or "", seal[2] or "")


@contextmanager
def reading_csv(path: Path, is_bound: bool = False) -> Iterator[Table]:
    """Read a table that `write_csv` wrote; see `parse_csv`.

    Raises:
        UserError: it is missing, damaged, or another one than its path says; or the block raises what it does then.
    """
    with reading(path), path.open(encoding="utf-8", newline="") as file:
        table = parse_csv(file, is_bound)
        require_title(path, table.of)
        yield table


def title(path: Path) -> str:
    """Return which of a project's files of one kind a path in its folder names, so that no other is taken for it.

    Elsewhere, files can be called anything.

    >>> title(Path("data/history/full.csv")), title(Path("models/variants/full.keras")), title(Path("/tmp/full.csv"))
    ('history/full', 'variants/full', '')
    """
    first, *inner = Path(os.path.relpath(path)).with_suffix("").parts or ("",)
    is_named = first == "data" or (first == "models" and inner[:1] in (["backbones"], ["variants"]))
    return "/".join(inner) if is_named and len(inner) > 1 else ""


def require_title(path: Path, found: str) -> None:
    """Raise a `UserError` if a file is another one of the project than its path says."""
    if (expected := title(path)) and found != expected:
        raise UserError(f"{path}: not {expected}, but {found or 'a file of no name'}; {ANEW}")


@contextmanager
def reading(path: Path | str) -> Iterator[None]:
    """Make a `UserError` of what is raised of a stage's file that is missing, cannot be read, or is damaged."""
    try:
        if isinstance(path, Path) and path.exists():
            require_regular(path)
        yield
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; `dvc repro` makes it, `dvc pull` fetches it") from None
    except IsADirectoryError:
        raise UserError(f"{path}: a folder, where a file is expected; {ANEW}") from None
    except PermissionError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except (*DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno == errno.EINVAL and error.filename:
            raise UserError(f"{path}: {error.strerror}; {ANEW}") from None
        raise damaged(path) from None


ANEW = "delete it and run `dvc repro`"


def damaged(path: Path | str) -> UserError:
    """Return the error of a file whose bytes are others than those that were written."""
    return UserError(
        f"{path}: truncated or altered; {ANEW} (a damaged copy may be in DVC's cache: then `dvc repro --force` on the "
        "stage that writes it)"
    )


def sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's bytes."""
    require_regular(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
