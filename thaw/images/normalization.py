"""ImageNet normalizations: what each pretrained network expects to see for a pixel of 0-255."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

Mode = Literal["caffe", "torch", "tf", "rescale", "rescale_bgr", "lite", "none"]

_TORCH_MEAN = np.array([0.485, 0.456, 0.406])
_TORCH_DEVIATION = np.array([0.229, 0.224, 0.225])


@dataclass(frozen=True)
class Normalization:
    """An affine map per channel: `pixel * scale + offset` in float32, on channels in `order`.

    `caffe`, `lite` and `none` agree with the networks' own preprocessing to the last float32 bit. `torch`,
    `tf` and `rescale` divide there (`pixel / 127.5 - 1`), and multiply here by the reciprocal, rounded to
    float32 once: that differs by a few units in the last place, and it is one formula for files, training and serving.
    """

    scale: tuple[float, float, float]
    offset: tuple[float, float, float]
    order: Literal["RGB", "BGR"]

    @classmethod
    def of(cls, mode: Mode) -> "Normalization":
        """Return the normalization of a mode; `none` is for networks that normalize inside themselves."""
        match mode:
            case "caffe":  # VGG, ResNet: mean only, in the order blue, green, red
                return cls((1.0, 1.0, 1.0), (-103.939, -116.779, -123.68), "BGR")
            case "torch":  # DenseNet
                scale = 1 / (255 * _TORCH_DEVIATION)
                return cls(_triple(scale), _triple(-_TORCH_MEAN / _TORCH_DEVIATION), "RGB")
            case "tf":  # MobileNetV2, InceptionV3, ResNetV2, Xception
                return cls((1 / 127.5,) * 3, (-1.0,) * 3, "RGB")
            case "rescale":
                return cls((1 / 255,) * 3, (0.0,) * 3, "RGB")
            case "rescale_bgr":  # what comes of OpenCV's imread and a division: no network was pretrained on it
                return cls((1 / 255,) * 3, (0.0,) * 3, "BGR")
            case "lite":  # EfficientNet-Lite
                return cls((1 / 128,) * 3, (-127 / 128,) * 3, "RGB")
            case "none":
                return cls((1.0,) * 3, (0.0,) * 3, "RGB")

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Normalize RGB pixels 0-255 of shape (..., 3); returns float32 of the same shape.

        >>> Normalization.of("tf")(np.array([0, 255, 255], np.uint8))
        array([-1.,  1.,  1.], dtype=float32)
        """
        ordered = pixels[..., ::-1] if self.order == "BGR" else pixels
        scale, offset = np.array(self.scale, np.float32), np.array(self.offset, np.float32)
        return np.asarray(ordered, np.float32) * scale + offset

    def to_json(self) -> dict[str, Any]:
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> "Normalization":
        return cls(_triple(tree["scale"]), _triple(tree["offset"]), tree["order"])


def _triple(values: Any) -> tuple[float, float, float]:
    first, second, third = (float(value) for value in values)
    return first, second, third
