"""Zip and tar archives: what each holds, and where in it, so that every member is read by itself."""

import posixpath
import struct
import tarfile
import unicodedata
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from stat import S_IFDIR, S_IFMT, S_IFREG, S_ISLNK
from typing import BinaryIO, NoReturn
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile

from thaw.errors import UserError
from thaw.files.finding import is_ignored, refuse
from thaw.files.reading import LARGEST_FILE, POINTED, POINTER, require_regular
from thaw.images.decoding import COMPRESSED, UnreadableImageError

SUFFIXES = (".zip", ".tar")
WHOLLY_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".7z", ".rar")
"""Archives in which no member can be read without those before it."""
BOMB_BYTES, BOMB_RATIO = 64 * 2**20, 100
"""A compressed member that is larger, and so many times as large as it is compressed, is not unpacked in memory."""
WINDOWS = 0
ENCRYPTED = 0x1 | 0x40 | 0x2000
"""Bits of a zip member's flags."""
LOCAL_HEADER = struct.Struct("<4s22xHH")
"""Of a zip member: a signature, and the lengths of its name and of what else stands between it and the data."""
CENTRAL = b"PK\1\2"
"""What each member's entry in a zip archive's directory begins with."""
BLOCK = 512
"""Bytes of a tar header; one of zeros is where the members end."""
NO_TEXT = "is a name that is not UTF-8 text or has control characters"


@dataclass(frozen=True, slots=True)
class Member:
    """Where a member of an archive is."""

    archive: Path
    name: str
    """Its path in there."""
    offset: int
    """Of its data in a tar archive, of the header before them in a zip archive, in bytes."""
    stored: int
    """The bytes that it takes up there."""
    size: int
    """The bytes that it has when it is unpacked."""
    checksum: int | None = None
    """CRC-32 of these, in a zip archive; a tar archive has none."""
    is_deflated: bool = False

    def data_offset(self, file: BinaryIO) -> int:
        """Return where its data begin in the archive, which is `file`.

        Raises:
            UnreadableImageError: no header is where it should be.
        """
        if self.checksum is None:
            return self.offset
        file.seek(self.offset)
        header = file.read(LOCAL_HEADER.size)
        if len(header) == LOCAL_HEADER.size:
            signature, name, extra = LOCAL_HEADER.unpack(header)
            if signature == b"PK\3\4":
                return int(self.offset + LOCAL_HEADER.size + name + extra)
        raise UnreadableImageError("damaged in the archive")

    def __str__(self) -> str:
        """Return the path that it would have if the archive were unpacked where it is."""
        return str(self.archive.parent / self.name)

    def read_bytes(self) -> bytes:
        """Return its bytes, unpacked.

        Raises:
            UnreadableImageError: they are not those that were packed.
            OSError: the archive cannot be read.
        """
        if max(self.size, self.stored) > LARGEST_FILE:
            raise UnreadableImageError(f"more than {LARGEST_FILE:,} bytes")
        with self.archive.open("rb") as file:
            file.seek(self.data_offset(file))
            data = file.read(self.stored)
        try:
            content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, self.size + 1) if self.is_deflated else data
        except zlib.error:
            raise UnreadableImageError("damaged in the archive") from None
        if len(content) != self.size or self.checksum not in (None, zlib.crc32(content)):
            raise UnreadableImageError("damaged in the archive")
        return content


Held = tuple[str, Member | None, str]
"""A name that an archive has, the member of that name or None for a folder, and what is wrong with it or nothing."""


def is_text(name: str) -> bool:
    """Say whether a name is UTF-8 text without control characters."""
    return (name.isascii() and name.isprintable()) or all(unicodedata.category(one) not in ("Cc", "Cs") for one in name)


def is_archive(name: str) -> bool:
    """Say by its name whether a file is an archive that is read as a folder is."""
    return name.lower().endswith(SUFFIXES)


def members(archive: Path) -> dict[str, Member | None]:
    """Return what an archive holds by its path, also what `is_hidden`; None stands for a folder.

    Raises:
        UserError: it is damaged, or has a member that cannot be read by itself, or of a name that no file may have.
    """
    found: dict[str, Member | None] = {}
    try:
        require_regular(archive)
        for name, member, problem in _zipped(archive) if archive.name.lower().endswith(".zip") else _tarred(archive):
            path = _path(archive, name)
            if path == "." and not member:
                continue
            problem = problem or _problem(path, member)
            if path in found and (member or found[path]):
                problem = "is there twice"
            if not problem:
                found[path] = member
            elif not is_hidden(path):
                refuse_member(archive, name, problem)
    except OSError as error:
        error.filename = archive
        refuse(error)
    except (BadZipFile, tarfile.TarError, NotImplementedError, ValueError, OverflowError, MemoryError, struct.error):
        with archive.open("rb") as file:
            head = file.read(len(POINTER))
        refuse_archive(archive, head.startswith(COMPRESSED), head == POINTER)
    return found


def is_hidden(path: str) -> bool:
    """Say whether a file, or a folder that it is in, is one that `is_ignored` names."""
    parent, _, name = path.rpartition("/")
    return is_ignored(name) or (parent != "" and _is_hidden(parent))


_is_hidden = cache(is_hidden)  # of folders, which are few


def refuse_archive(archive: Path, is_compressed: bool, is_pointer: bool = False) -> NoReturn:
    """Raise a `UserError` about an archive that cannot be read."""
    if is_pointer:
        raise UserError(f"{archive}: no archive, but {POINTED}")
    if is_compressed:
        raise UserError(f"{archive}: compressed as a whole: unpack it, and pack its folder by `thaw pack`")
    raise UserError(f"{archive}: truncated, damaged or no archive: get it once more, or remove it")


def refuse_member(archive: Path, name: str, problem: str) -> NoReturn:
    """Raise a `UserError` about a member of an archive."""
    raise UserError(f"{archive}: {name!r} {problem}: unpack it, put that right, and pack its folder by `thaw pack`")


def _path(archive: Path, name: str) -> str:
    """Return a member's path, without what leads nowhere, such as `./`."""
    if not is_text(name):
        refuse_member(archive, name, NO_TEXT)
    if name.startswith("/") or ".." in name.split("/"):
        refuse_member(archive, name, "leads out of the archive's folder")
    return posixpath.normpath(name)


def _problem(path: str, member: Member | None) -> str:
    """Return why a member cannot be read; nothing if it can."""
    if member is None:
        return ""
    if path == ".":
        return "is no name of a file"
    if is_archive(path):
        return "is an archive in an archive"
    if member.is_deflated and member.size > max(BOMB_BYTES, BOMB_RATIO * member.stored):
        return f"would become {member.size:,} bytes from {member.stored:,}, more than {BOMB_RATIO} times as many"
    return ""


def _zipped(archive: Path) -> Iterator[Held]:
    """Yield what the directory of a zip archive lists, in the order of the members."""
    try:
        # Where names are not marked as UTF-8, most are it nevertheless, such as those of macOS.
        with ZipFile(archive, metadata_encoding="utf-8") as file:
            listed, end = sorted(file.infolist(), key=lambda one: one.header_offset), file.start_dir
    except UnicodeDecodeError as error:
        refuse_member(archive, error.object.decode(errors="surrogateescape"), NO_TEXT)
    if any(CENTRAL in one.comment or CENTRAL in one.extra for one in listed):
        raise BadZipFile  # lengths that are damaged, behind which further members are hidden
    for one, ends in zip(listed, [*(after.header_offset for after in listed[1:]), end][: len(listed)], strict=True):
        # In `filename`, what comes after a zero is cut off.
        name, is_deflated = one.orig_filename, one.compress_type == ZIP_DEFLATED
        member = Member(archive, name, one.header_offset, one.compress_size, one.file_size, one.CRC, is_deflated)
        problem, mode = "", one.external_attr >> 16
        if one.flag_bits & ENCRYPTED:
            problem = "is encrypted"
        elif "\\" in name and one.create_system == WINDOWS:
            problem = "has \\ between folders instead of /"
        elif S_ISLNK(mode):
            problem = "is a link"
        elif S_IFMT(mode) not in (0, S_IFREG, S_IFDIR):
            problem = "is neither a file nor a folder"
        elif one.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
            problem = f"is compressed by the method {one.compress_type}, not by deflate"
        elif one.header_offset < 0 or one.header_offset + LOCAL_HEADER.size + one.compress_size > ends:
            problem = "lies where something else does"
        yield name, None if name.endswith("/") else member, problem


def _tarred(archive: Path) -> Iterator[Held]:
    """Yield what a tar archive holds.

    Raises:
        tarfile.ReadError: it does not end as it should, where tarfile itself would stop without a word.
    """
    length = archive.stat().st_size
    with tarfile.open(archive, "r:", encoding="utf-8") as file:
        while one := file.next():
            file.members.clear()  # type: ignore[attr-defined]  # it would keep them all
            if one.size < 0:
                raise tarfile.ReadError
            problem = ""
            if one.issym() or one.islnk():
                problem = "is a link"
            elif one.issparse():
                problem = "is stored with holes"
            elif not (one.isreg() or one.isdir()):
                problem = "is neither a file nor a folder"
            elif one.offset_data + one.size > length:
                problem = "is cut off, as the archive ends there"
            yield (
                one.name,
                None if one.isdir() else Member(archive, one.name, one.offset_data, one.size, one.size),
                problem,
            )
        end = file.offset
    with archive.open("rb") as rest:
        rest.seek(end)
        block = rest.read(BLOCK)
        if len(block) < BLOCK or any(block) or any(any(more) for more in iter(lambda: rest.read(2**20), b"")):
            raise tarfile.ReadError
