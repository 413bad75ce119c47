"""`features.<name>`: activations at a freeze boundary."""

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from thaw.params import Entry


class Features(Entry):
    tensors: str
    backbone: str
    layer: str
    """The last frozen layer by its name in the backbone; `top` is the backbone's end."""
    pooling: Literal["avg", "max"] | None = None
    batch_size: int = Field(default=32, ge=1)

    @field_validator("pooling")
    @classmethod
    def pools_at_the_top_only(cls, pooling: str | None, others: ValidationInfo) -> str | None:
        if pooling and others.data.get("layer", "top") != "top":
            raise ValueError("pooling goes with layer: top; after another layer comes the rest of the backbone")
        return pooling
