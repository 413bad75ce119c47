"""Pretrained networks without their classification layer."""

import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from thaw.backbones import lite
from thaw.backbones.hub import build_preset
from thaw.errors import UserError
from thaw.files.reading import sha256
from thaw.networks.backend import keras
from thaw.networks.models import unset
from thaw.params.backbones import Backbone


def build_backbone(entry: Backbone) -> keras.Model:
    """Build a backbone with its weights.

    Returns:
        A functional model from normalized images (batch, height, width, 3) to activations. It ends where
        the classification layer began; without `include_top`, where the convolutions end. The architecture `none`
        has no layers, for networks that are trained from scratch.

    Raises:
        UserError: the weights cannot be fetched, have another digest, or do not fit the network.
    """
    if entry.architecture == "none":
        pixels = keras.Input((None, None, 3))
        return keras.Model(pixels, keras.layers.Identity(name="nothing")(pixels), name="none")
    keras.utils.set_random_seed(entry.seed)
    with nullcontext() if entry.weights == "none" else unset():
        return _build(entry)


def _build(entry: Backbone) -> keras.Model:
    if entry.architecture == "hub":
        return build_preset(entry)
    is_lite = entry.architecture in lite.FAMILY
    # With the classifier, since the packages' weights include it.
    network = lite.build_lite(entry.architecture, include_top=True) if is_lite else _build_application(entry)
    if entry.weights == "package":
        lite.load_package_weights(network)
    elif entry.weights_are_a_file:
        _load_file(network, entry)
    end = network.output
    if is_lite and not entry.include_top:
        end = network.get_layer("top_activation").output
    elif entry.include_top:
        classifier = [layer for layer in network.layers if layer.weights][-1]
        end = classifier.input
    return keras.Model(network.input, end, name=entry.architecture)


def _build_application(entry: Backbone) -> keras.Model:
    constructor = getattr(keras.applications, entry.architecture)
    weights = "imagenet" if entry.weights == "imagenet" else None
    # Keras decides by the size for which it builds it which layers it has: without one, they fit no image.
    size = {"input_shape": (331, 331, 3)} if entry.architecture == "NASNetLarge" else {}
    try:
        network = constructor(weights=weights, include_top=entry.include_top, **size)
        return _as_pretrained(network) if entry.weights_are_a_file else network
    except Exception as error:  # Keras raises a bare Exception when it cannot fetch the weights
        if weights is None:
            raise
        raise UserError(
            f"the weights of {entry.architecture} cannot be fetched: {error}\n"
            "give weights as a path with its sha256, or pull the backbone that a teammate has made"
        ) from None


def _as_pretrained(network: keras.Model) -> keras.Model:
    """Return the network for which Keras's weights file is meant.

    Keras gives EfficientNet one division more when it loads ImageNet weights itself than when it builds the
    network without weights (tensorflow/tensorflow#62193); without it, the file's weights see wrong inputs.
    """
    if not network.name.startswith("efficientnetb"):
        return network
    deviation = np.sqrt([0.229, 0.224, 0.225])

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        output = layer(*args, **kwargs)
        if isinstance(layer, keras.layers.Normalization):
            return keras.layers.Rescaling(list(1 / deviation), name="pretrained_rescaling")(output)
        return output

    return keras.models.clone_model(network, call_function=call)


def _load_file(network: keras.Model, entry: Backbone) -> None:
    if entry.weights_are_remote:
        try:
            path = Path(
                keras.utils.get_file(
                    origin=entry.weights, file_hash=entry.sha256, hash_algorithm="sha256", cache_subdir="thaw"
                )
            )
        except Exception as error:
            raise UserError(f"{entry.weights}: cannot be fetched with the SHA-256 {entry.sha256}: {error}") from None
    else:
        path = Path(entry.weights)
        if not path.is_file():
            raise UserError(f"{path}: no such file")
    found = sha256(path)
    if found != entry.sha256:
        raise UserError(f"{path}: its SHA-256 is {found}, params.yaml says {entry.sha256}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Keras only warns of layers that the file does not have
            network.load_weights(path)
    except Exception as error:  # Keras raises nearly everything of a damaged file
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"{path}: does not fit {entry.architecture}: {reason}") from None
