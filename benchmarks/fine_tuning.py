"""Epochs of fine-tuning: from cached activations, against the frozen part run again in every epoch."""

import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.measuring import Comparison, Measured, Way, in_turn
from benchmarks.networks import LITE0, VGG16, Network
from benchmarks.project import PRECISIONS
from stages.features.views import Views
from thaw.backbones.building import build_backbone
from thaw.engines.engine import Precision
from thaw.engines.ready import engine
from thaw.formats.row_file import Index, Origin, RowFile
from thaw.formats.row_writer import writing
from thaw.images.normalization import Normalization
from thaw.networks import models
from thaw.networks.backend import keras
from thaw.networks.boundary import prefix
from thaw.params.backbones import Backbone
from thaw.params.features import Features
from thaw.params.keras_spec import KerasSpec
from thaw.params.variants import Training
from thaw.training.batches import Rows
from thaw.training.training import add_head, freeze, train

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
IMAGES = 64
AUGMENTED = 160
VIEWS = 8
EPOCHS = 40


def measure() -> Measured:
    """Measure VGG16's half fine-tunes, and a frozen EfficientNet-Lite0 with augmentation."""
    words = "Epochs are the second and the third of one training each; everything else here ran once."
    return Measured([*half_fine_tunes(), *augmentation()], words)


def half_fine_tunes() -> list[Comparison]:
    """Measure epochs of VGG16 behind two boundaries, in two precisions; not the first, which traces the step."""
    images, labels = _images(IMAGES)
    tutorial = _between_ends(partial(_tutorial, images, labels, "block3_pool"))
    same_cut = _between_ends(partial(_tutorial, images, labels, "block4_pool"))
    found = []
    for boundary, name in (("block3_pool", "half"), ("block4_pool", "behind block4")):
        activations = _activations(VGG16, images, boundary)
        for precision in PRECISIONS:
            fit = Training(epochs=3, optimizer="Adam", precision=precision)
            ours = _between_ends(partial(_train, VGG16, activations, labels, boundary, HEAD, fit))
            what = f"VGG16, {name}: an epoch from cached activations, {precision}"
            found.append(Comparison(what, IMAGES, ours, "the tutorial's half fine-tune, float32", tutorial))
            if boundary == "block4_pool":
                found.append(Comparison(what, IMAGES, ours, "the same cut, frozen part in every epoch", same_cut))
    return found


def _between_ends(training: Callable[[Callable[[object], None]], None]) -> list[float]:
    """Return the seconds of each epoch of a training but the first; it is given what to call at the end of each."""
    ends: list[float] = []
    training(lambda _: ends.append(time.perf_counter()))
    return [end - before for before, end in pairwise(ends)]


def augmentation() -> list[Comparison]:
    """Measure a frozen network with augmentation: cached views, against augmentation on the fly in every epoch."""
    images, labels = _images(AUGMENTED)
    fit = Training(epochs=EPOCHS, optimizer="Adam")

    def train_on(values: np.ndarray) -> None:
        _train(LITE0, values, labels, "top_activation", MAP_HEAD, fit)

    def on_the_fly() -> None:
        _train(LITE0, images, labels, None, MAP_HEAD, fit, None, CHANGES, "top_activation")

    with TemporaryDirectory() as folder:
        views = _views(Path(folder) / "images.h5", images)

        def extracted(precision: Precision) -> np.ndarray:
            frozen = engine(prefix(_assembled(LITE0), "top_activation"), precision)
            return np.concatenate(list(frozen.stream(views.batches(np.arange(len(views.keys))))))

        values = extracted("float32")
        ways: dict[str, Way] = {
            "float32": lambda: train_on(extracted("float32")),
            "bfloat16": lambda: train_on(extracted("bfloat16")),
            "training": lambda: train_on(values),
            "on the fly": on_the_fly,
        }
        seconds = in_turn(ways, 1, warm_ups=0)
    what = f"frozen EfficientNet-Lite0, {EPOCHS} epochs of {AUGMENTED} images, {VIEWS} cached views"
    against, theirs = "augmentation on the fly", seconds["on the fly"]
    parts = {
        "float32": "extraction in float32 included",
        "bfloat16": "extraction in bfloat16 included",
        "training": "training alone",
    }
    return [
        Comparison(f"{what}, {part}", EPOCHS * AUGMENTED, seconds[way], against, theirs) for way, part in parts.items()
    ]


def _views(path: Path, images: np.ndarray) -> Views:
    """Return the views of images, which are first written to a file."""
    names = np.array([b"%064d" % number for number in range(len(images))])
    index = Index(
        names,
        names,
        np.zeros(len(images), np.int32),
        np.full(len(images), b""),
        ("a",),
        {"train": slice(0, len(images))},
    )
    with writing(path, index, images.shape[1:], images.dtype, Origin({})) as file:
        file.write([images])
    entry = Features(tensors="a", backbone="a", layer="top", augmentation=CHANGES, views=VIEWS)
    return Views(RowFile(path), entry)


def _images(count: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.integers(0, 256, (count, SIDE, SIDE, 3)).astype(np.uint8), np.arange(count) % len(CLASSES)


def _assembled(network: Network) -> keras.Model:
    body = build_backbone(Backbone(architecture=network.architecture, weights=network.weights))
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
    at_end_of_epoch: Callable[[object], None] | None = None,
    changes: list[KerasSpec] | None = None,
    frozen: str | None = None,
) -> None:
    model = add_head(_assembled(network), head, len(CLASSES))
    freeze(model, boundary or frozen, "frozen")
    images = len(labels)
    views = [np.arange(images) + images * view for view in range(len(values) // images)]
    labels, units = np.tile(labels, len(views)), np.tile(np.arange(images), len(views))
    rows = Rows(values, labels, units, CLASSES, views, np.arange(4))
    train(model, boundary, rows, fit, changes or [], watch=at_end_of_epoch)


def _tutorial(images: np.ndarray, labels: np.ndarray, boundary: str, at_end_of_epoch: Callable[[object], None]) -> None:
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
    ends = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: at_end_of_epoch(epoch))
    held_out = (normalized[:4], targets[:4])
    model.fit(normalized, targets, batch_size=32, epochs=3, validation_data=held_out, callbacks=[ends], verbose=0)
