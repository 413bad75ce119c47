"""KerasHub, whose layers some models have, with what its version 0.32 lacks for Keras's file format and shapes."""

from typing import Any

from thaw.errors import UserError
from thaw.machine import INSTALL_HUB
from thaw.networks.backend import keras, quiet


def keras_hub() -> Any:
    """Return KerasHub; it takes seconds to load, and asks nobody for anything.

    Raises:
        UserError: it is not installed.
    """
    try:
        with quiet():
            import keras_hub as hub
            from keras_hub.src.models.siglip.siglip_layers import SigLIPVisionEmbedding
            from keras_hub.src.models.swin_transformer import swin_transformer_layers as swin
            from keras_hub.src.models.vit.vit_layers import ViTPatchingAndEmbedding
    except ImportError as error:
        raise UserError(f"KerasHub cannot be loaded, {error}: `{INSTALL_HUB}` installs it") from None
    # It counts a class token, which SigLIP does not have; without this, Keras looks for itself.
    SigLIPVisionEmbedding.compute_output_shape = keras.layers.Layer.compute_output_shape
    ViTPatchingAndEmbedding.from_config = classmethod(_without_counts)
    _mend(swin.PatchEmbedding, "norm_layer", keras.layers.LayerNormalization, "norm_layer")
    _mend(swin.SwinTransformerStage, "downsample", swin.PatchMerging, "_downsample_cls")
    return hub


def _without_counts(cls: Any, config: dict[str, Any]) -> Any:
    """Build a layer from what it writes about itself, which is more than it takes."""
    return cls(**{key: value for key, value in config.items() if key not in ("num_patches", "num_positions")})


def _mend(layer: Any, argument: str, value: type, kept_as: str) -> None:
    """Have a layer write whether an argument has its only value, a class, which Keras does not take into a file.

    And have its weights made when it is called, not before, since it has no `build` that would make them.
    """
    if hasattr(layer, "is_mended"):
        return
    write = layer.get_config

    def get_config(self: Any) -> dict[str, Any]:
        kept = getattr(self, kept_as)
        setattr(self, kept_as, None)
        try:
            return {**write(self), argument: kept is not None}
        finally:
            setattr(self, kept_as, kept)

    def from_config(cls: Any, config: dict[str, Any]) -> Any:
        return cls(**{**config, argument: value if config[argument] else None})

    layer.get_config, layer.from_config, layer.is_mended = get_config, classmethod(from_config), True
    layer.get_build_config = lambda self: None
