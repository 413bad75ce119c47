"""Keras objects by name and arguments, as params.yaml gives them."""

import re
from operator import attrgetter
from typing import Any

from thaw.errors import UserError
from thaw.networks.backend import keras
from thaw.params.keras_spec import KerasSpec, is_keras_object

NAMESPACES = {
    "initializer": "initializers",
    "regularizer": "regularizers",
    "constraint": "constraints",
    "learning_rate": "optimizers.schedules",
}
"""Where Keras keeps the objects that arguments take, by the ends of their names; others take layers."""


def keras_object(spec: KerasSpec, namespace: str, classes: int = 0) -> Any:
    """Build a Keras object by its constructor, from its name and those of its arguments that are given.

    Args:
        spec: `Name` or `{Name: {argument: value}}`, with values of the same form at any depth.
        namespace: where Keras keeps it, such as `layers`.
        classes: what `units: classes` stands for.

    Raises:
        UserError: Keras does not take the arguments.

    >>> keras_object({"Dense": {"units": "classes"}}, "layers", classes=3).units
    3
    """
    name, given = (spec, None) if isinstance(spec, str) else next(iter(spec.items()))
    # Names are nowhere to be seen, and TensorFlow takes few characters in them.
    arguments = {key: _argument(key, value, classes) for key, value in (given or {}).items() if key != "name"}
    if arguments.get("units") == "classes":
        arguments["units"] = classes
    try:
        built = attrgetter(f"{namespace}.{name}")(keras)(**arguments)
    except Exception as error:  # each constructor has its own way to say so
        raise UserError(f"params.yaml: {spec}: Keras refuses it: {reason(error)}") from None
    for part in built._flatten_layers() if namespace == "layers" else ():
        if isinstance(part, keras.layers.RandomSaturation):
            part.value_range = (0, 1)  # Keras takes the pixels' for the saturations', which makes pixels far below 0
    return built


def applied(layer: keras.layers.Layer, x: Any) -> Any:
    """Return what a layer gives for a symbolic tensor.

    Raises:
        UserError: it does not fit; says what it would get.
    """
    name = type(layer).__name__
    try:
        output = layer(x)
    except Exception as error:  # each layer has its own way to say so
        size = ", ".join(map(str, x.shape[1:]))
        raise UserError(f"{name} does not fit what it gets, ({size}): {reason(error)}") from None
    if not hasattr(output, "shape"):
        told = "merge_mode" if getattr(layer, "merge_mode", "") is None else "return_state"
        raise UserError(f"{name} gives {len(output)} outputs, of which the next layer takes one: leave {told} out")
    return output


def reason(error: Exception) -> str:
    """Return what one of Keras's errors says, in a line, without the call in which it happened."""
    lines = [re.sub("\x1b\\[[0-9]*m", "", line).strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith("Exception encountered when calling")]
    return next(iter(told), type(error).__name__)


def _argument(key: str, value: Any, classes: int) -> Any:
    """Return an argument's value; a Keras object where it is the name of one with its arguments."""
    if isinstance(value, dict) and is_keras_object(value) and next(iter(value))[:1].isupper():
        namespace = next((NAMESPACES[end] for end in NAMESPACES if key.endswith(end)), "layers")
        return keras_object(value, namespace, classes)
    return value
