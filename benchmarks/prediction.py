"""`thaw predict` as a whole process, its start included, against a `load_img` loop and `predict`."""

import subprocess
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measuring import Comparison, Measured, in_turn
from benchmarks.photos import photos
from benchmarks.project import forget
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

        def first() -> None:
            forget()
            run["thaw"]()

        seconds = in_turn({"first": first, **run}, RUNS, warm_ups=0)
    what = f"`thaw predict` on {PHOTOS} photos, EfficientNet-Lite0, start of the process included"
    against, theirs = "`load_img` loop and `predict`", seconds["tutorial"]
    return Measured(
        [
            Comparison(f"{what}, a model that is new here", PHOTOS, seconds["first"], against, theirs),
            Comparison(what, PHOTOS, seconds["thaw"], against, theirs),
        ]
    )
