"""`dataset`: where the images are, and how they are split."""

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from thaw.params import Entry


class Split(Entry):
    """Shares of each class's images; what neither takes is for training."""

    method: Literal["stratified"]
    test: float = Field(gt=0, lt=1)
    validation: float = Field(gt=0, lt=1)
    seed: int = Field(default=0, ge=0)

    @field_validator("validation")
    @classmethod
    def leaves_some_for_training(cls, validation: float, others: ValidationInfo) -> float:
        if others.data.get("test", 0) + validation >= 1:
            raise ValueError("test and validation together must be below 1, to leave some for training")
        return validation


class Dataset(Entry):
    path: str = Field(pattern=r'^[^"$`\\\n]+$')
    """A folder. dvc.yaml puts it between double quotes in a shell command."""
    layout: Literal["class_folders"]
    on_bad_image: Literal["fail", "skip"] = "fail"
    split: Split
