"""Training what comes after the freeze boundary."""

import sys
from typing import Any

import numpy as np

from thaw import logistic
from thaw.backend import keras
from thaw.boundary import tail
from thaw.errors import UserError
from thaw.params.variants import KerasSpec, Solver, Training

HEAD = "head_"
"""Begins the names of a head's layers, and of no backbone's."""
DECAYS = ("CosineDecay", "ExponentialDecay", "InverseTimeDecay", "PolynomialDecay")
NAMESPACES = {
    "initializer": "initializers",
    "regularizer": "regularizers",
    "constraint": "constraints",
    "learning_rate": "optimizers.schedules",
}
"""By the ends of arguments' names, what else than layers they can be."""
Columns = dict[str, list[float]]
Split = tuple[np.ndarray, np.ndarray]
"""Rows and labels."""


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


def add_head(body: keras.Model, head: list[KerasSpec], classes: int) -> keras.Model:
    """Return `body` followed by the layers of `head`, which are named `head_<n>_<class>`."""
    x = body.output
    for number, spec in enumerate(head, start=1):
        built = keras_object(spec, "layers", classes)
        config = built.get_config()
        config["name"] = f"{HEAD}{number}_{type(built).__name__.lower()}"
        x = type(built).from_config(config)(x)
    return keras.Model(body.input, x, name=body.name)


def freeze(model: keras.Model, boundary: str | None, batch_norm: str) -> None:
    """Make the layers behind `boundary` trainable (all, if None) and the others not.

    With `batch_norm` `frozen`, the backbone's batch normalization stays as it was pretrained: statistics of
    small batches would replace those of ImageNet.
    """
    trained = {id(one) for one in (model if boundary is None else tail(model, boundary)).layers}
    for one in model.layers:
        normalizes = isinstance(one, keras.layers.BatchNormalization) and not one.name.startswith(HEAD)
        one.trainable = id(one) in trained and not (normalizes and batch_norm == "frozen")


def solve(model: keras.Model, train: Split, validation: Split, fit: Solver) -> Columns:
    """Set the model's last layer, a Dense, to the best logistic regression; return the scores for every C."""
    candidates = logistic.solve_path(*train, *validation, fit.C)
    chosen = logistic.best(candidates)
    model.layers[-1].set_weights([chosen.weights, chosen.bias])
    note = "" if chosen.converged else ", which did not converge"
    print(f"C = {chosen.C:g} has the least validation loss, {chosen.val_loss:.4f}{note}", flush=True)
    names = ("C", "loss", "accuracy", "val_loss", "val_accuracy")
    return {
        "step": [float(step) for step in range(1, len(candidates) + 1)],
        **{name: [getattr(candidate, name) for candidate in candidates] for name in names},
    }


def train(
    model: keras.Model,
    boundary: str | None,
    train: Split,
    validation: Split,
    fit: Training,
    augmentation: list[KerasSpec],
) -> Columns:
    """Train the layers behind `boundary` by gradient descent, in place; return the scores for every epoch.

    Args:
        model: from pixels to class probabilities; `freeze` has been called.
        boundary: the layer whose activations the rows are; None if the rows are pixels.
        train, validation: rows and labels; validation rows are for the callbacks' choices.
        fit: how.
        augmentation: layers for training pixels.
    """
    classes = model.output.shape[-1]
    trained = model if boundary is None else tail(model, boundary)
    if augmentation:
        pixels = keras.Input(model.input.shape[1:], name="pixels_to_augment")
        x = keras.Sequential([keras_object(spec, "layers") for spec in augmentation], name="augmentation")(pixels)
        trained = keras.Model(pixels, model(x))
    loss = keras_object(fit.loss, "losses")
    if not isinstance(loss, keras.losses.SparseCategoricalCrossentropy):
        train = train[0], np.eye(classes, dtype=np.float32)[train[1]]
        validation = validation[0], np.eye(classes, dtype=np.float32)[validation[1]]
    steps = -(-len(train[0]) // fit.batch_size) * fit.epochs
    trained.compile(optimizer=_optimizer(fit.optimizer, steps), loss=loss, metrics=["accuracy"])
    callbacks = [_callback(spec) for spec in fit.callbacks]
    history = trained.fit(
        *train,
        batch_size=fit.batch_size,
        epochs=fit.epochs,
        validation_data=validation,
        callbacks=callbacks,
        verbose=1 if sys.stdout.isatty() else 2,
    ).history
    return {
        "step": [float(epoch) for epoch in range(1, len(history["loss"]) + 1)],
        **{name: [float(value) for value in values] for name, values in history.items()},
    }


def _optimizer(spec: KerasSpec, steps: int) -> keras.optimizers.Optimizer:
    """Build an optimizer; a schedule that lasts for all of the training need not say how many steps that is."""
    if isinstance(spec, dict):
        ((name, arguments),) = spec.items()
        rate = (arguments or {}).get("learning_rate")
        if isinstance(rate, dict):
            ((schedule, values),) = rate.items()
            if schedule in DECAYS:
                values = {"decay_steps": steps - (values or {}).get("warmup_steps", 0), **(values or {})}
                spec = {name: {**(arguments or {}), "learning_rate": {schedule: values}}}
    return keras_object(spec, "optimizers")


def _callback(spec: KerasSpec) -> keras.callbacks.Callback:
    name, arguments = (spec, None) if isinstance(spec, str) else next(iter(spec.items()))
    try:
        return getattr(keras.callbacks, name)(**(arguments or {}))
    except (TypeError, ValueError) as error:
        raise UserError(f"params.yaml: {spec}: Keras refuses it: {str(error).splitlines()[0]}") from None
