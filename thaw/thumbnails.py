"""Small pictures of all images, so that reports can show them where the images themselves are not."""

import io
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from thaw.files import replacing

SIDE = 128
CELL = 96
EPOCH = (1980, 1, 1, 0, 0, 0)


def thumbnail(image: Image.Image) -> bytes:
    """Return a JPEG of an RGB image, its longest side `SIDE` pixels or fewer."""
    small = image.copy()
    small.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=85)
    return file.getvalue()


class Thumbnails:
    """Thumbnails in a zip file, each named by its image's SHA-256."""

    def __init__(self, archive: zipfile.ZipFile):
        self._archive = archive

    def add(self, digest: str, jpeg: bytes) -> None:
        """Write the thumbnail of an image, unless it is there."""
        try:
            self._archive.getinfo(f"{digest}.jpg")
        except KeyError:
            self._archive.writestr(zipfile.ZipInfo(f"{digest}.jpg", EPOCH), jpeg)

    def __getitem__(self, digest: str) -> Image.Image:
        return Image.open(io.BytesIO(self._archive.read(f"{digest}.jpg")))


@contextmanager
def writing_thumbnails(path: Path) -> Iterator[Thumbnails]:
    """Write thumbnails: whole, under their file's name, when the block succeeds."""
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        yield Thumbnails(archive)


@contextmanager
def reading_thumbnails(path: Path) -> Iterator[Thumbnails]:
    """Read thumbnails."""
    with zipfile.ZipFile(path) as archive:
        yield Thumbnails(archive)


def draw_grid(path: Path, rows: Iterable[tuple[str, list[tuple[Image.Image, str]]]]) -> None:
    """Draw pictures in rows, each row with a title above it and each picture with a caption below; as JPEG.

    Args:
        path: where to.
        rows: a title, and pictures with their captions, which may have several lines.
    """
    font, line = ImageFont.load_default(12), 16
    rows = list(rows)
    columns = max((len(pictures) for _, pictures in rows), default=0)
    heights = []
    for _, pictures in rows:
        lines = max((len(caption.splitlines()) for _, caption in pictures), default=0)
        heights.append(line + bool(pictures) * CELL + line * lines + 6)
    sheet = Image.new("RGB", (max(columns, 5) * (CELL + 6) + 6, sum(heights) + 6), "white")
    draw = ImageDraw.Draw(sheet)
    top = 6
    for (title, pictures), height in zip(rows, heights, strict=True):
        draw.text((6, top), title, fill="black", font=font)
        for column, (picture, caption) in enumerate(pictures):
            left = 6 + column * (CELL + 6)
            cell = ImageOps.contain(picture.convert("RGB"), (CELL, CELL))
            sheet.paste(cell, (left + (CELL - cell.width) // 2, top + line + (CELL - cell.height) // 2))
            draw.text((left, top + line + CELL), caption, fill="black", font=font)
        top += height
    with replacing(path) as temporary:
        sheet.save(temporary, "JPEG", quality=85)
