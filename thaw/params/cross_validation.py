"""`cross_validation.<name>`: how a variant is trained anew on parts of the images."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable

from pydantic import Field

from thaw.errors import UserError
from thaw.params.reading import Entry, Seed

LEAST = 3
"""Images of a class, or groups of them, without which there are no folds."""


class CrossValidation(Entry):
    start: str
    """What the variant starts from, again, so that DVC sees what the folds depend on."""
    inputs: str
    """What the variant is trained on, again."""
    folds: int = Field(default=5, ge=2)
    """Parts of the images, each of which is left out once and then scored."""
    repeats: int = Field(default=4, ge=1, le=10**4)
    """How often all of it is done, each time with other parts."""
    seed: Seed = 0
    """Seed of the random parts."""

    def require(self, entry: str, images: Iterable[tuple[str, Hashable]]) -> None:
        """Refuse folds for which a class is too small.

        Args:
            entry: the address in params.yaml, for the message.
            images: the class of each, and what group it is of; None where it stands alone.

        Raises:
            UserError: it names the smallest class and the most folds that are possible.
        """
        counts, alone = Counter[str](), Counter[str]()
        groups: dict[str, set[Hashable]] = defaultdict(set)
        for label, group in images:
            counts[label] += 1
            if group is None:
                alone[label] += 1
            else:
                groups[label].add(group)
        apart = {label: alone[label] + len(groups[label]) for label in sorted(counts)}
        smallest = min(apart, key=apart.__getitem__)
        count, most = counts[smallest], apart[smallest]
        # One has to be left out, one held out and one fitted; a half of 3 may be 1, which cannot be both of these.
        needed = max(self.folds, 4 if self.folds == 2 else LEAST)
        if most >= needed:
            return
        kind = "images" if most == count else "groups of images"
        has = f"{count} image{'s' * (count != 1)}" + (f" in {most} group{'s' * (most != 1)}" if most != count else "")
        possible = f"at most {most} folds are" if most >= LEAST else "no number of folds is"
        raise UserError(
            f"{entry}.folds: {self.folds} folds need {needed} {kind} of each class, and "
            f"class {smallest!r} has {has}: {possible} possible; or add images, or leave {entry} out"
        )
