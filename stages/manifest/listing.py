"""What a data set's folder holds, in whichever layout."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass
from pathlib import Path

from stages.manifest.arrays import from_arrays
from stages.manifest.folders import SPLIT_WORDS, from_folders
from stages.manifest.labelled import SHOWN, Labelled, Skipped, from_zero
from stages.manifest.labels_csv import LABELS_CSV, from_table
from thaw.errors import UserError
from thaw.formats.manifest import SPLITS
from thaw.images.reading import Contents, contents
from thaw.images.reading.archives import is_archive
from thaw.params.dataset import Dataset
from thaw.params.labels import alike


@dataclass(frozen=True)
class Listing:
    """What a data set's folder holds."""

    images: list[Labelled]
    """Sorted by path."""
    beside: list[Skipped]
    """Files that are no images of a class."""
    classes: list[str]
    """Class names in the order of their numbers: as they are listed, or else by name."""
    notes: list[str]
    """Lines about what else was found."""


def listing(folder: Path, dataset: Dataset) -> Listing:
    """List a data set's images, and the files that are none.

    Raises:
        UserError: nothing is where the layout says, or there are labels, splits or names that cannot be.
    """
    if not folder.is_dir():
        found = "no such folder"
        if folder.exists():
            found = "an archive, no folder" if is_archive(folder.name) else "a file, no folder"
        elif folder.is_symlink():
            found = "a link that leads nowhere"
        raise UserError(f"{folder}: {found}; dataset.path in params.yaml names the folder that holds the images")
    inside = contents(folder)
    _require_tracked(inside.ignored)
    files = inside.files
    images, beside, used = _labelled(inside, dataset)
    classes = {image.label for image in images}
    if len(classes) < 2:
        found = f"only {classes.pop()!r}" if classes else "none"
        left = f"; {_count_of(beside)} left out, such as {beside[0].path!r}: {beside[0].reason}" if beside else ""
        table = f"; to read {LABELS_CSV}, set dataset.layout: csv" * (LABELS_CSV in {*files} - used)
        raise UserError(f"{folder}: expected images of two classes or more, found {found}{left}{table}")
    _require_listed(folder, classes, dataset.classes or [])
    if dataset.split.method == "given":
        _require_splits(folder, images, dataset)
    notes = [*_joined(classes), *_misnumbered(dataset.classes or sorted(classes)), *_doubtful_groups(images)]
    if dataset.layout == "csv":
        notes += _missing(images)
    if dataset.layout in ("class_folders", "label_prefix") and dataset.split.folders is None:
        notes += _mixed(inside)
    if dataset.layout == "class_folders" and dataset.split.folders is None:
        notes += _doubtful(images)
    if dataset.layout == "csv" and dataset.split.method != "given":
        notes += _unused_splits(images, dataset.split.method)
    if inside.archives:
        count = f"{len(inside.archives)} archive{'s' * (len(inside.archives) != 1)}"
        notes.append(
            f"{count} read as if unpacked in place, such as {inside.archives[0].relative_to(folder).as_posix()!r}"
        )
    unnamed = sorted({*files} - used - {image.path for image in images} - {one.path for one in beside})
    if unnamed:
        by = {"csv": LABELS_CSV, "npy": "the layout npy"}.get(dataset.layout, "dataset.split.folders")
        notes.append(f"{_count_of(unnamed)} not used: {by} does not name them, such as {unnamed[0]!r}")
    if ignored := {*(one.relative_to(folder).as_posix() for one in inside.ignored), *inside.hidden()}:
        notes.append(
            f"{_count_of(ignored)} ignored: hidden, or left behind by desktops, network storage or tools, "
            f"such as {min(ignored)!r}"
        )
    return Listing(
        sorted(images, key=lambda image: image.path), beside, list(dataset.classes or sorted(classes)), notes
    )


def _labelled(inside: Contents, dataset: Dataset) -> tuple[list[Labelled], list[Skipped], set[str]]:
    """Return a data set's images, the files that are none, and the files that say what others are or hold them."""
    if dataset.layout == "csv":
        return *from_table(inside), {LABELS_CSV}
    if dataset.layout == "npy":
        arrays = {f"{split}_{kind}.npy" for split in SPLITS for kind in ("images", "labels")}
        return from_arrays(inside, dataset), [], arrays
    return *from_folders(inside, dataset), set()


def _require_listed(folder: Path, classes: set[str], listed: list[str]) -> None:
    """Raise a UserError if dataset.classes lists a class that has no images."""
    lacking = [label for label in listed if label not in classes]
    if lacking:
        least = min(listed.index(label) for label in classes)
        numbered = ", ".join(f"{label!r} (number {listed.index(label)})" for label in lacking)
        raise UserError(
            f"{folder}: dataset.classes lists {numbered}, of which there are no images"
            f"{from_zero(least) or '; leave out such names, and number the other classes without a gap'}"
        )


def _count_of(found: Sized) -> str:
    return f"{len(found)} file{'s' * (len(found) != 1)}"


def _doubtful(images: list[Labelled]) -> Iterator[str]:
    """Yield a line if the folders inside of the class folders look more like classes than these."""
    inside: dict[str, set[str]] = {}
    for image in images:
        _, *folders, _ = image.path.split("/")
        inside.setdefault(image.label, set()).add(folders[0] if folders else "")
    first = next(iter(inside.values()))
    if len(first) > 1 and "" not in first and all(one == first for one in inside.values()):
        outer, inner = (", ".join(sorted(names)[:SHOWN]) for names in (inside, first))
        yield (
            f"warning: the classes are {outer}, and each holds the folders {inner}; if these are the classes, put them "
            "outside, or name the others in dataset.split.folders"
        )


def _joined(classes: set[str]) -> Iterator[str]:
    """Yield a line if a class is several others in one, as tables have it where an image has several labels."""
    for label in sorted(classes):
        parts = {part.strip("[]{}'\"") for part in re.split(r"[\s|;:,+&/]+", label)}
        parts.discard("choices")  # Label Studio's word
        if len(parts) > 1 and parts <= classes:
            yield (
                f"warning: the class {label!r} seems to be {' and '.join(map(repr, sorted(parts)))} in one, and is "
                "learnt as a class of its own: an image cannot have several classes here"
            )
            return


def _misnumbered(classes: list[str]) -> Iterator[str]:
    """Yield a line if classes are numbers from 0 or 1, but not those of the model's outputs."""
    numbers = [int(label) if label.isascii() and label.isdecimal() else len(classes) + 1 for label in classes]
    if numbers != [*range(len(numbers))] and max(numbers) <= len(classes):
        other = next((output for output, number in enumerate(numbers) if number != output + numbers[0]), 0)
        yield (
            "the classes are numbers, but not those of a model's outputs, which are sorted as texts: output "
            f"{other} is {classes[other]!r}"
        )


def _missing(images: list[Labelled]) -> Iterator[str]:
    """Yield a line for each class and group that is probably none: a missing value that was written as text."""
    for kind, values, mended in (
        ("class", Counter(image.label for image in images), "leave out the rows without a label"),
        ("group", Counter(image.group for image in images), "leave the cell empty where an image stands alone"),
    ):
        for value, count in sorted(values.items()):
            if value.casefold() in ("nan", "<na>", "nat") or (kind == "group" and value.casefold() == "none"):
                are = "1 image is" if count == 1 else f"{count} images are"
                yield f"warning: {are} of the {kind} {value!r}; if that is a missing value, {mended}"


def _unused_splits(images: list[Labelled], method: str) -> Iterator[str]:
    """Yield a line if a table tells splits, by a column or by folders, that are not used."""
    if images[0].split:
        yield f"the column split of {LABELS_CSV} is not used: dataset.split.method is {method}, not given"
        return
    folders = sorted({image.path.partition("/")[0] for image in images})
    if len({SPLIT_WORDS.get(name.lower()) for name in folders} - {None}) > 1:
        yield (
            f"warning: the folders {', '.join(folders[:SHOWN])} are read as one data set, which is split anew; to keep "
            f"these splits, add a column split to {LABELS_CSV}, and set dataset.split.method: given"
        )


def _mixed(inside: Contents) -> Iterator[str]:
    """Yield a line if archives are named as splits are, whose images would be mixed."""
    named = {one.name: SPLIT_WORDS.get(one.stem.lower()) for one in inside.archives if one.parent == inside.folder}
    archives = [name for name, split in named.items() if split]
    if len({*named.values()} - {None}) > 1:
        yield (
            f"warning: {', '.join(archives)} are read as one data set, which is split anew; to keep these splits, put "
            "each archive into a folder of its own, and name the folders in dataset.split.folders"
        )


def _doubtful_groups(images: list[Labelled]) -> Iterator[str]:
    """Yield a line if groups look the same: they may come into different splits."""
    same = alike(sorted({image.group for image in images}))
    if same:
        more = f", and {len(same) - 1} more" if len(same) > 1 else ""
        yield (
            f"warning: these groups look the same, but are different ones: {' and '.join(map(repr, same[0]))}{more}; "
            "write them in one way, or images that belong together may come into different splits"
        )


def _require_tracked(ignored: list[Path]) -> None:
    """Raise a UserError if DVC has what is not here, or sees less than what is here."""
    for path in ignored:
        tracked = path.with_suffix("")
        if path.name == ".dvc":
            raise UserError(f"{path.parent}: a DVC project of its own, which DVC leaves out; remove {path}")
        if path.suffix == ".dvc" and not tracked.exists():
            raise UserError(f"{tracked}: not here, but {path.name} says that DVC has it; `dvc pull` gets it")


def _require_splits(folder: Path, images: list[Labelled], dataset: Dataset) -> None:
    require_whole_groups(folder, ((image.group, image) for image in images))
    splits = {image.split for image in images}
    for split in ("train", "test"):
        if split not in splits:
            mend = f"add a column split to {LABELS_CSV}" if splits == {None} else "add some"
            other = ", or set dataset.split.method to another than given" * (dataset.layout != "npy")
            raise UserError(f"{folder}: there are no images for the split {split!r}; {mend}{other}")
    if "validation" in splits and dataset.split.validation is not None:
        raise UserError(f"{folder}: a validation split is given; leave dataset.split.validation out")
    if "validation" not in splits and dataset.split.validation is None:
        raise UserError(
            f"{folder}: no validation split is given; set dataset.split.validation to a share of the training images"
        )


def require_whole_groups(folder: Path, images: Iterable[tuple[str, Labelled]]) -> None:
    """Refuse given splits that tear groups apart.

    Args:
        folder: of the data set.
        images: a group, and one of its images.

    Raises:
        UserError: it names the groups, and an image of each in each split.
    """
    groups: dict[str, dict[str | None, str]] = {}
    for group, image in images:
        if group:
            groups.setdefault(group, {}).setdefault(image.split, image.path)
    torn = {group: places for group, places in sorted(groups.items()) if len(places) > 1}
    if torn:
        lines = [
            f"\n  {group}: " + ", ".join(f"{places[split]} in {split}" for split in SPLITS if split in places)
            for group, places in list(torn.items())[:SHOWN]
        ]
        more = f"\n  and {len(torn) - SHOWN} more" if len(torn) > SHOWN else ""
        raise UserError(
            f"{folder / LABELS_CSV}: groups whose images are in several splits: {len(torn)}{''.join(lines)}{more}\n"
            "put the images of a group into one split, or set dataset.split.method to another than given"
        )
