"""Reading what lies in a data set's folder: files, members of archives, and rows of arrays."""

import errno
import hashlib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath
from threading import Lock

import numpy as np

from thaw.errors import UserError
from thaw.files.finding import files_at, files_below, is_ignored, refuse
from thaw.files.reading import POINTED, POINTER, read_bytes, require_regular
from thaw.images.decoding import UnreadableImageError, require_pixels
from thaw.images.reading.archives import WHOLLY_COMPRESSED, Member, is_archive, is_hidden, members, refuse_archive
from thaw.progress import progress

ROW_MARK = "#"
"""Stands between an array's file and a row's number."""

_held: dict[Path, dict[str, Member | None]] = {}
"""By data set's folder, what was in its archives when it was listed, so that they are gone through once."""
_lock = Lock()


@dataclass(frozen=True)
class Contents:
    """What lies in a data set's folder, and in its archives as if they were unpacked where they are."""

    folder: Path
    files: list[str]
    """Paths below it, without the archives themselves."""
    ignored: list[Path]
    """Files and folders that `is_ignored` names."""
    archives: list[Path] = field(default_factory=list)
    held: dict[str, Member | None] = field(default_factory=dict)
    """What the archives hold, by its path below the folder: folders, which are None, and what `is_hidden`, too."""

    def is_file(self, path: str) -> bool:
        """Say whether a file is there, hidden or not."""
        return self.held.get(path) is not None or _is_so((self.folder / path).is_file)

    def is_folder(self, path: str) -> bool:
        """Say whether a folder is there."""
        return _is_so((self.folder / path).is_dir) or any(one.startswith(f"{_plain(path)}/") for one in self.held)

    def hidden(self) -> set[str]:
        """Return the files and folders in archives that `is_ignored` names."""
        found = set()
        for path in filter(is_hidden, self.held):
            parts = path.split("/")
            found.add("/".join(parts[: 1 + next(number for number, one in enumerate(parts) if is_ignored(one))]))
        return found

    def entries(self, path: str) -> dict[str, bool]:
        """Return the names of what lies in a folder, sorted, and for each whether it is a folder.

        Hidden files, and what desktops leave behind, are left out.
        """
        place, found = self.folder / path, dict[str, bool]()
        try:
            if place.is_dir():
                found = {one.name: one.is_dir() for one in place.iterdir() if not is_ignored(one.name)}
        except OSError as error:
            refuse(error)
        found = {name: is_folder for name, is_folder in found.items() if is_folder or not is_archive(name)}
        above = f"{_plain(path)}/" if _plain(path) else ""
        for one, member in self.held.items():
            if one.startswith(above):
                name, _, more = one[len(above) :].partition("/")
                if not is_ignored(name):
                    found[name] = found.get(name, False) or more != "" or member is None
        return dict(sorted(found.items()))


def _is_so(look: Callable[[], bool]) -> bool:
    """Return what is seen of a path, such as a table has them: one that is too long for any file is none."""
    try:
        return look()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return False


def contents(folder: Path) -> Contents:
    """List a data set's folder.

    Raises:
        UserError: a folder or an archive cannot be read, or two of them hold the same file.
    """
    files, ignored = files_below(folder)
    for one in files:
        if one.name.lower().endswith(WHOLLY_COMPRESSED):
            refuse_archive(one, is_compressed=True)
    archives = [one for one in files if is_archive(one.name)]
    names = [one.relative_to(folder).as_posix() for one in files if not is_archive(one.name)]
    there = set(names) if archives else set()
    held: dict[str, Member | None] = {}
    for archive in progress(archives, len(archives), "listing", "archives") if archives else []:
        above = archive.parent.relative_to(folder)
        for inside, member in members(archive).items():
            path = (above / inside).as_posix() if above.name else inside
            other = held.get(path)
            if member and (other or path in there):
                place = other.archive if other else folder / path
                apart = ", or put each archive into a folder of its own, as it is read as if unpacked where it lies"
                raise UserError(
                    f"{archive}: {inside!r} is also {'in ' * bool(other)}{place}: remove one of them"
                    + apart * (other is not None and other.archive != archive)
                )
            held[path] = member or other
    names += [path for path, member in held.items() if member and not is_hidden(path)]
    _held[folder] = held
    return Contents(folder, names, ignored, archives, held)


def images_at(paths: Iterable[Path]) -> list[Path | Member]:
    """Return the files that are named, those in the folders that are named, and those in their archives.

    Raises:
        UserError: something cannot be read, or there is no file.
    """
    found: list[Path | Member] = []
    for path in files_at(paths):
        if is_archive(path.name):
            found += [member for inside, member in members(path).items() if member and not is_hidden(inside)]
        else:
            found.append(path)
    return found


def read_image(folder: Path, path: str) -> tuple[str, bytes | np.ndarray]:
    """Read an image without decoding it.

    Args:
        folder: the data set's.
        path: below it; of a file, there or in an archive, or `<array>.npy#<row>`.

    Returns:
        The SHA-256 of the file's bytes, or of the row's shape and pixels; and these: bytes, or uint8
        (height, width) or (height, width, 3).

    Raises:
        UnreadableImageError: a row that is no image, or an archive that is damaged there.
        OSError: it cannot be read.
    """
    name, _, row = path.rpartition(ROW_MARK)
    if name.endswith(".npy") and row.isdigit() and not _is_named_so(folder, path, name):
        return _row(open_array(folder, name)[int(row)])
    data = read_file(folder, path)
    return hashlib.sha256(data).hexdigest(), data


def _is_named_so(folder: Path, path: str, array: str) -> bool:
    """Say whether a file, there or in an archive, has the name of a row of an array."""
    return (folder / path).exists() or (not (folder / array).exists() and _member(folder, path) is not None)


def read_file(folder: Path, path: str) -> bytes:
    """Return the bytes of a file below a data set's folder, there or in an archive.

    Raises:
        UnreadableImageError: an archive is damaged there.
        OSError: it cannot be read.
    """
    try:
        return read_bytes(folder / path)
    except (FileNotFoundError, NotADirectoryError):
        member = _member(folder, path)
        if member is None:
            raise
        return member.read_bytes()


def found_at(folder: Path, path: str) -> str:
    """Return where a person finds an image: its file, or its archive and its path in there."""
    member = _held.get(folder, {}).get(path)
    return f"{member.archive}: {member.name}" if member else f"{folder / path}"


def _member(folder: Path, path: str) -> Member | None:
    """Return the member of an archive that a path names; None if there is none."""
    with _lock:
        if folder not in _held:
            contents(folder)
    return _held[folder].get(path)


def _plain(path: str) -> str:
    """Return a folder's path as that of what lies in it begins; nothing for the data set's own."""
    plain = PurePosixPath(path).as_posix()
    return "" if plain == "." else plain


def _row(values: np.ndarray) -> tuple[str, np.ndarray]:
    if values.ndim < 2 or values.shape[2:] not in ((), (1,), (3,)):
        raise UnreadableImageError(f"an image has the shape (height, width) or (height, width, 3), not {values.shape}")
    require_pixels(*values.shape[:2])
    if values.dtype.kind not in "buif":
        raise UnreadableImageError(f"its values are no numbers, but {values.dtype}")
    with np.errstate(invalid="ignore"):  # of no number
        pixels = values.astype(np.uint8)
    if values.dtype != np.uint8 and not (np.array_equal(pixels, values) and pixels.max() != 1):
        least, most = values.min(), values.max()
        mended = "; save them multiplied by 255, as uint8" if least >= 0 and most <= 1 else ""
        raise UnreadableImageError(f"its values are not whole numbers from 0 to 255, but {least:g} to {most:g}{mended}")
    if pixels.shape[-1] == 1 and pixels.ndim == 3:
        pixels = pixels[..., 0]
    return hashlib.sha256(repr(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest(), pixels


def open_array(folder: Path, name: str) -> np.ndarray:
    """Open an array without reading it into memory.

    Args:
        folder: the data set's.
        name: of the array's file below it, there or in an archive.

    Raises:
        UserError: it is missing, no array of numbers, or compressed in an archive.
    """
    path = folder / name
    member = None if path.exists() else _member(folder, name)
    try:
        if member and member.is_deflated:
            raise UserError(f"{found_at(folder, name)}: compressed, so that no row can be read by itself: unpack it")
        file = member.archive if member else path
        stat = require_regular(file)
        with file.open("rb") as opened:
            offset = member.data_offset(opened) if member else 0
            opened.seek(offset)
            head = opened.read(len(POINTER))
        if head == POINTER:
            raise UserError(f"{found_at(folder, name)}: no array, but {POINTED}")
        if head.startswith(b"PK"):
            raise UserError(
                f"{path}: an archive of arrays (.npz); save each of them in a file of its own by numpy.save"
            )
        return _mapped(file, offset, offset + member.stored if member else stat.st_size, stat.st_mtime_ns)
    except FileNotFoundError:
        together = next(iter(sorted(folder.glob("*.npz"))), None)
        mended = f"; save each array of {together.name} in such a file by numpy.save" if together else ""
        raise UserError(
            f"{path}: no such file; the layout npy reads <split>_images.npy and <split>_labels.npy{mended}"
        ) from None
    except UserError:
        raise
    except Exception as error:  # NumPy raises nearly everything of a damaged header
        reason = getattr(error, "strerror", None) or next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"{found_at(folder, name)}: no array of numbers: {reason}") from None


@cache
def _mapped(path: Path, offset: int, end: int, modified: int) -> np.ndarray:
    """Map an array that a file has from one offset to another; NumPy's own reader has all of a file be one."""
    with path.open("rb") as file:
        file.seek(offset)
        is_first = np.lib.format.read_magic(file) == (1, 0)
        header = np.lib.format.read_array_header_1_0 if is_first else np.lib.format.read_array_header_2_0
        shape, is_fortran, dtype = header(file)
        begin = file.tell()
    if dtype.hasobject:
        raise ValueError("it holds Python's objects")
    if begin + math.prod(shape) * dtype.itemsize > end:
        raise ValueError("truncated")
    return np.memmap(path, dtype, "r", begin, shape, order="F" if is_fortran else "C")
