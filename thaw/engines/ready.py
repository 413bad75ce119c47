"""A trained model, or its part behind the freeze boundary, ready to run; without Keras where its graph was kept."""

from pathlib import Path

from thaw.engines import kept
from thaw.engines.openvino import Engine, OpenVinoEngine


def trained(path: Path, boundary: str | None = None) -> Engine:
    """Get the model in a file ready to run.

    Args:
        path: the file.
        boundary: the layer whose activations are the inputs; None if pixels are.

    Raises:
        UserError: the file is missing, truncated or altered.
    """
    place = kept.place_of_trained(path, boundary)
    if place and (found := kept.read(place)):
        return OpenVinoEngine(found[1])
    from thaw.engines.converting import keep_trained, runs_on_openvino
    from thaw.engines.keras import KerasEngine
    from thaw.networks import models
    from thaw.networks.boundary import tail

    model, _ = models.load(path)
    if runs_on_openvino() and (graph := keep_trained(path, model, boundary)):
        return OpenVinoEngine(graph)
    return KerasEngine(model if boundary is None else tail(model, boundary))
