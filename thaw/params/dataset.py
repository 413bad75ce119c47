"""`dataset`: where the images are, and how they are split."""

import posixpath
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from thaw.params import Entry, Seed


class Split(Entry):
    """Shares of each class's images; what neither takes is for training."""

    method: Literal["stratified"]
    test: float = Field(gt=0, lt=1)
    validation: float = Field(gt=0, lt=1)
    seed: Seed = 0

    @field_validator("validation")
    @classmethod
    def leaves_some_for_training(cls, validation: float, others: ValidationInfo) -> float:
        if others.data.get("test", 0) + validation >= 1:
            raise ValueError("test and validation together must be below 1, to leave some for training")
        return validation


class Dataset(Entry):
    path: str = Field(pattern=r'^[^-"$`\\\p{C}][^"$`\\\p{C}]*$')
    """A folder. dvc.yaml puts it between double quotes in a shell command."""
    layout: Literal["class_folders"]
    on_bad_image: Literal["fail", "skip"] = "fail"
    split: Split

    @field_validator("path")
    @classmethod
    def is_not_where_outputs_go(cls, path: str) -> str:
        if posixpath.normpath(path) in (".", "data", "models", "metrics"):
            raise ValueError(
                "the pipeline writes there: give the images a folder of their own, such as data/raw/<name>"
            )
        return path
