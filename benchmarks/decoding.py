"""Decoding and resizing JPEG files on one core, against Pillow's plain convert and resize."""

import io

from PIL import Image

from benchmarks.measuring import Comparison, Measured, in_turn
from benchmarks.photos import VEHICLES, made_photo
from thaw.images.decoding import pixels

SIDE = 224
RUNS = 5


def measure() -> Measured:
    """Measure photos of three sizes."""
    found = sorted(VEHICLES.rglob("*.jpg"))
    small = [file.read_bytes() for file in found[:100]] or [_jpeg(seed, 500, 400) for seed in range(50)]
    kind = "vehicle photos, 0.2 megapixels on average" if found else "made photos of 0.2 megapixels"
    return Measured(
        [
            _measure(kind, small),
            _measure("made photos of 2 megapixels", [_jpeg(seed, 1632, 1224) for seed in range(12)]),
            _measure("made photos of 12 megapixels", [_jpeg(seed, 4000, 3000) for seed in range(3)]),
        ]
    )


def _jpeg(seed: int, width: int, height: int) -> bytes:
    file = io.BytesIO()
    made_photo(seed, width, height).save(file, "JPEG", quality=90)
    return file.getvalue()


def _measure(kind: str, files: list[bytes]) -> Comparison:
    def plain() -> None:
        for data in files:
            Image.open(io.BytesIO(data)).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)

    def ours() -> None:
        for data in files:
            pixels(data, SIDE, SIDE, "stretch")

    seconds = in_turn({"ours": ours, "plain": plain}, RUNS)
    what = f"decode and resize to {SIDE} px, one core, {kind}"
    return Comparison(what, len(files), seconds["ours"], "Pillow's convert and resize", seconds["plain"])
