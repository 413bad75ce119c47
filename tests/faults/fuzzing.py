"""Mutations of image files, read in a process of its own: `python -m tests.faults.fuzzing FIRST SECONDS MOST`.

Every number is a mutation, the same in every run. The process prints the number before it reads the file, so that
whoever watches knows which one it crashed or hung on, and at the end how many there were of each outcome, as JSON.
"""

import io
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from stages.manifest.near_duplicates import perceptual_hash
from thaw.errors import UserError
from thaw.formats.thumbnails import thumbnail
from thaw.images import reading
from thaw.images.decoding import UnreadableImageError, decode, pixels, used_bits
from thaw.images.reading import open_array, read_image

INTERESTING = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 89_478_485, 65535]


def encoded(image: Image.Image, file_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def corpus() -> dict[str, bytes]:
    """Return valid files: each format that is read, with what it has of variants."""
    noise = np.random.default_rng(0)
    colours = Image.fromarray(noise.integers(0, 256, (40, 50, 3), np.uint8))
    smooth = Image.fromarray(np.tile(np.arange(64, dtype=np.uint8), (48, 1)))
    clear = Image.fromarray(noise.integers(0, 256, (30, 20, 4), np.uint8))
    deep = Image.fromarray(noise.integers(0, 65536, (24, 24), np.uint16))
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a description " * 9
    frames = [colours.convert("P"), smooth.convert("P").resize((50, 40))]
    found = {
        "jpeg": encoded(colours, "JPEG", exif=exif),
        "jpeg progressive": encoded(colours.resize((200, 160)), "JPEG", progressive=True, quality=60),
        "jpeg grey": encoded(smooth, "JPEG"),
        "jpeg cmyk": encoded(colours.convert("CMYK"), "JPEG"),
        "png": encoded(colours, "PNG", exif=exif),
        "png palette": encoded(colours.convert("P"), "PNG", transparency=3),
        "png alpha": encoded(clear, "PNG"),
        "png 16": encoded(deep, "PNG"),
        "png 1": encoded(smooth.convert("1"), "PNG"),
        "webp": encoded(colours, "WEBP", exif=exif),
        "webp lossless": encoded(clear, "WEBP", lossless=True),
        "webp animated": encoded(colours, "WEBP", save_all=True, append_images=[colours.rotate(90)]),
        "gif": encoded(colours.convert("P"), "GIF"),
        "gif animated": encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], transparency=0),
        "bmp": encoded(colours, "BMP"),
        "bmp palette": encoded(smooth, "BMP"),
        "tiff": encoded(colours, "TIFF"),
        "tiff 16": encoded(deep, "TIFF"),
        "tiff cmyk": encoded(colours.convert("CMYK"), "TIFF", compression="tiff_lzw"),
    }
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        found[f"tiff {compression}"] = encoded(colours, "TIFF", compression=compression)
    found["tiff group4"] = encoded(smooth.convert("1"), "TIFF", compression="group4")
    for name, values in {"npy": np.asarray(colours)[None], "npy float": np.zeros((2, 5, 4), np.float32)}.items():
        file = io.BytesIO()
        np.save(file, values)
        found[name] = file.getvalue()
    return found


def mutated(number: int, files: dict[str, bytes]) -> tuple[str, bytes]:
    """Return the name of a valid file, and what a mutation makes of it."""
    noise = np.random.default_rng(number)
    name = list(files)[int(noise.integers(len(files)))]
    data = bytearray(files[name])
    for _ in range(int(noise.integers(1, 9))):
        if not data:
            break
        # Headers are where sizes are.
        most = len(data) if noise.random() < 0.5 else min(len(data), 200)
        place = int(noise.integers(most))
        match int(noise.integers(8)):
            case 0:
                data[place] ^= 1 << int(noise.integers(8))
            case 1:
                data[place] = int(noise.integers(256))
            case 2:
                del data[place:]
            case 3:
                del data[place : place + int(noise.integers(1, 64))]
            case 4:
                data[place:place] = data[place : place + int(noise.integers(1, 256))]
            case 5 | 6:
                value = INTERESTING[int(noise.integers(len(INTERESTING)))]
                size = int(noise.choice([1, 2, 4, 8]))
                order = "little" if noise.random() < 0.5 else "big"
                data[place : place + size] = (value % 256**size).to_bytes(size, order)
            case 7:
                other = files[list(files)[int(noise.integers(len(files)))]]
                start = int(noise.integers(len(other)))
                data[place : place + 64] = other[start : start + int(noise.integers(1, 128))]
    return name, bytes(data)


def outcome(name: str, data: bytes, folder: Path) -> str:
    """Read a file as all stages do; say what came of it. Whatever is no refusal with a reason is raised."""
    try:
        if name.startswith("npy"):
            path = folder / "mutated.npy"
            path.unlink(missing_ok=True)
            path.write_bytes(data)
            reading._mapped.cache_clear()
            rows = open_array(folder, path.name)
            if rows.ndim not in (3, 4) or rows.dtype.kind not in "uf":
                return "refused"
            source = read_image(folder, "mutated.npy#0")[1] if len(rows) else np.zeros((1, 1), np.uint8)
        else:
            source = data
        shown = decode(source, least=256)
        used_bits(source, shown)
        perceptual_hash(shown)
        thumbnail(shown)
        made = pixels(source, 24, 32, ("pad", "stretch", "crop")[len(data) % 3], ("bicubic", "nearest")[len(data) % 2])
        assert made.shape == (24, 32, 3)
        assert made.dtype == np.uint8
    except (UnreadableImageError, UserError) as error:
        return "refused" if str(error) else "refused without a reason"
    return "read"


def peak_memory() -> int:
    """Return the most memory that this process has had, in MB; the system's `ru_maxrss` has that of its parent, too."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def main(first: int, seconds: float, most: int, folder: Path, report: Callable[[int], object]) -> dict[str, object]:
    """Read mutations one after the other until the time is over; return how many there were of each outcome."""
    files = corpus()
    counts: Counter[tuple[str, str]] = Counter()
    end = time.monotonic() + seconds
    number = first
    while number < first + most and time.monotonic() < end:
        report(number)
        name, data = mutated(number, files)
        counts[name, outcome(name, data, folder)] += 1
        number += 1
    peak = peak_memory()
    return {"next": number, "peak": peak, "counts": [[*key, count] for key, count in counts.items()]}


if __name__ == "__main__":
    done = main(
        int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]), lambda n: print(n, flush=True)
    )
    print(json.dumps(done))
