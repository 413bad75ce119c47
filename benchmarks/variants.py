"""The vehicles recipe's variants from photos to trained models, as whole processes, against a tutorial's script."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from ruamel.yaml import YAML

from benchmarks.measuring import Comparison, Measured, once
from benchmarks.recipe import ROOT, make_project, reproduce

# Each variant for itself, as notebooks do it: photos are read once, everything else runs in every epoch. The network
# and its normalization are given, so that what is trained is the same.
TUTORIAL = """
import sys
from functools import partial
from pathlib import Path
import keras
import numpy as np
from sklearn.linear_model import LogisticRegression
from thaw import models
from thaw.normalization import Normalization
body, _ = models.load(Path("models/backbones/lite0.keras"))
files = sorted(Path("data/raw/vehicles").rglob("*.jpg"))
names = sorted({file.parent.name for file in files})
labels = np.array([names.index(file.parent.name) for file in files])
arrays = [keras.utils.img_to_array(keras.utils.load_img(file, target_size=(224, 224))) for file in files]
pixels, order = np.stack(arrays), np.random.default_rng(0).permutation(len(files))
test, validation, train = np.split(order, [48, 84])
if sys.argv[1] == "frozen_head":
    model = models.assemble(body, 224, 224, Normalization.of("lite"), "avg")
    features = model.predict(pixels, verbose=0)
    strengths = 10.0 ** np.arange(-6, 2)
    heads = [LogisticRegression(C=C, max_iter=2000).fit(features[train], labels[train]) for C in strengths]
    best = max(heads, key=lambda head: head.score(features[validation], labels[validation]))
    print(best.score(features[test], labels[test]))
else:
    model = models.assemble(body, 224, 224, Normalization.of("lite"), "avg")
    model = keras.Model(model.input, keras.layers.Dense(3, activation="softmax")(model.output))
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    if sys.argv[1] == "half":
        for layer in model.layers[: model.layers.index(model.get_layer("block_9")) + 1]:
            layer.trainable = False
    model.compile(keras.optimizers.Adam(5e-5), "sparse_categorical_crossentropy", metrics=["accuracy"])
    held_out = (pixels[validation], labels[validation])
    epochs = int(sys.argv[2])
    model.fit(pixels[train], labels[train], batch_size=16, epochs=epochs, validation_data=held_out, verbose=0)
    print((model.predict(pixels[test], verbose=0).argmax(axis=1) == labels[test]).mean())
"""


def measure() -> Measured:
    """Measure each variant alone, after the ones that it starts from, and all of them."""
    variants = YAML(typ="safe").load(ROOT / "recipes" / "vehicles.yaml")["variants"]
    found = []
    with TemporaryDirectory() as name:
        project = Path(name)
        make_project(project / "project")
        folder = project / "project"
        reproduce(folder, "backbone@lite0")
        against = "a notebook's way, as a script"
        ours, theirs, accuracies = 0.0, 0.0, []
        for variant, entry in variants.items():
            epochs = str(entry["fit"].get("epochs", 0))
            command = [sys.executable, "-c", TUTORIAL, variant, epochs]
            printed = project / "printed"
            with printed.open("w") as file:
                script = once(partial(subprocess.run, command, cwd=folder, check=True, stdout=file))
            pipeline = once(partial(reproduce, folder, f"evaluate@{variant}"))
            found.append(Comparison(f"vehicles recipe, variant {variant}", 0, [pipeline], against, [script]))
            ours, theirs = ours + pipeline, theirs + script
            scores = json.loads((folder / "metrics" / f"{variant}.json").read_text(encoding="utf-8"))["test"]
            low, high = scores["accuracy_low"], scores["accuracy_high"]
            of_script = float(printed.read_text())
            accuracies.append(f"{variant} {scores['accuracy']:.3f} ({low:.3f} – {high:.3f}), script {of_script:.3f}")
    words = f"Test accuracy on 48 photos, which are not the same ones: {'; '.join(accuracies)}."
    return Measured([*found, Comparison("vehicles recipe, all variants", 0, [ours], against, [theirs])], words)
