"""The networks to measure with. All but one have random weights, which take the same time as others."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from thaw.backbones import build
from thaw.backend import keras
from thaw.params.backbones import Backbone


@dataclass(frozen=True)
class Network:
    architecture: str
    normalization: str
    photos: int
    """That it is measured with: fewer for a slow one."""

    @property
    def weights(self) -> str:
        return "package" if self.architecture == "EfficientNetLite0" else "none"

    def model(self) -> keras.Model:
        """Return the network up to pooled features, as a tutorial builds it."""
        body = build(Backbone(architecture=self.architecture, weights=self.weights))
        return keras.Model(body.input, keras.layers.GlobalAveragePooling2D()(body.output))

    def preprocess(self, pixels: np.ndarray) -> Any:
        """Normalize a float array (images, height, width, 3) of 0-255 as the network's own function does."""
        if self.architecture == "EfficientNetLite0":
            return (pixels - 127) / 128
        modules = {"VGG16": "vgg16", "DenseNet121": "densenet", "MobileNetV2": "mobilenet_v2"}
        return getattr(keras.applications, modules[self.architecture]).preprocess_input(pixels)


LITE0 = Network("EfficientNetLite0", "lite", 240)
MOBILENET = Network("MobileNetV2", "tf", 240)
DENSENET = Network("DenseNet121", "torch", 120)
VGG16 = Network("VGG16", "caffe", 60)
NETWORKS = (LITE0, MOBILENET, DENSENET, VGG16)
