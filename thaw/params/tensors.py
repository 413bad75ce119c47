"""`tensors.<name>`: how images become tensors."""

from typing import Annotated, Literal

from pydantic import Field

from thaw.params.reading import Entry

Pixels = Annotated[int, Field(ge=1, le=4096)]


class Tensors(Entry):
    pixels: Annotated[list[Pixels], Field(min_length=2, max_length=2)]
    """Height and width of the tensors, in pixels."""
    resize: Literal["pad", "stretch", "crop"]
    """How images get that size: `pad` adds bars, `stretch` changes their aspect, `crop` cuts their edges off."""
    interpolation: Literal["bicubic", "bilinear", "nearest"] = "bicubic"
    """The resizing's filter. `nearest` is not antialiased: it is tutorials' and Keras's default, and costs accuracy."""
    normalization: Literal["caffe", "torch", "tf", "rescale", "rescale_bgr", "lite", "none"]
    """What is made of pixels 0-255 before a network: what it was pretrained with."""
    unlike_pretraining: bool = False
    """Whether a normalization is meant that is not the one which a pretrained network expects."""
