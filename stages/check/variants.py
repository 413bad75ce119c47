"""What must be right between the Keras objects of a variant: its head, augmentation, loss, optimizer, callbacks."""

import math
from collections.abc import Iterator
from typing import Any

from stages.check.keras_names import public_classes, signature
from stages.check.keras_values import is_number
from stages.check.problems import Entries, Problem, arguments_of, listed, name_of, of_keras, unknown_entry
from thaw.params.keras_spec import is_keras_object
from thaw.params.reading import shown
from thaw.params.variants import Training, ends_in_logits, mixing
from thaw.suggestions import did_you_mean

# They make -1 and 1 of 0 and 1, and of a batch with other labels nothing.
WHOLE_LABELS = ("Hinge", "SquaredHinge")
# One number of all images of a batch together, unless they are told to take each image by itself: axis: -1.
OF_BATCHES = ("Dice", "Tversky")
# What XLA cannot compile for TensorFlow: Keras leaves it at a warning, or the training ends.
UNCOMPILED = (
    *("RandAugment", "RandomElasticTransform", "RandomPerspective", "RandomRotation", "RandomShear"),
    *("RandomTranslation", "RandomZoom"),
)
# Of layers that it can compile, the values of arguments with which it cannot.
_SMOOTH = ("bicubic", "lanczos3", "lanczos5")
UNCOMPILED_WITH: dict[str, dict[str, tuple[Any, ...]]] = {
    "Resizing": {"interpolation": ("nearest", *_SMOOTH), "antialias": (True,), "pad_to_aspect_ratio": (True,)},
    "UpSampling2D": {"interpolation": _SMOOTH},
}


def of_variant(here: str, entry: dict[Any, Any], raw: Entries) -> Iterator[Problem]:
    """Yield what is wrong with the Keras objects and the parents that a variant names."""
    for key, sections in (("start", ("backbones", "variants")), ("inputs", ("features", "tensors"))):
        if isinstance(entry.get(key), str):
            yield from _parent_of_variant(f"{here}.{key}", entry[key], sections, raw)
    fit: dict[Any, Any] = entry["fit"] if isinstance(entry.get("fit"), dict) else {}
    yield from of_keras(f"{here}.head", entry.get("head"), "layers")
    yield from of_keras(f"{here}.augmentation", entry.get("augmentation"), "augmentation")
    for key, namespace in (("optimizer", "optimizers"), ("loss", "losses"), ("callbacks", "callbacks")):
        yield from of_keras(f"{here}.fit.{key}", fit.get(key), namespace)
    if isinstance(fit.get("callbacks"), list):
        yield from _callbacks(f"{here}.fit.callbacks", fit["callbacks"], arguments_of(fit.get("optimizer")))
        yield from _never_looking(f"{here}.fit.callbacks", fit["callbacks"], fit.get("epochs"))
    yield from _without_gradient(f"{here}.head", entry.get("head"))
    layers = [*listed(entry.get("head")), *listed(entry.get("augmentation"))]
    for layer in [one for one in map(_uncompiled, layers) if one][:1] if fit.get("jit_compile") is True else ():
        yield (
            f"{here}.fit.jit_compile",
            f"XLA cannot compile {layer} for TensorFlow, and JAX compiles in any case: leave jit_compile out",
        )
    loss = name_of(fit.get("loss"))
    of_batches = loss in OF_BATCHES and arguments_of(fit["loss"]).get("axis") not in (-1, 1)
    if of_batches and fit.get("class_weight") is not None:
        yield (
            f"{here}.fit.class_weight",
            f"weights each image by its class, but {loss} is one number of all images of a batch: write "
            f"loss: {{{loss}: {{axis: -1}}}}, which takes each by itself, or leave one of them out",
        )
    if isinstance(entry.get("augmentation"), list):
        yield from _mixed_labels(here, listed(entry["augmentation"]), fit)
    if isinstance(entry.get("head"), list) and entry["head"]:
        yield from _end_of_head(here, entry["head"], fit.get("loss"))


def _without_gradient(where: str, head: Any) -> Iterator[Problem]:
    """Yield a problem for each layer that lets no gradient through to layers with weights before it."""
    names = [name_of(layer) if is_keras_object(layer) else None for layer in head] if isinstance(head, list) else []
    for number, name in enumerate(names):
        before = [signature("layers", one) for one in names[:number] if one in public_classes("layers")]
        arguments = {argument for one in before if one for argument in one.arguments}
        if name == "Discretization" and any(one == "layer" or one.endswith("_initializer") for one in arguments):
            yield (
                f"{where}.{number}",
                "Discretization lets no gradient through, so that the layers before it would stay as they begin: put "
                "it before them, or leave it out",
            )


def _uncompiled(layer: Any) -> str | None:
    """Return what of a layer XLA cannot compile for TensorFlow: its name, perhaps with an argument; None if it can."""
    name = name_of(layer)
    if name in UNCOMPILED:
        return str(name)
    values = UNCOMPILED_WITH.get(name, {})
    return next(
        (f"{name} with {key}: {shown(one)}" for key, one in arguments_of(layer).items() if one in values.get(key, ())),
        None,
    )


def _mixed_labels(here: str, augmentation: list[Any], fit: dict[Any, Any]) -> Iterator[Problem]:
    """Yield what does not go with images that are of several classes, each in part."""
    for layer in mixing(augmentation)[:1]:
        loss = name_of(fit.get("loss", Training.model_fields["loss"].default))
        if str(loss).startswith("Sparse"):
            yield (
                f"{here}.fit.loss",
                f"{layer} gives an image parts of several classes, of which {loss} takes one: write loss: "
                f"{loss.removeprefix('Sparse')}, with the same arguments, or leave {layer} out",
            )
        elif loss in WHOLE_LABELS:
            yield (
                f"{here}.fit.loss",
                f"{layer} gives an image parts of several classes, but {loss} takes labels of 0 and 1 only: write "
                f"loss: CategoricalCrossentropy, or leave {layer} out",
            )
        if fit.get("class_weight") is not None:
            yield (
                f"{here}.fit.class_weight",
                f"weights an image by its one class, but {layer} gives it parts of several: leave one of them out",
            )
        if fit.get("jit_compile") is True:
            yield (
                f"{here}.fit.jit_compile",
                f"XLA has none of the random numbers by which {layer} draws with TensorFlow, and JAX compiles in any "
                "case: leave jit_compile out",
            )


def _parent_of_variant(where: str, reference: str, sections: tuple[str, ...], raw: Entries) -> Iterator[Problem]:
    """Yield a problem if a reference, such as `features/midway`, names no entry of one of these sections."""
    section, _, parent = reference.partition("/")
    if section in sections and parent:
        yield from unknown_entry(where, section, parent, raw)
    else:
        choices = [f"{section}/{name}" for section in sections for name in raw[section]]
        expected = " or ".join(f"{section}/<name>" for section in sections)
        yield where, f"expected {expected}, got {reference!r}{did_you_mean(reference, choices)}"


def _callbacks(where: str, callbacks: list[Any], optimizer: dict[str, Any]) -> Iterator[Problem]:
    """Yield a problem for each callback that does not go with the optimizer's arguments, or with those before it."""
    swapped, overwritten = False, optimizer.get("ema_overwrite_frequency") is not None
    averages_in_epochs = any(arguments_of(one).get("swap_on_epoch") is True for one in callbacks)
    for index, callback in enumerate(callbacks):
        if name_of(callback) == "SwapEMAWeights" and optimizer.get("use_ema") is not True:
            yield f"{where}.{index}", "SwapEMAWeights needs an optimizer with use_ema: true"
        if name_of(callback) == "SwapEMAWeights":
            if "SwapEMAWeights" in map(name_of, callbacks[:index]):
                yield f"{where}.{index}", "SwapEMAWeights is there twice, and one undoes the other: leave one out"
            swapped = arguments_of(callback).get("swap_on_epoch") is True
        restores = arguments_of(callback).get("restore_best_weights") is True
        if restores and not swapped and "SwapEMAWeights" in map(name_of, callbacks):
            yield (
                f"{where}.{index}",
                "EarlyStopping would restore the best epoch's weights without their averages, by which it is the best: "
                "write {SwapEMAWeights: {swap_on_epoch: true}} before it",
            )
        elif restores and not swapped and optimizer.get("use_ema") is True and not overwritten:
            yield (
                f"{where}.{index}",
                "EarlyStopping would restore the best epoch's weights, and the averages of use_ema would be lost: "
                "write {SwapEMAWeights: {swap_on_epoch: true}} before it, or leave use_ema out",
            )
        if name_of(callback) == "EarlyStopping" and not restores and averages_in_epochs:
            yield (
                f"{where}.{index}",
                "where EarlyStopping ends the training, SwapEMAWeights with swap_on_epoch would leave the weights "
                "without their averages: write restore_best_weights: true here, or leave swap_on_epoch out",
            )
        if name_of(callback) == "ReduceLROnPlateau" and isinstance(optimizer.get("learning_rate"), dict):
            yield (
                f"{where}.{index}",
                "ReduceLROnPlateau cannot change a learning rate that follows a schedule: leave one of them out",
            )
        rate, least = optimizer.get("learning_rate", math.inf), arguments_of(callback).get("min_lr", 0)
        if is_number(rate) and is_number(least) and 0 < rate <= least:
            yield (
                f"{where}.{index}",
                f"min_lr: {least} is not below the learning_rate {rate}, so that nothing would ever be reduced: make "
                "it smaller, or leave it out",
            )


def _never_looking(where: str, callbacks: list[Any], epochs: Any) -> Iterator[Problem]:
    """Yield a problem for each callback that begins to look at the scores once the training has ended."""
    for index, callback in enumerate(callbacks):
        first = arguments_of(callback).get("start_from_epoch")
        if is_number(first) and is_number(epochs) and first >= epochs:
            yield (
                f"{where}.{index}",
                f"start_from_epoch: {first}, counted from 0, is after the last of {epochs} epochs, so that no epoch is "
                "looked at, and none restored: make it smaller, or add epochs",
            )


def _end_of_head(here: str, head: list[Any], loss: Any) -> Iterator[Problem]:
    """Yield a problem if a head's last layer is not what the loss takes: probabilities, or logits."""
    last = arguments_of(head[-1])
    takes_logits = arguments_of(loss).get("from_logits") is True
    if name_of(head[-1]) != "Dense" or last.get("units") != "classes":
        yield f"{here}.head", "the last layer must be {Dense: {units: classes, activation: softmax}}"
    elif takes_logits and str(name_of(loss)).startswith("Binary"):
        yield (
            f"{here}.fit.loss",
            f"{name_of(loss)} with from_logits takes each class by itself, but the model ends in a softmax "
            "over all: take CategoricalCrossentropy, or leave from_logits out",
        )
    elif takes_logits and not ends_in_logits(head):
        yield f"{here}.fit.loss", "from_logits: the head's last layer has an activation: leave one of them out"
    elif not takes_logits and last.get("activation") != "softmax":
        yield (
            f"{here}.head",
            "the last layer must be {Dense: {units: classes, activation: softmax}}, "
            "or have no activation and the loss from_logits: true",
        )
