"""`features.<name>`: activations at a freeze boundary."""

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from thaw.params.keras_spec import KerasSpec
from thaw.params.reading import Entry, Seed


class Features(Entry):
    tensors: str
    """An entry of `tensors`: what goes into the network."""
    backbone: str
    """An entry of `backbones`: the network."""
    layer: str
    """The last frozen layer by its name in the backbone; `top` is the backbone's end."""
    pooling: Literal["avg", "max", "token"] | None = None
    """The mean or the maximum of each map, or over all tokens, with `layer: top`, where the network does not end in one
    vector already. `token`: the class token, where KerasHub's network has one."""
    augmentation: list[KerasSpec] = []
    """Keras layers for the training images, which have pixels 0-255."""
    views: int = Field(default=1, ge=1, le=10**6, validate_default=True)
    """Rows of each training image: itself, and the others augmented. With an augmentation 2 or more, else 1."""
    seed: Seed = 0
    """Seed of the augmentation."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Type in which the backbone computes. `bfloat16` is two to three times as fast on machines that have instructions
    for it. Its features differ by some percent, which in cross-validation on photos made no difference; but other
    machines make other ones."""
    batch_size: int = Field(default=32, ge=1)
    """Images that are read, and that a GPU takes, at a time."""

    @field_validator("pooling")
    @classmethod
    def pools_at_the_top_only(cls, pooling: str | None, others: ValidationInfo) -> str | None:
        if pooling and others.data.get("layer", "top") != "top":
            raise ValueError("pooling goes with layer: top; after another layer comes the rest of the backbone")
        return pooling

    @field_validator("views")
    @classmethod
    def views_are_augmented(cls, views: int, others: ValidationInfo) -> int:
        if views > 1 and not others.data.get("augmentation"):
            raise ValueError("views differ by an augmentation: name its layers, or leave views out")
        if views == 1 and others.data.get("augmentation"):
            raise ValueError("the first view is the image itself: augmentation needs 2 views or more")
        return views
