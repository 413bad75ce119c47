"""A model in the formats of other runtimes, and these runtimes themselves."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from thaw.engines.converting import converted
from thaw.networks.backend import inference, keras, quiet
from thaw.networks.models import without_random_layers

NAMES = {"onnx": "onnx", "openvino": "openvino", "saved_model": "tf_saved_model", "tflite": "litert"}
"""Keras's names of the formats."""


def export_model(model: keras.Model, source: Path, format: str, path: Path) -> None:
    """Write a model in a format, for any number of images at a time.

    Args:
        model: what `source` holds.
        source: its `.keras` file.
        format: one of `NAMES`, or `keras`.
        path: a file with the format's ending, or a folder; with `openvino`, a `.bin` comes beside it.
    """
    if format == "keras":
        shutil.copyfile(source, path)
        return
    deployed = without_random_layers(model)
    if format == "openvino" and keras.backend.backend() == "tensorflow":
        with quiet():
            graph = converted(inference(deployed))
        for content, ending in zip(graph, (".xml", ".bin"), strict=True):
            path.with_suffix(ending).write_bytes(content)
        return
    if format == "onnx":
        deployed = _with_constants(deployed)
    deployed(np.zeros((1, *model.input.shape[1:]), np.float32))  # Keras exports nothing that was never called
    with quiet():
        deployed.export(str(path), format=NAMES[format], verbose=False)


def _with_constants(model: keras.Model) -> keras.Model:
    """Return a model that does the same, for tf2onnx.

    It takes the tensors that Normalization layers hold (EfficientNet's) for inputs of the model.
    """

    def call(layer: Any, *arguments: Any, **options: Any) -> Any:
        if isinstance(layer, keras.layers.Normalization):
            mean, variance = (np.ravel(keras.ops.convert_to_numpy(one)) for one in (layer.mean, layer.variance))
            scale = 1 / np.sqrt(variance)
            layer = keras.layers.Rescaling(scale.tolist(), (-mean * scale).tolist(), name=layer.name)
        return layer(*arguments, **options)

    return keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=call)


def run_exported(format: str, path: Path, pixels: np.ndarray) -> np.ndarray:
    """Run what `export_model` wrote, by the format's own runtime.

    Args:
        format, path: as in `export_model`.
        pixels: 0-255, float32 (images, height, width, 3).

    Returns:
        Class probabilities, float32 (images, classes).
    """
    match format:
        case "keras":
            found = keras.saving.load_model(path, compile=False, safe_mode=True).predict(pixels, verbose=0)
        case "onnx":
            import onnxruntime

            session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
            found = session.run(None, {session.get_inputs()[0].name: pixels})[0]
        case "openvino":
            from thaw.engines.openvino import openvino

            found = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([pixels])[0]
        case "saved_model":
            found = keras.layers.TFSMLayer(path, call_endpoint="serve")(pixels)
        case "tflite":
            from ai_edge_litert.interpreter import Interpreter

            with quiet():
                interpreter = Interpreter(str(path))
                tensor = interpreter.get_input_details()[0]["index"]
                interpreter.resize_tensor_input(tensor, pixels.shape)
                interpreter.allocate_tensors()
            interpreter.set_tensor(tensor, pixels)
            interpreter.invoke()
            found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return np.asarray(found, np.float32)
