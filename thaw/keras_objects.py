"""Keras objects by name and arguments, as params.yaml gives them."""

from typing import Any

from thaw.backend import keras
from thaw.errors import UserError
from thaw.params.keras_spec import KerasSpec

NAMESPACES = {
    "initializer": "initializers",
    "regularizer": "regularizers",
    "constraint": "constraints",
    "learning_rate": "optimizers.schedules",
}
"""By the ends of arguments' names, what else than layers they can be."""


def keras_object(spec: KerasSpec, namespace: str, classes: int = 0) -> Any:
    """Build a Keras object from its name and arguments, by Keras's own deserialization.

    Args:
        spec: `Name` or `{Name: {argument: value}}`, with values of the same form at any depth.
        namespace: where Keras keeps it, such as `layers`.
        classes: what `units: classes` stands for.

    Raises:
        UserError: Keras does not take the arguments.
    """
    config = _config({spec: None} if isinstance(spec, str) else spec, namespace, classes)
    try:
        return keras.saving.deserialize_keras_object(config)
    except (TypeError, ValueError, KeyError) as error:
        cause = error.__cause__ or error.__context__ or error
        raise UserError(f"params.yaml: {spec}: Keras refuses it: {str(cause).splitlines()[0]}") from None


def _config(spec: Any, namespace: str, classes: int) -> Any:
    """Turn `{Name: {argument: value}}` into what Keras's deserialization takes."""
    if not (isinstance(spec, dict) and len(spec) == 1):
        return spec
    ((name, arguments),) = spec.items()
    if not (name[:1].isupper() and (arguments is None or isinstance(arguments, dict))):
        return spec
    config = {key: _config(value, _namespace(key), classes) for key, value in (arguments or {}).items()}
    if config.get("units") == "classes":
        config["units"] = classes
    return {"module": f"keras.{namespace}", "class_name": name, "config": config}


def _namespace(argument: str) -> str:
    """Return where Keras keeps what a constructor's argument of this name can be."""
    for suffix, namespace in NAMESPACES.items():
        if argument.endswith(suffix):
            return namespace
    return "layers"
