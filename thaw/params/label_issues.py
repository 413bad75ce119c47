"""`label_issues.<name>`: how suspected wrong labels are looked for, by the entry of `features` of that name."""

from typing import Annotated

from pydantic import Field

from thaw.params.reading import Entry, Seed


class LabelIssues(Entry):
    folds: int = Field(default=5, ge=2)
    """Parts of the images, each of which is judged by a head that has not seen it."""
    seed: Seed = 0
    """Seed of the random parts."""
    C: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)] = [
        10.0**exponent for exponent in range(-6, 2)
    ]
    """Inverse strengths of the L2 penalty on standardized features; the one with the least log loss of images that a
    head has not seen is taken."""
