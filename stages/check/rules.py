"""What must be right between entries of params.yaml, and between an entry and what Keras offers.

An entry may have other errors: what can be judged without what is wrong, is.
"""

from collections.abc import Iterator
from typing import Any

from stages.check.architectures import pretrained_with
from stages.check.lineage import of_lineage
from stages.check.networks import are_vectors, of_backbone, of_features
from stages.check.problems import Entries, Problem, arguments_of, name_of, of_keras, unknown_entry
from stages.check.variants import of_variant
from thaw.machine import backend
from thaw.params.cross_validation import CrossValidation
from thaw.params.features import Features
from thaw.params.seeds import Seeds
from thaw.params.variants import MIXING, Solver, Training, Variant

UNTRACED = ("RandomElasticTransform",)
"""Layers that look at what they draw, which is not known where JAX compiles them."""


def relations(raw: Entries, valid: Entries) -> Iterator[Problem]:
    """Yield what does not fit together.

    Args:
        raw: entries as they were read, right or not.
        valid: those that their schema has found right.
    """
    for name, entry in raw["backbones"].items():
        if isinstance(entry, dict):
            yield from of_backbone(f"backbones.{name}", entry)
    for name, entry in raw["features"].items():
        if isinstance(entry, dict):
            yield from _views(f"features.{name}.augmentation", entry.get("augmentation"))
            for key, section in (("tensors", "tensors"), ("backbone", "backbones")):
                if isinstance(entry.get(key), str):
                    yield from unknown_entry(f"features.{name}.{key}", section, entry[key], raw)
    with_parents = {
        name: features
        for name, features in valid["features"].items()
        if features.tensors in raw["tensors"] and features.backbone in raw["backbones"]
    }
    valid = valid | {"features": with_parents}
    for name, features in with_parents.items():
        if features.backbone in valid["backbones"]:
            yield from of_features(f"features.{name}", features, valid["backbones"][features.backbone], valid)
    for name, entry in raw["variants"].items():
        if isinstance(entry, dict):
            yield from of_variant(f"variants.{name}", entry, raw)
    for name, variant in valid["variants"].items():
        yield from of_lineage(f"variants.{name}", name, variant, valid)
    yield from _unlike_pretraining(valid)
    yield from _without_pixels(valid)
    yield from _on_several_devices(valid)
    yield from _on_jax(valid)
    for name, folds in valid["cross_validation"].items():
        yield from _cross_validated(name, folds, raw, valid)
    for name, seeds in valid["seeds"].items():
        yield from _seeded(name, seeds, raw, valid)
    for name in raw["label_issues"]:
        yield from _judged(name, raw, valid)


def _views(where: str, augmentation: Any) -> Iterator[Problem]:
    yield from of_keras(where, augmentation, "augmentation")
    for index, spec in enumerate(augmentation if isinstance(augmentation, list) else []):
        if name_of(spec) in MIXING:
            yield (
                f"{where}.{index}",
                f"{name_of(spec)} mixes the images of a batch and their labels, but a cached view is of one image: put "
                "it into the augmentation of a variant with inputs from tensors/",
            )
        if arguments_of(spec).get("seed") is not None:
            yield (
                f"{where}.{index}.{name_of(spec)}.seed",
                "is not heeded: a cached view is drawn by its image and the seed beside augmentation; set that, and "
                "leave this one out",
            )


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


def _on_jax(valid: Entries) -> Iterator[Problem]:
    """Yield which layers JAX, if it is set, cannot train on; cached views are not compiled."""
    for name, variant in valid["variants"].items():
        for number, spec in enumerate(variant.augmentation):
            if name_of(spec) in UNTRACED and backend() == "jax":
                yield (
                    f"variants.{name}.augmentation.{number}",
                    f"JAX cannot compile {name_of(spec)}: set KERAS_BACKEND=tensorflow, or leave it out",
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
    yield from unknown_entry(here, "variants", name, raw)
    variant: Variant | None = valid["variants"].get(name)
    for key in ("start", "inputs") if variant else ():
        expected, found = getattr(variant, key), getattr(entry, key)
        if found != expected:
            yield f"{here}.{key}", f"expected {expected!r}, as variants.{name} has it, got {found!r}"


def _judged(name: str, raw: Entries, valid: Entries) -> Iterator[Problem]:
    """Yield why labels cannot be judged by an entry of `features`."""
    here = f"label_issues.{name}"
    yield from unknown_entry(here, "features", name, raw)
    features: Features | None = valid["features"].get(name)
    if features is not None and not are_vectors(features, valid["backbones"].get(features.backbone)):
        yield (
            here,
            f"features.{name} have no single vector per image, on which heads are solved: name features with "
            "layer: top and pooling: avg or max",
        )
