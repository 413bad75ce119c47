"""The embedded data set: scikit-learn's handwritten digits as PNG files in class folders."""

import shutil
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from thaw.files.watching import unwatch
from thaw.files.writing import unfinished
from thaw.stage import announce, run

BRIGHTEST = 16


def main(folder: Path) -> None:
    """Write `folder`/<digit>/<number>.png, 8x8 grey pixels each."""
    digits = load_digits()
    announce(f"digits: writing {len(digits.images)} images of handwritten digits to {folder}")
    unwatch(folder)
    written = folder.with_name(f".{folder.name}{unfinished(folder.parent)}")
    try:
        for number, (values, label) in enumerate(zip(digits.images, digits.target, strict=True)):
            path = written / str(label) / f"{number:04}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.round(values * (255 / BRIGHTEST)).astype(np.uint8)).save(path)
        shutil.rmtree(folder, ignore_errors=True)
        written.rename(folder)
    except OSError as error:
        error.filename, error.filename2 = str(folder), None
        raise
    finally:
        shutil.rmtree(written, ignore_errors=True)


if __name__ == "__main__":
    run(main)
