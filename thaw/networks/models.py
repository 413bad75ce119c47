"""A model from RGB pixels to class probabilities, and its file."""

import json
import math
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from thaw.errors import UserError, lack_of_memory
from thaw.files.writing import OF_WRITING, temporary_folder
from thaw.formats import model_file
from thaw.formats.model_file import Record
from thaw.images.normalization import Normalization
from thaw.networks.backend import keras
from thaw.networks.hub import keras_hub

WEIGHTS = "model.weights.h5"
"""Keras's name of the file inside that has the weights."""
HEAD = "head_"
"""Begins the names of a head's layers, and of no backbone's."""
DROPOUT_RATES = ("rate", "drop_path_rate", "dropout_rate", "attention_dropout", "drop_path")
"""What Keras's and KerasHub's layers call them; each is a number, or a list of them."""
POOLING = {
    ("avg", 4): keras.layers.GlobalAveragePooling2D,
    ("max", 4): keras.layers.GlobalMaxPooling2D,
    ("avg", 3): keras.layers.GlobalAveragePooling1D,
    ("max", 3): keras.layers.GlobalMaxPooling1D,
}
"""By pooling and rank: maps have 4 axes, with that of the batch, tokens 3."""


@contextmanager
def unset(most: float = math.inf) -> Iterator[None]:
    """Have weights that are about to be set begin as zeros: to draw them takes a third of the time, on JAX most of it.

    Args:
        most: weights that layers may have, all together, as a file has no more bytes of them.

    Raises:
        ValueError: they have more.
    """
    add, left = keras.layers.Layer.add_weight, most

    def add_weight(self: Any, shape: Any = None, initializer: Any = None, *arguments: Any, **options: Any) -> Any:
        nonlocal left
        left -= math.prod(shape or ())
        if left < 0:
            raise ValueError(f"its layers have more weights than its {most:,} bytes of weights")
        return add(self, shape, np.zeros, *arguments, **options)

    keras.layers.Layer.add_weight = add_weight
    try:
        yield
    finally:
        keras.layers.Layer.add_weight = add


def assemble(
    backbone: keras.Model,
    height: int,
    width: int,
    normalization: Normalization,
    pooling: str | None,
) -> keras.Model:
    """Put pixels and normalization before a backbone, and pooling behind it, as one flat graph.

    Its layers are the backbone's own, where they need not differ: to copy them takes seconds for a deep network. So the
    backbone itself is of no use any more.

    Dropout and stochastic depth of the backbone get a rate of zero: `trainable = False` does not stop them, and
    Keras overrides a `training=False` that is part of a functional model when that model is trained.
    Batch normalization is left to its `trainable` flag, which does stop it.

    Args:
        backbone: a network from pixels to activations.
        height: of the images.
        width: of the images.
        normalization: of the images.
        pooling: `avg`, `max`, `token` or none.

    Returns:
        A model from RGB pixels 0-255 (batch, height, width, 3) to activations. The pooling layer is named `pooling`.

    Raises:
        UserError: the backbone takes images of another size only.
    """
    fixed = backbone.input.shape[1:3]
    # Keras's own networks are made for any size, even where they name one: it is KerasHub's that know places of tokens.
    of_hub = any(type(layer).__module__.startswith("keras_hub") for layer in backbone.layers)
    if of_hub and None not in fixed and fixed != (height, width):
        raise UserError(
            f"{backbone.name} takes images of {fixed[0]}x{fixed[1]} pixels only, not of {height}x{width}: "
            f"take tensors with pixels: {list(fixed)}"
        )
    pixels = keras.Input((height, width, 3), name="pixels")
    ordered = keras.ops.flip(pixels, axis=-1) if normalization.order == "BGR" else pixels
    normalized = keras.layers.Rescaling(
        list(normalization.scale), list(normalization.offset), name="imagenet_normalization"
    )(ordered)

    def still(layer: Any) -> Any:
        config = layer.get_config()
        rates = {rate: config[rate] for rate in DROPOUT_RATES if config.get(rate) is not None}
        if not (any(keras.tree.flatten(rates)) or of_hub):  # KerasHub's layers know how many tokens there are
            layer._inbound_nodes.clear()  # its output is the one in the new model
            return layer
        return type(layer).from_config({**config, **keras.tree.map_structure(lambda _: 0.0, rates)})

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        return layer(*keras.tree.map_structure(lambda x: normalized if x is pixels else x, args), **kwargs)

    clone = _clone(backbone, input_tensors=pixels, clone_function=still, call_function=call)
    output = clone.output
    if pooling == "token":
        _, tokens, channels = output.shape
        output = keras.layers.Reshape((channels,), name="pooling")(keras.layers.Cropping1D((0, tokens - 1))(output))
    elif pooling is not None:
        output = POOLING[pooling, len(output.shape)](name="pooling")(output)
    return keras.Model(pixels, output, name=backbone.name)


def in_bfloat16(model: keras.Model) -> keras.Model:
    """Return a model of the same layers and weights that computes in bfloat16, its weights in float32.

    What bfloat16's three decimal digits are too few for stays in float32: the head, and the pixels' normalization.
    """

    def cast(layer: Any) -> Any:
        exact = layer.name.startswith(HEAD) or isinstance(layer, keras.layers.Rescaling | keras.layers.Normalization)
        # Operations that are no layers compute in whatever comes in.
        changed = isinstance(layer, keras.layers.Layer) and not exact
        return type(layer).from_config({**layer.get_config(), **({"dtype": "mixed_bfloat16"} if changed else {})})

    return _clone(model, clone_function=cast)


def _clone(model: keras.Model, **options: Any) -> keras.Model:
    """Return what Keras's `clone_model` does, with the same weights, and what its layers have made of them."""
    with unset():
        clone = keras.models.clone_model(model, **options)
    twins = {layer.name: layer for layer in clone.layers}  # Keras looks through all of them for each
    for layer in model.layers:
        if layer.weights and (twin := twins[layer.name]) is not layer:
            twin.set_weights(layer.get_weights())
            for part in twin._flatten_layers():
                if hasattr(part, "finalize_state"):  # normalization does not compute with its weights themselves
                    part.finalize_state()
    return clone


def without_random_layers(model: keras.Model) -> keras.Model:
    """Return a model that infers the same, and shares its layers, but for those that only training needs.

    Dropout, noise and augmentation do nothing in inference, which not every converter knows.
    """

    def is_random(layer: Any) -> bool:
        states = [variable.path for variable in layer.variables] if isinstance(layer, keras.layers.Layer) else []
        return bool(states) and all("seed_generator" in path for path in states)

    if not any(is_random(layer) for layer in model.layers):
        return model

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        return args[0] if is_random(layer) else layer(*args, **kwargs)

    return keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=call)


def not_finite(model: keras.Model) -> str | None:
    """Return the path of a weight of a model that has a number which is not finite; None if all are finite."""
    for weight in model.weights:
        if not np.isfinite(keras.ops.convert_to_numpy(weight)).all():
            return str(weight.path)
    return None


def count_parameters(model: keras.Model) -> dict[str, int]:
    """Return how many parameters a model has, `total`, and how many of them are `trainable`."""
    trainable = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    return {"total": model.count_params(), "trainable": trainable}


def save(model: keras.Model, path: Path, record: Record) -> None:
    """Save a model so that the same model gives the same bytes, with its record inside.

    Keras writes the date and its objects' addresses in memory into its file; here every date is the same, and
    shared objects are numbered in the order in which they appear. Keras alone can load the file.

    Args:
        model: not compiled.
        path: ends in `.keras`.
        record: what the file will say about the model.

    Raises:
        UserError: a weight is not finite; nothing is written.
    """
    if weight := not_finite(model):
        raise UserError(f"{path}: not written, for numbers of the weight {weight} are not finite")
    with temporary_folder() as folder:
        written = folder / "model.keras"
        model.save(written)
        with zipfile.ZipFile(written) as archive:
            members = {name: archive.read(name) for name in sorted(archive.namelist())}
    metadata = json.loads(members["metadata.json"])
    del metadata["date_saved"]
    members["metadata.json"] = json.dumps(metadata, sort_keys=True).encode()
    members["config.json"] = json.dumps(_renumbered(json.loads(members["config.json"]), {})).encode()
    model_file.write(path, members, record)


def _renumbered(tree: Any, numbers: dict[int, int]) -> Any:
    """Return a configuration whose shared objects are numbered from 1 instead of by their addresses."""
    if isinstance(tree, list):
        return [_renumbered(item, numbers) for item in tree]
    if not isinstance(tree, dict):
        return tree
    return {
        key: numbers.setdefault(value, len(numbers) + 1) if key == "shared_object_id" else _renumbered(value, numbers)
        for key, value in tree.items()
    }


@contextmanager
def _unpacking() -> Iterator[None]:
    """Give Keras a folder of its own for temporary files: it unpacks models there, and leaves them if it fails."""
    with temporary_folder() as folder:
        former, tempfile.tempdir = tempfile.tempdir, str(folder)
        try:
            yield
        finally:
            tempfile.tempdir = former


def load(path: Path) -> tuple[keras.Model, Record]:
    """Load a model that `save` wrote, and what its file says about it.

    Raises:
        UserError: the file is missing, truncated or altered, or a weight is not finite.
        OSError: there is no room for temporary files.
    """
    record = model_file.verify(path)
    with zipfile.ZipFile(path) as archive:
        if b'"keras_hub' in model_file.stored(archive, "config.json"):
            keras_hub()
        most = archive.getinfo(WEIGHTS).file_size if WEIGHTS in archive.namelist() else 0
    try:
        with _unpacking(), unset(most):
            model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises nearly everything of what nobody could have saved
        if (isinstance(error, OSError) and error.errno in OF_WRITING) or lack_of_memory(error):
            raise
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"{path}: no model that Keras loads in safe mode: {reason}") from None
    if weight := not_finite(model):
        raise UserError(
            f"{path}: numbers of the weight {weight} are not finite; train it anew, at a smaller learning rate"
        )
    if isinstance(record, model_file.ModelRecord):
        sides = zip(model.input_shape[1:3], record.tensors.get("pixels", ()), strict=False)
        if model.output_shape[-1] != len(record.classes) or any(side not in (None, told) for side, told in sides):
            raise UserError(
                f"{path}: not a model that Thaw wrote: its network has other pixels or classes than it says"
            )
    return model, record
