"""The one choice of what runs a network in inference mode: OpenVINO, or Keras."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thaw.engines import kept
from thaw.engines.engine import Engine, Precision
from thaw.engines.openvino import OpenVinoEngine

if TYPE_CHECKING:
    from thaw.networks.backend import keras

Known = dict[str, Any]
"""What a maker of networks tells of one, JSON-serializable."""


def ready(
    place: Path | None,
    build: Callable[[], tuple["keras.Model", Known]],
    precision: Precision = "float32",
    batch_size: int = 32,
) -> tuple[Engine, Known]:
    """Return the fastest engine for a network on this machine; without Keras where its graph was kept.

    Args:
        place: where its graph is kept; None if none is. See `kept.place`.
        build: builds it, with one input and one output, their shapes known but for the number of rows, and tells of it
            what is kept beside its graph.
        precision: `bfloat16` is faster where the machine has instructions for it; elsewhere a CPU takes float32.
        batch_size: rows that a GPU takes at a time.

    Returns:
        The engine, and what `build` told.
    """
    if place and (found := kept.read(place)):
        known, graph = found
        return OpenVinoEngine(graph, precision), known
    from thaw.engines.converting import graph_of, runs_on_openvino
    from thaw.engines.keras import KerasEngine

    model, known = build()
    new = graph_of(model) if runs_on_openvino() else None
    if new is None:
        return KerasEngine(model, precision, batch_size), known
    if place:
        kept.keep(place, known, new)
    return OpenVinoEngine(new, precision), known


def engine(model: "keras.Model", precision: Precision = "float32", batch_size: int = 32) -> Engine:
    """Return the fastest engine for a model that is there, as `ready` does."""
    return ready(None, lambda: (model, {}), precision, batch_size)[0]


def trained(path: Path, boundary: str | None = None) -> Engine:
    """Return the fastest engine for a trained model.

    Args:
        path: its file.
        boundary: the layer whose activations are the inputs, so that only what is behind it runs; None if pixels are.

    Raises:
        UserError: the file is missing, truncated or altered.
    """

    def build() -> tuple["keras.Model", Known]:
        from thaw.networks import models
        from thaw.networks.boundary import tail

        model, _ = models.load(path)
        return model if boundary is None else tail(model, boundary), {}

    return ready(kept.place_of_trained(path, boundary), build)[0]
