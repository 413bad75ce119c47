"""The frozen part of a backbone, from pixels to the activations at a boundary, ready to run."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thaw.engines import kept
from thaw.engines.kept import Graph
from thaw.engines.openvino import Engine, OpenVinoEngine
from thaw.images.normalization import Normalization, unlike_pretraining
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
    """Return the frozen part of a backbone; without Keras where its graph was kept.

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
    place = kept.place("stages.features.frozen", *made_of)
    if place and (found := kept.read(place)):
        known, graph = found
        if warning := unlike_pretraining(known["network"], normalization):
            announce(warning)
        device = f"the CPU, {os.cpu_count()} cores"
        return Frozen(**{**known, "device": device}, start=lambda: OpenVinoEngine(graph, wanted.precision))
    known, engine, new_graph = _freeze(entry, backbone, wanted, pixels, normalization)
    if place and new_graph:
        kept.keep(place, known, new_graph)
    return Frozen(**known, start=lambda: engine)


def _freeze(
    entry: str, backbone: Path, wanted: Features, pixels: tuple[int, int], normalization: Normalization
) -> tuple[dict[str, Any], Engine, Graph | None]:
    """Cut the part out of the backbone, by Keras; return what is known of it, its engine, its graph if it has one."""
    from thaw.engines.converting import graph_of, runs_on_openvino
    from thaw.engines.keras import KerasEngine
    from thaw.networks import models
    from thaw.networks.backend import device
    from thaw.networks.boundary import boundaries, prefix, require_boundary

    network, about = models.load(backbone)
    if wanted.layer != "top":
        require_boundary(network, wanted.layer, boundaries(network), f"{entry}: {network.name}")
    model = models.assemble(network, *pixels, normalization, wanted.pooling)
    layer = model.layers[-1].name if wanted.layer == "top" else wanted.layer
    part = prefix(model, layer)
    graph = graph_of(part) if runs_on_openvino() else None
    engine: Engine = (
        OpenVinoEngine(graph, wanted.precision) if graph else KerasEngine(part, wanted.precision, wanted.batch_size)
    )
    known = {
        "network": network.name,
        "boundary": layer,
        "backbone": about["backbone"],
        "row_shape": list(part.output.shape[1:]),
        "engine": engine.name,
        "device": device(),
    }
    return known, engine, graph
