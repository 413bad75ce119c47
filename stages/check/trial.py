"""Heads and augmentations, built as the stages will build them, before any stage runs.

`python -m stages.check.trial` is a process of its own, on whatever backend of Keras builds networks fastest. It takes
what to try as JSON, and gives the problems back.
"""

import json
import math
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np

from stages.check.architectures import pretrained_with
from stages.check.problems import Problem
from thaw.backbones.building import build_backbone
from thaw.errors import UserError
from thaw.images.normalization import Normalization
from thaw.networks import models
from thaw.networks.backend import keras
from thaw.networks.keras_objects import applied, keras_object, reason
from thaw.params.backbones import Backbone
from thaw.params.variants import MIXING
from thaw.training.training import optimizer_of

TRIAL_CLASSES = 2
TRIAL_ROWS = 2
TRIAL_STEPS = 10**9
"""More than a warm-up has."""
DRAWN = 10**6
"""Numbers of a weight that is drawn in no time, however it is drawn; orthogonal ones take the cube of its sides."""
COMPUTED = 10**7
"""Of what a layer gives for one image: it is computed in no time, too."""
MOST_NUMBERS = 10**9
"""Of a weight, and of what a layer gives for one image: a training holds several times as many."""


def main() -> None:
    """Try what standard input holds: a list of variants' and features' entries, each as `trial_problems` takes it."""
    if keras.backend.backend() == "numpy":
        # Keras seeds its random numbers, too, where there is TensorFlow, and loads it for that, which takes 3 s.
        sys.modules.setdefault("tensorflow", None)  # type: ignore[arg-type]
        keras.src.utils.backend_utils.in_tf_graph = lambda: False  # which it would ask TensorFlow
    print(json.dumps([list(trial_problems(**entry)) for entry in json.load(sys.stdin)]))


def trial_problems(
    pixels: list[int],
    augmentation: list[Any],
    head: list[Any],
    architecture: str = "none",
    include_top: bool = False,
    pooling: str | None = None,
    source: str = "inputs",
    fit: dict[str, list[Any]] | None = None,
) -> Iterator[Problem]:
    """Yield what Keras has to say against an entry: where in it, and what.

    Args:
        pixels: height and width of the images.
        augmentation: layers for images.
        head: layers behind the network.
        architecture, include_top: of the network.
        pooling: behind it.
        source: the key that says which images.
        fit: by keys, objects that train, each with the namespace where Keras keeps it.
    """
    for key, (namespace, spec) in (fit or {}).items():
        yield from _of_training(key, namespace, spec)
    images = keras.Input((*pixels, 3))
    rows = _drawn(images, 255)
    for number, spec in enumerate(augmentation):
        *_, problem = _output(images, rows, f"augmentation.{number}", spec)
        if problem:
            yield problem
    if not head and architecture == "none":
        return
    try:
        x = _body(architecture, include_top, *pixels, pooling).output
    except Exception as error:  # each network has its own way to say that images are too small for it
        yield source, f"{architecture} cannot take images of {pixels[0]}x{pixels[1]} pixels: {reason(error)}"
        return
    if not head:
        return
    rows = _drawn(x)
    for number, spec in enumerate(head):
        x, rows, problem = _output(x, rows, f"head.{number}", spec, is_kept=True)
        if problem:
            yield problem
            return
    if len(x.shape) != 2:
        yield (
            "head",
            f"it ends in {_size(x)} for each image, not in one number for each class: put Flatten, or a global "
            "pooling, before the last layer",
        )


def _of_training(where: str, namespace: str, spec: Any) -> Iterator[Problem]:
    """Yield what Keras has to say against an optimizer, a loss or a callback as it is made, and in its first steps."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # such as of a mode that it does not know
            found = np.zeros(1)
            if namespace == "optimizers":
                found = _first_steps(optimizer_of(spec, TRIAL_STEPS))
            elif namespace == "losses":
                found = _first_loss(keras_object(spec, namespace))
            else:
                keras_object(spec, namespace)
    except UserError as error:
        yield where, str(error).removeprefix("params.yaml: ")
        return
    except Exception as error:  # each of Keras's objects has its own way to say so
        yield where, f"{spec}: Keras refuses it: {reason(error)}"
        return
    if not np.isfinite(found).all():
        yield where, f"{spec}: computes numbers that are not finite"


def _first_steps(optimizer: Any) -> np.ndarray:
    """Return weights after a few steps; some of the gradients are 0, as they are behind a ReLU."""
    weights = [keras.Variable(np.ones(shape, np.float32)) for shape in ((2, 2), (2,))]
    optimizer.build(weights)
    kernel = np.eye(2, dtype=np.float32)
    for _ in range(3):
        optimizer.apply([keras.ops.convert_to_tensor(gradient) for gradient in (kernel, kernel[0])])
    return np.concatenate([keras.ops.convert_to_numpy(one).ravel() for one in weights])


def _first_loss(loss: Any) -> np.ndarray:
    labels = np.arange(TRIAL_CLASSES, dtype=np.int32)
    is_sparse = isinstance(loss, keras.losses.SparseCategoricalCrossentropy)
    predicted = np.full((TRIAL_CLASSES, TRIAL_CLASSES), 1 / TRIAL_CLASSES, np.float32)
    found: np.ndarray = keras.ops.convert_to_numpy(
        loss(labels if is_sparse else np.eye(TRIAL_CLASSES)[labels], predicted)
    )
    return found


def _drawn(x: Any, most: int = 1) -> np.ndarray | None:
    """Return a few rows of the shape of a symbolic tensor, numbers from 0 to `most`; None if they are too large."""
    if math.prod(x.shape[1:]) > COMPUTED:
        return None
    return np.random.default_rng(0).random((TRIAL_ROWS, *x.shape[1:]), np.float32) * np.float32(most)


def _output(x: Any, rows: Any, where: str, spec: Any, is_kept: bool = False) -> tuple[Any, Any, Problem | None]:
    """Return what a layer gives for `x` and for rows, and the problem if it gives nothing that others could take.

    Where a layer is kept in a model's file, it has to come out of it as it went in.
    """
    try:
        layer = keras_object(spec, "layers", TRIAL_CLASSES)
        if problem := _unfit(layer, len(x.shape)):
            return x, rows, (where, problem)
        size = _size(x)
        with _shapes_alone(DRAWN):
            x = applied(layer, x)
    except UserError as error:
        return x, rows, (where, str(error).removeprefix("params.yaml: "))
    name = type(layer).__name__
    if is_kept:
        try:
            type(layer).from_config(layer.get_config())
        except Exception as error:  # each layer has its own way to say so
            return x, rows, (where, f"Keras writes {name} so that it cannot read it: {reason(error)}")
    if None in x.shape[1:]:
        return x, rows, (where, f"the size of what it gives is not known, {_size(x)}: give numbers for it")
    if math.prod(x.shape[1:]) > MOST_NUMBERS:
        told = f"it gives {_size(x)} for each image, which is more than memory holds: give smaller numbers"
        return x, rows, (where, told)
    if 0 in x.shape[1:]:
        return x, rows, (where, f"{name} leaves nothing of what it gets, {size}: {_size(x)}")
    if name in MIXING:  # they take labels, too
        return x, rows, None
    if rows is None or math.prod(x.shape[1:]) > COMPUTED or any(math.prod(one.shape) > DRAWN for one in layer.weights):
        return x, _drawn(x), None
    try:
        rows = _in_training(layer, rows)
    except NotImplementedError:  # by this backend alone
        return x, _drawn(x), None
    except Exception as error:  # each layer has its own way to say so
        return x, rows, (where, f"{name} cannot be trained on what it gets, {size}: {reason(error)}")
    if rows.shape[1:] != x.shape[1:]:
        return x, rows, (where, f"{name} gives {_size(rows)}, of which Keras reckons that it is {_size(x)}")
    if not np.isfinite(rows).all():
        return x, rows, (where, f"{name} computes numbers that are not finite")
    return x, rows, None


def _in_training(layer: Any, rows: np.ndarray) -> np.ndarray:
    """Return what a layer gives for rows in training, once its regularizers and constraints have been tried as well.

    Of many layers, Keras takes the size of what they give from their arguments, and computes nothing before that.
    """
    if isinstance(getattr(layer, "axis", None), list):
        layer.axis = (*layer.axis,)  # NumPy takes no list
    given: np.ndarray = keras.ops.convert_to_numpy(layer(rows, training=True))
    _ = layer.losses
    for weight in layer.trainable_variables:
        if weight.constraint:
            weight.constraint(weight)
    return given


def _unfit(layer: Any, axes: int) -> str | None:
    """Return why a layer does not do for images, each of which is taken by itself; None if it does.

    Keras would find out in training, or not at all.
    """
    if hasattr(layer, "transform_images") and axes != 4:
        name = type(layer).__name__
        return f"{name} takes maps, which it does not get: put it before the layer that ends them, or leave it out"
    if isinstance(getattr(layer, "activity_regularizer", None), keras.regularizers.OrthogonalRegularizer):
        return "OrthogonalRegularizer compares the images of a batch, each of which is taken by itself: name another"
    for one in (layer, getattr(layer, "layer", None), getattr(layer, "activation", None)):
        axis = getattr(one, "axis", getattr(one, "shared_axes", None))
        for number in axis if isinstance(axis, list | tuple) else [axis]:
            if isinstance(number, int) and number in (0, -axes):
                return f"axis {number} is that of the images of a batch, each of which is taken by itself: name another"
    if (getattr(layer, "noise_shape", None) or [None])[0] not in (None, 1):
        return "noise_shape begins with the number of images of a batch, which is not known: write null there"
    return None


def _size(x: Any) -> str:
    return f"({', '.join(map(str, x.shape[1:]))})"


@contextmanager
def _shapes_alone(drawn: int = 0) -> Iterator[None]:
    """Have weights be zeros, which are neither drawn nor copied: only shapes are of interest.

    Args:
        drawn: of how many numbers a weight may be that is drawn all the same, since its initializer is of interest.
    """
    layer = keras.layers.Layer
    add, set_weights = layer.add_weight, layer.set_weights

    def add_weight(self: Any, shape: Any = None, initializer: Any = None, **options: Any) -> Any:
        count = math.prod(shape or ())
        if count > MOST_NUMBERS:
            raise ValueError(f"{count:,} weights are more than memory holds: give smaller numbers, or a pooling first")
        return add(self, shape=shape, initializer=initializer if count <= drawn else "zeros", **options)

    layer.add_weight, layer.set_weights = add_weight, lambda self, weights: None
    try:
        yield
    finally:
        layer.add_weight, layer.set_weights = add, set_weights


@cache
def _body(architecture: str, include_top: bool, height: int, width: int, pooling: str | None) -> keras.Model:
    normalization = Normalization.of(pretrained_with(architecture) or "none")
    with _shapes_alone():
        network = build_backbone(Backbone(architecture=architecture, weights="none", include_top=include_top))
        return models.assemble(network, height, width, normalization, pooling)


if __name__ == "__main__":
    main()
