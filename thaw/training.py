"""Training what comes after the freeze boundary."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from thaw import logistic
from thaw.backend import keras
from thaw.boundary import tail
from thaw.errors import UserError
from thaw.keras_objects import keras_object
from thaw.params.keras_spec import KerasSpec
from thaw.params.variants import Solver, Training, ends_in_logits
from thaw.row_file import RowFile
from thaw.suggestions import did_you_mean

HEAD = "head_"
"""Begins the names of a head's layers, and of no backbone's."""
DECAYS = ("CosineDecay", "ExponentialDecay", "InverseTimeDecay", "PolynomialDecay")
Columns = dict[str, list[float]]


@dataclass(frozen=True)
class Rows:
    """What a variant is trained on: rows of all splits, and which of them are for what."""

    values: np.ndarray
    labels: np.ndarray
    """Ints (rows,)."""
    classes: tuple[str, ...]
    train: list[np.ndarray]
    """Indices into the rows; one array for each view, all of the same images."""
    validation: np.ndarray
    """Indices into the rows."""


def add_head(body: keras.Model, head: list[KerasSpec], classes: int) -> keras.Model:
    """Return `body` followed by the layers of `head`, which are named `head_<n>_<class>`.

    A head that ends in logits gets a softmax, since every model ends in probabilities.
    """
    specs = list(head)
    if ends_in_logits(head):
        specs.append("Softmax")
    x = body.output
    for number, spec in enumerate(specs, start=1):
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


def read_rows(file: RowFile, train_on: Sequence[str], validate_on: str) -> Rows:
    """Read the rows of the splits that are trained on, and of the one that choices are made by."""
    views = file.made_of.get("features", {}).get("views", 1)
    values, labels = zip(*(file.read_split(split) for split in [*train_on, validate_on]), strict=True)
    *starts, validation_start, stop = np.cumsum([0, *(len(part) for part in labels)])
    places = {}
    for split, start, part in zip(train_on, starts, labels, strict=False):
        count = len(part) // (views if split == "train" else 1)
        places[split] = (start, count)
    train = [
        np.concatenate(
            [
                start + (view * count if split == "train" else 0) + np.arange(count)
                for split, (start, count) in places.items()
            ]
        )
        for view in range(views if "train" in places else 1)
    ]
    return Rows(
        np.concatenate(values),
        np.concatenate(labels),
        file.index.classes,
        train,
        np.arange(validation_start, stop),
    )


def solve(model: keras.Model, rows: Rows, fit: Solver) -> Columns:
    """Set the model's last layer, a Dense, to the best logistic regression; return the scores for every C.

    All views of the training images are fitted, as images of their own.
    """
    fitted, held_out = np.concatenate(rows.train), rows.validation
    candidates = logistic.solve_path(
        rows.values[fitted], rows.labels[fitted], rows.values[held_out], rows.labels[held_out], fit.C
    )
    chosen = logistic.best(candidates)
    model.layers[-1].set_weights([chosen.weights, chosen.bias])
    note = "" if chosen.converged else ", which did not converge"
    print(f"C = {chosen.C:g} has the least validation loss, {chosen.val_loss:.4f}{note}", flush=True)
    names = ("C", "loss", "accuracy", "val_loss", "val_accuracy")
    return {
        "step": [float(step) for step in range(1, len(candidates) + 1)],
        **{name: [getattr(candidate, name) for candidate in candidates] for name in names},
    }


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches of training rows, pass after pass, each pass in an order of its own and over the next view.

    An epoch is a number of batches, and goes on where the one before it ended.
    """

    def __init__(self, values: np.ndarray, targets: np.ndarray, views: list[np.ndarray], fit: Training):
        super().__init__()
        self._values, self._targets, self._views = values, targets, views
        self._size, self._seed = fit.batch_size, fit.seed
        self._in_a_pass = -(-len(views[0]) // fit.batch_size)
        self._in_an_epoch = fit.steps_per_epoch or self._in_a_pass
        self._epoch = 0

    def __len__(self) -> int:
        return self._in_an_epoch

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        passed, place = divmod(self._epoch * self._in_an_epoch + number, self._in_a_pass)
        view = self._views[passed % len(self._views)]
        order = np.random.default_rng([self._seed, passed]).permutation(len(view))
        rows = view[order[place * self._size : (place + 1) * self._size]]
        return self._values[rows], self._targets[rows]

    def on_epoch_end(self) -> None:
        self._epoch += 1


def train(
    model: keras.Model, boundary: str | None, rows: Rows, fit: Training, augmentation: list[KerasSpec]
) -> Columns:
    """Train the layers behind `boundary` by gradient descent, in place; return the scores for every epoch.

    Args:
        model: from pixels to class probabilities; `freeze` has been called.
        boundary: the layer whose activations the rows are; None if the rows are pixels.
        rows: for training, and for the callbacks' choices.
        fit: how.
        augmentation: layers for training pixels.

    Raises:
        UserError: what `fit` says does not go with the model or its classes.
    """
    classes = model.output.shape[-1]
    loss = keras_object(fit.loss, "losses")
    trained = _up_to_logits(model) if getattr(loss, "from_logits", False) else model
    if boundary is not None:
        trained = tail(trained, boundary)
    if augmentation:
        pixels = keras.Input(model.input.shape[1:], name="pixels_to_augment")
        x = keras.Sequential([keras_object(spec, "layers") for spec in augmentation], name="augmentation")(pixels)
        trained = keras.Model(pixels, trained(x))
    is_sparse = isinstance(loss, keras.losses.SparseCategoricalCrossentropy)
    targets = rows.labels if is_sparse else np.eye(classes, dtype=np.float32)[rows.labels]
    batches = Batches(rows.values, targets, rows.train, fit)
    optimizer = _optimizer(fit.optimizer, len(batches) * fit.epochs)
    if fit.learning_rate_factors:
        optimizer = _with_factors(optimizer, fit.learning_rate_factors, model)
    trained.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])
    history = trained.fit(
        batches,
        epochs=fit.epochs,
        shuffle=False,  # the batches are
        validation_data=(rows.values[rows.validation], targets[rows.validation]),
        validation_batch_size=fit.batch_size,
        class_weight=_class_weight(fit, rows),
        callbacks=[_callback(spec) for spec in fit.callbacks],
        verbose=1 if sys.stdout.isatty() else 2,
    ).history
    return {
        "step": [float(epoch) for epoch in range(1, len(history["loss"]) + 1)],
        **{name: [float(value) for value in values] for name, values in history.items()},
    }


def _up_to_logits(model: keras.Model) -> keras.Model:
    """Return the model without the softmax that `add_head` put behind its logits."""
    last = model.layers[-1]
    if not isinstance(last, keras.layers.Softmax):
        raise UserError("params.yaml: the loss has from_logits: true, but the head that it trains ends in softmax")
    return keras.Model(model.input, last.input)


def _class_weight(fit: Training, rows: Rows) -> dict[int, float] | None:
    """Return the weight of each class that there is."""
    if fit.class_weight is None:
        return None
    if isinstance(fit.class_weight, str):  # balanced
        counts = np.bincount(rows.labels[rows.train[0]], minlength=len(rows.classes))
        return {number: len(rows.train[0]) / (len(counts) * count) for number, count in enumerate(counts)}
    for name in fit.class_weight:
        if name not in rows.classes:
            raise UserError(f"params.yaml: class_weight: there is no class {name!r}{did_you_mean(name, rows.classes)}")
    return {number: fit.class_weight.get(name, 1.0) for number, name in enumerate(rows.classes)}


def _with_factors(
    optimizer: keras.optimizers.Optimizer, factors: dict[str, float], model: keras.Model
) -> keras.optimizers.Optimizer:
    """Return the optimizer with a learning rate of its own for the weights of each layer that is named."""
    by_weight: dict[int, float] = {}
    for one in model.layers:
        fitting = [beginning for beginning in factors if one.name.startswith(beginning)]
        for weight in one.trainable_weights if fitting else []:
            by_weight[id(weight)] = factors[max(fitting, key=len)]
    for beginning in factors:
        if not any(one.name.startswith(beginning) for one in model.layers if one.trainable_weights):
            names = [one.name for one in model.layers if one.trainable_weights]
            raise UserError(
                f"params.yaml: learning_rate_factors: no trained layer's name begins with {beginning!r}; "
                f"there are {', '.join(names[:3])}, …, {', '.join(names[-3:])}"
            )

    class WithFactors(type(optimizer)):  # type: ignore[misc]
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            # A backend hands over variables of its own, which only the optimizer can tell apart.
            weight = self._trainable_variables[self._get_variable_index(variable)]
            super().update_step(gradient, variable, learning_rate * by_weight.get(id(weight), 1.0))

    return WithFactors.from_config(optimizer.get_config())


def _optimizer(spec: KerasSpec, steps: int) -> keras.optimizers.Optimizer:
    """Build an optimizer; a schedule that lasts for all of the training need not say how many steps that is."""
    if isinstance(spec, dict):
        ((name, arguments),) = spec.items()
        rate = (arguments or {}).get("learning_rate")
        if isinstance(rate, dict):
            ((schedule, values),) = rate.items()
            if schedule in DECAYS:
                warm_up = (values or {}).get("warmup_steps", 0)
                if warm_up >= steps:
                    raise UserError(
                        f"params.yaml: {schedule}: warmup_steps is {warm_up}, but the training has only {steps} steps: "
                        "make it smaller, or add epochs"
                    )
                values = {"decay_steps": steps - warm_up, **(values or {})}
                spec = {name: {**(arguments or {}), "learning_rate": {schedule: values}}}
    return keras_object(spec, "optimizers")


def _callback(spec: KerasSpec) -> keras.callbacks.Callback:
    name, arguments = (spec, None) if isinstance(spec, str) else next(iter(spec.items()))
    try:
        return getattr(keras.callbacks, name)(**(arguments or {}))
    except (TypeError, ValueError) as error:
        raise UserError(f"params.yaml: {spec}: Keras refuses it: {str(error).splitlines()[0]}") from None
