"""The frozen part of a backbone, from pixels to the activations at a boundary, ready to run."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thaw import graphs
from thaw.engine import Engine, OpenVinoEngine
from thaw.graphs import Graph
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
    place = graphs.place("thaw.frozen", *made_of)
    if place and (kept := graphs.read(place)):
        known, graph = kept
        if warning := unlike_pretraining(known["network"], normalization):
            announce(warning)
        device = f"the CPU, {os.cpu_count()} cores"
        return Frozen(**{**known, "device": device}, start=lambda: OpenVinoEngine(graph, wanted.precision))
    known, engine, new_graph = _freeze(entry, backbone, wanted, pixels, normalization)
    if place and new_graph:
        graphs.keep(place, known, new_graph)
    return Frozen(**known, start=lambda: engine)


def _freeze(
    entry: str, backbone: Path, wanted: Features, pixels: tuple[int, int], normalization: Normalization
) -> tuple[dict[str, Any], Engine, Graph | None]:
    """Cut the part out of the backbone, by Keras; return what is known of it, its engine, its graph if it has one."""
    from thaw import models
    from thaw.backend import device
    from thaw.boundary import boundaries, prefix, require_boundary
    from thaw.keras_engine import KerasEngine
    from thaw.keras_graphs import graph_of, runs_on_openvino

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
