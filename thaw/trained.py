"""A trained model, or its part behind the freeze boundary, ready to run; without Keras where its graph was kept."""

from pathlib import Path

from thaw import graphs
from thaw.engine import Engine, OpenVinoEngine


def trained(path: Path, boundary: str | None = None) -> Engine:
    """Get the model in a file ready to run.

    Args:
        path: the file.
        boundary: the layer whose activations are the inputs; None if pixels are.

    Raises:
        UserError: the file is missing, truncated or altered.
    """
    place = graphs.place_of_trained(path, boundary)
    if place and (kept := graphs.read(place)):
        return OpenVinoEngine(kept[1])
    from thaw import models
    from thaw.boundary import tail
    from thaw.keras_engine import KerasEngine
    from thaw.keras_graphs import keep_trained, runs_on_openvino

    model, _ = models.load(path)
    if runs_on_openvino() and (graph := keep_trained(path, model, boundary)):
        return OpenVinoEngine(graph)
    return KerasEngine(model if boundary is None else tail(model, boundary))
