"""`tensors.<name>`: how images become tensors."""

from typing import Annotated, Literal

from pydantic import Field

from thaw.params.reading import Entry

Pixels = Annotated[int, Field(ge=1, le=4096)]


class Tensors(Entry):
    pixels: Annotated[list[Pixels], Field(min_length=2, max_length=2)]
    """Height and width of the tensors."""
    resize: Literal["pad", "stretch", "crop"]
    """How images get that size: `pad` adds bars, `stretch` changes their aspect, `crop` cuts their edges off."""
    interpolation: Literal["bicubic", "bilinear", "nearest"] = "bicubic"
    """Filter of the resizing. `nearest` is not antialiased: it is what tutorials get from Keras's defaults, and costs
    accuracy."""
    normalization: Literal["caffe", "torch", "tf", "rescale", "rescale_bgr", "lite", "none"]
    """What the network gets for a pixel of 0-255. `caffe`: less ImageNet's mean, in the order blue, green, red.
    `torch`: standardized by ImageNet's mean and deviation. `tf`: from -1 to 1. `rescale`: from 0 to 1; `rescale_bgr`:
    that, in the order blue, green, red. `lite`: less 127, divided by 128. `none`: as it is."""
    unlike_pretraining: bool = False
    """Whether a normalization is meant that is not the one which a pretrained network expects."""
    keep: bool = True
    """Whether the pixels are written down. With `false`, features are made from the images themselves, with the same
    rows, and nothing is trained on the tensors."""
