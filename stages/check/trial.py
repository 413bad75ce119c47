"""Heads and augmentations, built as the stages will build them, before any stage runs.

`python -m stages.check.trial` is a process of its own, on whatever backend of Keras builds networks fastest. It takes
what to try as JSON, and gives the problems back.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from stages.check.architectures import pretrained_with
from stages.check.rules import Problem
from thaw.backbones.building import build_backbone
from thaw.errors import UserError
from thaw.images.normalization import Normalization
from thaw.networks import models
from thaw.networks.backend import keras
from thaw.networks.keras_objects import applied, keras_object, reason
from thaw.params.backbones import Backbone

TRIAL_CLASSES = 2


def main() -> None:
    """Try what standard input holds: a list of variants' and features' entries, each as `trial_problems` takes it."""
    if keras.backend.backend() == "numpy":
        # Keras seeds its random numbers, too, where there is TensorFlow, and loads it for that, which takes 3 s.
        sys.modules.setdefault("tensorflow", None)  # type: ignore[arg-type]
    print(json.dumps([list(trial_problems(**entry)) for entry in json.load(sys.stdin)]))


def trial_problems(
    pixels: list[int],
    augmentation: list[Any],
    head: list[Any],
    architecture: str = "none",
    include_top: bool = False,
    pooling: str | None = None,
    source: str = "inputs",
) -> Iterator[Problem]:
    """Yield what Keras has to say against an entry: where in it, and what.

    Args:
        pixels: height and width of the images.
        augmentation: layers for images.
        head: layers behind the network.
        architecture, include_top: of the network.
        pooling: behind it.
        source: the key that says which images.
    """
    images = keras.Input((*pixels, 3))
    for number, spec in enumerate(augmentation):
        _, problem = _output(images, f"augmentation.{number}", spec)
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
    for number, spec in enumerate(head):
        x, problem = _output(x, f"head.{number}", spec, is_kept=True)
        if problem:
            yield problem
            return
    if len(x.shape) != 2:
        yield (
            "head",
            f"it ends in {_size(x)} for each image, not in one number for each class: put Flatten, or a global "
            "pooling, before the last layer",
        )


def _output(x: Any, where: str, spec: Any, is_kept: bool = False) -> tuple[Any, Problem | None]:
    """Return what a layer gives for `x`, and the problem if it gives nothing that others could take.

    Where a layer is kept in a model's file, it has to come out of it as it went in.
    """
    try:
        layer = keras_object(spec, "layers", TRIAL_CLASSES)
        x = applied(layer, x)
    except UserError as error:
        return x, (where, str(error).removeprefix("params.yaml: "))
    if is_kept:
        try:
            type(layer).from_config(layer.get_config())
        except Exception as error:  # each layer has its own way to say so
            return x, (where, f"Keras writes {type(layer).__name__} so that it cannot read it: {reason(error)}")
    if None in x.shape[1:]:
        return x, (where, f"the size of what it gives is not known, {_size(x)}: give numbers for it")
    return x, None


def _size(x: Any) -> str:
    return f"({', '.join(map(str, x.shape[1:]))})"


@contextmanager
def _shapes_alone() -> Iterator[None]:
    """Have all weights be zeros, which are neither drawn nor copied: only shapes are of interest."""
    layer = keras.layers.Layer
    add, set_weights = layer.add_weight, layer.set_weights

    def add_weight(self: Any, shape: Any = None, initializer: Any = None, **options: Any) -> Any:
        return add(self, shape=shape, initializer="zeros", **options)

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
