"""A trained model, or its part behind the freeze boundary, ready to run; without Keras where its graph was kept."""

from pathlib import Path
from typing import TYPE_CHECKING

from thaw import graphs
from thaw.engine import Engine, Graph, OpenVinoEngine
from thaw.files import sha256

if TYPE_CHECKING:
    from thaw.backend import keras


def trained(path: Path, behind: str | None = None) -> Engine:
    """Get a model's file ready to run.

    Args:
        path: the file.
        behind: the layer whose activations are the inputs; None if pixels are.

    Raises:
        UserError: the file is missing, truncated or altered.
    """
    place = _place(path, behind)
    if place and (kept := graphs.read(place)):
        return OpenVinoEngine(kept[1])
    from thaw import models
    from thaw.keras_engine import KerasEngine, runs_on_openvino

    network, _ = models.load(path)
    if runs_on_openvino():
        return OpenVinoEngine(keep_graph(path, network, behind))
    return KerasEngine(_part(network, behind))


def keep_graph(path: Path, network: "keras.Model", behind: str | None) -> Graph:
    """Make a model's graph, and keep it for `trained`, which then has no need of Keras.

    Args:
        path: the model's file.
        network: what is in it.
        behind: as in `trained`.
    """
    from thaw.keras_engine import graph_of

    graph = graph_of(_part(network, behind))
    if place := _place(path, behind):
        graphs.keep(place, {}, graph)
    return graph


def _part(network: "keras.Model", behind: str | None) -> "keras.Model":
    from thaw.boundary import tail

    return network if behind is None else tail(network, behind)


def _place(path: Path, behind: str | None) -> Path | None:
    return graphs.place("thaw.trained", sha256(path), behind)
