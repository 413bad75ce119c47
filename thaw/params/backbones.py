"""`backbones.<name>`: a pretrained network without its classification layer."""

import re
from typing import Annotated

from pydantic import Field, model_validator

from thaw.params import Entry


class Backbone(Entry):
    architecture: str
    """`EfficientNetLite0`, or a network of keras.applications by its name there."""
    weights: str
    """`package`, `imagenet`, `none` (random), or a path or URL of a weights file."""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    """Of the weights file; with a path or URL."""
    include_top: bool = False
    """Keep the fully connected layers between the convolutions and the classification layer."""
    seed: int = Field(default=0, ge=0)
    """For random weights."""

    @property
    def weights_are_a_file(self) -> bool:
        return self.weights not in ("package", "imagenet", "none")

    @property
    def weights_are_remote(self) -> bool:
        return re.match("https?://", self.weights) is not None

    @model_validator(mode="after")
    def has_a_digest(self) -> "Backbone":
        if self.weights_are_a_file and self.sha256 is None:
            raise ValueError(
                f"weights from {self.weights!r} need the file's sha256 (other choices: package, imagenet, none)"
            )
        if not self.weights_are_a_file and self.sha256 is not None:
            raise ValueError("sha256 goes with weights from a path or URL only")
        if (self.architecture == "EfficientNetLite0") != (self.weights == "package") and (
            self.weights in ("package", "imagenet")
        ):
            raise ValueError(f"{self.architecture} has no weights {self.weights!r}")
        return self
