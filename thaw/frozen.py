"""The frozen part of a backbone, from pixels to the activations at a boundary, ready to run."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thaw import graphs
from thaw.engine import Engine, OpenVinoEngine
from thaw.normalization import Normalization, unlike_pretraining
from thaw.params.features import Features
from thaw.stage import announce


@dataclass(frozen=True)
class Frozen:
    """A frozen part, and how to run it."""

    network: str
    boundary: str
    """The layer that it ends with."""
    backbone: dict[str, Any]
    """The backbone's entry of params.yaml."""
    row_shape: list[int]
    """Of the activations of one image."""
    engine: str
    device: str
    start: Callable[[], Engine]
    """Gets the engine ready."""


def frozen(
    entry: str, backbone: Path, digest: str, wanted: Features, pixels: tuple[int, int], normalization: Normalization
) -> Frozen:
    """Return the frozen part of a backbone.

    Args:
        entry: the features' address in params.yaml, for messages.
        backbone: its file.
        digest: of the file.
        wanted: layer, pooling, precision.
        pixels: height and width of the images.
        normalization: of the images.

    Raises:
        UserError: the file is damaged, or cannot be cut there.
    """
    made_of = [digest, wanted.layer, wanted.pooling, wanted.precision, pixels, normalization.to_json()]
    place = graphs.place("thaw.frozen", *made_of)
    if place and (kept := graphs.read(place)):
        known, graph = kept
        if warning := unlike_pretraining(known["network"], normalization):
            announce(warning)
        device = f"the CPU, {os.cpu_count()} cores"
        return Frozen(**{**known, "device": device}, start=lambda: OpenVinoEngine(graph, wanted.precision))
    from thaw.freezing import freeze  # loads Keras

    known, engine, new_graph = freeze(entry, backbone, wanted, pixels, normalization)
    if place and new_graph:
        graphs.keep(place, known, new_graph)
    return Frozen(**known, start=lambda: engine)
