"""KerasHub's presets: which are image backbones, and what their files say; known without importing it, or Keras."""

import ast
import hashlib
import json
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from thaw.errors import UserError
from thaw.files.reading import read_bytes, require_regular

CONFIG, CONVERTER, WEIGHTS = "config.json", "image_converter.json", "model.weights.h5"
PRESET_FILES = (CONFIG, CONVERTER, WEIGHTS)
"""What is read of a preset's folder, in the order of its digest."""


@dataclass(frozen=True)
class Family:
    """Networks of one class of KerasHub's."""

    backbone: str
    """The class."""
    ends_in: Literal["map", "tokens", "vector"]
    """What there is for each image: (height, width, channels), (tokens, channels) or (channels,)."""
    class_token: bool = False
    """Whether the first of the tokens stands for the whole image."""
    cuttable: bool = True
    """Whether blocks are layers; where all are inside one, there is nothing to cut."""


FAMILIES = {
    "cspnet": Family("CSPNetBackbone", "map"),
    "densenet": Family("DenseNetBackbone", "map"),
    "dinov2": Family("DINOV2Backbone", "tokens", class_token=True, cuttable=False),
    "dinov3": Family("DINOV3Backbone", "tokens", class_token=True, cuttable=False),
    "resnet": Family("ResNetBackbone", "map"),
    "siglip": Family("SigLIPBackbone", "vector"),
    "swin_transformer": Family("SwinTransformerBackbone", "tokens"),
    "vgg": Family("VGGBackbone", "map"),
    "vit": Family("ViTBackbone", "tokens", class_token=True, cuttable=False),
    "xception": Family("XceptionBackbone", "map"),
}
"""The image backbones, by the folders of their modules in KerasHub; of SigLIP it is the part that sees images."""


@cache
def built_in() -> dict[str, str]:
    """Return the family's folder of each preset that KerasHub knows by a name; none if it is not installed."""
    spec = find_spec("keras_hub")
    if spec is None or spec.origin is None:
        return {}
    return {
        key.value: path.parent.name
        for path in sorted(Path(spec.origin).parent.glob("src/models/*/*_presets.py"))
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)
        for key in node.value.keys
        if isinstance(key, ast.Constant) and isinstance(key.value, str)
    }


def class_of(config: dict[str, Any]) -> str:
    """Return the class that a preset's configuration names."""
    return str(config["registered_name"]).removeprefix("keras_hub>")


def family_of(weights: str, sha256: str | None) -> Family | None:
    """Return the family of a preset, or of a preset's folder, if it is one of image backbones.

    Raises:
        UserError: the folder has no configuration of a backbone.
    """
    if sha256 is None:
        return FAMILIES.get(built_in().get(weights, ""))
    found = class_of(read_config(Path(weights)))
    return next((one for one in FAMILIES.values() if one.backbone == found), None)


def read_config(folder: Path) -> dict[str, Any]:
    """Read the configuration of the backbone in a preset's folder, as KerasHub's `save_to_preset` wrote it.

    Raises:
        UserError: there is none.
    """
    path = folder / CONFIG
    try:
        config: dict[str, Any] = json.loads(read_bytes(path))
        if not isinstance(config["config"], dict):
            raise TypeError
        class_of(config)
    except OSError:
        raise UserError(f"{path}: no such file, as KerasHub's save_to_preset writes it") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path}: no configuration of a backbone, as KerasHub's save_to_preset writes it") from None
    return config


def fixed_pixels(folder: Path) -> list[int] | None:
    """Return the height and width of the images that the backbone in a preset's folder takes; None if it takes any."""
    config = read_config(folder)["config"]
    seeing = config.get("vision_encoder", {}).get("config", config)
    height, width = (seeing.get("image_shape") or [None, None])[:2]
    return [height, width] if isinstance(height, int) and isinstance(width, int) else None


def digest(folder: Path) -> str:
    """Return the SHA-256 of a preset's folder: of its files one after the other.

    In a shell: `cat config.json image_converter.json model.weights.h5 | sha256sum`. What else is there, such as a
    tokenizer, is not read.

    Raises:
        UserError: one of them is missing.
    """
    found = hashlib.sha256()
    for name in PRESET_FILES:
        try:
            require_regular(folder / name)
            with (folder / name).open("rb") as file:
                while part := file.read(2**20):
                    found.update(part)
        except OSError:
            raise UserError(f"{folder / name}: no such file; {missing(name)}") from None
    return found.hexdigest()


def missing(name: str) -> str:
    """Return what to do if a preset's folder lacks a file."""
    if name == CONVERTER:
        return (
            "it says which pixels the network expects: "
            "keras_hub.layers.ImageConverter.from_preset(PRESET).save_to_preset(FOLDER) writes it"
        )
    return "keras_hub.models.Backbone.from_preset(PRESET).save_to_preset(FOLDER) writes it"
