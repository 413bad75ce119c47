"""Assigning images to training, validation and test."""

import hashlib
from collections import Counter
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import train_test_split

from thaw.errors import UserError
from thaw.formats.manifest import SPLITS
from thaw.params.dataset import Split
from thaw.suggestions import did_you_mean

MOST_NAMED = 10
"""Classes in one message, besides the first."""


@dataclass(frozen=True, slots=True)
class Member:
    """An image that is to be assigned."""

    path: str
    """The image's path below the data set's folder."""
    label: str
    """The name of its class."""
    digest: str
    """SHA-256 of its bytes, hexadecimal."""
    unit: str
    """The name of its unit: images of the same one come into the same split."""
    given: str | None = None
    """The split that the data set puts it into."""


def assign(members: list[Member], classes: set[str], split: Split) -> list[str]:
    """Return the split of each image, one of `SPLITS`.

    Args:
        members: sorted by path.
        classes: those that must be there.
        split: the method, the shares and the seed.

    Raises:
        UserError: a class is too small, or has no image for training; a split is empty.

    >>> names = [(label, f"{label}/{number}.jpg") for label in ("fig", "oak") for number in range(10)]
    >>> members = [Member(path, label, digest="", unit=path) for label, path in names]
    >>> found = assign(members, {"fig", "oak"}, Split(method="stratified", test=0.2, validation=0.1))
    >>> Counter(found)
    Counter({'train': 14, 'test': 4, 'validation': 2})
    """
    counts = Counter(member.label for member in members)
    if gone := sorted(classes - counts.keys()):
        raise UserError(f"class {gone[0]!r} has 0 usable images; add images or remove the class{others(gone)}")
    match split.method:
        case "stratified":
            assigned = _stratified(members, classes, split)
        case "shuffled":
            assigned = _shuffled(members, split)
        case "stable":
            assigned = [_stable(member, split) for member in _first_of_units(members)]
        case "given":
            assigned = _given(members, split)
    trained = {member.label for member, one in zip(members, assigned, strict=True) if one == "train"}
    if untrained := sorted(classes - trained):
        label = untrained[0]
        where = sorted({one for member, one in zip(members, assigned, strict=True) if member.label == label})
        other = "seed to another number" if split.method == "stratified" else "method: stratified"
        mend = "" if split.method == "given" else f", or set dataset.split.{other}"
        raise UserError(
            f"class {label!r} has images for {' and '.join(where)}, but none for training: "
            f"add some, or remove the class{mend}{did_you_mean(label, trained)}{others(untrained)}"
        )
    for one in SPLITS:
        if one not in assigned:
            more = ", or enlarge its share in dataset.split" if getattr(split, one) is not None else ""
            raise UserError(f"no image falls to the split {one!r}: add images{more}")
    return assigned


def others(classes: list[str]) -> str:
    """Return which classes share the fault of the first of them, so that all can be mended at once."""
    more = f" and {len(classes) - 1 - MOST_NAMED} more" if len(classes) - 1 > MOST_NAMED else ""
    return f"; so with {', '.join(map(repr, classes[1 : 1 + MOST_NAMED]))}{more}" if len(classes) > 1 else ""


def _units(members: list[Member]) -> dict[str, list[int]]:
    """Return the places of each unit's images, by the unit's name."""
    units: dict[str, list[int]] = {}
    for place, member in enumerate(members):
        units.setdefault(member.unit, []).append(place)
    return units


def _stratified(members: list[Member], classes: set[str], split: Split) -> list[str]:
    """Assign at random within each class; a unit of several classes is of the one that the fewest units have.

    Of a class of n images, round(n * share) go to test and to validation, at least one to each split; units that do
    not divide as evenly give more.
    """
    assigned = [""] * len(members)
    units = list(_units(members).values())
    has = Counter(label for label, _ in {(member.label, member.unit) for member in members})
    if small := [label for label in sorted(classes) if has[label] < 3]:
        label = small[0]
        count = sum(member.label == label for member in members)
        apart = "" if count == has[label] else f", which belong together in {has[label]}"
        raise UserError(
            f"class {label!r} has {count} usable image{'s' * (count != 1)}{apart}; training, validation and test "
            f"need one each: add images or remove the class{others(small)}"
        )
    by_class = _by_class(members, units)
    for number, label in enumerate(sorted(classes)):
        mine = by_class.get(label, [])
        count = sum(len(places) for places in mine)
        shares = {"test": split.test or 0, "validation": split.validation or 0}
        for split_name, places in _dealt(mine, count, shares, [split.seed, number]):
            for place in places:
                assigned[place] = split_name
    return assigned


def _by_class(members: list[Member], units: list[list[int]]) -> dict[str, list[list[int]]]:
    """Return the units of each class; one of several classes is of that which the fewest units have."""
    classes = [sorted({members[place].label for place in places}) for places in units]
    has = Counter(label for labels in classes for label in labels)
    by_class: dict[str, list[list[int]]] = {}
    for places, labels in zip(units, classes, strict=True):
        by_class.setdefault(min(labels, key=has.__getitem__), []).append(places)
    return by_class


def _dealt(
    units: list[list[int]], count: int, shares: dict[str, float], seed: list[int]
) -> list[tuple[str, list[int]]]:
    """Deal units out in a random order: to each split until it has its share, one at least being left for each."""
    order = np.random.default_rng(seed).permutation(len(units))
    waiting = [(name, max(1, round(count * share))) for name, share in shares.items()]
    dealt: list[tuple[str, list[int]]] = []
    got = 0
    for position, unit in enumerate(order):
        left = len(units) - position
        while waiting and (got >= waiting[0][1] or (got and left <= len(waiting))):
            waiting.pop(0)
            got = 0
        dealt.append((waiting[0][0] if waiting else "train", units[unit]))
        got += len(units[unit])
    return dealt


def _shuffled(members: list[Member], split: Split) -> list[str]:
    """Assign at random, whatever the classes; if all images stand alone, as `train_test_split` does on their paths."""
    assigned = np.full(len(members), "train", dtype=object)
    units = list(_units(members).values())
    if len(units) < len(members):
        shares = {"test": split.test or 0, "validation": split.validation or 0}
        for split_name, places in _dealt(units, len(members), shares, [split.seed]):
            assigned[places] = split_name
    else:
        try:
            rest, test = train_test_split(np.arange(len(members)), test_size=split.test or 0.0, random_state=split.seed)
            count = max(1, round(len(members) * (split.validation or 0.0)))
            _, validation = train_test_split(rest, test_size=count, random_state=split.seed)
        except ValueError:
            raise UserError(
                f"dataset.split: {len(members)} images cannot be divided so that each split has one: add images, or "
                "make test and validation smaller"
            ) from None
        assigned[validation], assigned[test] = "validation", "test"
    return [str(one) for one in assigned]


def _first_of_units(members: list[Member]) -> list[Member]:
    """Return, for each image, the one of its unit with the least digest."""
    first: dict[str, Member] = {}
    for member in sorted(members, key=lambda member: member.digest):
        first.setdefault(member.unit, member)
    return [first[member.unit] for member in members]


def _stable(member: Member, split: Split) -> str:
    """Assign an image by a hash of its class and bytes, on which no other image has an influence."""
    digest = hashlib.sha256(f"{split.seed} {member.label} {member.digest}".encode()).digest()
    share = int.from_bytes(digest[:8], "big") / 2**64
    test, validation = split.test or 0, split.validation or 0
    return "test" if share < test else "validation" if share < test + validation else "train"


def _given(members: list[Member], split: Split) -> list[str]:
    """Take the splits that are given, and a validation share of each class's training images if none is.

    A unit that is not wholly for training stays where it is.
    """
    assigned = [member.given or "" for member in members]
    if split.validation is None:
        return assigned
    units = [places for places in _units(members).values() if all(assigned[place] == "train" for place in places)]
    by_class = _by_class(members, units)
    for number, label in enumerate(sorted({member.label for member in members})):
        mine = by_class.get(label, [])
        count = sum(len(places) for places in mine)
        if len(mine) < 2:
            continue
        for name, places in _dealt(mine, count, {"validation": split.validation}, [split.seed, number]):
            for place in places:
                assigned[place] = name
    return assigned
