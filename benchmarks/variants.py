"""The vehicles recipe's variants from photos to trained models, as whole processes, against a tutorial's script."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from ruamel.yaml import YAML

from benchmarks.measuring import Comparison, Measured, once
from benchmarks.project import forget
from benchmarks.recipe import ROOT, make_project, reproduce

# Each variant for itself, as notebooks do it: photos are read once, everything else runs in every epoch, until as many
# validation photos are right as Thaw's variant has right. The network, its normalization and the split are given, so
# that what is trained is the same.
TUTORIAL = """
import csv
import sys
from pathlib import Path
import keras
import numpy as np
from thaw.networks import models
from thaw.images.normalization import Normalization
variant, target, photos = sys.argv[1], float(sys.argv[2]), Path("data/raw/vehicles")
keras.utils.set_random_seed(0)
body, _ = models.load(Path("models/backbones/lite0.keras"))
rows = list(csv.DictReader(open("data/manifest.csv")))
names = sorted({row["label"] for row in rows})
labels = np.array([names.index(row["label"]) for row in rows])
loaded = [keras.utils.load_img(photos / row["path"], target_size=(224, 224)) for row in rows]
pixels = np.stack([keras.utils.img_to_array(image) for image in loaded])
train, validation, test = [
    np.array([number for number, row in enumerate(rows) if row["split"] == split])
    for split in ("train", "validation", "test")
]
model = models.assemble(body, 224, 224, Normalization.of("lite"), "avg")
frozen = {"frozen_head": len(model.layers), "half": model.layers.index(model.get_layer("block_9")) + 1, "full": 0}
for number, layer in enumerate(model.layers):
    layer.trainable = number >= frozen[variant] and not isinstance(layer, keras.layers.BatchNormalization)
model = keras.Model(model.input, keras.layers.Dense(len(names), activation="softmax")(model.output))
rate = 1e-3 if variant == "frozen_head" else 1e-4
model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
class Until(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs):
        self.model.stop_training = logs["val_accuracy"] >= target - 1e-6
held_out = (pixels[validation], labels[validation])
done = model.fit(
    pixels[train], labels[train], batch_size=16, epochs=100, validation_data=held_out, callbacks=[Until()], verbose=0
)
accuracy = float((model.predict(pixels[test], verbose=0).argmax(axis=1) == labels[test]).mean())
print(len(done.epoch), accuracy)
"""


def measure() -> Measured:
    """Measure each variant alone, after the ones that it starts from, and the whole recipe with two jobs."""
    variants = YAML(typ="safe").load(ROOT / "recipes" / "vehicles.yaml")["variants"]
    found, accuracies = [], []
    with TemporaryDirectory() as name:
        folder = Path(name, "project")
        make_project(folder)
        reproduce(folder, "backbone@lite0")  # the scripts have it, too
        against = "a notebook's way, until its validation accuracy is the same"
        ours, theirs = 0.0, 0.0
        for variant in variants:
            pipeline = once(partial(reproduce, folder, f"evaluate@{variant}"))
            scores = json.loads((folder / "metrics" / f"{variant}.json").read_text(encoding="utf-8"))
            command = [sys.executable, "-c", TUTORIAL, variant, str(scores["validation"]["accuracy"])]
            printed = Path(name, "printed")
            with printed.open("w") as file:
                script = once(partial(subprocess.run, command, cwd=folder, check=True, stdout=file))
            found.append(Comparison(f"vehicles recipe, variant {variant}", 0, [pipeline], against, [script]))
            ours, theirs = ours + pipeline, theirs + script
            test = scores["test"]
            epochs, of_script = printed.read_text().split()
            accuracies.append(
                f"{variant} {test['accuracy']:.3f} ({test['accuracy_low']:.3f} – {test['accuracy_high']:.3f}), "
                f"script {float(of_script):.3f} after {epochs} epochs"
            )
        found.append(Comparison("vehicles recipe, all variants", 0, [ours], against, [theirs]))
        beside = Path(name, "two jobs")
        make_project(beside)
        forget()
        command = [sys.executable, "-m", "commands", "repro", "--jobs", "2"]
        whole = once(partial(subprocess.run, command, cwd=beside, check=True, capture_output=True))
        what = "vehicles recipe, all of it, two jobs, comparison and report included"
        found.append(Comparison(what, 0, [whole], against, [theirs]))
    return Measured(found, f"Test accuracy on 48 photos: {'; '.join(accuracies)}.")
