"""Cutting the frozen part out of a backbone, by Keras."""

from pathlib import Path
from typing import Any

from thaw import models
from thaw.backend import device
from thaw.boundary import boundaries, prefix, require_boundary
from thaw.engine import Engine, OpenVinoEngine
from thaw.graphs import Graph
from thaw.keras_engine import KerasEngine
from thaw.keras_graphs import graph_of, runs_on_openvino
from thaw.normalization import Normalization
from thaw.params.features import Features


def freeze(
    entry: str, backbone: Path, wanted: Features, pixels: tuple[int, int], normalization: Normalization
) -> tuple[dict[str, Any], Engine, Graph | None]:
    """Cut a backbone at a boundary, and get the part before it ready to run.

    Args:
        entry: the features' address in params.yaml, for messages.
        backbone: its file.
        wanted: layer, pooling, precision.
        pixels: height and width of the images.
        normalization: of the images.

    Returns:
        What is known of the part, as `thaw.frozen.Frozen` has it; the engine; the graph, if OpenVINO runs it.

    Raises:
        UserError: the file is damaged, or cannot be cut there.
    """
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
