"""`seeds.<name>`: with which seeds the variant of that name is trained besides its own, to see what of its scores is
chance. An entry is such as `half: {start: variants/frozen_head, inputs: features/midway, others: [1, 2, 3, 4]}`. Each
of these trainings is like the variant's own, from the same start, and the model of the variant's own seed stays the one
that is kept, ranked and tested against others. `metrics/seeds/<name>.json` has the mean, the least and the greatest of
each score over all of the seeds, on the validation split and on the test split; the report and `thaw review` say which
differences are smaller than that range. A head that is solved has one optimum, whatever the seed.
"""

from typing import Annotated

from pydantic import Field, field_validator

from thaw.params.reading import Entry, Seed


class Seeds(Entry):
    start: str
    """What the variant starts from, again, so that DVC sees what the trainings depend on."""
    inputs: str
    """What the variant is trained on, again."""
    others: Annotated[list[Seed], Field(min_length=1)]
    """Seeds besides the variant's own `fit.seed`, each once; one that is added is trained alone."""

    @field_validator("others")
    @classmethod
    def each_once(cls, others: list[int]) -> list[int]:
        for place, seed in enumerate(others):
            if seed in others[:place]:
                raise ValueError(f"the seed {seed} is there twice, and would give the same model again: leave one out")
        return others
