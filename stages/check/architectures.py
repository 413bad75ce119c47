"""The networks that params.yaml can name, and where each can be cut; known without building one."""

import ast
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from stages.check.keras_names import parsed, public_names
from thaw.suggestions import did_you_mean

if TYPE_CHECKING:
    from thaw.images.normalization import Mode

# Written by tests/boundary_table.py, from the networks themselves.
BOUNDARIES_JSON = Path(__file__).with_name("boundaries.json")
PACKAGED = ("EfficientNetLite0", "EfficientNetLite1", "EfficientNetLite2")
"""Networks whose weights come with a package."""
PRETRAINED_WITH: dict[str, "Mode"] = {
    "hub": "none",
    "EfficientNetLite": "lite",
    "EfficientNet": "none",
    "ConvNeXt": "none",
    "MobileNetV3": "none",
    "DenseNet": "torch",
    "MobileNet": "tf",
    "Inception": "tf",
    "Xception": "tf",
    "NASNet": "tf",
    "VGG": "caffe",
    "ResNet": "caffe",
}
"""Modes of pretrained networks by the beginnings of their names; the first that fits counts. KerasHub's networks get
what their presets say inside themselves."""


@cache
def known_architectures() -> list[str]:
    """Return the EfficientNet-Lites, `hub`, the networks of keras.applications, and `none`, which has no layers."""
    return [*PACKAGED, "hub", "none", *(name for name in public_names("applications") if name[0].isupper())]


@cache
def _boundary_table() -> dict[str, dict[str, list[str]]]:
    table: dict[str, dict[str, list[str]]] = json.loads(BOUNDARIES_JSON.read_text(encoding="utf-8"))
    return table


def known_boundaries(architecture: str, include_top: bool) -> list[str]:
    """Return the layers at which a network can be cut, from input to output.

    >>> known_boundaries("EfficientNetLite0", include_top=False)[:3]
    ['stem_conv', 'stem_bn', 'stem']
    """
    table = _boundary_table().get(architecture, {})
    return table.get("network", []) + table.get("top" if include_top else "no_top", [])


def smallest_pixels(architecture: str) -> int:
    """Return the least height and width of images for which Keras offers a network; 1 if it says none."""
    if architecture not in public_names("applications"):
        return 1
    module, _ = public_names("applications")[architecture]
    minima = [
        node.value.value
        for node in ast.walk(parsed(module))
        if isinstance(node, ast.keyword) and node.arg == "min_size" and isinstance(node.value, ast.Constant)
    ]
    return max((least for least in minima if isinstance(least, int)), default=1)


def nearest(layer: str, known: list[str]) -> str:
    """Return the end of a message about a layer at which a network cannot be cut: where it can be.

    A layer inside of a block has a name that begins like the block's other layers: `block_9_expand` is between
    `block_8` and `block_9`.

    >>> nearest("block_9_expand", ["block_8", "block_9", "block_10"])
    '; the nearest that are: block_8, block_9'
    """
    stem = layer
    while "_" in stem:
        stem = stem.rpartition("_")[0]
        block = [name for name in known if name == stem or name.startswith(f"{stem}_")]
        if len(block) == 1:
            end = known.index(block[0])
            return f"; the nearest that are: {', '.join(known[max(end - 1, 0) : end + 1])}"
        if block:
            return did_you_mean(layer, block)
    return did_you_mean(layer, [*known, "top"])


def pretrained_with(architecture: str) -> "Mode | None":
    """Return the mode that a network's ImageNet weights expect; None for one that has none, or is not known.

    >>> pretrained_with("VGG16")
    'caffe'
    """
    if architecture not in known_architectures():
        return None
    if architecture.startswith("ResNet") and architecture.endswith("V2"):
        return "tf"
    return next((mode for name, mode in PRETRAINED_WITH.items() if architecture.startswith(name)), None)
