"""`thaw predict` as a whole process, its start included, against a `load_img` loop and `predict`."""

import subprocess
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measuring import Comparison, Measured, in_turn
from benchmarks.photos import photos
from benchmarks.recipe import make_project, reproduce

PHOTOS = 853
RUNS = 2
TUTORIAL = """
import sys
from pathlib import Path
import keras
import numpy as np
model = keras.saving.load_model(sys.argv[1])
files = sorted(Path(sys.argv[2]).rglob("*.jpg"))
arrays = [keras.utils.img_to_array(keras.utils.load_img(file, target_size=(224, 224))) for file in files]
print(model.predict(np.stack(arrays), verbose=0).argmax(axis=1))
"""


def measure() -> Measured:
    """Measure both on the vehicles recipe's frozen head."""
    with TemporaryDirectory() as name:
        project, unlabelled = Path(name) / "project", Path(name) / "photos"
        make_project(project)
        reproduce(project, "train@frozen_head")
        photos(unlabelled, PHOTOS)
        model = project / "models" / "variants" / "frozen_head.keras"
        table = Path(name) / "predictions.csv"
        ways = {
            "thaw": ["-m", "commands", "predict", model, unlabelled, "--out", table],
            "tutorial": ["-c", TUTORIAL, model, unlabelled],
        }
        run = {
            way: partial(subprocess.run, [sys.executable, *arguments], check=True, capture_output=True)
            for way, arguments in ways.items()
        }
        seconds = in_turn(run, RUNS)
    what = f"`thaw predict` on {PHOTOS} photos, EfficientNet-Lite0, start of the process included"
    return Measured([Comparison(what, PHOTOS, seconds["thaw"], "`load_img` loop and `predict`", seconds["tutorial"])])
