"""Models as OpenVINO has them, made by Keras."""

import tempfile
from pathlib import Path

from thaw import graphs
from thaw.backend import has_gpu, inference, keras
from thaw.boundary import tail
from thaw.graphs import Graph
from thaw.machine import HAS_OPENVINO


def runs_on_openvino() -> bool:
    """Say whether models run on OpenVINO here: not on a GPU, nor where there is no OpenVINO."""
    exportable = keras.backend.backend() == "tensorflow"  # OpenVINO does not read what JAX exports
    return exportable and not has_gpu() and HAS_OPENVINO


def graph_of(model: keras.Model) -> Graph:
    """Return a model as OpenVINO has it; its input's shape is known but for the number of rows."""
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        # Keras's own export takes three times as long to say the same.
        openvino.serialize(openvino.convert_model(inference(model)), path)
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()


def keep_trained(path: Path, model: keras.Model, boundary: str | None) -> Graph:
    """Make the graph of a trained model, or of its part behind a boundary, and keep it: then it runs without Keras.

    Args:
        path: the model's file.
        model: what is in it.
        boundary: the layer whose activations are the inputs; None if pixels are.
    """
    graph = graph_of(model if boundary is None else tail(model, boundary))
    if place := graphs.place_of_trained(path, boundary):
        graphs.keep(place, {}, graph)
    return graph
