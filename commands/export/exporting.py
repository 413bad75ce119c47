"""A model in the formats of other runtimes, and these runtimes themselves."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from thaw.engines.converting import converted
from thaw.networks.backend import inference, keras, quiet
from thaw.networks.models import without_random_layers

NAMES = {"onnx": "onnx", "saved_model": "tf_saved_model", "tflite": "litert"}
"""Keras's names of the formats that it writes."""


def export_model(model: keras.Model, source: Path, format: str, path: Path) -> None:
    """Write a model in a format, for any number of images at a time.

    Args:
        model: what `source` holds.
        source: its `.keras` file.
        format: one of `NAMES`, `keras` or `openvino`.
        path: a file with the format's ending, or a folder; with `openvino`, a `.bin` comes beside it.
    """
    if format == "keras":
        shutil.copyfile(source, path)
        return
    deployed = without_random_layers(model)
    if format == "openvino":
        with quiet():
            graph = converted(inference(deployed))
        for content, ending in zip(graph, (".xml", ".bin"), strict=True):
            path.with_suffix(ending).write_bytes(content)
        return
    if format == "onnx":
        deployed = _for_tf2onnx(deployed)
        _teach_tf2onnx()
    deployed(np.zeros((1, *model.input.shape[1:]), np.float32))  # Keras exports nothing that was never called
    with quiet():
        deployed.export(str(path), format=NAMES[format], verbose=False)


def _for_tf2onnx(model: keras.Model) -> keras.Model:
    """Return a model that does the same, for tf2onnx.

    It takes the tensors that Normalization layers hold (EfficientNet's) for inputs of the model, and has nothing for a
    convolution of each channel by itself that is not called depthwise (ConvNeXt's), which XLA compiles.
    """

    def call(layer: Any, *arguments: Any, **options: Any) -> Any:
        if isinstance(layer, keras.layers.Normalization):
            mean, variance = (np.ravel(keras.ops.convert_to_numpy(one)) for one in (layer.mean, layer.variance))
            scale = 1 / np.sqrt(variance)
            layer = keras.layers.Rescaling(scale.tolist(), (-mean * scale).tolist(), name=layer.name)
        if isinstance(layer, keras.layers.Conv2D) and layer.groups == arguments[0].shape[-1] > 1:
            return _depthwise(layer, *arguments)
        return layer(*arguments, **options)

    return keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=call)


def _depthwise(layer: Any, inputs: Any) -> Any:
    """Call, in the place of a convolution that has a group for each channel, the layer that Keras has for that."""
    config = layer.get_config()
    names = ("name", "kernel_size", "strides", "padding", "dilation_rate", "activation", "use_bias")
    same = keras.layers.DepthwiseConv2D(
        depth_multiplier=layer.filters // layer.groups, **{name: config[name] for name in names}
    )
    outputs = same(inputs)
    kernel, *bias = layer.get_weights()
    same.set_weights([kernel.reshape(*layer.kernel_size, layer.groups, -1), *bias])
    return outputs


def _teach_tf2onnx() -> None:
    """Give tf2onnx what it lacks of TensorFlow: gelu's erfc(x), as 1 - erf(x), and celu's expm1(x), as exp(x) - 1."""
    from tf2onnx.handler import tf_op
    from tf2onnx.utils import make_name

    def minus(graph: Any, node: Any, of: str, is_first: bool) -> None:
        kind, shape = graph.get_dtype(node.output[0]), graph.get_shape(node.output[0])
        one = graph.make_const(make_name("one"), np.ones((), np.float32))
        inner = graph.make_node(of, node.input, shapes=[shape], dtypes=[kind])
        pair = [inner.output[0], one.output[0]]
        graph.remove_node(node.name)
        graph.make_node(
            "Sub", pair[::-1] if is_first else pair, outputs=node.output, name=node.name, shapes=[shape], dtypes=[kind]
        )

    first_opset_with_erf = 9
    for name, of, is_first in (("Erfc", "Erf", True), ("Expm1", "Exp", False)):
        tf_op(name).register_compat_handler(
            lambda graph, node, of=of, is_first=is_first, **_: minus(graph, node, of, is_first), first_opset_with_erf
        )


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
