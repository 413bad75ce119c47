"""Small pictures of all images, so that reports can show them where the images themselves are not."""

import hashlib
import io
import struct
import unicodedata
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from mmap import ACCESS_READ, mmap
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from thaw.files.reading import reading
from thaw.files.writing import replacing

THUMBNAIL_SIDE = 128
CELL = 96
EPOCH = (1980, 1, 1, 0, 0, 0)
MEMBER = struct.Struct("<68s32sQLL")
"""A thumbnail's name and comment, the place of its header, its bytes and their CRC-32."""
ENTRY = struct.Struct("<24xL2xHH8xL")
"""What a zip file's directory has before a name: the member's bytes, those of what else is said of it behind its name
and of its comment, and the place of its header."""
LOCAL_BYTES = 30
"""Of a header, before the name."""
LEGEND = "class N: the font lacks its name, which has that number in class_distribution.csv"


def thumbnail(image: Image.Image) -> bytes:
    """Return a JPEG of an RGB image, which becomes as small, its longest side `THUMBNAIL_SIDE` pixels or fewer."""
    image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    return _as_jpeg(image)


def _as_jpeg(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85)
    return file.getvalue()


class _Directory:
    """The members of a zip file that is being written, in place of zipfile's own list: in a tenth of its memory."""

    def __init__(self) -> None:
        self._members = bytearray()

    def append(self, member: zipfile.ZipInfo) -> None:
        name = member.filename.encode()
        self._members += MEMBER.pack(name, member.comment, member.header_offset, member.file_size, member.CRC)

    def __len__(self) -> int:
        return len(self._members) // MEMBER.size

    def __iter__(self) -> Iterator[zipfile.ZipInfo]:
        for name, comment, offset, size, crc in MEMBER.iter_unpack(self._members):
            member = _member(name.rstrip(b"\0").decode(), comment)
            member.header_offset, member.CRC = offset, crc
            member.file_size = member.compress_size = size
            yield member


def _member(name: str, comment: bytes) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name, EPOCH)
    member.comment, member.external_attr = comment, 0o600 << 16
    return member


class ThumbnailWriter:
    """Thumbnails in a zip file, each named by its image's SHA-256; its comment is that of its name and its bytes."""

    def __init__(self, archive: zipfile.ZipFile):
        self._archive = archive
        archive.filelist = _Directory()  # type: ignore[assignment]

    def add(self, digest: str, jpeg: bytes) -> None:
        """Write the thumbnail of an image, of which there is none yet."""
        self._archive.writestr(_member(f"{digest}.jpg", _seal(digest, jpeg)), jpeg)
        self._archive.NameToInfo.clear()


class Thumbnails:
    """Thumbnails that are read, each from its place: there may be a million."""

    def __init__(self, path: Path, content: mmap):
        self._path, self._content = path, content

    def __getitem__(self, digest: str) -> Image.Image:
        """Return the thumbnail of an image.

        Raises:
            UserError: it is not there, or is damaged.
        """
        with reading(self._path):
            name = f"{digest}.jpg".encode()
            start = self._content.rfind(name)  # the directory is at the end
            if start < ENTRY.size:
                raise ValueError
            size, more, length, offset = ENTRY.unpack_from(self._content, start - ENTRY.size)
            end = start + len(name) + more
            if more:  # the offset is too large for its place
                offset = int.from_bytes(self._content[end - 8 : end], "little")
            first = offset + LOCAL_BYTES + len(name)
            jpeg = self._content[first : first + size]
            if self._content[end : end + length] != _seal(digest, jpeg):
                raise ValueError
        return Image.open(io.BytesIO(jpeg))


def _seal(digest: str, jpeg: bytes) -> bytes:
    return hashlib.sha256(digest.encode() + jpeg).digest()


@contextmanager
def writing_thumbnails(path: Path) -> Iterator[ThumbnailWriter]:
    """Write thumbnails: whole, under their file's name, when the block succeeds."""
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        yield ThumbnailWriter(archive)


@contextmanager
def reading_thumbnails(path: Path) -> Iterator[Thumbnails]:
    """Read thumbnails.

    Raises:
        UserError: the file is missing or damaged.
    """
    with ExitStack() as opened:
        with reading(path):
            file = opened.enter_context(path.open("rb"))
            if not zipfile.is_zipfile(file):
                raise zipfile.BadZipFile
            content = opened.enter_context(mmap(file.fileno(), 0, access=ACCESS_READ))
        yield Thumbnails(path, content)


def drawable(classes: Sequence[str]) -> list[str]:
    """Return what a picture calls classes: their names, or `class N`, from 0, where its font cannot draw a name.

    It has the characters of Latin, Greek, Cyrillic, Armenian and Georgian, and more; none of the scripts that are
    written from right to left, or whose characters change with their neighbours.
    """
    return [name if _is_drawable(name) else f"class {number}" for number, name in enumerate(classes)]


def _is_drawable(name: str) -> bool:
    return all(
        (one.isascii() or ord(one) in _characters())
        and one.isprintable()
        and not unicodedata.category(one).startswith("M")
        and unicodedata.bidirectional(one) not in ("R", "AL", "AN")
        for one in unicodedata.normalize("NFC", name)
    )


def draw_grid(
    path: Path, rows: Iterable[tuple[str, list[tuple[Image.Image, str]]]], classes: Sequence[str] = ()
) -> None:
    """Draw pictures in rows, each row with a title above it and each picture with a caption below; as JPEG.

    What is too long for its place is cut in the middle.

    Args:
        path: where to.
        rows: a title, and pictures with their captions, which may have several lines.
        classes: the names in them; where `drawable` made numbers of some, a line says so.
    """
    line = 16
    rows = list(rows)
    if drawable(classes) != list(classes):
        rows.append((LEGEND, []))
    columns = max((len(pictures) for _, pictures in rows), default=0)
    heights = []
    for _, pictures in rows:
        lines = max((len(caption.splitlines()) for _, caption in pictures), default=0)
        heights.append(line + bool(pictures) * CELL + line * lines + 6)
    sheet = Image.new("RGB", (max(columns, 5) * (CELL + 6) + 6, sum(heights) + 6), "white")
    draw = ImageDraw.Draw(sheet)
    top = 6
    for (title, pictures), height in zip(rows, heights, strict=True):
        _draw_text(draw, (6, top), title, sheet.width - 12)
        for column, (picture, caption) in enumerate(pictures):
            left = 6 + column * (CELL + 6)
            cell = ImageOps.contain(picture.convert("RGB"), (CELL, CELL))
            sheet.paste(cell, (left + (CELL - cell.width) // 2, top + line + (CELL - cell.height) // 2))
            _draw_text(draw, (left, top + line + CELL), caption, CELL)
        top += height
    with replacing(path) as temporary:
        # Pillow itself would leave the end out without an error where the disk has room for a part only.
        temporary.write_bytes(_as_jpeg(sheet))


def _draw_text(draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, most: int) -> None:
    """Write lines of text, each of `most` pixels or fewer."""
    text = unicodedata.normalize("NFC", text)
    font = ImageFont.load_default(12) if text.isascii() else _font()
    lines = []
    for line in text.splitlines():
        # No character is narrower than a pixel: of a text of thousands, not every length is tried.
        kept, shown = min(len(line), most + 1), line[: most + 1]
        while kept and font.getlength(shown) > most:
            kept -= 1
            shown = f"{line[: kept - kept // 2]}…{line[len(line) - kept // 2 :]}"
        lines.append(shown)
    draw.text(place, "\n".join(lines), fill="black", font=font)


@cache
def _font() -> ImageFont.FreeTypeFont:
    # In the basic layout, text is the same on every machine, whatever libraries for other scripts it has.
    return ImageFont.truetype(_font_file(), 11, layout_engine=ImageFont.Layout.BASIC)


@cache
def _characters() -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(_font_file()).get_charmap())


def _font_file() -> str:
    """Return the file of the font that Matplotlib brings along; to import it takes long, and few names need it."""
    import matplotlib

    return str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))
