"""Decoding images as a person sees them, and resizing them."""

import io
import math
import warnings
from codecs import BOM_UTF8
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Literal

import numpy as np
from cykooz_resizer import CropBox, FilterType, ResizeAlg, ResizeOptions, Resizer
from PIL import ExifTags, Image, ImagePalette, PngImagePlugin, TiffImagePlugin, UnidentifiedImageError, features
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import BITSPERSAMPLE, COLORMAP, PHOTOMETRIC_INTERPRETATION, TiffImageFile

from thaw.files.reading import POINTED, POINTER
from thaw.threads import Budget

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
JPEG, PNG, TIFF = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""The bytes that files of these formats begin with."""
GIF, WEBP = (b"GIF87a", b"GIF89a"), b"WEBP"
"""The same, but for WEBP's, which come after eight others."""
COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")
"""The bytes that files begin with which gzip, bzip2, xz and zstd made."""
ARCHIVES = (b"PK\3\4", b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07", *COMPRESSED)
Resize = Literal["pad", "stretch", "crop"]
Interpolation = Literal["bicubic", "bilinear", "nearest"]
Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in pixels."""

DECODER = {
    **{library: features.version(library) for library in ("pil", "libjpeg_turbo", "webp", "libtiff")},
    "cykooz-resizer": version("cykooz-resizer"),
}
"""The versions of all that decides on pixels."""

MARGIN = 2
"""A JPEG file is decoded at a fraction of its size only where this many pixels are left for each of the result."""
FRACTIONS = (8, 4, 2)
NEW_SUBFILE_TYPE, SUB_IFDS, REDUCED = 254, 330, 1
"""The TIFF tags that say what an image in the file is and where others are, and the former's bit for a smaller one."""
SUPPORT = 2
"""Pixels on each side of a place that a filter heeds where it enlarges."""
FILTERS = {"bicubic": FilterType.catmull_rom, "bilinear": FilterType.bilinear}
TURN = Image.Transpose
UPRIGHT = {
    2: TURN.FLIP_LEFT_RIGHT,
    3: TURN.ROTATE_180,
    4: TURN.FLIP_TOP_BOTTOM,
    5: TURN.TRANSPOSE,
    6: TURN.ROTATE_270,
    7: TURN.TRANSVERSE,
    8: TURN.ROTATE_90,
}
"""The turn that shows a stored image upright, by EXIF's orientation."""
# By EXIF's orientation: whether rows become columns, and whether what is shown ends where the stored image begins.
TURNED, FLIPPED_ACROSS, FLIPPED_DOWN = (5, 6, 7, 8), (2, 3, 6, 7), (3, 4, 7, 8)

SCANS = 500
"""The most scans of a progressive JPEG file; others have about ten, and each takes as long as the image is large."""
STRIP = 2**22
"""Pixels that are handled at a time where several copies of them are made."""
DECODED = Budget(2 * (Image.MAX_IMAGE_PIXELS or 0))
"""Pixels of the images that all threads together have at a time: as many as two of the largest have."""

# Pillow refuses twice `MAX_IMAGE_PIXELS` and warns of less, but a warning cannot be made an error in one thread only.
# What else it warns of does not change what is shown: entries of EXIF, further frames, how transparency is stored.
warnings.filterwarnings("ignore", module=r"PIL\.")

# TIFF files that are not compressed, Pillow would read by itself: where channels lie apart, it takes 16 bits for 8, and
# black for white.
TiffImagePlugin.READ_LIBTIFF = True
# Of all texts together, Pillow takes as much; one of more than a megabyte would have it refuse the image.
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY

# Pillow takes memory for pixels in blocks. Smaller ones the C library keeps for the thread that had them: eight threads
# keep 2 GB more.
Image.core.set_block_size(2**26)  # type: ignore[attr-defined]


class UnreadableImageError(Exception):
    """The bytes are not an image that can be shown; says why."""


def decode(source: bytes | np.ndarray, least: int | None = None) -> Image.Image:
    """Decode an image file's bytes into what a viewer would show.

    The content decides the format, never a file's name. Turned as EXIF says, the first frame of an
    animation, transparency on white, CMYK and palettes as colours, 16 bits a channel scaled to 8.

    Args:
        source: the bytes, or pixels themselves: uint8 (height, width) or (height, width, 3).
        least: a JPEG file may be decoded at a half, a quarter or an eighth of its size, as long as so many pixels
            are left on its shorter side. All of the file is read nevertheless.

    Returns:
        An image of mode RGB.

    Raises:
        UnreadableImageError: no bytes, no image in one of `FORMATS`, truncated or damaged, or of a mode with no
            agreed way to show it.
    """
    with decoding(source, least) as image:
        return image


@contextmanager
def decoding(source: bytes | np.ndarray, least: int | None = None) -> Iterator[Image.Image]:
    """Yield what `decode` returns, in one of several threads: they wait for each other where images are large."""
    if isinstance(source, np.ndarray):
        yield Image.fromarray(source).convert("RGB")
        return
    image = _open(source)
    if least:
        _draft(image, min(image.size) / least)
    with DECODED.taking(image.width * image.height):
        shown = _load(image)
        del image  # it may have its pixels, too
        yield shown


def used_bits(source: bytes | np.ndarray, shown: Image.Image) -> int | None:
    """Return how many of its 16 bits a channel an image file uses: 12 where no level is above 4095.

    Args:
        source: the file's bytes, or pixels themselves, which have 8 bits.
        shown: what `decode` made of them.

    Returns:
        8 to 16; None if the file has not so many bits a channel.
    """
    if isinstance(source, np.ndarray) or not source.startswith((PNG, *TIFF)):
        return None
    image = None if source.startswith(PNG) else _open(source)
    if (_bits_of_tiff(image) if image else source[24]) < 16:
        return None
    levels = np.array(shown.getextrema())
    return 8 + int(np.max(255 - levels if image and _is_negative(image) else levels)).bit_length()


def has_ones_for_white(shown: Image.Image) -> bool:
    """Say whether an RGB image has the levels 0 and 1 only, as masks and arrays of black and white do, and a 1."""
    few = shown.resize((16, 16), Image.Resampling.NEAREST)  # which tell it of most images
    return bool(np.max(few.getextrema()) <= 1 and np.max(shown.getextrema()) == 1)


def pixels(
    source: bytes | np.ndarray, height: int, width: int, method: Resize, interpolation: Interpolation = "bicubic"
) -> np.ndarray:
    """Decode an image file's bytes as `decode` does, and resize what they show.

    The same bits on every machine, since the resizing calculates with integers. The reference is
    Pillow's resizing of the image that is decoded at its full size. `nearest` is equal to it. The other two differ
    from it, in photos by 0.1 to 0.5 grey levels on average and by no more than 25 anywhere: they filter columns
    before rows, with a rounding between, and a JPEG file much larger than the result is decoded at a fraction of
    its size, which is several times faster.

    Args:
        source: the bytes, or pixels themselves: uint8 (height, width) or (height, width, 3).
        height, width: of the result, in pixels.
        method: `pad` keeps the aspect and adds black bars, `crop` keeps it and cuts the longer side,
            `stretch` does not keep it.
        interpolation: `bicubic` and `bilinear` are antialiased; `nearest` is not.

    Returns:
        uint8 array (height, width, 3).

    Raises:
        UnreadableImageError: as `decode` does.

    >>> white = np.full((2, 4), 255, np.uint8)
    >>> pixels(white, 4, 4, "pad")[:, 0, 0]
    array([  0, 255, 255,   0], dtype=uint8)
    >>> pixels(white, 2, 2, "crop").shape
    (2, 2, 3)
    """
    if isinstance(source, np.ndarray):
        image = decode(source)
        return _resize(image, (0, 0, *image.size), height, width, method, interpolation)
    image = _open(source)
    across, down = image.size
    turn, fraction = 1, 1
    if isinstance(image, JpegImageFile) and interpolation != "nearest":
        turn = _orientation(image)
        if turn in TURNED:
            across, down = down, across
        shrunk = (max if method == "pad" else min)(across / width, down / height)
        fraction = _draft(image, min(shrunk, across, down) / MARGIN)  # a line keeps one pixel of the result
    with DECODED.taking(image.width * image.height):
        image = _load(image)
        if fraction == 1:
            return _resize(image, (0, 0, *image.size), height, width, method, interpolation)
    # The last of the larger pixels may reach beyond what the file shows.
    left = image.width - across / fraction if turn in FLIPPED_ACROSS else 0
    top = image.height - down / fraction if turn in FLIPPED_DOWN else 0
    box = (left, top, left + across / fraction, top + down / fraction)
    return _resize(image, box, height, width, method, interpolation)


def require_pixels(height: int, width: int) -> None:
    """Refuse an image that is too large, before memory is taken for it, or empty.

    Raises:
        UnreadableImageError: it has more than Pillow's `Image.MAX_IMAGE_PIXELS`, or none.
    """
    if not height * width:
        raise UnreadableImageError("it has no pixels")
    if Image.MAX_IMAGE_PIXELS and height * width > Image.MAX_IMAGE_PIXELS:
        raise UnreadableImageError(f"more than {Image.MAX_IMAGE_PIXELS:,} pixels")


@contextmanager
def _refusing() -> Iterator[None]:
    """Turn every error of reading an image into an `UnreadableImageError` that says why."""
    try:
        yield
    except (UnreadableImageError, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise UnreadableImageError(f"more than {Image.MAX_IMAGE_PIXELS:,} pixels") from None
    except Exception as error:  # Pillow's decoders raise nearly everything on damaged files
        raise UnreadableImageError(f"truncated or damaged: {error}") from None


@_refusing()
def _open(data: bytes) -> Image.Image:
    if not data:
        raise UnreadableImageError("the file has no bytes")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise UnreadableImageError(_unidentified(data)) from None
    if isinstance(image, TiffImageFile) and _is_preview(image):
        raise UnreadableImageError("holds a preview first, as RAW photos do: save the photo itself as JPEG or PNG")
    require_pixels(image.height, image.width)
    if image.info.get("progressive") and data.count(b"\xff\xda") > SCANS:
        raise UnreadableImageError(f"more than {SCANS} scans, which would take too long to decode")
    if isinstance(image, TiffImageFile) and image.palette and max(levels := image.tag_v2[COLORMAP]) < 2**8:
        image.palette = ImagePalette.raw("RGB;L", bytes(levels))  # of 8 bits, where the standard has 16
    if image.format == "PNG" and "transparency" in image.info and image.mode in ("L", "RGB"):
        image.info["transparency"] = _in_8_bits(image.info["transparency"], bits=data[24])
    return image


def _is_preview(image: TiffImageFile) -> bool:
    """Say whether the first picture of a file is a smaller one of another that it has."""
    is_smaller = image.tag_v2.get(NEW_SUBFILE_TYPE, 0) & REDUCED
    return bool(is_smaller) and (SUB_IFDS in image.tag_v2 or image.n_frames > 1)


def _unidentified(data: bytes) -> str:
    """Return why bytes that Pillow does not know are no image that is read, and what to do where that can be told."""
    if data.startswith(TIFF):
        return "truncated, or TIFF of a kind that is not read, such as 14 bits a channel: save it with 8 or 16"
    if data.startswith(JPEG):
        return "truncated, or JPEG of a kind that is not read, such as 12 bits a channel: save it with 8"
    if data.startswith((PNG, *GIF)) or data[8:12] == WEBP:
        return "truncated or damaged where the file begins: get it once more"
    reason = f"not an image in one of the formats {', '.join(FORMATS)}"
    if data.startswith(POINTER):
        return f"{reason}, but {POINTED}"
    if data[:64].removeprefix(BOM_UTF8).lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return f"{reason}, but a web page: download it once more"
    if data.startswith(ARCHIVES):
        return f"{reason}, but an archive, or compressed: unpack it"
    if data[4:8] == b"ftyp":
        return f"{reason}, but HEIC, AVIF or a video: save it as JPEG or PNG"
    return reason


def _in_8_bits(transparent: int | tuple[int, ...], bits: int) -> int | tuple[int, ...]:
    """Return the level or the colour that a PNG file has for transparent as its pixels are decoded."""
    levels = [
        level % 2**bits * 255 // (2**bits - 1) if bits < 8 else level >> bits - 8 for level in np.ravel(transparent)
    ]
    return tuple(map(int, levels)) if isinstance(transparent, tuple) else int(levels[0])


@_refusing()
def _orientation(image: Image.Image) -> int:
    """Return the orientation that EXIF gives, 1 to 8; 1 if it gives none."""
    turn: int = image.getexif().get(ExifTags.Base.Orientation, 1)
    return turn


def _draft(image: Image.Image, most: float) -> int:
    """Have a JPEG file decoded at a fraction of its size, 1 / `most` or more; return the fraction's denominator."""
    if not isinstance(image, JpegImageFile):
        return 1
    fraction = next((one for one in FRACTIONS if one <= most), 1)
    if fraction > 1:
        image.draft(None, (image.width // fraction, image.height // fraction))
    return fraction


def _load(image: Image.Image) -> Image.Image:
    with _refusing():
        image.load()
        require_pixels(image.height, image.width)
        turn = UPRIGHT.get(_orientation(image))
    if image.mode.startswith("I;16") or image.mode == "I":
        image = _to_8_bits(image)
    if image.format == "BMP" and image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0):
        image = image.convert("RGB")  # what writes no alpha leaves zeros: viewers show colours then
    # Pillow's exif_transpose would also write EXIF anew, and fail where an entry of no interest is damaged.
    return _to_rgb(image if turn is None else image.transpose(turn))


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Return an image of whole numbers as one of 256 grey levels, what is transparent being white."""
    values = np.asarray(image)
    bits = 12 if _bits_of_tiff(image) == 12 else 16
    if values.min() < 0 or values.max() > 65535:
        raise UnreadableImageError("its grey levels do not fit in 16 bits")
    levels = (values >> (bits - 8)).astype(np.uint8)
    if _is_negative(image):
        np.subtract(255, levels, out=levels)
    if "transparency" in image.info:
        levels[values == image.info["transparency"]] = 255
    return Image.fromarray(levels)


def _is_negative(image: Image.Image) -> bool:
    """Say whether a TIFF file has 0 for white."""
    return isinstance(image, TiffImageFile) and image.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == 0


def _bits_of_tiff(image: Image.Image) -> int:
    """Return the bits a channel that a TIFF file has; 1 of one that does not say it, as its standard has it."""
    return int(np.ravel(image.tag_v2.get(BITSPERSAMPLE, 1))[0]) if isinstance(image, TiffImageFile) else 8


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image if "transparency" not in image.info else _on_white(image)
    if image.mode == "F":
        raise UnreadableImageError("floating-point grey levels have no agreed brightness; convert it to 8 or 16 bits")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        return _on_white(image)
    return image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    """Return an image without what is transparent, made a strip at a time: the whole would be there four times."""
    shown = Image.new("RGB", image.size)
    height = max(1, STRIP // image.width)
    for top in range(0, image.height, height):
        layer = image.crop((0, top, image.width, min(top + height, image.height)))
        layer = (layer.convert("LA") if layer.mode == "La" else layer).convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        shown.paste(Image.alpha_composite(white, layer).convert("RGB"), (0, top))
    return shown


def _resize(
    image: Image.Image, box: Box, height: int, width: int, method: Resize, interpolation: Interpolation
) -> np.ndarray:
    """Resize what lies inside a box of an RGB image; the same geometry as that of Pillow's ImageOps."""
    left, top, right, bottom = box
    across, down = right - left, bottom - top
    is_wide = across / down > width / height
    if method == "pad":
        inner_height = max(1, round(down / across * width)) if is_wide else height
        inner_width = width if is_wide else max(1, round(across / down * height))
        shown = Image.new("RGB", (width, height))
        inner = _convolve(image, box, (inner_width, inner_height), interpolation)
        shown.paste(inner, (round((width - inner_width) / 2), round((height - inner_height) / 2)))
        return np.asarray(shown)
    if method == "crop":
        kept_across, kept_down = (width / height * down, down) if is_wide else (across, across / (width / height))
        left, top = left + (across - kept_across) / 2, top + (down - kept_down) / 2
        box = (left, top, left + kept_across, top + kept_down)
    return np.asarray(_convolve(image, box, (width, height), interpolation))


def _convolve(image: Image.Image, box: Box, size: tuple[int, int], interpolation: Interpolation) -> Image.Image:
    if interpolation == "nearest":
        return image.resize(size, Image.Resampling.NEAREST, box)
    # Pillow's own filters, in vector instructions: four to ten times as fast.
    left, top, right, bottom = box
    if right - left < min(size[0], image.width) and _is_at_a_pixel(left, right, size[0]):
        # The resizer would keep no more columns than the outermost ones need, but those between need more, so it would
        # read behind its memory. It filters the columns in a call of its own, therefore.
        first = max(0, math.floor(left) - SUPPORT)
        image = image.crop((first, 0, min(math.ceil(right) + SUPPORT, image.width), image.height))
        image = _filtered(image, (0, top, image.width, bottom), (image.width, size[1]), interpolation)
        left, top, right, bottom = left - first, 0, right - first, size[1]
    return _filtered(image, (left, top, right, bottom), size, interpolation)


def _is_at_a_pixel(left: float, right: float, width: int) -> bool:
    """Say whether the first or the last pixel of a row is exactly where one of the image is, which alone it needs."""
    inset = ((right - left) / width - 1) / 2
    return any(abs(place - round(place)) < 1e-6 for place in (left + inset, right - inset))


def _filtered(image: Image.Image, box: Box, size: tuple[int, int], interpolation: Interpolation) -> Image.Image:
    left, top, right, bottom = box
    resized = Image.new("RGB", size)
    crop_box = CropBox(left, top, min(right, image.width) - left, min(bottom, image.height) - top)
    options = ResizeOptions(ResizeAlg.convolution(FILTERS[interpolation]), crop_box=crop_box)
    Resizer().resize_pil(image, resized, options)
    return resized
