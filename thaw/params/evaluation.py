"""`evaluation`: what is measured on the test split."""

from typing import Annotated

from pydantic import Field

from thaw.params import Entry, Seed


class CrossValidation(Entry):
    folds: int = Field(default=5, ge=2)
    repeats: int = Field(default=4, ge=1)
    seed: Seed = 0
    variants: Annotated[list[str], Field(min_length=1)]
    """Whose training is repeated for every fold."""


class Evaluation(Entry):
    top_k: int = Field(ge=2)
    """Accuracy is also counted with the true class among the k likeliest."""
    cross_validation: CrossValidation | None = None
    """On the images of all splits."""
