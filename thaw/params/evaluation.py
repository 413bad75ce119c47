"""`evaluation`: what is measured on the validation and test splits."""

from pydantic import Field

from thaw.params.reading import Entry


class Evaluation(Entry):
    top_k: int = Field(ge=2)
    """Accuracy is also counted with the true class among the k likeliest."""
