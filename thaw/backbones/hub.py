"""Image backbones of KerasHub, from pixels 0-255: by a built-in preset, or by a folder with one.

Kaggle is asked for a preset by its name, unless kagglehub has it already, and for nothing else; a folder needs no
network.
"""

from pathlib import Path
from typing import Any

from thaw.backbones.presets import FAMILIES, class_of, digest, family_of, read_config
from thaw.errors import UserError
from thaw.networks.backend import keras
from thaw.networks.hub import keras_hub
from thaw.params.backbones import Backbone


def build_preset(entry: Backbone) -> keras.Model:
    """Build the backbone of a preset, with its weights.

    What its image converter does to pixels, it does inside itself. Of SigLIP, it is the part that sees images.

    Returns:
        A functional model from pixels 0-255 (batch, height, width, 3), its layers those of the backbone.

    Raises:
        UserError: KerasHub is not installed; the preset cannot be fetched, has another digest, or is no image backbone.
    """
    hub = keras_hub()
    if family_of(entry.weights, entry.sha256) is None:
        what = (
            entry.weights if entry.sha256 is None else f"{entry.weights}: {class_of(read_config(Path(entry.weights)))}"
        )
        raise UserError(f"{what} is none of the image backbones; there are {', '.join(FAMILIES)}")
    source = entry.weights
    if entry.sha256 is not None:
        folder = Path(entry.weights)
        if (found := digest(folder)) != entry.sha256:
            raise UserError(f"{folder}: its SHA-256 is {found}, params.yaml says {entry.sha256}")
        source = str(folder.resolve())  # as a path, it is no built-in preset's name
    try:
        backbone = hub.models.Backbone.from_preset(source)
        converter = hub.layers.ImageConverter.from_preset(source)
    except Exception as error:  # KerasHub and kagglehub raise nearly everything
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        if entry.sha256 is not None:
            raise UserError(f"{entry.weights}: KerasHub cannot read it: {reason}") from None
        raise UserError(
            f"the preset {entry.weights} cannot be fetched: {reason}\n"
            "give weights as a preset's folder with its sha256, or pull the backbone that a teammate has made"
        ) from None
    return _from_pixels(getattr(backbone, "vision_encoder", backbone), converter)


def _from_pixels(backbone: Any, converter: Any) -> keras.Model:
    """Return a backbone as a flat functional model with one input, behind what its image converter does to pixels."""
    pixels = keras.Input(backbone.inputs[0].shape[1:], name="images")
    scale, offset = (
        [float(one) for one in value] if isinstance(value, list | tuple) else float(value)
        for value in (1 if converter.scale is None else converter.scale, converter.offset or 0)
    )
    converted = keras.layers.Rescaling(scale, offset, name="image_converter")(pixels)

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        return layer(*keras.tree.map_structure(lambda x: converted if x is pixels else x, args), **kwargs)

    plain = keras.Model(backbone.inputs[0], backbone.outputs[0])
    behind = keras.models.clone_model(
        plain, input_tensors=pixels, clone_function=lambda layer: layer, call_function=call
    )
    return keras.Model(pixels, behind.output, name=type(backbone).__name__)
