"""What a backbone can be: its weights, where it is cut, and the images that it takes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stages.check.architectures import PACKAGED, known_architectures, known_boundaries, nearest, smallest_pixels
from stages.check.hub import hub_family, hub_pixels, hub_problems
from stages.check.problems import Entries, Problem
from thaw.params.backbones import Backbone
from thaw.params.features import Features
from thaw.suggestions import did_you_mean

# Their classification layer is a convolution over a map of one pixel.
MAP_BEFORE_CLASSES = ("MobileNet", "MobileNetV3Large", "MobileNetV3Small")
# With include_top, they are built for one size of image.
FIXED_TOP = ("VGG16", "VGG19", "ConvNeXtTiny", "ConvNeXtSmall", "ConvNeXtBase", "ConvNeXtLarge", "ConvNeXtXLarge")
FIXED_PIXELS = [224, 224]


def of_backbone(here: str, entry: dict[Any, Any]) -> Iterator[Problem]:
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


def of_features(here: str, features: Features, backbone: Backbone, valid: Entries) -> Iterator[Problem]:
    """Yield a problem if features are cut where the backbone has no boundary, or are pooled twice."""
    if backbone.architecture == "none":
        yield f"{here}.backbone", f"backbones.{features.backbone} has no layers, so there is nothing to cache"
        return
    yield from cut(f"{here}.layer", features.layer, backbone)
    family = hub_family(backbone)
    if features.pooling and ends_in(backbone) == "vector":
        top = ", with include_top" if backbone.include_top else ""
        yield f"{here}.pooling", f"backbones.{features.backbone} ends in one vector per image{top}: leave pooling out"
    elif features.pooling == "token" and not (family and family.class_token):
        yield f"{here}.pooling", f"backbones.{features.backbone} has no class token: take avg or max"
    yield from fixed_size(f"{here}.tensors", features.tensors, backbone, valid)


def cut(where: str, layer: str, backbone: Backbone) -> Iterator[Problem]:
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


def fixed_size(where: str, tensors: str, backbone: Backbone, valid: Entries) -> Iterator[Problem]:
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


def ends_in(backbone: Backbone) -> str:
    """Return what a backbone gives for each image: one `vector`, `tokens`, or a `map`."""
    if family := hub_family(backbone):
        return family.ends_in
    return "vector" if backbone.include_top and backbone.architecture not in MAP_BEFORE_CLASSES else "map"


def are_vectors(features: Features, backbone: Backbone | None) -> bool:
    in_vectors = features.pooling is not None or backbone is None or ends_in(backbone) == "vector"
    return features.layer == "top" and in_vectors
