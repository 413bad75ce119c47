"""What must be right between entries of params.yaml, and between an entry and what Keras offers.

An entry may have other errors: what can be judged without what is wrong, is.
"""

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stages.check.architectures import (
    PACKAGED,
    known_architectures,
    known_boundaries,
    nearest,
    pretrained_with,
    smallest_pixels,
)
from stages.check.hub import hub_family, hub_pixels, hub_problems
from stages.check.keras_names import keras_problems
from stages.check.keras_values import is_number
from thaw.machine import backend
from thaw.params.backbones import Backbone
from thaw.params.cross_validation import CrossValidation
from thaw.params.features import Features
from thaw.params.keras_spec import is_keras_object
from thaw.params.seeds import Seeds
from thaw.params.variants import MIXING, Solver, Training, Variant, ends_in_logits, mixing
from thaw.suggestions import did_you_mean

Problem = tuple[str, str]
"""A key, and what is wrong there."""
Entries = dict[str, dict[str, Any]]
"""Sections, each with its entries by name."""
Source = tuple[str, Features | None]
"""The name of the tensors that a variant's inputs are made of, and the features, if it reads features."""
TO_VECTORS = (
    "Flatten",
    "GlobalAveragePooling2D",
    "GlobalAvgPool2D",
    "GlobalMaxPooling2D",
    "GlobalMaxPool2D",
    "GlobalAveragePooling1D",
    "GlobalAvgPool1D",
    "GlobalMaxPooling1D",
    "GlobalMaxPool1D",
    "Reshape",
)
# They make -1 and 1 of 0 and 1, and of a batch with other labels nothing.
WHOLE_LABELS = ("Hinge", "SquaredHinge")
# One number of all images of a batch together, unless they are told to take each image by itself: axis: -1.
OF_BATCHES = ("Dice", "Tversky")
# What XLA cannot compile for TensorFlow: Keras leaves it at a warning, or the training ends.
UNCOMPILED = (
    *("RandAugment", "RandomElasticTransform", "RandomPerspective", "RandomRotation", "RandomShear"),
    *("RandomTranslation", "RandomZoom"),
)
# Their classification layer is a convolution over a map of one pixel.
MAP_BEFORE_CLASSES = ("MobileNet", "MobileNetV3Large", "MobileNetV3Small")
# With include_top, they are built for one size of image.
FIXED_TOP = ("VGG16", "VGG19", "ConvNeXtTiny", "ConvNeXtSmall", "ConvNeXtBase", "ConvNeXtLarge", "ConvNeXtXLarge")
FIXED_PIXELS = [224, 224]


def relations(raw: Entries, valid: Entries) -> Iterator[Problem]:
    """Yield what does not fit together.

    Args:
        raw: entries as they were read, right or not.
        valid: those that their schema has found right.
    """
    for name, entry in raw["backbones"].items():
        if isinstance(entry, dict):
            yield from _backbone(f"backbones.{name}", entry)
    for name, entry in raw["features"].items():
        if isinstance(entry, dict):
            yield from _views(f"features.{name}.augmentation", entry.get("augmentation"))
            for key, section in (("tensors", "tensors"), ("backbone", "backbones")):
                if isinstance(entry.get(key), str):
                    yield from _parent(f"features.{name}.{key}", section, entry[key], raw)
    with_parents = {
        name: features
        for name, features in valid["features"].items()
        if features.tensors in raw["tensors"] and features.backbone in raw["backbones"]
    }
    valid = valid | {"features": with_parents}
    for name, features in with_parents.items():
        if features.backbone in valid["backbones"]:
            yield from _layer(f"features.{name}", features, valid["backbones"][features.backbone], valid)
    for name, entry in raw["variants"].items():
        if isinstance(entry, dict):
            yield from _variant(f"variants.{name}", entry, raw)
    for name, variant in valid["variants"].items():
        yield from _lineage(f"variants.{name}", name, variant, valid)
    yield from _unlike_pretraining(valid)
    yield from _without_pixels(valid)
    yield from _on_several_devices(valid)
    for name, folds in valid["cross_validation"].items():
        yield from _cross_validated(name, folds, raw, valid)
    for name, seeds in valid["seeds"].items():
        yield from _seeded(name, seeds, raw, valid)
    for name in raw["label_issues"]:
        yield from _judged(name, raw, valid)


def _views(where: str, augmentation: Any) -> Iterator[Problem]:
    yield from _keras(where, augmentation, "augmentation")
    for index, spec in enumerate(augmentation if isinstance(augmentation, list) else []):
        if _name(spec) in MIXING:
            yield (
                f"{where}.{index}",
                f"{_name(spec)} mixes the images of a batch and their labels, but a cached view is of one image: put "
                "it into the augmentation of a variant with inputs from tensors/",
            )


def _parent(where: str, section: str, name: str, raw: Entries) -> Iterator[Problem]:
    if name not in raw[section]:
        yield where, f"there is no {section}.{name}{did_you_mean(name, raw[section])}"


def _backbone(here: str, entry: dict[Any, Any]) -> Iterator[Problem]:
    architecture, weights = entry.get("architecture"), entry.get("weights")
    if architecture == "hub":
        yield from hub_problems(here, entry)
        return
    known = known_architectures()
    if isinstance(architecture, str) and architecture not in known:
        yield f"{here}.architecture", f"unknown architecture {architecture!r}{did_you_mean(architecture, known)}"
    elif architecture == "none" and (weights != "none" or entry.get("include_top")):
        yield f"{here}.architecture", "there are no layers to load weights into: set weights: none, or name a network"
    elif isinstance(architecture, str) and weights in ("package", "imagenet"):
        right = "package" if architecture in PACKAGED else "imagenet"
        if weights != right:
            yield f"{here}.weights", f"{architecture} has no weights {weights!r}; did you mean {right!r}?"
    if isinstance(weights, str) and weights not in ("package", "imagenet", "none", ""):
        is_remote = weights.startswith(("http://", "https://"))
        try:
            is_there = is_remote or Path(weights).is_file()
        except (OSError, ValueError):  # too long for a path, or with a null character
            is_there = False
        if not is_there:
            choices = ("package", "imagenet", "none")
            yield f"{here}.weights", f"no such file: {weights} (or one of {', '.join(choices)})"


def _layer(here: str, features: Features, backbone: Backbone, valid: Entries) -> Iterator[Problem]:
    """Yield a problem if features are cut where the backbone has no boundary, or are pooled twice."""
    if backbone.architecture == "none":
        yield f"{here}.backbone", f"backbones.{features.backbone} has no layers, so there is nothing to cache"
        return
    yield from _cut(f"{here}.layer", features.layer, backbone)
    family = hub_family(backbone)
    if features.pooling and _ends_in(backbone) == "vector":
        top = ", with include_top" if backbone.include_top else ""
        yield f"{here}.pooling", f"backbones.{features.backbone} ends in one vector per image{top}: leave pooling out"
    elif features.pooling == "token" and not (family and family.class_token):
        yield f"{here}.pooling", f"backbones.{features.backbone} has no class token: take avg or max"
    yield from _fixed_size(f"{here}.tensors", features.tensors, backbone, valid)


def _cut(where: str, layer: str, backbone: Backbone) -> Iterator[Problem]:
    """Yield a problem if a backbone cannot be cut at a layer."""
    family = hub_family(backbone)
    if layer != "top" and family and not family.cuttable:
        yield (
            where,
            f"{family.backbone} has all of its blocks inside one layer, so it can be cut at its end only: take top, "
            "or train all of it, from tensors/",
        )
    layers = known_boundaries(backbone.architecture, backbone.include_top)
    if layer != "top" and layers and layer not in layers:
        problem = f"{backbone.architecture} has no layer {layer!r} that every path goes through"
        if layer in known_boundaries(backbone.architecture, not backbone.include_top):
            hint = f"; it has one with include_top: {'false' if backbone.include_top else 'true'}"
        else:
            hint = nearest(layer, layers)
        yield where, problem + hint


def _fixed_size(where: str, tensors: str, backbone: Backbone, valid: Entries) -> Iterator[Problem]:
    if tensors not in valid["tensors"]:
        return
    fixed = hub_pixels(backbone)
    pixels, least = valid["tensors"][tensors].pixels, smallest_pixels(backbone.architecture)
    if backbone.include_top and backbone.architecture in FIXED_TOP and pixels != FIXED_PIXELS:
        yield where, f"{backbone.architecture} with include_top needs tensors with pixels: {FIXED_PIXELS}"
    elif fixed not in (None, pixels):
        yield where, f"{backbone.weights} needs tensors with pixels: {fixed}"
    elif min(pixels) < least:
        yield where, f"{backbone.architecture} needs tensors with pixels: [{least}, {least}] or more"


def _ends_in(backbone: Backbone) -> str:
    """Return what a backbone gives for each image: one `vector`, `tokens`, or a `map`."""
    if family := hub_family(backbone):
        return family.ends_in
    return "vector" if backbone.include_top and backbone.architecture not in MAP_BEFORE_CLASSES else "map"


def _variant(here: str, entry: dict[Any, Any], raw: Entries) -> Iterator[Problem]:
    """Yield what is wrong with the Keras objects and the parents that a variant names."""
    for key, sections in (("start", ("backbones", "variants")), ("inputs", ("features", "tensors"))):
        if isinstance(entry.get(key), str):
            yield from _parent_of_variant(f"{here}.{key}", entry[key], sections, raw)
    fit: dict[Any, Any] = entry["fit"] if isinstance(entry.get("fit"), dict) else {}
    yield from _keras(f"{here}.head", entry.get("head"), "layers")
    yield from _keras(f"{here}.augmentation", entry.get("augmentation"), "augmentation")
    for key, namespace in (("optimizer", "optimizers"), ("loss", "losses"), ("callbacks", "callbacks")):
        yield from _keras(f"{here}.fit.{key}", fit.get(key), namespace)
    if isinstance(fit.get("callbacks"), list):
        yield from _callbacks(f"{here}.fit.callbacks", fit["callbacks"], _arguments(fit.get("optimizer")))
        yield from _never_looking(f"{here}.fit.callbacks", fit["callbacks"], fit.get("epochs"))
    layers = [*_listed(entry.get("head")), *_listed(entry.get("augmentation"))]
    for layer in (
        [name for name in map(_name, layers) if name in UNCOMPILED][:1] if fit.get("jit_compile") is True else ()
    ):
        yield (
            f"{here}.fit.jit_compile",
            f"XLA cannot compile {layer} for TensorFlow, and JAX compiles in any case: leave jit_compile out",
        )
    loss = _name(fit.get("loss"))
    of_batches = loss in OF_BATCHES and _arguments(fit["loss"]).get("axis") not in (-1, 1)
    if of_batches and fit.get("class_weight") is not None:
        yield (
            f"{here}.fit.class_weight",
            f"weights each image by its class, but {loss} is one number of all images of a batch: write "
            f"loss: {{{loss}: {{axis: -1}}}}, which takes each by itself, or leave one of them out",
        )
    if isinstance(entry.get("augmentation"), list):
        yield from _mixed_labels(here, _listed(entry["augmentation"]), fit)
    if isinstance(entry.get("head"), list) and entry["head"]:
        yield from _end_of_head(here, entry["head"], fit.get("loss"))


def _mixed_labels(here: str, augmentation: list[Any], fit: dict[Any, Any]) -> Iterator[Problem]:
    """Yield what does not go with images that are of several classes, each in part."""
    for layer in mixing(augmentation)[:1]:
        loss = _name(fit.get("loss", Training.model_fields["loss"].default))
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
        yield from _parent(where, section, parent, raw)
    else:
        choices = [f"{section}/{name}" for section in sections for name in raw[section]]
        expected = " or ".join(f"{section}/<name>" for section in sections)
        yield where, f"expected {expected}, got {reference!r}{did_you_mean(reference, choices)}"


def _callbacks(where: str, callbacks: list[Any], optimizer: dict[str, Any]) -> Iterator[Problem]:
    """Yield a problem for each callback that does not go with the optimizer's arguments, or with those before it."""
    swapped, overwritten = False, optimizer.get("ema_overwrite_frequency") is not None
    for index, callback in enumerate(callbacks):
        if _name(callback) == "SwapEMAWeights" and optimizer.get("use_ema") is not True:
            yield f"{where}.{index}", "SwapEMAWeights needs an optimizer with use_ema: true"
        if _name(callback) == "SwapEMAWeights":
            if "SwapEMAWeights" in map(_name, callbacks[:index]):
                yield f"{where}.{index}", "SwapEMAWeights is there twice, and one undoes the other: leave one out"
            swapped = _arguments(callback).get("swap_on_epoch") is True
        restores = _arguments(callback).get("restore_best_weights") is True
        if restores and not swapped and "SwapEMAWeights" in map(_name, callbacks):
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
        if _name(callback) == "ReduceLROnPlateau" and isinstance(optimizer.get("learning_rate"), dict):
            yield (
                f"{where}.{index}",
                "ReduceLROnPlateau cannot change a learning rate that follows a schedule: leave one of them out",
            )
        rate, least = optimizer.get("learning_rate", math.inf), _arguments(callback).get("min_lr", 0)
        if is_number(rate) and is_number(least) and 0 < rate <= least:
            yield (
                f"{where}.{index}",
                f"min_lr: {least} is not below the learning_rate {rate}, so that nothing would ever be reduced: make "
                "it smaller, or leave it out",
            )


def _never_looking(where: str, callbacks: list[Any], epochs: Any) -> Iterator[Problem]:
    """Yield a problem for each callback that begins to look at the scores once the training has ended."""
    for index, callback in enumerate(callbacks):
        first = _arguments(callback).get("start_from_epoch")
        if is_number(first) and is_number(epochs) and first >= epochs:
            yield (
                f"{where}.{index}",
                f"start_from_epoch: {first}, counted from 0, is after the last of {epochs} epochs, so that no epoch is "
                "looked at, and none restored: make it smaller, or add epochs",
            )


def _end_of_head(here: str, head: list[Any], loss: Any) -> Iterator[Problem]:
    """Yield a problem if a head's last layer is not what the loss takes: probabilities, or logits."""
    last = _arguments(head[-1])
    takes_logits = _arguments(loss).get("from_logits") is True
    if _name(head[-1]) != "Dense" or last.get("units") != "classes":
        yield f"{here}.head", "the last layer must be {Dense: {units: classes, activation: softmax}}"
    elif takes_logits and str(_name(loss)).startswith("Binary"):
        yield (
            f"{here}.fit.loss",
            f"{_name(loss)} with from_logits takes each class by itself, but the model ends in a softmax "
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


def _keras(where: str, specs: Any, namespace: str) -> Iterator[Problem]:
    """Yield the problems of one Keras object, or of each in a list; what is none, the schema has found."""
    for index, spec in enumerate(specs if isinstance(specs, list) else [specs]):
        if is_keras_object(spec):
            for path, problem in keras_problems(spec, namespace):
                steps = [where, str(index) if isinstance(specs, list) else "", path]
                yield ".".join(step for step in steps if step), problem


def _unlike_pretraining(valid: Entries) -> Iterator[Problem]:
    """Yield which tensors a pretrained network gets with another normalization than it was pretrained with."""
    met = {(one.tensors, f"backbones/{one.backbone}") for one in valid["features"].values()}
    met |= {(one.inputs.partition("/")[2], one.start) for one in valid["variants"].values() if "tensors/" in one.inputs}
    for name, start in sorted(met):
        tensors, backbone = valid["tensors"].get(name), valid["backbones"].get(start.partition("/")[2])
        if tensors is None or backbone is None or start.startswith("variants/") or backbone.weights == "none":
            continue
        expected = pretrained_with(backbone.architecture)
        if expected not in (None, tensors.normalization) and not tensors.unlike_pretraining:
            yield (
                f"tensors.{name}.normalization",
                f"{backbone.architecture}, of {start.replace('/', '.')}, was pretrained with {expected!r}, got "
                f"{tensors.normalization!r}; if that is meant, write unlike_pretraining: true beside it",
            )


def _without_pixels(valid: Entries) -> Iterator[Problem]:
    """Yield which variants are trained on tensors whose pixels are not kept."""
    for name, variant in valid["variants"].items():
        section, _, tensors = variant.inputs.partition("/")
        if section == "tensors" and tensors in valid["tensors"] and not valid["tensors"][tensors].keep:
            yield (
                f"variants.{name}.inputs",
                f"trains on the pixels of tensors.{tensors}, which has keep: false: leave that out, or take inputs "
                "from features/",
            )


def _on_several_devices(valid: Entries) -> Iterator[Problem]:
    """Yield which trainings Keras cannot share out between devices, with the backend that is set."""
    for name, variant in valid["variants"].items():
        if isinstance(variant.fit, Training) and variant.fit.devices > 1 and backend() != "jax":
            yield (
                f"variants.{name}.fit.devices",
                "devices share a training with Keras on JAX only: set KERAS_BACKEND=jax, or leave devices out",
            )


def _cross_validated(name: str, folds: CrossValidation, raw: Entries, valid: Entries) -> Iterator[Problem]:
    """Yield why a variant cannot be cross-validated."""
    here = f"cross_validation.{name}"
    yield from _again(here, name, folds, raw, valid)
    variant: Variant | None = valid["variants"].get(name)
    if variant is None:
        return
    parent = variant.start.partition("/")[2] if variant.start.startswith("variants/") else ""
    start = valid["variants"].get(parent)
    if start is not None and not isinstance(start.fit, Solver):
        yield (
            here,
            f"variants.{name} starts from variants.{parent}, whose training has seen the images that a fold leaves "
            "out: take a variant that starts from a backbone or from a solved head",
        )


def _seeded(name: str, seeds: Seeds, raw: Entries, valid: Entries) -> Iterator[Problem]:
    """Yield why a variant cannot be trained with other seeds."""
    here = f"seeds.{name}"
    yield from _again(here, name, seeds, raw, valid)
    variant: Variant | None = valid["variants"].get(name)
    if variant is None:
        return
    if isinstance(variant.fit, Solver):
        yield (
            here,
            f"variants.{name} is solved: it has one optimum, the same whatever the seed, so there is no training noise "
            f"to measure: leave {here} out",
        )
    elif variant.fit.seed in seeds.others:
        yield (
            f"{here}.others",
            f"{variant.fit.seed} is the seed of variants.{name} itself, whose scores count in any case: leave it out",
        )


def _again(here: str, name: str, entry: CrossValidation | Seeds, raw: Entries, valid: Entries) -> Iterator[Problem]:
    """Yield a problem if there is no variant of an entry's name, or the entry repeats other parents than it has."""
    yield from _parent(here, "variants", name, raw)
    variant: Variant | None = valid["variants"].get(name)
    for key in ("start", "inputs") if variant else ():
        expected, found = getattr(variant, key), getattr(entry, key)
        if found != expected:
            yield f"{here}.{key}", f"expected {expected!r}, as variants.{name} has it, got {found!r}"


def _judged(name: str, raw: Entries, valid: Entries) -> Iterator[Problem]:
    """Yield why labels cannot be judged by an entry of `features`."""
    here = f"label_issues.{name}"
    yield from _parent(here, "features", name, raw)
    features: Features | None = valid["features"].get(name)
    if features is not None and not _are_vectors(features, valid["backbones"].get(features.backbone)):
        yield (
            here,
            f"features.{name} have no single vector per image, on which heads are solved: name features with "
            "layer: top and pooling: avg or max",
        )


def _are_vectors(features: Features, backbone: Backbone | None) -> bool:
    in_vectors = features.pooling is not None or backbone is None or _ends_in(backbone) == "vector"
    return features.layer == "top" and in_vectors


def _listed(specs: Any) -> list[Any]:
    return [spec for spec in specs if is_keras_object(spec)] if isinstance(specs, list) else []


def _name(spec: Any) -> Any:
    return next(iter(spec)) if isinstance(spec, dict) and spec else spec


def _arguments(spec: Any) -> dict[str, Any]:
    return (next(iter(spec.values())) or {}) if isinstance(spec, dict) and is_keras_object(spec) else {}


def _lineage(here: str, name: str, variant: Variant, valid: Entries) -> Iterator[Problem]:
    """Yield what does not fit between a variant, its inputs and the variants it descends from."""
    chain, passed = [variant], {name}
    while chain[-1].start.startswith("variants/"):
        parent = chain[-1].start.partition("/")[2]
        if parent in passed:
            yield f"{here}.start", f"the starts form a circle: variants.{parent} descends from itself"
            return
        passed.add(parent)
        if parent not in valid["variants"]:
            return  # that entry has errors of its own
        chain.append(valid["variants"][parent])
    if isinstance(variant.fit, Training) and variant.fit.validate_on == "validation":
        for one, ancestor in itertools.pairwise(chain):
            if "validation" in ancestor.fit.train_on:
                seen_by = one.start.replace("/", ".")
                yield (
                    f"{here}.fit.validate_on",
                    f"nothing can be chosen by validation: {seen_by}, which the variant descends from, has seen it; "
                    f"leave validation out of {seen_by}.fit.train_on, or start from another variant",
                )
    root_head = chain[-1].head or []
    if variant.fit.calibrate and root_head and _arguments(root_head[-1]).get("lora_rank"):
        yield (
            f"{here}.fit.calibrate",
            "a temperature divides the last layer's kernel, which lora_rank keeps in parts: leave one of them out",
        )
    takes_logits = isinstance(variant.fit, Training) and _arguments(variant.fit.loss).get("from_logits") is True
    if takes_logits and len(chain) > 1 and not ends_in_logits(root_head):
        yield f"{here}.fit.loss", f"from_logits: the head of {variant.start} ends in softmax: leave from_logits out"
    sources = [source for one in chain if (source := _source(one, valid)) is not None]
    section, _, backbone = chain[-1].start.partition("/")
    if len(sources) == len(chain) and section == "backbones" and backbone in valid["backbones"]:
        yield from _inputs(here, chain, sources, backbone, valid)


def _inputs(here: str, chain: list[Variant], sources: list[Source], root: str, valid: Entries) -> Iterator[Problem]:
    """Yield a problem if a variant's inputs are not those that its start takes.

    Args:
        here: the variant's address.
        chain: the variant, the one it starts from, and so on.
        sources: what each of the chain reads.
        root: the name of the backbone that the last of the chain starts from.
        valid: entries that their schema has found right.
    """
    variant, backbone = chain[0], valid["backbones"][root]
    (tensors, features), (root_tensors, root_features) = sources[0], sources[-1]
    where = f"{here}.inputs"
    if features is not None and features.backbone != root:
        yield (
            where,
            f"{variant.inputs} come from backbones.{features.backbone}, but the variant starts from "
            f"backbones.{root}: make them the same",
        )
        return
    if tensors != root_tensors:
        yield (
            where,
            f"{variant.inputs} are made of tensors.{tensors}, but the variant's start was trained on "
            f"tensors.{root_tensors}: make them the same",
        )
    if variant.freeze:
        yield from _cut(f"{here}.freeze", variant.freeze, backbone)
    if isinstance(variant.fit, Training) and variant.fit.layer_decay != 1:
        yield from _decay(f"{here}.fit.layer_decay", variant, features, backbone)
    if len(chain) == 1:
        if features is None:
            yield from _fixed_size(where, tensors, backbone, valid)
        yield from _fresh_head(here, variant, features, backbone)
    elif features is not None:
        parent_features = sources[1][1]
        trained_from = parent_features.layer if parent_features else chain[1].freeze
        yield from _trained_before(where, variant, features, trained_from, root_features, backbone)


def _decay(where: str, variant: Variant, features: Features | None, backbone: Backbone) -> Iterator[Problem]:
    """Yield a problem if nothing of the backbone is trained, of which the learning rate could decay."""
    end = features.layer if features else variant.freeze
    if backbone.architecture == "none" or end == "top":
        why = "has no layers" if backbone.architecture == "none" else "is frozen up to its top"
        yield where, f"the learning rate decays within the backbone, which {why}: leave layer_decay out"


def _fresh_head(here: str, variant: Variant, features: Features | None, backbone: Backbone) -> Iterator[Problem]:
    """Yield a problem if a new head gets a map where it takes vectors, or the other way round."""
    ends_in = _ends_in(backbone)
    end, axes = ("tokens", "1D") if ends_in == "tokens" else ("a map", "2D")
    in_vectors = ends_in == "vector" or (features is not None and features.pooling is not None)
    if isinstance(variant.fit, Solver):
        if features is None or features.layer != "top" or not in_vectors:
            yield (
                f"{here}.inputs",
                "a solver needs one vector per image: take features with layer: top and pooling: avg or max",
            )
    elif in_vectors and variant.head and str(_name(variant.head[0])).endswith(("1D", "2D")):
        yield (
            f"{here}.head.0",
            f"{_name(variant.head[0])} takes {end}, but the backbone's end is one vector per image: leave it out",
        )
    elif not in_vectors and not any(_name(layer) in TO_VECTORS for layer in variant.head or []):
        yield (
            f"{here}.head",
            f"the backbone's end is {end}, not one vector per image: begin the head with GlobalAveragePooling{axes}, "
            "or take features with layer: top and pooling: avg or max",
        )


def _trained_before(
    where: str,
    variant: Variant,
    features: Features,
    trained_from: str | None,
    root_features: Features | None,
    backbone: Backbone,
) -> Iterator[Problem]:
    """Yield a problem if features are not the activations of a variant's start."""
    pooling = root_features.pooling if root_features else None
    if features.layer == "top" and features.pooling != pooling:
        yield (
            where,
            f"{variant.inputs} have pooling: {features.pooling or 'null'}, "
            f"but the start's head expects: {pooling or 'null'}",
        )
    layers = known_boundaries(backbone.architecture, backbone.include_top)
    depth = {layer: number for number, layer in enumerate([*layers, "top"])}
    if trained_from is None or depth.get(features.layer, 0) > depth.get(trained_from, len(layers)):
        yield (
            where,
            f"{variant.start} has trained layers before {features.layer}, so {variant.inputs} are not its "
            "activations: take inputs from an earlier layer or from tensors/",
        )


def _source(variant: Variant, valid: Entries) -> Source | None:
    """Return what a variant reads; None if that entry has errors of its own."""
    section, _, parent = variant.inputs.partition("/")
    if section not in ("tensors", "features") or parent not in valid[section]:
        return None
    return (parent, None) if section == "tensors" else (valid["features"][parent].tensors, valid["features"][parent])
