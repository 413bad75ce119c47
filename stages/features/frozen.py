"""The frozen part of a backbone, from pixels to the activations at a boundary."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thaw.engines import kept
from thaw.engines.engine import Engine
from thaw.engines.ready import Known, ready
from thaw.formats.model_file import backbone_of
from thaw.images.normalization import Normalization
from thaw.params.features import Features

if TYPE_CHECKING:
    from thaw.networks.backend import keras


@dataclass(frozen=True)
class FrozenPart:
    """What is known of a frozen part without running it."""

    network: str
    boundary: str
    """The layer that it ends with."""
    backbone: dict[str, Any]
    """The backbone's entry of params.yaml."""
    row_shape: list[int]
    """Shape of the activations of one image."""


def frozen(
    entry: str, backbone: Path, digest: str, wanted: Features, pixels: tuple[int, int], normalization: Normalization
) -> tuple[FrozenPart, Engine]:
    """Return the frozen part of a backbone and what runs it; without Keras where its graph was kept.

    Args:
        entry: the features' address in params.yaml, for messages.
        backbone: its file.
        digest: SHA-256 of the file.
        wanted: layer, pooling, precision.
        pixels: height and width of the images.
        normalization: of the images.

    Raises:
        UserError: the file is damaged, or cannot be cut there.
    """

    def build() -> tuple["keras.Model", Known]:
        from thaw.networks import models
        from thaw.networks.boundary import boundaries, prefix, require_boundary

        network, record = models.load(backbone)
        if wanted.layer != "top":
            require_boundary(network, wanted.layer, boundaries(network), f"{entry}: {network.name}")
        model = models.assemble(network, *pixels, normalization, wanted.pooling)
        layer = model.layers[-1].name if wanted.layer == "top" else wanted.layer
        part = prefix(model, layer)
        known = {
            "network": network.name,
            "boundary": layer,
            "backbone": backbone_of(backbone, record).backbone,
            "row_shape": list(part.output.shape[1:]),
        }
        return part, known

    place = kept.place(
        "stages.features.frozen",
        digest,
        wanted.layer,
        wanted.pooling,
        wanted.precision,
        pixels,
        normalization.to_json(),
    )
    engine, known = ready(place, build, wanted.precision, wanted.batch_size)
    return FrozenPart(**known), engine
