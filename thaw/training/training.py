"""Training what comes after the freeze boundary."""

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from thaw.errors import UserError
from thaw.networks.backend import compiled_by_xla, keras, reading_ahead, same_bits
from thaw.networks.boundary import blocks, tail
from thaw.networks.keras_objects import applied, keras_object
from thaw.networks.models import HEAD, in_bfloat16, not_finite
from thaw.params.keras_spec import DECAYS, LEAST, KerasSpec, lack_of_steps
from thaw.params.variants import MIXING, Solver, Training, ends_in_logits, mixing
from thaw.suggestions import did_you_mean
from thaw.training.batches import Batches, Rows, ValidationBatches, WithLabels
from thaw.training.checkpoint import Checkpoint

RATES = ("initial_learning_rate", "values")
"""The arguments of schedules that are learning rates."""
Columns = dict[str, list[float]]


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
        config = {**built.get_config(), "name": f"{HEAD}{number}_{type(built).__name__.lower()}"}
        x = applied(type(built).from_config(config), x)
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


def solve(entry: str, model: keras.Model, rows: Rows, fit: Solver) -> Columns:
    """Set the model's last layer, a Dense, to the best logistic regression; return the scores for every C.

    All views of the training images are fitted, as images of their own. If validation images are trained on, too, the
    scores are those before that, and C is chosen as if they were not.

    Args:
        entry: the variant's address in params.yaml, for messages.
        model: from pixels to class probabilities.
        rows: of the training images; those for validation are scored, and choose nothing.
        fit: how.

    Raises:
        UserError: there are several C, but no images by which one can be chosen.
    """
    from thaw.training import logistic  # imports scikit-learn, which no other training has to wait for

    where = f"{entry}.fit.C"

    def path(numbers: np.ndarray, strengths: list[float]) -> list[logistic.Candidate]:
        return logistic.solve_path(where, rows.values[numbers], rows.labels[numbers], rows.units[numbers], strengths)

    candidates = path(np.concatenate(rows.train), fit.C)
    chosen = logistic.best(candidates)
    columns = {name: [getattr(candidate, name) for candidate in candidates] for name in ("C", "loss", "accuracy")}
    if chosen.cv_loss is not None:
        print(f"C = {chosen.C:g} has the least loss in cross-validation, {chosen.cv_loss:.4f}", flush=True)
        columns |= {name: [getattr(candidate, name) for candidate in candidates] for name in ("cv_loss", "cv_accuracy")}
    held_out, labels = rows.values[rows.validation], rows.labels[rows.validation]
    scores = [candidate.scores(held_out, labels) for candidate in candidates]
    columns["val_loss"], columns["val_accuracy"] = map(list, zip(*scores, strict=True))
    if "validation" in fit.train_on:
        (chosen,) = path(np.concatenate([*rows.train, *[rows.validation] * len(rows.train)]), [chosen.C])
    if not chosen.converged:
        print(f"C = {chosen.C:g} did not converge in {logistic.MAX_ITERATIONS} iterations", flush=True)
    model.layers[-1].set_weights([chosen.weights, chosen.bias])
    return {"step": [float(step) for step in range(1, len(candidates) + 1)], **columns}


def train(
    model: keras.Model,
    boundary: str | None,
    rows: Rows,
    fit: Training,
    augmentation: list[KerasSpec],
    checkpoint: Checkpoint | None = None,
    watch: Callable[[Columns], None] | None = None,
) -> Columns:
    """Train the layers behind `boundary` by gradient descent, in place; return the scores for every epoch.

    Args:
        model: from pixels to class probabilities; `freeze` has been called.
        boundary: the layer whose activations the rows are; None if the rows are pixels.
        rows: for training, and for the callbacks' choices.
        fit: how.
        augmentation: layers for training pixels.
        checkpoint: where an interrupted training goes on from.
        watch: called after every epoch with the scores so far.

    Raises:
        UserError: what `fit` says does not go with the model or its classes.
    """
    classes = model.output.shape[-1]
    loss = _of_probabilities(keras_object(fit.loss, "losses"))
    whole = _up_to_logits(model) if getattr(loss, "from_logits", False) else model
    in_float32 = whole if boundary is None else tail(whole, boundary)
    in_its_precision = in_bfloat16(in_float32) if fit.precision == "bfloat16" else in_float32
    mixes = mixing(augmentation)
    trained = _behind_augmentation(in_its_precision, augmentation) if augmentation else in_its_precision
    is_sparse = isinstance(loss, keras.losses.SparseCategoricalCrossentropy)
    targets = np.arange(classes, dtype=np.int32) if is_sparse else np.eye(classes, dtype=np.float32)
    batches, held_out = Batches(rows, targets, fit), ValidationBatches(rows, targets, fit.batch_size)
    factors = _factors(in_its_precision, fit.layer_decay, fit.learning_rate_factors)
    optimizer = _with_factors(optimizer_of(fit.optimizer, len(batches) * fit.epochs), factors)
    if trained is model:
        # A model's file holds what the model was compiled with: the optimizer's state makes it three times as large,
        # and a class from here one that Keras alone would not load.
        trained = keras.Model(model.input, model.output)
    jit_compile = "auto" if fit.jit_compile is None else fit.jit_compile
    accuracy = keras.metrics.SparseCategoricalAccuracy if is_sparse else keras.metrics.CategoricalAccuracy
    trained.compile(optimizer, loss, metrics=[accuracy(name="accuracy")], jit_compile=jit_compile)
    # A step that makes variables is traced twice, which takes seconds in a deep network.
    optimizer.build(trained.trainable_variables)
    history = keras.callbacks.History()
    callbacks = [_StaysFinite(), *(keras_object(spec, "callbacks") for spec in fit.callbacks), history]
    if watch:
        callbacks.append(keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: watch(_columns(history))))
    begin = keras.callbacks.LambdaCallback(on_epoch_begin=batches.begin)
    with compiled_by_xla() if fit.jit_compile else same_bits(), reading_ahead() as read_ahead:
        trained.fit(
            read_ahead(WithLabels(batches) if mixes else batches),
            initial_epoch=checkpoint.epochs if checkpoint else 0,
            epochs=checkpoint.epochs if checkpoint and checkpoint.stopped else fit.epochs,
            shuffle=False,  # the batches are
            validation_data=read_ahead(WithLabels(held_out) if mixes else held_out),
            class_weight=_class_weight(fit, rows),
            callbacks=[begin, *(checkpoint.behind(callbacks) if checkpoint else callbacks)],
            verbose=1 if sys.stdout.isatty() else 2,
        )
    if in_its_precision is not in_float32:
        in_float32.set_weights(in_its_precision.get_weights())
    return _columns(history)


def _of_probabilities(loss: keras.losses.Loss) -> keras.losses.Loss:
    """Return a loss that takes probabilities for what they are.

    With TensorFlow, Keras remembers the logits of a softmax, and a binary loss takes each for one of a sigmoid.
    """
    if not isinstance(loss, keras.losses.BinaryCrossentropy | keras.losses.BinaryFocalCrossentropy):
        return loss

    class OfProbabilities(type(loss)):  # type: ignore[misc]
        def call(self, y_true: Any, y_pred: Any) -> Any:
            return super().call(y_true, keras.ops.copy(y_pred))  # of which nothing is remembered

    return OfProbabilities.from_config(loss.get_config())


def _behind_augmentation(model: keras.Model, augmentation: list[KerasSpec]) -> keras.Model:
    """Return a model that changes pixels, as it draws them, before it takes them.

    Where a layer mixes images, it is a `_OnMixedLabels`, from pixels and labels.
    """
    pixels = keras.Input(model.input.shape[1:], name="pixels_to_augment")
    layers = [keras_object(spec, "layers") for spec in augmentation]
    if not mixing(augmentation):
        return keras.Model(pixels, model(keras.Sequential(layers, name="augmentation")(pixels)))
    labels = keras.Input(model.output.shape[1:], name="labels_to_mix")
    x, y = pixels, labels
    for layer in layers:
        if type(layer).__name__ in MIXING:
            x, y = _mixed(layer, x, y)
        else:
            x = layer(x)
    return _OnMixedLabels([pixels, labels], [model(x), y], name="on_mixed_labels")


def _mixed(layer: keras.layers.Layer, images: Any, labels: Any) -> tuple[Any, Any]:
    """Return a batch of images of which each has a part of another, and their labels, vectors, in the same parts.

    At a small alpha, both of the gamma variates of which TensorFlow makes a part may be 0, and the part 0/0. In the
    limit each part is 0 or 1: such an image stays as it is.
    """
    mixed = layer({"images": images, "labels": labels})
    is_mixed = keras.ops.all(keras.ops.isfinite(mixed["labels"]), axis=1, keepdims=True)
    of_images = keras.ops.reshape(is_mixed, (-1, 1, 1, 1))
    return (
        keras.ops.where(of_images, mixed["images"], keras.ops.cast(images, "float32")),
        keras.ops.where(is_mixed, mixed["labels"], labels),
    )


class _OnMixedLabels(keras.Model):  # type: ignore[misc]
    """A model whose last output is the labels that its loss and its accuracy take, as its layers have mixed them."""

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        predicted, mixed = y_pred
        return super().compute_loss(x, mixed, predicted, sample_weight, training)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        predicted, mixed = y_pred
        scores: dict[str, Any] = super().compute_metrics(x, mixed, predicted, sample_weight)
        return scores


class _StaysFinite(keras.callbacks.Callback):  # type: ignore[misc]
    """Ends a training in the epoch in which its loss, a score or a weight is no longer finite."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        wrong = [f"{name} is {value}" for name, value in (logs or {}).items() if not math.isfinite(value)]
        if not wrong and (weight := not_finite(self.model)):
            wrong = [f"the weight {weight} has a number that is not finite"]
        if wrong:
            rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
            raise UserError(
                f"epoch {epoch + 1}, learning rate {rate:g}: {', '.join(wrong)}: the training ends, and no model is "
                "written; try a smaller learning_rate, a warm-up, or clipnorm: 1.0 among the optimizer's arguments"
            )


def _columns(history: keras.callbacks.History) -> Columns:
    curve = history.history
    return {
        "step": [float(epoch) for epoch in range(1, len(curve["loss"]) + 1)],
        **{name: [float(value) for value in values] for name, values in curve.items()},
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
    weights = {number: float(fit.class_weight.get(name, 1.0)) for number, name in enumerate(rows.classes)}
    if not any(weights[number] >= LEAST for number in np.unique(rows.labels[rows.train[0]]).tolist()):
        raise UserError("params.yaml: class_weight: each class has the weight 0, so nothing would be trained")
    return weights


def _factors(model: keras.Model, decay: float, by_name: dict[str, float]) -> dict[int, float]:
    """Return the learning-rate factors of a model's trained weights, by their ids, as far as they are not 1.

    Factors that decay from the output to the input are those of Clark et al. 2020 (arXiv 2003.10555) and Bao et al.
    2021 (arXiv 2106.08254).
    """
    layers = {one.name: 1.0 for one in model.layers}
    body = [names for block in blocks(model) if (names := [one.name for one in block if not one.name.startswith(HEAD)])]
    for depth, names in enumerate(reversed(body), start=1):
        layers |= dict.fromkeys(names, decay**depth)
    for name in layers:
        fitting = [beginning for beginning in by_name if name.startswith(beginning)]
        if fitting:
            layers[name] = by_name[max(fitting, key=len)]
    for beginning in by_name:
        if not any(one.name.startswith(beginning) for one in model.layers if one.trainable_weights):
            names = [one.name for one in model.layers if one.trainable_weights]
            raise UserError(
                f"params.yaml: learning_rate_factors: no trained layer's name begins with {beginning!r}; "
                f"there are {', '.join(names[:3])}, …, {', '.join(names[-3:])}"
            )
    # What 32 bits do not hold is 0: not every rule leaves a weight alone at a learning rate of 0.
    layers = {name: factor if factor >= LEAST else 0.0 for name, factor in layers.items()}
    weights = [(weight, layers[one.name]) for one in model.layers for weight in one.trainable_weights]
    if weights and not any(factor for _, factor in weights):
        raise UserError("params.yaml: learning_rate_factors: each trained layer has the factor 0: nothing is trained")
    return {id(weight): factor for weight, factor in weights if factor != 1}


def _with_factors(optimizer: keras.optimizers.Optimizer, factors: dict[int, float]) -> keras.optimizers.Optimizer:
    """Return the optimizer with a learning rate of its own for each weight that has a factor; at 0, it stays as it is.

    A decay of weights goes by the learning rate, too.
    """
    if not factors:
        return optimizer

    class WithFactors(type(optimizer)):  # type: ignore[misc]
        _of_decay = 1.0

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            # Not every rule leaves a weight alone at a learning rate of 0: some divide by it.
            if factor := self._factor(variable):
                super().update_step(gradient, variable, learning_rate * factor)

        def _apply_weight_decay(self, variables: list[Any]) -> None:
            for variable in variables:
                self._of_decay = self._factor(variable)
                if self._of_decay:
                    super()._apply_weight_decay([variable])
            self._of_decay = 1.0

        def _get_current_learning_rate(self) -> Any:
            rate = super()._get_current_learning_rate()
            return rate if self._of_decay == 1 else rate * self._of_decay

        def _factor(self, variable: Any) -> float:
            # A backend hands over variables of its own, which only the optimizer can tell apart.
            return factors.get(id(self._trainable_variables[self._get_variable_index(variable)]), 1.0)

    return WithFactors.from_config(optimizer.get_config())


def _in_floats(rates: Any) -> Any:
    return [float(rate) for rate in rates] if isinstance(rates, list) else float(rates)


def optimizer_of(spec: KerasSpec, steps: int) -> keras.optimizers.Optimizer:
    """Build an optimizer; a schedule that lasts for all of the training need not say how many steps that is."""
    if lack := lack_of_steps(spec, steps):
        place, problem = lack
        raise UserError(f"params.yaml: optimizer.{place}: {problem}")
    if isinstance(spec, dict):
        ((name, arguments),) = spec.items()
        rate = (arguments or {}).get("learning_rate")
        if isinstance(rate, dict):
            ((schedule, values),) = rate.items()
            # Keras computes in the type of these, and in whole numbers if they are 0 or 1.
            values = {key: _in_floats(one) if key in RATES else one for key, one in (values or {}).items()}
            if schedule in DECAYS:
                values = {"decay_steps": steps - values.get("warmup_steps", 0), **values}
            spec = {name: {**(arguments or {}), "learning_rate": {schedule: values}}}
    return keras_object(spec, "optimizers")
