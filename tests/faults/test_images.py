"""Odd files among images: every one is read or named with a reason, in bounded time and memory; none makes it wait."""

import contextlib
import json
import os
import re
import resource
import select
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from commands.classifier import Classifier, Unreadable
from commands.pipeline import require_files
from tests.conftest import ROOT, named
from tests.faults.conftest import Tried
from tests.faults.fuzzing import corpus, encoded, mutated
from thaw.errors import UserError
from thaw.images.decoding import SCANS, UnreadableImageError, decode, decoding
from thaw.images.reading import read_image
from thaw.threads import Budget

PATIENCE = 30
"""Seconds for one file; the slowest takes a tenth of one."""
LIMIT = 89_478_485
"""Pixels of an image, by Pillow."""


class TestFuzzing:
    def test_mutated_files_are_read_or_refused_with_a_reason(self, is_full: bool, tmp_path: Path, tried: Tried) -> None:
        seconds, most = (600, 10**9) if is_full else (60, 600)
        command = [sys.executable, "-m", "tests.faults.fuzzing", "0", str(seconds), str(most), str(tmp_path)]
        with (tmp_path / "errors").open("w+b") as errors:
            process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors)
            assert process.stdout is not None
            last = b""
            while True:
                is_there, _, _ = select.select([process.stdout], [], [], PATIENCE)
                if not is_there:
                    process.kill()
                    pytest.fail(f"hangs on mutation {last.split()[-1].decode()}")
                read = os.read(process.stdout.fileno(), 2**16)
                if not read:
                    break
                last = (last + read)[-(2**16) :]
            errors.seek(0)
            assert process.wait() == 0, f"{last[-100:]!r}: {errors.read()[-2000:].decode(errors='replace')}"
        done = json.loads(last.splitlines()[-1])
        for name, outcome, count in done["counts"]:
            for _ in range(count):
                tried(f"image: {name}", "mutated", outcome)
        assert done["next"] >= 600
        assert done["peak"] < MOST


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """Return a PNG file that says a size, whatever it holds."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunk(*one) for one in chunks) + chunk(b"IEND", b"")


def scans_of_a_jpeg(count: int) -> bytes:
    """Return a progressive JPEG file whose last scan is there many times."""
    data = encoded(Image.new("RGB", (64, 64), "red"), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * count + data[-2:]


def odd_files() -> Iterator[tuple[str, bytes]]:
    """Yield names and contents of files that are no images, or hardly; more than 400."""
    files = corpus()
    for name, data in files.items():
        for share in (0, 1, 2, 10, 50, 90):  # percent
            yield f"{name} {share} percent.png", data[: len(data) * share // 100]
        yield f"{name} twice.png", data + data
        yield f"{name} behind zeros.png", bytes(512) + data
    for number in range(130):
        name, data = mutated(10**9 + number, files)
        yield f"mutated {number} {name}.jpg", data
    heads = {
        "pdf": b"%PDF-1.7\n", "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>", "heic": b"\0\0\0\x18ftypheic",
        "avif": b"\0\0\0\x1cftypavif", "psd": b"8BPS\0\1", "mp4": b"\0\0\0\x18ftypmp42", "zip": b"PK\3\4",
        "elf": b"\x7fELF", "html": b"<!doctype html><script>alert(1)</script>", "ico": b"\0\0\1\0\1\0",
        "gzip": b"\x1f\x8b\x08", "pickle": b"\x80\4.", "python": b"import os\n", "lfs": b"version https://git-lfs",
        "jp2": b"\0\0\0\x0cjP  \r\n\x87\n", "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n", "xcf": b"gimp xcf v011\0",
        "tga": bytes(18), "pcx": b"\n\5\1\x08", "dds": b"DDS ", "ppm": b"P6 1000000 1000000 255\n", "qoi": b"qoif",
    }  # fmt: skip
    for name, head in heads.items():
        for size in (0, 64, 4096):
            yield f"{name} {size}.jpg", head + bytes(size)
    for width, height in ((2**31 - 1, 2**31 - 1), (10**6, 10**6), (LIMIT + 1, 1), (0, 5), (5, 0), (2**31 - 1, 1)):
        yield f"png of {width}x{height}.png", png(width, height)
    yield "png with endless text.png", png(9, 9, (b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8), 9)))
    yield "png with an endless profile.png", png(9, 9, (b"iCCP", b"a\0\0" + zlib.compress(bytes(10**8), 9)))
    yield "gif of 65535.gif", b"GIF89a" + struct.pack("<HH", 65535, 65535) + bytes(50)
    yield (
        "bmp of 2147483647.bmp",
        b"BM" + bytes(12) + struct.pack("<IiiHHI", 40, 2**31 - 1, 2**31 - 1, 1, 24, 0) + bytes(24),
    )
    yield "tiff of many.tif", b"II*\0\x08\0\0\0" + struct.pack("<H", 65535) + bytes(600)
    yield "tiff in a circle.tif", b"II*\0\x08\0\0\0" + struct.pack("<HI", 0, 8)
    yield "webp of many.webp", b"RIFF\xff\xff\xff\xffWEBPVP8X\x0a\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff"
    yield "too many scans.jpg", scans_of_a_jpeg(SCANS + 1)
    for number in range(40):
        yield f"noise {number}.png", np.random.default_rng(number).bytes(1 + number**2)


@contextlib.contextmanager
def special(folder: Path) -> Iterator[list[str]]:
    """Put what is no file among the images; yield the names."""
    folder.mkdir(parents=True, exist_ok=True)
    links = {
        "zeros.png": "/dev/zero", "noise.png": "/dev/urandom", "null.png": "/dev/null", "terminal.png": "/dev/ptmx",
        "nowhere.png": "/nowhere/at all", "itself.png": "itself.png", "one.png": "other.png", "other.png": "one.png",
        "kernel.png": "/proc/kmsg", "memory.png": "/proc/self/mem",
    }  # fmt: skip
    for name, target in links.items():
        (folder / name).symlink_to(target)
    os.mkfifo(folder / "pipe.png")
    (folder / "to a pipe.png").symlink_to("pipe.png")
    with (folder / "endless.png").open("wb") as file:
        file.truncate(2**40)
    bound = socket.socket(socket.AF_UNIX)
    here = Path.cwd()
    os.chdir(folder)  # an address has a hundred characters at most
    bound.bind("socket.png")
    os.chdir(here)
    names = [path.name for path in folder.iterdir() if path.name in links or path.suffix == ".png"]
    with bound:
        yield sorted(names)


@pytest.fixture
def data_set(tmp_path: Path) -> Path:
    """Two classes of five images."""
    for number in range(10):
        noise = np.random.default_rng(number).integers(0, 256, (9, 11, 3), np.uint8)
        path = tmp_path / "images" / ("oak", "pine")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise).save(path)
    return tmp_path / "images"


PARAMS = """\
dataset:
  path: data/raw/images
  layout: class_folders
  on_bad_image: {0}
  split: {{method: stratified, test: 0.2, validation: 0.2}}
"""


def manifest_of(
    folder: Path, on_bad_image: str, threads: int = 2
) -> tuple[subprocess.CompletedProcess[str], int, float]:
    """Run the stage on a folder; return what it said, the most memory in megabytes, and the seconds of a processor."""
    params = folder.parent / "params.yaml"
    params.write_text(PARAMS.format(on_bad_image))
    written = [folder.parent / name for name in ("m.csv", "s.csv", "n.csv", "d.csv", "s.jpg", "t.zip")]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = ["-m", "stages.manifest", *named("manifest", params, "dataset", folder, *written)]
    measured = (
        "import runpy, sys; from tests.faults.fuzzing import peak_memory; sys.argv[0:] = sys.argv[2:]\n"
        f"import thaw.threads; thaw.threads.cores = lambda: {threads}\n"
        "try: runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)\n"
        "finally: print('peak', peak_memory())"
    )
    done = subprocess.run(
        [sys.executable, "-c", measured, *command], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    peak = int(re.findall(r"^peak (\d+)$", done.stdout, flags=re.MULTILINE)[-1])
    return done, peak, after.ru_utime - before.ru_utime


class TestOddFiles:
    def test_every_odd_file_in_a_data_set_is_read_or_listed_with_a_reason(self, data_set: Path, tried: Tried) -> None:
        there = dict(odd_files())
        assert len(there) + 14 >= 400
        for name, data in there.items():
            (data_set / "oak" / name).write_bytes(data)
        with special(data_set / "pine" / "more") as names:
            done, peak, _ = manifest_of(data_set, "skip")
        assert done.returncode == 0, done.stderr[-2000:]
        skipped = (data_set.parent / "s.csv").read_text()
        used = (data_set.parent / "m.csv").read_text()
        for name in names:
            line = next(line for line in skipped.splitlines() if line.startswith(f"pine/more/{name},"))
            assert line.partition(",")[2], line
            tried("image: what is no file", name.removesuffix(".png"), "named")
        for name in there:
            is_skipped, is_used = (f"\noak/{name}," in text for text in (skipped, used))
            assert is_skipped != is_used, name
            tried("image: odd file", re.sub(r" \d.*|\..*", "", name), "named" if is_skipped else "read")
        assert peak < 700, "megabytes"
        tried("image: a folder of them", f"{len(there) + len(names)} files", f"{peak} MB")

    def test_where_none_may_be_skipped_ten_are_named(self, data_set: Path) -> None:
        with special(data_set / "pine" / "more"):
            done, _, _ = manifest_of(data_set, "fail")
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert re.search(r"pipe\.png: cannot be read: a named pipe, where a file is expected", done.stderr)

    def test_predict_names_them_too(self, tmp_path: Path) -> None:
        classifier = object.__new__(Classifier)
        classifier.usage = {"pixels": [8, 8], "resize": "pad", "interpolation": "bilinear"}
        with special(tmp_path / "images") as names:
            for name in names:
                assert isinstance(classifier.read(tmp_path / "images" / name), Unreadable)

    def test_dvc_is_not_left_to_read_them(self, data_set: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as patch:
            patch.delattr("pathlib.Path.stat")  # of a million files, it would take half a minute
            require_files(data_set)
        with special(data_set / "pine"), pytest.raises(UserError, match="which DVC would read for ever"):
            require_files(data_set)

    def test_a_file_that_is_too_large_to_be_an_image_is_not_read(self, tmp_path: Path) -> None:
        with pytest.raises(OSError, match="more than 1,073,741,824 bytes"):
            with (tmp_path / "endless.png").open("wb") as file:
                file.truncate(2**30 + 1)
            read_image(tmp_path, "endless.png")


class TestLimits:
    @pytest.mark.parametrize("count", [1, SCANS])
    def test_a_progressive_file_with_many_scans_is_refused_before_it_is_decoded(self, count: int) -> None:
        scans = scans_of_a_jpeg(count)
        if count == 1:
            assert decode(scans).size == (64, 64)
            return
        with pytest.raises(UnreadableImageError, match=f"more than {SCANS} scans"):
            decode(scans)

    def test_threads_wait_while_others_have_as_many_pixels_as_may_be(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("thaw.images.decoding.DECODED", Budget(64 * 64))
        data = encoded(Image.new("RGB", (64, 64)), "PNG")
        with ThreadPoolExecutor(1) as pool:
            with decoding(data) as image:
                waiting = pool.submit(decode, data)
                with pytest.raises(TimeoutError):
                    waiting.result(0.2)
            assert waiting.result(10).size == image.size

    def test_a_row_that_is_larger_than_an_image_may_be_is_refused(self, tmp_path: Path) -> None:
        with (tmp_path / "train_images.npy").open("wb") as file:
            np.lib.format.write_array_header_1_0(
                file, {"descr": "|u1", "fortran_order": False, "shape": (1, 10**5, 10**4)}
            )
            file.truncate(file.tell() + 10**9)
        with pytest.raises(UnreadableImageError, match=f"more than {LIMIT:,} pixels"):
            read_image(tmp_path, "train_images.npy#0")


LARGEST: dict[str, Callable[[], bytes]] = {
    "PNG RGB": lambda: encoded(Image.new("RGB", (9459, 9459)), "PNG", compress_level=1),
    "PNG RGBA": lambda: encoded(Image.new("RGBA", (9459, 9459)), "PNG", compress_level=1),
    "PNG 16": lambda: encoded(Image.fromarray(np.full((9459, 9459), 1000, np.uint16)), "PNG", compress_level=1),
    "WEBP RGBA": lambda: encoded(Image.new("RGBA", (9459, 9459), (9, 9, 9, 9)), "WEBP", quality=1, method=0),
    "TIFF CMYK": lambda: encoded(Image.new("CMYK", (9459, 9459)), "TIFF", compression="tiff_lzw"),
    "JPEG": lambda: encoded(Image.new("RGB", (9459, 9459)), "JPEG"),
}
MOST = 2200
"""Megabytes that a process may take for the largest image in the format that takes most, and for any number of PNGs."""


class TestMemory:
    @pytest.mark.long_form
    def test_what_the_largest_images_take_is_bounded(self, data_set: Path, tried: Tried) -> None:
        for kind, make in LARGEST.items():
            path = data_set / "oak" / f"large.{kind}"
            path.write_bytes(make())
            done, peak, seconds = manifest_of(data_set, "fail")
            path.unlink()
            assert done.returncode == 0, done.stderr
            assert peak < MOST, kind
            tried("image: at the limit of pixels", kind, f"{peak} MB, {seconds:.1f} s")

    @pytest.mark.long_form
    def test_however_many_of_them_there_are(self, data_set: Path, tried: Tried) -> None:
        for number in range(8):
            colour = Image.new("RGBA", (9459, 9459), (number, 9, 9, 9))
            (data_set / "oak" / f"large {number}.png").write_bytes(encoded(colour, "PNG", compress_level=1))
        done, peak, seconds = manifest_of(data_set, "fail", threads=8)
        assert done.returncode == 0, done.stderr
        assert peak < MOST
        tried("image: at the limit of pixels", "8 files, 8 threads", f"{peak} MB, {seconds:.1f} s")
