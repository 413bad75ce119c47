"""Models as OpenVINO has them, made by Keras."""

import errno
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from thaw.engines import kept
from thaw.engines.kept import Graph
from thaw.files.writing import temporary_folder
from thaw.machine import HAS_OPENVINO
from thaw.networks.backend import has_gpu, inference, keras, quiet
from thaw.networks.boundary import tail
from thaw.networks.models import HEAD, without_random_layers
from thaw.stage import announce

PLAIN = {
    *("BatchNormalization", "Conv2D", "Dense", "Dropout", "Flatten", "GlobalAveragePooling2D", "GlobalMaxPooling2D"),
    *("MaxPooling2D", "Softmax"),
}
"""Layers of heads of which OpenVINO has all that Keras has, with the activations that most have."""
ACTIVATIONS = {"linear", "relu", "softmax"}
TOLERANCE = 1e-3
"""Of the largest value: what is computed in another order differs by some 1e-6, what is another network by far more."""


def runs_on_openvino() -> bool:
    """Say whether models run on OpenVINO here: not on a GPU, nor where there is no OpenVINO."""
    exportable = keras.backend.backend() == "tensorflow"  # OpenVINO does not read what JAX exports
    return exportable and not has_gpu() and HAS_OPENVINO


def graph_of(model: keras.Model) -> Graph | None:
    """Return a model as OpenVINO has it; None, with a line that says why, if it cannot have it.

    The networks that Thaw knows are tested; KerasHub's, and heads of other than plain layers, are tried on a random
    row, for which the graph has to give what TensorFlow gives.

    Args:
        model: its input's shape is known but for the number of rows.
    """
    function = inference(without_random_layers(model))
    try:
        with quiet():
            graph = converted(function)
            row = _random_row(model)
            found = None if _is_plain(model) else _computed(graph, row)
    except OSError:  # the disk is full, which is no reason to compute by another engine
        raise
    except Exception as error:  # converters raise nearly everything
        unknown = re.search("(?:rule found for operations|is failed for): (.*)", str(error))
        reason = unknown[1] if unknown else next(iter(str(error).splitlines()), type(error).__name__)
        announce(f"computed by Keras, since OpenVINO cannot have this network: {reason}")
        return None
    if found is None:
        return graph
    expected = function(row).numpy()
    if found.shape != expected.shape or not np.allclose(
        found, expected, rtol=0, atol=TOLERANCE * np.abs(expected).max(), equal_nan=True
    ):
        announce("computed by Keras, since OpenVINO computes something else of this network")
        return None
    return graph


def converted(function: Any) -> Graph:
    """Return what `backend.inference` gives as OpenVINO has it, with the model's own output only."""
    import openvino

    with _with_variables_known(function.graph), _with_version_known():
        # Keras's own export takes three times as long to say the same.
        model = openvino.convert_model(function)
    # A custom gradient, as that of silu, leaves an unused Identity behind, which becomes a result of its own; where the
    # network ends in it, there are two results of the same name.
    (name,) = (one.name for one in function.outputs)
    results = model.get_results()
    if len(results) > 1:
        own = [one for one in results if name in one.output(0).get_names()]
        for result in results:
            if result is not own[0]:
                model.remove_result(result)
    with temporary_folder() as folder:
        path = folder / "model.xml"
        try:
            openvino.serialize(model, path)
        except RuntimeError as error:  # of C++'s streams, which do not say why
            raise OSError(errno.ENOSPC, f"cannot be written: {error}") from None
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()


@contextmanager
def _with_variables_known(graph: Any) -> Iterator[None]:
    """Tell OpenVINO the values of a graph's variables: for each, it looks through all of them, ten times."""
    from openvino.frontend.tensorflow.node_decoder import TFGraphNodeDecoder as Decoder

    variables = {id(variable.handle): variable for variable in graph.variables}
    values = {
        inside.op: variables[id(outside)].read_value_no_copy() if id(outside) in variables else outside
        for outside, inside in graph.captures
    }
    find = Decoder.get_variable
    Decoder.get_variable = staticmethod(lambda operation: values[operation] if operation in values else find(operation))
    try:
        yield
    finally:
        Decoder.get_variable = staticmethod(find)


@contextmanager
def _with_version_known() -> Iterator[None]:
    """Tell OpenVINO TensorFlow's version: it asks in a way that Python 3.13 ends in a NameError (PEP 667)."""
    from openvino.frontend.tensorflow import utils

    asked = utils.get_environment_setup
    utils.get_environment_setup = lambda framework: {"tensorflow": sys.modules["tensorflow"].__version__}
    try:
        yield
    finally:
        utils.get_environment_setup = asked


def _is_plain(model: keras.Model) -> bool:
    """Say whether OpenVINO has all of a model's layers, whatever their arguments."""
    head = [layer for layer in model.layers if layer.name.startswith(HEAD)]
    is_of_hub = any(type(layer).__module__.startswith("keras_hub.") for layer in model.layers)
    return not is_of_hub and all(
        type(layer).__name__ in PLAIN and layer.get_config().get("activation", "linear") in ACTIVATIONS
        for layer in head
    )


def _random_row(model: keras.Model) -> np.ndarray:
    """Return a row of the kind that a model takes: pixels, or activations; (1, ...)."""
    brightest = 255 if model.input.shape[-1] == 3 else 1
    shape = (1, *model.input.shape[1:])
    return np.random.default_rng(0).uniform(0, brightest, shape).astype(np.float32)


def _computed(graph: Graph, rows: np.ndarray) -> np.ndarray:
    import openvino

    core = openvino.Core()
    compiled = core.compile_model(core.read_model(*graph), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.asarray(compiled([rows])[0])


def keep_trained(path: Path, model: keras.Model, boundary: str | None) -> None:
    """Make the graph of a trained model, or of its part behind a boundary, and keep it: then it runs without Keras.

    Nothing is done where none would be kept, or OpenVINO would not run it.

    Args:
        path: the model's file.
        model: what is in it.
        boundary: the layer whose activations are the inputs; None if pixels are.
    """
    if runs_on_openvino() and (place := kept.place_of_trained(path, boundary)):
        with suppress(OSError):  # it is made when it is needed, then
            graph = graph_of(model if boundary is None else tail(model, boundary))
            if graph:
                kept.keep(place, {}, graph)
