"""`dataset`: where the images are, and how they are split."""

from typing import Literal

from pydantic import Field, model_validator

from thaw.params import Entry


class Split(Entry):
    """Shares of each class's images; what neither takes is for training."""

    method: Literal["stratified"]
    test: float = Field(gt=0, lt=1)
    validation: float = Field(gt=0, lt=1)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def leaves_some_for_training(self) -> "Split":
        if self.test + self.validation >= 1:
            raise ValueError("test and validation together leave nothing for training")
        return self


class Dataset(Entry):
    path: str = Field(min_length=1)
    layout: Literal["class_folders"]
    on_bad_image: Literal["fail", "skip"] = "fail"
    split: Split
