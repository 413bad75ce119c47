"""thaw.images.decoding: files as a person sees them, and resizing against Pillow itself."""

import gzip
import io
import re
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pytest
from cykooz_resizer import CpuExtensions, Resizer
from PIL import Image, ImageOps
from PIL.JpegImagePlugin import JpegImageFile
from sklearn.datasets import load_sample_images

from stages.manifest.near_duplicates import perceptual_hash
from tests.conftest import ROOT
from thaw.errors import UserError
from thaw.formats.thumbnails import THUMBNAIL_SIDE, draw_grid, thumbnail
from thaw.images import decoding
from thaw.images.decoded import decoded
from thaw.images.decoding import FORMATS, UnreadableImageError, decode, pixels, used_bits

ORIENTATION = 0x0112
SHOW = (
    "from thaw.images.decoding import decode, pixels; decode(PATH.read_bytes()); pixels(PATH.read_bytes(), 8, 8, 'pad')"
)
WHITE = (255, 255, 255)
# What a viewer must do with the stored pixels, in the words of the EXIF standard's table.
UPRIGHT = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.transpose(1, 0, 2),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].transpose(1, 0, 2),
    8: lambda stored: np.rot90(stored),
}


def noise(height: int = 24, width: int = 40, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def encoded(image: Image.Image, file_format: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def shown(data: bytes) -> np.ndarray:
    image = decode(data)
    assert image.mode == "RGB"
    return np.asarray(image)


def two_colours(first: tuple[int, int, int], second: tuple[int, int, int]) -> Image.Image:
    """A palette image of one row: the first colour, then the second."""
    image = Image.new("P", (2, 1))
    image.putpalette([*first, *second])
    image.putpixel((1, 0), 1)
    return image


def on_white(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / 255
    return colour * share + 255 * (1 - share)


@pytest.mark.parametrize(
    ("file_format", "options"),
    [("PNG", {}), ("BMP", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("WEBP", {"lossless": True})],
)
def test_lossless_formats_give_the_pixels_that_were_saved(file_format, options):
    pixels = noise()
    np.testing.assert_array_equal(shown(encoded(Image.fromarray(pixels), file_format, **options)), pixels)


@pytest.mark.parametrize("file_format", ["JPEG", "WEBP"])
def test_lossy_formats_give_about_the_colour_that_was_saved(file_format):
    pixels = shown(encoded(Image.new("RGB", (32, 16), (200, 60, 20)), file_format, quality=95))
    assert pixels.shape == (16, 32, 3)
    assert np.abs(pixels.astype(int) - (200, 60, 20)).max() <= 6


def test_every_format_that_is_announced_is_covered_here():
    assert set(FORMATS) == {"JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"}


def test_the_command_that_fetches_images_which_are_not_here_is_one_of_a_shell(tmp_path):
    folder = tmp_path / "my photos"
    with pytest.raises(UserError, match=f"`dvc pull --recursive '{re.escape(str(folder))}'`$"):
        decoded(folder, "ash/1.png", "", 8, 8, "pad", "bicubic")


def test_cmyk_jpeg_is_shown_as_its_inks_look():
    # Much cyan, no magenta, no yellow is cyan; Adobe's inverted inks would come out red.
    pixels = shown(encoded(Image.new("CMYK", (16, 16), (255, 0, 0, 0)), "JPEG", quality=95))
    assert np.abs(pixels.astype(int) - (0, 255, 255)).max() <= 6


@pytest.mark.parametrize("file_format", ["PNG", "GIF", "BMP", "TIFF"])
def test_a_palette_is_shown_as_its_colours(file_format):
    pixels = shown(encoded(two_colours((255, 0, 0), (0, 90, 200)), file_format))
    assert pixels.tolist() == [[[255, 0, 0], [0, 90, 200]]]


@pytest.mark.parametrize("file_format", ["PNG", "GIF"])
def test_a_transparent_palette_entry_is_white(file_format):
    pixels = shown(encoded(two_colours((255, 0, 0), (0, 90, 200)), file_format, transparency=0))
    assert pixels.tolist() == [[list(WHITE), [0, 90, 200]]]


def test_a_half_transparent_palette_entry_is_mixed_with_white():
    pixels = shown(encoded(two_colours((255, 0, 0), (0, 90, 200)), "PNG", transparency=bytes([51, 255])))
    np.testing.assert_allclose(pixels[0], [[255, 204, 204], [0, 90, 200]], atol=1)


@pytest.mark.parametrize(("file_format", "order"), [("PNG", "<u2"), ("TIFF", "<u2"), ("TIFF", ">u2")])
def test_sixteen_bit_grey_is_scaled_not_clipped(file_format, order):
    levels = np.array([[0, 255, 256, 1000], [32768, 40000, 65279, 65535]], np.uint16)
    pixels = shown(encoded(Image.fromarray(levels.astype(order)), file_format))
    expected = np.repeat(levels[..., None] * (255 / 65535), 3, axis=2)
    np.testing.assert_allclose(pixels, expected, atol=1)
    assert pixels[0, 0].tolist() == [0, 0, 0]
    assert pixels[1, 3].tolist() == list(WHITE)


def grey_tiff(values: np.ndarray, bits: int, is_negative: bool = False) -> bytes:
    """Return a TIFF file of grey levels of 12 or 16 bits, which Pillow does not write."""
    high, width = values.shape
    if bits == 12:
        text = "".join(f"{value:03x}" for value in values.ravel())
        stored = bytes.fromhex(text)
    else:
        stored = values.astype("<u2").tobytes()
    entries = {
        256: width,
        257: high,
        258: bits,
        259: 1,
        262: int(not is_negative),
        273: 8,
        277: 1,
        278: high,
        279: len(stored),
    }
    listed = b"".join(struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in entries.items())
    return b"II*\0" + struct.pack("<I", 8 + len(stored)) + stored + struct.pack("<H", len(entries)) + listed + bytes(4)


@pytest.mark.parametrize(("bits", "is_negative"), [(12, False), (16, False), (16, True)])
def test_grey_levels_are_scaled_by_the_bits_that_a_tiff_file_says_it_has(bits, is_negative):
    levels = np.array([[0, 1, 2**bits // 2, 2**bits - 1], [2**bits // 4, 99, 7, 0]], np.uint16)
    bright = levels * (255 / (2**bits - 1))
    expected = np.repeat((255 - bright if is_negative else bright)[..., None], 3, axis=2)
    data = grey_tiff(levels, bits, is_negative)
    np.testing.assert_allclose(shown(data), expected, atol=1)
    np.testing.assert_array_equal(pixels(data, 2, 4, "pad"), shown(data))


def planar_tiff(planes: list[np.ndarray], photometric: int, order: str = "<", palette: Sequence[int] = ()) -> bytes:
    """Return a TIFF file that is not compressed, and whose channels lie apart."""
    bits = 1 if planes[0].dtype == bool else 8 * planes[0].itemsize
    stored = [
        (np.packbits(one, axis=1) if bits == 1 else one.astype(f"{order}u{bits // 8}")).tobytes() for one in planes
    ]
    places = [8 + sum(map(len, stored[:number])) for number in range(len(planes))]
    height, width = planes[0].shape
    tags = {256: [width], 257: [height], 258: [bits] * len(planes), 259: [1], 262: [photometric], 273: places}
    tags |= {
        277: [len(planes)],
        278: [height],
        279: [*map(len, stored)],
        284: [2],
        **({320: palette} if palette else {}),
    }
    content, entries = b"".join(stored), b""
    for tag, values in tags.items():
        value = struct.pack(f"{order}{len(values)}H", *values)
        if len(value) > 4:
            value, content = struct.pack(f"{order}I", 8 + len(content)), content + value
        entries += struct.pack(f"{order}HHI", tag, 3, len(values)) + value.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(content))
    return head + content + struct.pack(f"{order}H", len(tags)) + entries + bytes(4)


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_file_whose_channels_lie_apart_is_shown_in_its_colours(order):
    colour = noise()
    for planes in (list(colour.transpose(2, 0, 1)), list(colour.transpose(2, 0, 1) * np.uint16(257))):
        assert np.array_equal(shown(planar_tiff(planes, 2, order)), colour)
        assert np.array_equal(shown(planar_tiff(planes[:1], 1, order))[..., 0], colour[..., 0])
        if planes[0].dtype == np.uint8 or order == "<":  # the other, Pillow does not read
            assert np.array_equal(shown(planar_tiff(planes[:1], 0, order))[..., 0], 255 - colour[..., 0])
    ink = colour[..., 0] > 127
    for photometric in (0, 1):
        assert np.array_equal(shown(planar_tiff([ink], photometric, order))[..., 0] == 255, ink == photometric)


@pytest.mark.parametrize("unit", [1, 256, 257])
def test_a_palette_of_8_bits_in_a_tiff_file_is_not_taken_for_one_of_16(unit):
    levels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    colours = np.stack([255 - np.arange(256), np.arange(256), np.arange(256) // 2])
    data = planar_tiff([levels], 3, palette=(colours * unit).ravel().tolist())
    assert np.array_equal(shown(data), colours.T[levels])


def test_a_tiff_file_of_another_depth_is_refused_with_what_to_do():
    fourteen = grey_tiff(np.ones((2, 2), int), 16).replace(
        struct.pack("<HHIH", 258, 3, 1, 16), struct.pack("<HHIH", 258, 3, 1, 14)
    )
    with pytest.raises(UnreadableImageError, match="such as 14 bits a channel: save it with 8 or 16"):
        decode(fourteen)


def sixteen_bits(brightest: int) -> Iterator[bytes]:
    """Yield image files with 16 bits a channel, the brightest level being this one."""
    levels = np.array([[0, brightest // 2], [1, brightest]], np.uint16)
    yield encoded(Image.fromarray(levels), "PNG")
    yield colour_png(np.repeat(levels[..., None], 3, axis=2))
    for order in ("<u2", ">u2"):
        yield encoded(Image.fromarray(levels.astype(order)), "TIFF")
    yield encoded(Image.fromarray(levels.astype(np.int32)), "TIFF")
    yield grey_tiff(levels, 16, is_negative=True)


@pytest.mark.parametrize(
    ("brightest", "bits"), [(0, 8), (255, 8), (1023, 10), (4095, 12), (4096, 13), (16383, 14), (40000, 16), (65535, 16)]
)
def test_how_many_of_sixteen_bits_an_image_uses(brightest, bits):
    for data in sixteen_bits(brightest):
        assert used_bits(data, decode(data)) == bits


def test_images_of_other_depths_use_none_of_sixteen_bits():
    image = Image.new("RGB", (4, 4), (3, 3, 3))
    for data in (np.asarray(image), *(encoded(image, one) for one in FORMATS), grey_tiff(np.ones((2, 2), int), 12)):
        assert used_bits(data, decode(data)) is None


def png_of(levels: np.ndarray, bits: int, transparent: tuple[int, ...] = ()) -> bytes:
    """Return a PNG file of grey levels or of colours with so many bits a channel, which Pillow does not write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", levels.shape[1], levels.shape[0], bits, 2 * (levels.ndim == 3), 0, 0, 0)
    digits = ("".join(f"{level:0{bits}b}" for level in row.ravel()) for row in levels)
    rows = (int(row.ljust(-(-len(row) // 8) * 8, "0"), 2).to_bytes(-(-len(row) // 8), "big") for row in digits)
    more = chunk(b"tRNS", struct.pack(f">{len(transparent)}H", *transparent)) if transparent else b""
    data = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + more + data + chunk(b"IEND", b"")


def colour_png(levels: np.ndarray) -> bytes:
    return png_of(levels, 16)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_the_transparent_level_of_a_grey_png_is_that_which_its_pixels_have(bits):
    levels = np.arange(2 ** min(bits, 4))[None]
    for transparent in range(levels.size):
        expected = levels[0] * 255 // (2**bits - 1)
        expected[transparent] = 255
        assert shown(png_of(levels, bits, (transparent,)))[0, :, 0].tolist() == expected.tolist()


@pytest.mark.parametrize("colour", [(65535, 0, 256), (0, 0, 0), (1, 2, 3)])
def test_the_transparent_colour_of_a_sixteen_bit_png_is_white(colour):
    levels = np.array([[colour, (0x1111, 0x2222, 0x3333), (0x0102, 0x0203, 0x0304)]])
    assert shown(png_of(levels, 16, colour)).tolist() == [[list(WHITE), [0x11, 0x22, 0x33], [1, 2, 3]]]


def test_sixteen_bit_rgb_png_is_scaled_not_clipped():
    levels = np.array([[[0, 1000, 65535], [32768, 40000, 257]]], np.uint16)
    np.testing.assert_allclose(shown(colour_png(levels)), levels / 257, atol=1)


def test_the_transparent_level_of_a_sixteen_bit_grey_png_is_white():
    levels = np.array([[0, 32768, 32767]], np.uint16)
    pixels = shown(encoded(Image.fromarray(levels), "PNG", transparency=32768))
    assert pixels[0, :, 0].tolist() == [0, 255, 127]


def test_grey_beyond_sixteen_bits_is_refused():
    levels = np.array([[0, 65536]], np.int32)
    with pytest.raises(UnreadableImageError, match="do not fit in 16 bits"):
        decode(encoded(Image.fromarray(levels), "TIFF"))


def test_float_tiff_is_refused_with_a_reason():
    data = encoded(Image.fromarray(np.array([[0.0, 0.5]], np.float32)), "TIFF")
    with pytest.raises(UnreadableImageError, match="floating-point grey levels have no agreed brightness"):
        decode(data)


@pytest.mark.parametrize(
    ("file_format", "options"), [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True, "exact": True})]
)
def test_rgba_lies_on_white(file_format, options):
    colour, alpha = noise(), noise(seed=1)[..., 0]
    alpha[0, :2] = 0, 255
    pixels = shown(encoded(Image.fromarray(np.dstack([colour, alpha])), file_format, **options))
    np.testing.assert_allclose(pixels, on_white(colour, alpha), atol=1)
    assert pixels[0, 0].tolist() == list(WHITE)
    assert pixels[0, 1].tolist() == colour[0, 1].tolist()


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_grey_with_alpha_lies_on_white(file_format):
    grey, alpha = noise()[..., 0], noise(seed=1)[..., 0]
    image = Image.merge("LA", (Image.fromarray(grey), Image.fromarray(alpha)))
    pixels = shown(encoded(image, file_format))
    np.testing.assert_allclose(pixels, on_white(np.repeat(grey[..., None], 3, axis=2), alpha), atol=1)


def test_grey_that_is_multiplied_by_its_alpha_lies_on_white():
    data = encoded(Image.merge("LA", (Image.new("L", (3, 2), 64), Image.new("L", (3, 2), 128))), "TIFF")
    kind = struct.pack("<HHIH", 338, 3, 1, 2)
    assert kind in data
    assert shown(data.replace(kind, struct.pack("<HHIH", 338, 3, 1, 1))).ravel().tolist() == [64 + 127] * 18


def test_a_bmp_file_whose_alpha_is_all_zeros_is_shown_in_its_colours():
    colour = noise()
    for alpha, expected in ((0, colour), (255, colour), (51, on_white(colour, np.full(colour.shape[:2], 51)))):
        stored = np.dstack([colour[::-1, :, ::-1], np.full(colour.shape[:2], alpha, np.uint8)]).tobytes()
        size = struct.pack("<IiiHHII", 108, 40, 24, 1, 32, 3, len(stored)) + bytes(16)
        header = size + struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + bytes(52)
        data = b"BM" + struct.pack("<IHHI", 122 + len(stored), 0, 0, 122) + header + stored
        np.testing.assert_allclose(shown(data), expected, atol=1)


def test_the_transparent_colour_of_an_rgb_png_is_white():
    pixels = np.array([[[10, 20, 30], [10, 20, 31]]], np.uint8)
    data = encoded(Image.fromarray(pixels), "PNG", transparency=(10, 20, 30))
    assert shown(data).tolist() == [[list(WHITE), [10, 20, 31]]]


def test_the_transparent_level_of_a_grey_png_is_white():
    data = encoded(Image.fromarray(np.array([[3, 4]], np.uint8)), "PNG", transparency=3)
    assert shown(data).tolist() == [[list(WHITE), [4, 4, 4]]]


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_an_animation_or_a_multipage_file_is_its_first_frame(file_format):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    options = {"lossless": True} if file_format == "WEBP" else {}
    data = encoded(frames[0], file_format, save_all=True, append_images=frames[1:], **options)
    assert Image.open(io.BytesIO(data)).n_frames == 3
    assert np.unique(shown(data).reshape(-1, 3), axis=0).tolist() == [[255, 0, 0]]


def test_a_phones_jpeg_with_a_second_picture_is_its_first():
    pictures = [Image.new("RGB", (16, 16), colour) for colour in ((250, 0, 0), (0, 0, 250))]
    pixels = shown(encoded(pictures[0], "MPO", save_all=True, append_images=pictures[1:]))
    assert np.abs(pixels.astype(int) - (250, 0, 0)).max() <= 6


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("file_format", "options"), [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True})], ids=["PNG", "TIFF", "WEBP"]
)
def test_the_image_is_turned_as_exif_says(orientation, file_format, options):
    stored = noise()
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    pixels = shown(encoded(Image.fromarray(stored), file_format, exif=exif, **options))
    np.testing.assert_array_equal(pixels, UPRIGHT[orientation](stored))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_jpeg_is_turned_as_exif_says(orientation):
    # Four plain quarters survive JPEG, and tell all eight orientations apart.
    quarters = np.array([[[250, 0, 0], [0, 250, 0]], [[0, 0, 250], [250, 250, 250]]], np.uint8)
    stored = quarters.repeat(16, axis=0).repeat(32, axis=1)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    pixels = shown(encoded(Image.fromarray(stored), "JPEG", quality=95, subsampling=0, exif=exif))
    expected = UPRIGHT[orientation](stored)
    assert pixels.shape == expected.shape
    assert np.abs(pixels.astype(int) - expected).max() <= 12


@pytest.mark.parametrize("exif", [b"Exif\0\0no exif at all", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12"])
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_leaves_the_image_as_stored(exif):
    assert shown(encoded(Image.new("RGB", (40, 24)), "JPEG", exif=exif)).shape == (24, 40, 3)


def test_one_bit_images_are_black_and_white():
    bits = noise()[..., 0] > 127
    expected = np.repeat(np.where(bits, 255, 0)[..., None], 3, axis=2)
    np.testing.assert_array_equal(shown(encoded(Image.fromarray(bits), "PNG")), expected)


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF", "GIF"])
def test_grey_images_have_three_equal_channels(file_format):
    grey = noise()[..., 0]
    pixels = shown(encoded(Image.fromarray(grey), file_format))
    np.testing.assert_array_equal(pixels, np.repeat(grey[..., None], 3, axis=2))


def test_no_bytes_are_refused():
    with pytest.raises(UnreadableImageError, match="the file has no bytes"):
        decode(b"")


@pytest.mark.parametrize(
    "data", [b"not an image\n", b"\0" * 1000, b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.7\n"]
)
def test_what_is_no_image_is_refused_with_the_formats_that_are_read(data):
    with pytest.raises(UnreadableImageError, match="not an image in one of the formats JPEG, PNG, WEBP, BMP"):
        decode(data)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n",
            "Git LFS has in its place: `git lfs pull`",
        ),
        (b"\n<!DOCTYPE html><html>404 Not Found", "but a web page: download it once more"),
        (b"\xef\xbb\xbf<html><body>", "but a web page"),
        (b"\0\0\0\x18ftypheic", "but HEIC, AVIF or a video: save it as JPEG or PNG"),
        (b"\0\0\0\x20ftypmp42", "but HEIC, AVIF or a video"),
        (gzip.compress(b"photos"), "but an archive, or compressed: unpack it"),
        (
            encoded(Image.new("RGB", (8, 8)), "JPEG").replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"),
            "such as 12 bits a",
        ),
        *(
            (
                encoded(Image.new("RGB", (8, 8)), one)[:14],
                "^truncated or damaged where the file begins: get it once more",
            )
            for one in ("PNG", "GIF", "WEBP")
        ),
    ],
    ids=["pointer", "page", "page without a type", "phone", "video", "archive", "12 bits", "PNG", "GIF", "WEBP"],
)
def test_what_is_known_of_a_file_that_is_no_image_is_said(data, words):
    with pytest.raises(UnreadableImageError, match=words):
        decode(data)


def test_a_raw_photo_is_not_taken_for_the_preview_that_it_begins_with():
    preview, photo = Image.new("RGB", (8, 6)), Image.new("RGB", (80, 60))
    for is_first_smaller, of_one in ((1, False), (1, True), (0, False)):
        info = {254: is_first_smaller}
        data = encoded(preview, "TIFF", tiffinfo=info, save_all=True, append_images=[] if of_one else [photo])
        if is_first_smaller and not of_one:
            with pytest.raises(UnreadableImageError, match="holds a preview first, as RAW photos do: save the photo"):
                decode(data)
        else:
            assert decode(data).size == (8, 6)
    with pytest.raises(UnreadableImageError, match="holds a preview first"):
        decode(encoded(preview, "TIFF", tiffinfo={254: 1, 330: 8}))


def test_an_image_in_another_format_is_refused():
    with pytest.raises(UnreadableImageError, match="not an image in one of the formats"):
        decode(encoded(Image.new("RGB", (16, 16)), "ICO"))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
def test_truncated_files_are_refused(file_format, share):
    data = encoded(Image.fromarray(noise(64, 64)), file_format)
    with pytest.raises(UnreadableImageError, match=r"truncated|not an image") as caught:
        decode(data[: int(len(data) * share)])
    assert len(str(caught.value)) < 200


def test_a_damaged_png_is_refused():
    data = bytearray(encoded(Image.fromarray(noise(64, 64)), "PNG"))
    data[len(data) // 2] ^= 255
    with pytest.raises(UnreadableImageError, match="truncated or damaged"):
        decode(bytes(data))


def test_a_fault_of_thaws_own_is_not_told_as_the_files(monkeypatch):
    data = encoded(photo(1), "JPEG")
    for function in ("_draft", "_to_rgb", "_resize"):
        with monkeypatch.context() as broken:
            broken.setattr(decoding, function, lambda *_: 1 // 0)
            with pytest.raises(ZeroDivisionError):
                pixels(data, 8, 8, "pad")


def test_an_image_is_turned_even_if_another_entry_of_its_exif_is_damaged():
    exif = Image.Exif()
    exif[ORIENTATION], exif[0x011A] = 6, 72.0
    stored = exif.tobytes()
    # The resolution, which is a fraction, says to be a whole number: Pillow reads that, but cannot write it.
    entry = stored.index(b"\x01\x1a\0\x05")
    damaged = stored[:entry] + b"\x01\x1a\0\x0d" + stored[entry + 4 :]
    assert shown(encoded(Image.new("RGB", (40, 24)), "JPEG", exif=damaged)).shape == (40, 24, 3)


def with_chunk(png: bytes, kind: bytes, content: bytes) -> bytes:
    """Return a PNG file with a chunk more behind its header."""
    check = struct.pack(">I", zlib.crc32(kind + content))
    return png[:33] + struct.pack(">I", len(content)) + kind + content + check + png[33:]


def too_far(tiff: bytes, tag: int) -> bytes:
    """Return a TIFF file in which an entry's value lies beyond the end."""
    entry = tiff.index(struct.pack("<H", tag), struct.unpack("<I", tiff[4:8])[0])
    return tiff[: entry + 4] + struct.pack("<II", 2**20, 2**24) + tiff[entry + 12 :]


WARNED_OF = {
    "damaged EXIF": encoded(
        Image.new("RGB", (40, 24)), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x0f\0\x02\0\0\xff\0\0\0\xff\0"
    ),
    "an animation without frames": with_chunk(encoded(Image.new("RGB", (8, 8)), "PNG"), b"acTL", bytes(8)),
    "an entry of TIFF that lies beyond its end": too_far(
        encoded(Image.new("RGB", (8, 8)), "TIFF", description="a description"), 270
    ),
}


@pytest.mark.parametrize("name", WARNED_OF)
def test_what_pillow_warns_of_but_shows_is_shown_without_a_word(name, tmp_path):
    path = tmp_path / "image"
    path.write_bytes(WARNED_OF[name])
    for load in ("from PIL import Image; Image.open(PATH).convert('RGB').getexif()", SHOW):
        code = f"import sys; from pathlib import Path; PATH = Path(sys.argv[1]); {load}"
        command = [sys.executable, "-W", "always", "-c", code, str(path)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert ("Warning" in done.stderr) == (load is not SHOW), done.stderr


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_a_png_with_a_long_text_or_profile_is_shown(kind):
    between = b"\0\1\0\0\0" if kind == b"iTXt" else b"\0\0"
    content = b"workflow" + between + zlib.compress(bytes(2**22))
    assert shown(with_chunk(encoded(Image.new("RGB", (8, 8)), "PNG"), kind, content)).shape == (8, 8, 3)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("limit", [100, 40], ids=["Pillow only warns", "Pillow refuses"])
def test_a_decompression_bomb_is_refused(monkeypatch, limit):
    data = encoded(Image.new("RGB", (12, 10)), "PNG")
    assert shown(data).shape == (10, 12, 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(UnreadableImageError, match=f"more than {limit} pixels"):
        decode(data)


def test_a_decompression_bomb_is_refused_whatever_other_threads_do_to_the_warning_filters(monkeypatch):
    # The filters are the process's, not the thread's: another thread that leaves `catch_warnings` resets them.
    really_open = Image.open

    def open_after_a_reset(*arguments, **options):
        warnings.simplefilter("ignore")
        return really_open(*arguments, **options)

    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    monkeypatch.setattr(Image, "open", open_after_a_reset)
    with pytest.raises(UnreadableImageError, match="more than 100 pixels"):
        decode(encoded(Image.new("RGB", (12, 10)), "PNG"))


REFERENCES = {
    "pad": lambda image, size, resampling: ImageOps.pad(image, size, resampling, color="black"),
    "crop": lambda image, size, resampling: ImageOps.fit(image, size, resampling),
    "stretch": lambda image, size, resampling: image.resize(size, resampling),
}
SIZES = [(32, 32), (20, 50), (50, 20), (24, 40), (1, 1), (7, 100)]


def by_pillow(image: Image.Image, height: int, width: int, method: str, interpolation: str = "bicubic") -> np.ndarray:
    """Return what Pillow makes of an image that was decoded at its full size."""
    resampling = Image.Resampling[interpolation.upper()]
    return np.asarray(REFERENCES[method](image, (width, height), resampling))


def differences(result: np.ndarray, expected: np.ndarray) -> np.ndarray:
    assert (result.shape, result.dtype) == (expected.shape, np.uint8)
    return np.abs(result.astype(int) - expected)


@cache
def photo(scale: float, number: int = 0) -> Image.Image:
    """A photograph of 640 x 427 pixels, enlarged."""
    image = Image.fromarray(load_sample_images().images[number])
    return image.resize((round(640 * scale), round(427 * scale)), Image.Resampling.BICUBIC)


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("method", REFERENCES)
def test_without_interpolation_resizing_is_pillows(method, height, width):
    result = pixels(noise(), height, width, method, "nearest")
    np.testing.assert_array_equal(result, by_pillow(Image.fromarray(noise()), height, width, method, "nearest"))


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize(("height", "width"), [*SIZES, (224, 224), (427, 640), (500, 900)])
@pytest.mark.parametrize("method", REFERENCES)
def test_resizing_is_nearly_pillows(method, height, width, interpolation):
    expected = by_pillow(photo(1), height, width, method, interpolation)
    difference = differences(pixels(np.asarray(photo(1)), height, width, method, interpolation), expected)
    assert difference.mean() < 0.3
    assert difference.max() <= 10


THIN = [(1, 1), (1, 2), (2, 1), (1, 5000), (5000, 1), (6, 2400), (2400, 6), (3, 5), (17, 300), (300, 9)]


def thin_by_pillow(image: Image.Image, height: int, width: int, method: str, interpolation: str) -> np.ndarray:
    """Return what Pillow makes of an image; as pad, which it leaves black where a line would be left, of one pixel."""
    if method != "pad":
        return by_pillow(image, height, width, method, interpolation)
    inner = [max(1, side) for side in ImageOps.contain(image, (width, height)).size]
    result = Image.new("RGB", (width, height))
    resized = image.resize(inner, Image.Resampling[interpolation.upper()])
    result.paste(resized, (round((width - inner[0]) / 2), round((height - inner[1]) / 2)))
    return np.asarray(result)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "nearest"])
@pytest.mark.parametrize("method", REFERENCES)
@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
@pytest.mark.parametrize("size", THIN, ids=str)
def test_an_image_of_any_size_and_aspect_can_be_resized(size, file_format, orientation, method, interpolation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = encoded(photo(1).resize(size), file_format, exif=exif, quality=95, subsampling=0)
    for height, width in ((1, 1), (32, 32), (1, 40), (40, 1), (224, 8)):
        expected = thin_by_pillow(decode(data), height, width, method, interpolation)
        difference = differences(pixels(data, height, width, method, interpolation), expected)
        assert difference.max() <= (0 if interpolation == "nearest" else 30 if file_format == "JPEG" else 6)


# The first and the last column of the result are where columns of the image are, so that the resizer needs no others
# for them: by itself it read behind its memory, which made wrong pixels or ended the process.
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [(60, 50, 75, 100), (85, 46, 61, 69), (54, 24, 31, 80), (7, 1, 7, 3)], ids=str)
def test_a_part_of_an_image_can_be_enlarged(size, interpolation):
    across, down, width, height = size
    image = photo(1).resize((across, down))
    expected = by_pillow(image, height, width, "crop", interpolation)
    assert differences(pixels(np.asarray(image), height, width, "crop", interpolation), expected).max() <= 6
    grey = pixels(np.full((down, across), 200, np.uint8), height, width, "crop", interpolation)
    assert (grey == 200).all()


@pytest.mark.parametrize("mode", ["1", "L", "P", "I;16", "RGBA", "CMYK"])
@pytest.mark.parametrize("size", THIN, ids=str)
def test_an_image_of_any_size_has_a_thumbnail_a_hash_and_a_place_in_a_picture(size, mode, tmp_path):
    image = photo(1).resize(size)
    data = encoded(image.convert("L").convert(mode) if mode == "I;16" else image.convert(mode), "TIFF")
    small = Image.open(io.BytesIO(thumbnail(decode(data, least=2 * THUMBNAIL_SIDE))))
    assert small.width <= THUMBNAIL_SIDE
    assert small.height <= THUMBNAIL_SIDE
    assert 0 <= perceptual_hash(decode(data)) < 2**64
    draw_grid(tmp_path / "grid.jpg", [("thin", [(small, "one"), (Image.new("RGB", (1, 1)), "two")])])


def test_an_image_of_the_wanted_size_stays_as_it_is():
    for interpolation in ("bicubic", "bilinear", "nearest"):
        for method in REFERENCES:
            np.testing.assert_array_equal(pixels(noise(), 24, 40, method, interpolation), noise())


@pytest.mark.parametrize("method", REFERENCES)
@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize(("scale", "fraction"), [(1.3, 1), (2.2, 2), (3.003, 4), (4.4, 4), (6, 8)])
def test_a_large_jpeg_is_nearly_what_pillow_makes_of_all_its_pixels(scale, fraction, number, method, monkeypatch):
    drafts = []
    really_draft = JpegImageFile.draft
    monkeypatch.setattr(
        JpegImageFile,
        "draft",
        lambda self, mode, size: drafts.append(self.width // size[0]) or really_draft(self, mode, size),
    )
    data = encoded(photo(scale, number), "JPEG", quality=90)
    # To crop or to stretch, more of the shorter side is needed than to pad.
    height, width = (145, 210) if method == "pad" else (140, 140)
    difference = differences(pixels(data, height, width, method), by_pillow(decode(data), height, width, method))
    assert drafts == ([fraction] if fraction > 1 else [])
    assert difference.mean() < 0.5
    assert difference.max() <= 12


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("method", REFERENCES)
def test_a_large_jpeg_is_turned_as_exif_says(orientation, method):
    # Not a multiple of 2, 4 or 8: what lies beyond the image must not count, on whichever side it comes to be.
    stored = Image.fromarray(np.asarray(photo(1.6))[:641, :1017])
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = encoded(stored, "JPEG", quality=95, exif=exif)
    for height, width in ((80, 50), (50, 80), (71, 71)):
        difference = differences(pixels(data, height, width, method), by_pillow(decode(data), height, width, method))
        assert difference.mean() < 0.9
        assert difference.max() <= 12


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_a_large_jpeg_of_another_mode_is_shown_in_its_colours(mode):
    data = encoded(photo(1).convert(mode), "JPEG", quality=95)
    difference = differences(pixels(data, 60, 60, "pad"), by_pillow(decode(data), 60, 60, "pad"))
    assert difference.mean() < 0.5
    assert difference.max() <= 12


def test_a_large_progressive_jpeg_is_the_same_as_a_plain_one():
    plain, progressive = (encoded(photo(1), "JPEG", quality=90, progressive=one) for one in (False, True))
    assert plain != progressive
    np.testing.assert_array_equal(pixels(plain, 50, 70, "crop"), pixels(progressive, 50, 70, "crop"))


def test_nearest_picks_from_all_pixels_of_a_large_jpeg():
    data = encoded(photo(1), "JPEG")
    np.testing.assert_array_equal(
        pixels(data, 30, 30, "stretch", "nearest"), by_pillow(decode(data), 30, 30, "stretch", "nearest")
    )


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.99])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"optimize": True}], ids=str)
def test_a_large_jpeg_is_read_to_its_end_even_if_little_of_it_is_needed(share, options):
    data = encoded(photo(1.5), "JPEG", **options)
    for reads in (lambda part: pixels(part, 20, 20, "stretch"), lambda part: decode(part, least=20)):
        reads(data)
        with pytest.raises(UnreadableImageError, match="truncated|not an image"):
            reads(data[: int(len(data) * share)])


def test_a_jpeg_is_decoded_at_the_fraction_that_leaves_enough():
    data = encoded(photo(2), "JPEG")
    assert [decode(data, least=least).size for least in (None, 428, 427, 214, 213, 1)] == [
        (1280, 854), (1280, 854), (640, 427), (640, 427), (320, 214), (160, 107),
    ]  # fmt: skip


@pytest.mark.parametrize("extensions", [one for one in CpuExtensions if one is not Resizer().cpu_extensions])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_resizing_gives_the_same_bits_whatever_vector_instructions_there_are(extensions, interpolation, monkeypatch):
    class Other(Resizer):
        def __init__(self):
            super().__init__()
            self.cpu_extensions = extensions

    try:
        Other()
    except ValueError:
        pytest.skip("this machine does not have them")
    sizes = [(224, 224), (50, 20), (500, 900), (1, 1)]
    expected = [
        pixels(image, *size, "crop", interpolation) for image in (noise(), np.asarray(photo(1))) for size in sizes
    ]
    monkeypatch.setattr(decoding, "Resizer", Other)
    result = [
        pixels(image, *size, "crop", interpolation) for image in (noise(), np.asarray(photo(1))) for size in sizes
    ]
    for one, other in zip(result, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_many_threads_make_the_same_pixels_as_one():
    files = [encoded(photo(scale, number), "JPEG") for scale in (0.3, 1, 1.7) for number in (0, 1)] * 4
    expected = [pixels(data, 64, 64, "pad") for data in files]
    with ThreadPoolExecutor(8) as pool:
        for one, other in zip(pool.map(lambda data: pixels(data, 64, 64, "pad"), files), expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_pad_shows_the_whole_image_between_black_bars():
    result = pixels(np.full((20, 40, 3), 255, np.uint8), 40, 40, "pad")
    assert (result[10:30] == 255).all()
    assert (result[:10] == 0).all()
    assert (result[30:] == 0).all()


def test_pad_shows_a_very_long_image_as_a_line():
    result = pixels(np.full((1, 400), 255, np.uint8), 40, 40, "pad")
    assert (result == 255).all(axis=(1, 2)).sum() == 1


def test_crop_cuts_both_ends_of_the_longer_side():
    image = np.zeros((20, 40, 3), np.uint8)
    image[:, 10:30] = 255
    assert (pixels(image, 20, 20, "crop") == 255).all()


def test_stretch_keeps_the_edges_where_they_are():
    image = np.zeros((20, 40, 3), np.uint8)
    image[:, 20:] = 255
    result = pixels(image, 20, 20, "stretch")
    assert (result[:, :8] == 0).all()
    assert (result[:, 12:] == 255).all()


def test_shrinking_averages_instead_of_picking_pixels():
    # A one-pixel chessboard: picking every eighth pixel gives black or white, averaging gives grey.
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    result = pixels(board, 8, 8, "stretch")
    assert np.abs(result.astype(int) - 127).max() <= 8
