"""Reading files to their end, naming them by their content, and telling which are damaged."""

import csv
import errno
import hashlib
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from thaw.errors import UserError, reasons

LARGEST_FILE = 2**30
"""Bytes of a file that is read whole, such as an image: what has more is refused before memory is taken for it."""
POINTER = b"version https://git-lfs"
"""What a file begins with that Git LFS leaves in another's place."""
POINTED = "what Git LFS has in its place: `git lfs pull` fetches it"
KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}
OF_MACHINE = {
    *(errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EINTR, errno.ENODEV, errno.ENXIO),
    *(errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ECONNRESET),
}
# What Python and the libraries raise of files whose bytes are others than those that were written.
DAMAGE = (
    *(ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError, EOFError),
    *(zipfile.BadZipFile, zlib.error, csv.Error),
)


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


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Have an error of the system name the file that is read: where a bad disk cannot be read, it names none."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def is_of_machine(error: OSError) -> bool:
    """Say whether an error says nothing of a file: the machine, or what it is connected to, fails at that moment."""
    return error.errno in OF_MACHINE


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
    with naming(path), os.fdopen(descriptor, "rb") as file:
        return file.read(found.st_size)


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
        system = error if isinstance(error, OSError) else error.__context__  # zipfile hides it behind its own
        if isinstance(system, OSError) and is_of_machine(system):
            told = OSError(system.errno, os.strerror(system.errno or 0))  # HDF5 says it in many words
            raise UserError(f"{path}: cannot be read: {reasons(told)}") from None
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
    with naming(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
