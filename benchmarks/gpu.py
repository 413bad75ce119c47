"""The recipes' networks on a GPU: beside plain Keras, and beside what the card itself can do."""

import statistics
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.measuring import Comparison, Measured, in_turn, once
from benchmarks.networks import DENSENET, LITE0, VGG16, VGG19, Network
from benchmarks.project import PRECISIONS
from thaw.backbones.building import build_backbone
from thaw.engines.engine import Precision
from thaw.engines.ready import engine
from thaw.images.normalization import Normalization
from thaw.networks import models
from thaw.networks.backend import device, float32_is_float32, has_gpu, keras
from thaw.params.backbones import Backbone
from thaw.params.keras_spec import KerasSpec
from thaw.params.variants import Training
from thaw.training.batches import Rows
from thaw.training.training import add_head, freeze, train

RECIPES = (VGG16, VGG19, DENSENET, LITE0)
CLASSES = ("a", "b", "c")
HEAD: list[KerasSpec] = [{"Dense": {"units": "classes", "activation": "softmax"}}]
RUNS = 3
RATE = 1e-6
"""Learning rate, so small that random weights stay finite."""
BYTES: dict[Precision, int] = {"float32": 4, "bfloat16": 2}
BACKWARD = 3
"""A training step computes each product once for the activations, once for their gradients, once for the weights'."""


@dataclass(frozen=True)
class Amounts:
    """How much is measured with."""

    side: int
    """Of the images, in pixels."""
    batch: int
    batches: int
    matrix: int
    """Rows and columns of the matrices that are multiplied."""
    array: int
    """Numbers that are read and written to measure the memory."""


ON_A_GPU = Amounts(side=224, batch=64, batches=8, matrix=8192, array=2**28)
ON_A_CPU = Amounts(side=224, batch=8, batches=1, matrix=1024, array=2**24)


@dataclass(frozen=True)
class Limits:
    """What the device itself can do in one precision."""

    operations: float
    """In a second: a matrix product's multiplications and additions."""
    bytes: float
    """In a second, read and written."""

    def pace(self, network: "Work", precision: Precision) -> float:
        """Return the most images in a second: the roofline of Williams et al. 2009 (doi 10.1145/1498765.1498785)."""
        return 1 / max(network.operations / self.operations, network.numbers * BYTES[precision] / self.bytes)


@dataclass(frozen=True)
class Work:
    """What a network has to do for one image."""

    operations: float
    """Multiplications and additions, of convolutions and matrix products."""
    numbers: float
    """Of activations, that these read and write; all that lies between can be computed along with them."""

    def times(self, factor: float) -> "Work":
        return Work(factor * self.operations, factor * self.numbers)


def measure(networks: tuple[Network, ...] = RECIPES, amounts: Amounts | None = None) -> Measured:
    """Measure on the GPU, or, if there is none, on the CPU with fewer images.

    Args:
        networks: which.
        amounts: how much; by default, what suits the device.
    """
    amounts = amounts or (ON_A_GPU if has_gpu() else ON_A_CPU)
    float32_is_float32()  # for what Thaw is compared with, too
    limits = {precision: measure_limits(precision, amounts) for precision in PRECISIONS}
    found, rows = [], ["| what | Thaw | the device's limit | share |", "| --- | ---: | ---: | ---: |"]
    for network in networks:
        for precision in PRECISIONS:
            comparisons, works = measure_one(network, precision, amounts)
            for comparison, work in zip(comparisons, works, strict=True):
                pace = comparison.images / statistics.median(comparison.ours)
                most = limits[precision].pace(work, precision)
                rows.append(f"| {comparison.what} | {pace:,.0f} images/s | {most:,.0f} images/s | {pace / most:.0%} |")
                print(comparison.row(), flush=True)  # all of them take a quarter of an hour
            found += comparisons
            keras.utils.clear_session()
    return Measured(found, "\n".join([in_words(limits, amounts), "", *rows]))


def in_words(limits: dict[Precision, Limits], amounts: Amounts) -> str:
    """Return what was measured with what."""
    rates = " and ".join(f"{one.operations / 1e12:,.2f} TFLOP/s in {name}" for name, one in limits.items())
    none = "" if has_gpu() else "No GPU was at hand: these are the CPU's figures, with few images. "
    return (
        f"{none}Keras {keras.__version__} on {keras.backend.backend()}, on {device()}; {amounts.side} px, batches of "
        f"{amounts.batch}, float32 without TensorFloat-32. A matrix product of {amounts.matrix} × {amounts.matrix} "
        f"does {rates}; memory is read and written at {limits['float32'].bytes / 1e9:,.0f} GB/s. The device's limit is "
        "what the network's convolutions and products, and the activations that these read and write, allow at these "
        f"rates; a training step counts {BACKWARD} times as much."
    )


def measure_limits(precision: Precision, amounts: Amounts) -> Limits:
    """Measure a matrix product, and the memory's rate, by the fastest of several times."""
    random = np.random.default_rng(0)
    square = keras.ops.convert_to_tensor(random.random((amounts.matrix, amounts.matrix), np.float32), precision)
    line = keras.ops.zeros((amounts.array,), precision)

    def product() -> None:
        _finish(keras.ops.matmul(square, square))

    def passed() -> None:
        _finish(line + 1)

    seconds = {name: min(times) for name, times in in_turn({"product": product, "passed": passed}, 5 * RUNS).items()}
    return Limits(2 * amounts.matrix**3 / seconds["product"], 2 * amounts.array * BYTES[precision] / seconds["passed"])


def _finish(tensor: Any) -> None:
    """Wait until a tensor is computed."""
    keras.ops.convert_to_numpy(tensor[:1])


def work(model: keras.Model) -> Work:
    """Return what a model has to do for one image."""
    operations, numbers = 0, 0
    for layer in model.layers:
        kernel = getattr(layer, "kernel", None)
        if kernel is not None:
            # A kernel is used at every place of the output's map; of a dense layer, there is one.
            operations += 2 * prod(kernel.shape) * prod(layer.output.shape[1:-1])
            numbers += prod(layer.input.shape[1:]) + prod(layer.output.shape[1:])
    return Work(operations, numbers)


def measure_one(network: Network, precision: Precision, amounts: Amounts) -> tuple[list[Comparison], list[Work]]:
    """Measure one network's extraction and training step; return beside each what it has to do for an image."""
    count = amounts.batch * amounts.batches
    shape = (count, amounts.side, amounts.side, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    labels = np.arange(count) % len(CLASSES)
    backbone = build_backbone(Backbone(architecture=network.architecture, weights=network.weights))
    normalization = Normalization.of(network.normalization)  # type: ignore[arg-type]
    body = models.assemble(backbone, amounts.side, amounts.side, normalization, "avg")
    plain = models.in_bfloat16(body) if precision == "bfloat16" else body
    ours = engine(body, precision, amounts.batch)

    def extract() -> None:
        for _ in ours.stream(np.split(images, amounts.batches)):
            pass

    seconds = in_turn(
        {"ours": extract, "plain": lambda: plain.predict(images, batch_size=amounts.batch, verbose=0)}, RUNS
    )
    name = f"{network.architecture}, {{}}, {precision}"
    extraction = Comparison(name.format("extraction"), count, seconds["ours"], "`predict`", seconds["plain"])
    model = add_head(body, HEAD, len(CLASSES))
    training = Comparison(
        name.format("training step"),
        count,
        epochs_of_thaw(model, precision, images, labels, amounts),
        "`fit`",
        epochs_of_keras(model, precision, images, labels, amounts),
    )
    return [extraction, training], [work(body), work(model).times(BACKWARD)]


def epochs_of_thaw(
    model: keras.Model, precision: Precision, images: np.ndarray, labels: np.ndarray, amounts: Amounts
) -> list[float]:
    """Return the seconds of each epoch but the first, in which all layers are trained."""
    numbers = np.arange(len(images))
    rows = Rows(images, labels, numbers, CLASSES, [numbers], numbers[:1])
    optimizer: KerasSpec = {"Adam": {"learning_rate": RATE}}
    fit = Training(epochs=1 + RUNS, batch_size=amounts.batch, optimizer=optimizer, precision=precision)
    freeze(model, None, "frozen")
    ends: list[float] = []
    train(model, None, rows, fit, [], None, lambda _: ends.append(perf_counter()))
    return [end - before for before, end in pairwise(ends)]


def epochs_of_keras(
    model: keras.Model, precision: Precision, images: np.ndarray, labels: np.ndarray, amounts: Amounts
) -> list[float]:
    """Return the seconds of as many epochs of Keras's own `fit`."""
    freeze(model, None, "frozen")
    plain = models.in_bfloat16(model) if precision == "bfloat16" else model
    plain.compile(keras.optimizers.Adam(RATE), "sparse_categorical_crossentropy", metrics=["accuracy"])
    held_out = (images[:1], labels[:1])

    def epoch() -> None:
        plain.fit(images, labels, batch_size=amounts.batch, validation_data=held_out, verbose=0)

    epoch()
    return [once(epoch) for _ in range(RUNS)]
