"""`evaluation`: what is measured on the test split."""

from collections import defaultdict
from collections.abc import Hashable, Iterable
from typing import Annotated

from pydantic import Field

from thaw.errors import UserError
from thaw.params.reading import Entry, Seed

LEAST = 3
"""Images of a class, or groups of them, without which there are no folds."""


class CrossValidation(Entry):
    """Scores from training anew without each part of the images, and testing on that part."""

    folds: int = Field(default=5, ge=2)
    """Parts of the images, each of which is left out once and then tested."""
    repeats: int = Field(default=4, ge=1)
    """How often all of it is done, each time with other parts."""
    seed: Seed = 0
    """Of the parts."""
    variants: Annotated[list[str], Field(min_length=1)]
    """Whose training is repeated for every fold."""

    def require(self, images: Iterable[tuple[str, Hashable]]) -> None:
        """Refuse folds for which a class is too small.

        Args:
            images: the class of each, and what group it is of: one of its own, where it stands alone.

        Raises:
            UserError: it names the smallest class and the most folds that are possible.
        """
        counts: dict[str, int] = defaultdict(int)
        groups: dict[str, set[Hashable]] = defaultdict(set)
        for label, group in images:
            counts[label] += 1
            groups[label].add(group)
        smallest = min(sorted(groups), key=lambda label: len(groups[label]))
        count, most = counts[smallest], len(groups[smallest])
        # One has to be left out, one held out and one fitted; a half of 3 may be 1, which cannot be both of these.
        needed = max(self.folds, 4 if self.folds == 2 else LEAST)
        if most >= needed:
            return
        apart = "images" if most == count else "groups of images"
        has = f"{count} image{'s' * (count != 1)}" + (f" in {most} group{'s' * (most != 1)}" if most != count else "")
        possible = f"at most {most} folds are" if most >= LEAST else "no number of folds is"
        raise UserError(
            f"evaluation.cross_validation.folds: {self.folds} folds need {needed} {apart} of each class, and "
            f"class {smallest!r} has {has}: {possible} possible; or add images, or leave cross_validation out"
        )


class Evaluation(Entry):
    top_k: int = Field(ge=2)
    """Accuracy is also counted with the true class among the k likeliest."""
    cross_validation: CrossValidation | None = None
    """On the images of all splits."""
