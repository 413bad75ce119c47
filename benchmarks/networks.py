"""The networks to measure with. All but one have random weights, which take the same time as others."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Network:
    architecture: str
    normalization: str
    photos: int
    """That it is measured with: fewer for a slow one."""

    @property
    def weights(self) -> str:
        return "package" if self.architecture == "EfficientNetLite0" else "none"


LITE0 = Network("EfficientNetLite0", "lite", 240)
MANY_LITE0 = Network("EfficientNetLite0", "lite", 2_000)
MOBILENET = Network("MobileNetV2", "tf", 1_000)
DENSENET = Network("DenseNet121", "torch", 320)
VGG16 = Network("VGG16", "caffe", 90)
VGG19 = Network("VGG19", "caffe", 90)
NETWORKS = (LITE0, MANY_LITE0, MOBILENET, DENSENET, VGG16)
