"""`evaluation`: what is measured on the test split."""

from pydantic import Field

from thaw.params import Entry, Seed


class CrossValidation(Entry):
    folds: int = Field(default=5, ge=2)
    repeats: int = Field(default=4, ge=1)
    seed: Seed = 0


class Evaluation(Entry):
    top_k: int = Field(ge=2)
    """Accuracy is also counted with the true class among the k likeliest."""
    cross_validation: CrossValidation | None = None
    """Of variants with a solver, on the cached features of all splits."""
