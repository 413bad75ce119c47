"""Photos to measure with: the vehicle photos where they are, else made ones of the same size."""

import shutil
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

VEHICLES = Path("data/raw/vehicles")
CLASSES = ("a", "b", "c")


def photos(folder: Path, count: int) -> str:
    """Write `count` photos in class folders below `folder`; return what they are.

    Where there are fewer vehicle photos than that, they are repeated, each time with another corner, so that no two
    show the same.
    """
    found = sorted(VEHICLES.rglob("*.jpg"))
    for number, source in enumerate(islice(cycle(found or [None]), count)):
        label = source.parent.name if source else CLASSES[number % len(CLASSES)]
        path = folder / label / f"{number:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        if source is None:
            made_photo(number, 500, 400).save(path, quality=90)
        elif number < len(found):
            shutil.copy(source, path)
        else:
            repeated = Image.open(source).convert("RGB")
            repeated.paste((number % 256, number // 256, 0), (0, 0, 16, 16))
            repeated.save(path, quality=90)
    return f"{count} vehicle photos" if found else f"{count} made photos"


def made_photo(seed: int, width: int, height: int) -> Image.Image:
    """Return a picture that compresses as a photo does: smooth shapes, edges and some noise."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (12, 15, 3)).astype(np.uint8))
    smooth = coarse.resize((width, height), Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(1))
    noise = random.normal(0, 6, (height, width, 1))
    return Image.fromarray(np.clip(np.asarray(smooth) + noise, 0, 255).astype(np.uint8))
