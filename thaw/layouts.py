"""The layouts in which a data set can lie: from files to labelled images."""

import csv
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from thaw.errors import UserError
from thaw.files import files_below, is_ignored, refuse
from thaw.manifest import SPLITS
from thaw.params.dataset import Dataset
from thaw.sources import ROW, array

TABLE = "labels.csv"
SHOWN = 10
"""Lines of a message."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """An image and what is said of it; `path` is below the data set's folder."""

    path: str
    label: str
    split: str | None = None
    group: str = ""


@dataclass(frozen=True)
class Skipped:
    """A file that is left out, and why."""

    path: str
    reason: str


def listing(folder: Path, dataset: Dataset) -> tuple[list[Labelled], list[Skipped]]:
    """List a data set's images, sorted by path, and the files that are none.

    Raises:
        UserError: nothing is where the layout says, or there are labels, splits or names that cannot be.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; dataset.path in params.yaml names the folder that holds the images")
    beside: list[Skipped] = []
    if dataset.layout == "csv":
        images = _table(folder)
    elif dataset.layout == "npy":
        images = _arrays(folder, dataset)
    else:
        images, beside = _folders(folder, dataset)
    for path in [*(one.path for one in beside), *(image.path for image in images)]:
        if any(unicodedata.category(character) in ("Cc", "Cs") for character in path):
            raise UserError(f"{folder}: the file name {path!r} is not UTF-8 text or has control characters; rename it")
    classes = {image.label for image in images}
    if len(classes) < 2:
        found = f"only {classes.pop()!r}" if classes else "none"
        raise UserError(f"{folder}: expected images of two classes or more, found {found}")
    if dataset.split.method == "given":
        _require_splits(folder, images, dataset)
    return sorted(images, key=lambda image: image.path), beside


def _require_splits(folder: Path, images: list[Labelled], dataset: Dataset) -> None:
    require_whole_groups(folder, ((image.group, image) for image in images))
    splits = {image.split for image in images}
    for split in ("train", "test"):
        if split not in splits:
            raise UserError(f"{folder}: there are no images for the split {split!r}")
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
            f"{folder / TABLE}: groups whose images are in several splits: {len(torn)}{''.join(lines)}{more}\n"
            "put the images of a group into one split, or set dataset.split.method to another than given"
        )


def _folders(folder: Path, dataset: Dataset) -> tuple[list[Labelled], list[Skipped]]:
    """List class folders, or files that begin with a class's number; in one folder, or in one for each split."""
    given = dataset.split.folders
    parts = (
        {"": None}
        if given is None
        else {getattr(given, split): split for split in SPLITS if getattr(given, split) is not None}
    )
    images: list[Labelled] = []
    beside: list[Skipped] = []
    for name, split in parts.items():
        if not (folder / name).is_dir():
            raise UserError(f"{folder / name}: no such folder; dataset.split.folders names it")
        found, others = (
            _class_folders(folder, name, split)
            if dataset.classes is None
            else _prefixed(folder, name, split, dataset.classes)
        )
        images += found
        beside += others
    return images, beside


def _class_folders(folder: Path, name: str, split: str | None) -> tuple[list[Labelled], list[Skipped]]:
    """List the files of class folders, those in folders inside of them too."""
    inside = _entries(folder / name)
    classes = [one.name for one in inside if one.is_dir()]
    beside = [
        Skipped((PurePosixPath(name) / one.name).as_posix(), "it lies beside the class folders, so it has no class")
        for one in inside
        if one.is_file()
    ]
    if not classes:
        raise UserError(f"{folder / name}: expected a folder for each class, found none")
    images = []
    for label in classes:
        files = files_below(folder / name / label)
        found = [Labelled(one.relative_to(folder).as_posix(), label, split) for one in files]
        if not found:
            raise UserError(f"{folder / name / label}: no images in this class; add some or remove the folder")
        images += found
    return images, beside


def _prefixed(folder: Path, name: str, split: str | None, classes: list[str]) -> tuple[list[Labelled], list[Skipped]]:
    """List files whose names begin with a class's number and an underscore."""
    images, beside = [], []
    for one in _entries(folder / name):
        path = (PurePosixPath(name) / one.name).as_posix()
        number = re.match(r"(\d{1,9})_", one.name)
        if not one.is_file() and not one.is_symlink():
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


def _table(folder: Path) -> list[Labelled]:
    """Read `labels.csv`: the columns path and label, and perhaps split and group."""
    path = folder / TABLE
    images: dict[str, Labelled] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            known = {"path", "label", "split", "group"}
            columns = set(reader.fieldnames or [])
            if not {"path", "label"} <= columns <= known:
                found = ", ".join(reader.fieldnames or []) or "none"
                raise UserError(f"{path}: expected the columns path, label and perhaps split, group; got {found}")
            for row in reader:
                where = f"{path}:{reader.line_num}"
                if None in row or None in row.values():
                    raise UserError(f"{where}: expected {len(columns)} values, as the first line has")
                image = Labelled(row["path"], row["label"], row.get("split"), row.get("group", ""))
                if not image.path or not image.label:
                    raise UserError(f"{where}: the {'path' if not image.path else 'label'} is empty")
                if PurePosixPath(image.path).is_absolute() or ".." in PurePosixPath(image.path).parts:
                    raise UserError(f"{where}: {image.path!r} leaves {folder}; paths are relative to that folder")
                if image.split is not None and image.split not in SPLITS:
                    raise UserError(f"{where}: unknown split {image.split!r}; expected one of {', '.join(SPLITS)}")
                if image.path in images:
                    raise UserError(f"{where}: {image.path!r} is there twice")
                if not (folder / image.path).is_file():
                    raise UserError(f"{where}: {folder / image.path}: no such file")
                images[image.path] = image
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; the layout csv reads paths and labels from it") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path}: no CSV in UTF-8: {error}") from None
    return list(images.values())


def _arrays(folder: Path, dataset: Dataset) -> list[Labelled]:
    """List the images of `<split>_images.npy` with the labels of `<split>_labels.npy`."""
    images: list[Labelled] = []
    labels: dict[str, np.ndarray] = {}
    for split in SPLITS:
        path = folder / f"{split}_labels.npy"
        if split == "validation" and not path.exists() and not (folder / f"{split}_images.npy").exists():
            continue
        numbers, pixels = array(path), array(folder / f"{split}_images.npy")
        if numbers.dtype.kind not in "iu" or numbers.shape not in ((len(numbers),), (len(numbers), 1)):
            raise UserError(f"{path}: expected whole numbers of shape (n,), got {numbers.dtype} {numbers.shape}")
        is_grey = pixels.ndim == 3 or (pixels.ndim == 4 and pixels.shape[3] == 1)
        if not is_grey and not (pixels.ndim == 4 and pixels.shape[3] == 3):
            raise UserError(
                f"{folder / f'{split}_images.npy'}: expected images of shape (n, height, width, 3) or "
                f"(n, height, width), got {pixels.shape}"
            )
        if pixels.dtype != np.uint8 and pixels.dtype.kind != "f":
            raise UserError(f"{folder / f'{split}_images.npy'}: expected pixels 0-255 as uint8, got {pixels.dtype}")
        if len(numbers) != len(pixels):
            raise UserError(f"{path}: {len(numbers)} labels for {len(pixels)} images")
        labels[split] = np.asarray(numbers).reshape(-1)
    highest = max((int(part.max()) for part in labels.values() if len(part)), default=-1)
    classes = dataset.classes or [f"{number:0{len(str(highest))}}" for number in range(highest + 1)]
    for split, part in labels.items():
        for row, number in enumerate(part):
            if not 0 <= number < len(classes):
                raise UserError(
                    f"{folder / f'{split}_labels.npy'}: row {row}: the classes have the numbers 0 to "
                    f"{len(classes) - 1}, not {number}"
                )
            images.append(Labelled(f"{split}_images.npy{ROW}{row}", classes[number], split))
    return images


def _entries(folder: Path) -> list[Path]:
    """Return what lies in a folder, sorted; hidden files and what desktops leave behind left out."""
    try:
        return sorted(one for one in folder.iterdir() if not is_ignored(one.name))
    except OSError as error:
        refuse(error)
