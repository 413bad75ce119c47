"""The layouts `class_folders` and `label_prefix`: what an image is, its folder says, or its name."""

import re
from pathlib import Path, PurePosixPath

from stages.manifest.labelled import Labelled, Skipped, refuse_labels, require_text
from stages.manifest.labels_csv import LABELS_CSV
from stages.manifest.splits import others
from thaw.errors import UserError
from thaw.formats.manifest import SPLITS
from thaw.images.reading import Contents
from thaw.images.reading.archives import is_hidden
from thaw.params.dataset import Dataset
from thaw.suggestions import did_you_mean

# Words by which folders of splits go.
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "trn", "trainset"), "train"),
    **dict.fromkeys(("valid", "validation", "val", "dev", "valset"), "validation"),
    **dict.fromkeys(("test", "testing", "tst", "eval", "evaluation", "holdout", "testset"), "test"),
}


def from_folders(inside: Contents, dataset: Dataset) -> tuple[list[Labelled], list[Skipped]]:
    """List class folders, or files that begin with a class's number; in one folder, or in one for each split."""
    folder = inside.folder
    given = dataset.split.folders
    parts = (
        {"": None}
        if given is None
        else {getattr(given, split): split for split in SPLITS if getattr(given, split) is not None}
    )
    images: list[Labelled] = []
    beside: list[Skipped] = []
    places: dict[str, str] = {}
    if given is None:
        _refuse_splits(inside)
    for name, split in parts.items():
        if not inside.is_folder(name):
            raise UserError(f"{folder / name}: no such folder; dataset.split.folders names it{_meant(inside, name)}")
        if name and is_hidden(PurePosixPath(name).as_posix()):
            raise UserError(f"{folder / name}: hidden, or named as what other programs leave behind: rename it")
        found, others = (
            _class_folders(inside, name, split)
            if dataset.classes is None
            else _prefixed(inside, name, split, dataset.classes)
        )
        images += found
        beside += others
        places |= {
            image.label: f"the folder {_below(name, image.label)}" for image in found if image.label not in places
        }
    require_text(folder, images, beside)
    if dataset.classes is None:
        refuse_labels(folder, places)
    return images, beside


def _meant(inside: Contents, name: str) -> str:
    """Return which folder is probably meant by one that is not there; it may be named from above the data set."""
    _, *parts = PurePosixPath(name).parts
    tails = ["/".join(parts[first:]) for first in range(len(parts))]
    if below := next(filter(inside.is_folder, tails), ""):
        return f"; they are below dataset.path: write {below!r}"
    return did_you_mean(name, [one for one, is_folder in inside.entries("").items() if is_folder])


def _below(name: str, inside: str) -> str:
    """Return the path of what is inside of a folder below the data set's, which may be that itself."""
    return (PurePosixPath(name) / inside).as_posix()


def _refuse_splits(inside: Contents) -> None:
    """Raise a UserError if the folders that would be classes are those of splits."""
    names = [name for name, is_folder in inside.entries("").items() if is_folder]
    splits = {name: split for name in names if (split := _split_of(name))}
    plain = {split for name, split in splits.items() if name.lower() in SPLIT_WORDS}
    if len(plain) < 2 and (len(splits) < len(names) or len({*splits.values()}) < 2):
        return
    found = {split: name for name, split in reversed(splits.items())}
    if "test" not in found:
        found["test"] = found.pop("validation")
    folders = ", ".join(f"{split}: {found.get(split, '...')}" for split in SPLITS if split in found or split == "train")
    share = "" if "validation" in found else ", validation: 0.2"
    raise UserError(
        f"{inside.folder}: {', '.join(splits)} are folders of splits, not of classes; you probably mean "
        f"dataset.split: {{method: given, folders: {{{folders}}}{share}}}"
    )


def _split_of(name: str) -> str | None:
    """Return the split of which a folder's name speaks."""
    return next((SPLIT_WORDS[word] for word in re.findall("[a-z]+", name.lower()) if word in SPLIT_WORDS), None)


def _class_folders(inside: Contents, name: str, split: str | None) -> tuple[list[Labelled], list[Skipped]]:
    """List the files of class folders, those in folders inside of them too."""
    entries = inside.entries(name)
    classes = [one for one, is_folder in entries.items() if is_folder]
    beside = [
        Skipped(
            path := _below(name, one),
            "a link that leads nowhere"
            if (inside.folder / path).is_symlink() and not (inside.folder / path).exists()
            else "it lies beside the class folders, so it has no class",
        )
        for one, is_folder in entries.items()
        if not is_folder
    ]
    if not classes:
        raise UserError(
            f"{inside.folder / name}: expected a folder for each class, found none{_other_layout(inside, [*entries])}"
        )
    of_class: dict[str, list[str]] = {label: [] for label in classes}
    above = _below(name, "x").removesuffix("x")
    for path in inside.files:
        label, _, image = path[len(above) :].partition("/") if path.startswith(above) else ("", "", "")
        if image:
            of_class[label].append(path[len(above) :])
    if empty := [label for label, found in of_class.items() if not found]:
        place = inside.folder / name / empty[0]
        raise UserError(f"{place}: no images in this class; add some or remove the folder{others(empty)}")
    for label, found in of_class.items():
        _require_images(inside.folder, name, label, split, found, len(classes) == 1)
    return [Labelled(above + one, label, split) for label, found in of_class.items() for one in found], beside


def _require_images(
    folder: Path, name: str, label: str, split: str | None, found: list[str], is_only_class: bool
) -> None:
    """Raise a UserError unless what was found in a folder can be the images of one class.

    Args:
        folder: of the data set.
        name: the folder below it that holds the class folders.
        label: the class folder.
        split: of which `name` is the folder, if splits have folders.
        found: the paths of the class's files below `name`.
        is_only_class: there is no other class folder.
    """
    place = folder / name / label
    folders = {one.split("/")[1] for one in found if one.count("/") > 1}
    if len({SPLIT_WORDS[one.lower()] for one in folders if one.lower() in SPLIT_WORDS}) > 1:
        raise UserError(
            f"{place}: the folders in this class are those of splits, which would be mixed; put them outside, "
            f"as <split>/{label}, and set dataset.split: {{method: given, folders: ...}}"
        )
    if is_only_class and len(folders) > 1 and all(one.count("/") > 1 for one in found):
        key = f"dataset.path: {place}" if split is None else f"dataset.split.folders.{split}: {_below(name, label)}"
        mend = f"set {key}" if split or place.is_dir() else "unpack it, and pack that folder by `thaw pack`"
        raise UserError(f"{folder / name}: the only folder is {label!r}, and classes seem to be in there: {mend}")


def _other_layout(inside: Contents, names: list[str]) -> str:
    """Return what to do where there are files instead of class folders."""
    if LABELS_CSV in names:
        return f"; to read {LABELS_CSV}, set dataset.layout: csv"
    if "train_images.npy" in names:
        return "; to read arrays, set dataset.layout: npy"
    if names and all(re.match(r"\d+_", name) for name in names):
        return "; if the names of files begin with the number of their class, set dataset.layout: label_prefix"
    if inside.archives:
        return "; archives are read as if unpacked where they lie: put each into the folder of its class"
    stems = {re.sub(r"[\W_]*\d+(\.\w+)?$", "", name) for name in names}
    if 1 < len(stems - {""}) <= len(names) / 2:
        return f"; if names of files tell their class, write it into a table {LABELS_CSV}, and set dataset.layout: csv"
    return "; if this is the folder of one class, dataset.path is the folder that it is in" if names else ""


def _prefixed(
    inside: Contents, name: str, split: str | None, classes: list[str]
) -> tuple[list[Labelled], list[Skipped]]:
    """List files whose names begin with a class's number and an underscore."""
    images, beside = [], []
    for one, is_folder in inside.entries(name).items():
        path = _below(name, one)
        number = re.match(r"([0-9]{1,9})_", one)
        if is_folder:
            beside.append(Skipped(path, "a folder, where files named <class number>_... are expected"))
        elif number is None:
            beside.append(Skipped(path, "its name does not begin with a class's number and _"))
        elif int(number[1]) >= len(classes):
            beside.append(
                Skipped(path, f"dataset.classes has the numbers 0 to {len(classes) - 1}, not {int(number[1])}")
            )
        else:
            images.append(Labelled(path, classes[int(number[1])], split))
    return images, beside
