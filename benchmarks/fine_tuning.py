"""Epochs of fine-tuning: from cached activations, against the frozen part run again in every epoch."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.measuring import Comparison, Measured, Way, in_turn
from benchmarks.networks import LITE0, VGG16, Network
from thaw import models
from thaw.backbones import build
from thaw.backend import keras
from thaw.batches import Rows
from thaw.boundary import prefix
from thaw.keras_engine import engine
from thaw.normalization import Normalization
from thaw.params.backbones import Backbone
from thaw.params.features import Features
from thaw.params.keras_spec import KerasSpec
from thaw.params.variants import Training
from thaw.row_file import Index, RowFile
from thaw.row_writer import writing
from thaw.training import add_head, freeze, train
from thaw.views import Views

SIDE = 224
CLASSES = ("a", "b", "c")
HEAD: list[KerasSpec] = [
    "GlobalAveragePooling2D",
    {"Dropout": {"rate": 0.2}},
    {"Dense": {"units": 100, "activation": "relu"}},
    {"Dense": {"units": "classes", "activation": "softmax"}},
]
MAP_HEAD: list[KerasSpec] = ["GlobalAveragePooling2D", {"Dense": {"units": "classes", "activation": "softmax"}}]
CHANGES: list[KerasSpec] = [
    {"RandomFlip": {"mode": "horizontal"}},
    {"RandomTranslation": {"height_factor": 0.2, "width_factor": 0.2}},
]
RUNS = 2
IMAGES = 64
AUGMENTED = 160
VIEWS = 8
EPOCHS = 40


def measure() -> Measured:
    """Measure VGG16's half fine-tunes, and a frozen EfficientNet-Lite0 with augmentation."""
    return Measured([*half_fine_tunes(), *augmentation()])


def half_fine_tunes() -> list[Comparison]:
    """Measure two epochs of VGG16 behind two boundaries, in two precisions."""
    images, labels = _images(IMAGES)
    ways = {"tutorial": lambda: _tutorial(images, labels, "block3_pool")}
    ways["tutorial block4"] = lambda: _tutorial(images, labels, "block4_pool")
    for boundary in ("block3_pool", "block4_pool"):
        activations = _activations(VGG16, images, boundary)
        for precision in ("float32", "bfloat16"):

            def ours(boundary: str = boundary, values: np.ndarray = activations, precision: Any = precision) -> None:
                _train(VGG16, values, labels, boundary, HEAD, Training(epochs=2, optimizer="Adam", precision=precision))

            ways[f"{boundary} {precision}"] = ours
    seconds = in_turn(ways, RUNS)
    found = []
    for boundary, name in (("block3_pool", "half"), ("block4_pool", "behind block4")):
        for precision in ("float32", "bfloat16"):
            what = f"VGG16, {name}: two epochs from cached activations, {precision}"
            taken = seconds[f"{boundary} {precision}"]
            found.append(
                Comparison(what, 2 * IMAGES, taken, "the tutorial's half fine-tune, float32", seconds["tutorial"])
            )
    against = "the same cut, frozen part in every epoch, float32"
    what = "VGG16, behind block4: two epochs from cached activations, bfloat16"
    return [*found, Comparison(what, 2 * IMAGES, seconds["block4_pool bfloat16"], against, seconds["tutorial block4"])]


def augmentation() -> list[Comparison]:
    """Measure a frozen network with augmentation: cached views, against augmentation on the fly in every epoch."""
    images, labels = _images(AUGMENTED)
    fit = Training(epochs=EPOCHS, optimizer="Adam")

    def train_on(values: np.ndarray) -> None:
        _train(LITE0, values, labels, "top_activation", MAP_HEAD, fit)

    def on_the_fly() -> None:
        _train(LITE0, images, labels, None, MAP_HEAD, fit, CHANGES, "top_activation")

    with TemporaryDirectory() as folder:
        views = _views(Path(folder) / "images.h5", images)

        def extracted() -> np.ndarray:
            model = prefix(_assembled(LITE0), "top_activation")
            return np.concatenate(list(engine(model).stream(views.batches(np.arange(len(views.keys))))))

        values = extracted()
        ways: dict[str, Way] = {
            "both": lambda: train_on(extracted()),
            "training": lambda: train_on(values),
            "on the fly": on_the_fly,
        }
        seconds = in_turn(ways, 1, warm_ups=0)
    what = f"frozen EfficientNet-Lite0, {EPOCHS} epochs of {AUGMENTED} images, {VIEWS} cached views"
    against, theirs = "augmentation on the fly", seconds["on the fly"]
    return [
        Comparison(f"{what}, extraction included", EPOCHS * AUGMENTED, seconds["both"], against, theirs),
        Comparison(f"{what}, training alone", EPOCHS * AUGMENTED, seconds["training"], against, theirs),
    ]


def _views(path: Path, images: np.ndarray) -> Views:
    """Return the views of images, which are first written to a file."""
    names = np.array([b"%064d" % number for number in range(len(images))])
    index = Index(names, names, np.zeros(len(images), np.int32), ("a",), {"train": slice(0, len(images))})
    with writing(path, index, images.shape[1:], images.dtype, {}) as file:
        file.write([images])
    entry = Features(tensors="a", backbone="a", layer="top", augmentation=CHANGES, views=VIEWS)
    return Views(RowFile(path), entry)


def _images(count: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.integers(0, 256, (count, SIDE, SIDE, 3)).astype(np.uint8), np.arange(count) % len(CLASSES)


def _assembled(network: Network) -> keras.Model:
    body = build(Backbone(architecture=network.architecture, weights=network.weights))
    return models.assemble(body, SIDE, SIDE, Normalization.of(network.normalization), None)  # type: ignore[arg-type]


def _activations(network: Network, images: np.ndarray, boundary: str) -> np.ndarray:
    frozen = engine(prefix(_assembled(network), boundary))
    return np.concatenate(list(frozen.stream(images[first : first + 32] for first in range(0, len(images), 32))))


def _train(
    network: Network,
    values: np.ndarray,
    labels: np.ndarray,
    boundary: str | None,
    head: list[KerasSpec],
    fit: Training,
    changes: list[KerasSpec] | None = None,
    frozen: str | None = None,
) -> None:
    model = add_head(_assembled(network), head, len(CLASSES))
    freeze(model, boundary or frozen, "frozen")
    images = len(labels)
    views = [np.arange(images) + images * view for view in range(len(values) // images)]
    rows = Rows(values, np.tile(labels, len(views)), CLASSES, views, np.arange(4))
    train(model, boundary, rows, fit, changes or [])


def _tutorial(images: np.ndarray, labels: np.ndarray, boundary: str) -> None:
    """Fine-tune as tutorials do: normalized arrays in memory, the frozen layers part of the network that is fitted."""
    body = keras.applications.VGG16(weights=None, include_top=False, input_shape=(SIDE, SIDE, 3))
    x = keras.layers.GlobalAveragePooling2D()(body.output)
    x = keras.layers.Dense(100, activation="relu")(keras.layers.Dropout(0.2)(x))
    model = keras.Model(body.input, keras.layers.Dense(len(CLASSES), activation="softmax")(x))
    for layer in model.layers[: model.layers.index(model.get_layer(boundary)) + 1]:
        layer.trainable = False
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    normalized = keras.applications.vgg16.preprocess_input(images.astype(np.float32))
    targets = np.eye(len(CLASSES))[labels]
    model.fit(normalized, targets, batch_size=32, epochs=2, validation_data=(normalized[:4], targets[:4]), verbose=0)
