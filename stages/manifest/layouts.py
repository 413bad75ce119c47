"""The layouts in which a data set can lie: from files to labelled images."""

import posixpath
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from stages.manifest.splits import others
from thaw.errors import UserError
from thaw.formats.manifest import SPLITS
from thaw.images.decoding import UnreadableImageError
from thaw.images.reading import ROW_MARK, Contents, contents, found_at, open_array, read_file
from thaw.images.reading.archives import is_archive, is_hidden
from thaw.params.dataset import Dataset
from thaw.params.labels import alike, is_formula, unreadable
from thaw.suggestions import did_you_mean

if TYPE_CHECKING:
    from pandas import DataFrame, Series

LABELS_CSV = "labels.csv"
SHOWN = 10
"""The most lines of a message, or names in one."""
# Words by which folders of splits go.
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "trn", "trainset"), "train"),
    **dict.fromkeys(("valid", "validation", "val", "dev", "valset"), "validation"),
    **dict.fromkeys(("test", "testing", "tst", "eval", "evaluation", "holdout", "testset"), "test"),
}


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
        raise UserError(f"{folder}: expected images of two classes or more, found {found}{left}")
    _require_listed(folder, classes, dataset.classes or [])
    if dataset.split.method == "given":
        _require_splits(folder, images, dataset)
    notes = [*_joined(classes), *_doubtful_groups(images)]
    if dataset.layout == "class_folders" and dataset.split.folders is None:
        notes += _doubtful(images)
    if dataset.layout == "csv" and dataset.split.method != "given" and images[0].split:
        notes.append(
            f"the column split of {LABELS_CSV} is not used: dataset.split.method is {dataset.split.method}, not given"
        )
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
        return *_labels_csv(inside), {LABELS_CSV}
    if dataset.layout == "npy":
        arrays = {f"{split}_{kind}.npy" for split in SPLITS for kind in ("images", "labels")}
        return _arrays(inside, dataset), [], arrays
    return *_folders(inside, dataset), set()


def _require_listed(folder: Path, classes: set[str], listed: list[str]) -> None:
    """Raise a UserError if dataset.classes lists a class that has no images."""
    lacking = [label for label in listed if label not in classes]
    if lacking:
        least = min(listed.index(label) for label in classes)
        numbered = ", ".join(f"{label!r} (number {listed.index(label)})" for label in lacking)
        raise UserError(
            f"{folder}: dataset.classes lists {numbered}, of which there are no images"
            f"{_from_zero(least) or '; leave out such names, and number the other classes without a gap'}"
        )


def _from_zero(least: int) -> str:
    """Return what to do where the least number of a class is not 0."""
    return f"; numbers begin with {least} here, but with 0 in dataset.classes: subtract {least}" if least > 0 else ""


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
        parts = {part.strip("[]'\"") for part in re.split(r"[\s|;,+&/]+", label)}
        if len(parts) > 1 and parts <= classes:
            yield (
                f"warning: the class {label!r} seems to be {' and '.join(map(repr, sorted(parts)))} in one, and is "
                "learnt as a class of its own: an image cannot have several classes here"
            )
            return


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


def _require_text(folder: Path, images: list[Labelled], beside: list[Skipped]) -> None:
    for path in [*(one.path for one in beside), *(image.path for image in images)]:
        if any(unicodedata.category(character) in ("Cc", "Cs") for character in path):
            raise UserError(f"{folder}: the file name {path!r} is not UTF-8 text or has control characters; rename it")
        if is_formula(path):
            raise UserError(f"{folder}: the file name {path!r} is a formula to spreadsheets; rename it")


def _refuse_labels(source: Path, places: dict[str, str]) -> None:
    """Raise a UserError unless labels can be read and told apart; `places` says for each where it first stands."""
    for group in alike(places):
        shown = ", ".join(f"{label!r} ({places[label]})" for label in group)
        raise UserError(f"{source}: these classes look the same: {shown}; write them in one way")
    for label, place in places.items():
        reason = unreadable(label)
        if reason:
            raise UserError(f"{source}: the class {label!r} ({place}) {reason}; write it without")


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
            f"{folder / LABELS_CSV}: groups whose images are in several splits: {len(torn)}{''.join(lines)}{more}\n"
            "put the images of a group into one split, or set dataset.split.method to another than given"
        )


def _folders(inside: Contents, dataset: Dataset) -> tuple[list[Labelled], list[Skipped]]:
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
            hint = did_you_mean(name, [one for one, is_folder in inside.entries("").items() if is_folder])
            raise UserError(f"{folder / name}: no such folder; dataset.split.folders names it{hint}")
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
    _require_text(folder, images, beside)
    if dataset.classes is None:
        _refuse_labels(folder, places)
    return images, beside


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


def _labels_csv(inside: Contents) -> tuple[list[Labelled], list[Skipped]]:
    """Read `labels.csv`: the columns path and label, and perhaps split and group."""
    folder, files = inside.folder, inside.files
    path = folder / LABELS_CSV
    table = _read_table(inside)
    _require_cells(folder, path, table)
    # Some systems keep names in another of Unicode's forms than tables do.
    there = {_composed(one): one for one in files} | {one: one for one in files}
    names = table["path"].map(posixpath.normpath)
    table["name"] = [there.get(one) or there.get(_composed(one)) or one for one in names]
    table["first"] = table.groupby("name")["line"].transform("min")
    _require(path, table, table["first"] == table["line"], "{path!r} is there twice, before in line {first}")
    is_listed = table["name"].isin(files)
    beside = []
    gone = []
    for line, name in table.loc[~is_listed, ["line", "name"]].itertuples(index=False):
        if is_hidden(name) and inside.is_file(name):
            reason = "names it, but it is hidden, or left behind by other programs"
        elif is_archive(name) and inside.is_file(name):
            reason = "names it, but it is an archive: name the files in it"
        else:  # on some disks, it is there in other capital letters
            gone.append((line, name))
            continue
        beside.append(Skipped(name, f"line {line} of {LABELS_CSV} {reason}"))
    if gone:
        line, name = gone[0]
        more = f"; so it is with {len(gone) - 1} more of {len(table)} rows" if len(gone) > 1 else ""
        raise UserError(f"{path}:{line}: {folder / name}: no such file{_respelled(inside, name)}{more}")
    listed = table[is_listed]
    images = list(map(Labelled, listed["name"], listed["label"], listed["split"], listed["group"].map(_composed)))
    _require_text(folder, images, beside)
    places = table.groupby("label", sort=False)["line"].first()
    _refuse_labels(path, {label: f"line {line}" for label, line in places.items()})
    return images, beside


def _read_table(inside: Contents) -> "DataFrame":
    """Read `labels.csv`; what cannot be read becomes a `UserError`."""
    from stages.manifest.tables import read_table  # imports pandas, which no other layout has to wait for

    path = inside.folder / LABELS_CSV
    try:
        return read_table(path, read_file(inside.folder, LABELS_CSV))
    except FileNotFoundError:
        tables = [one for one in inside.files if one.lower().endswith((".csv", ".tsv"))]
        tables.sort(key=lambda one: one.count("/"))
        hint = f"; {tables[0]} would have to be {'there' if '/' in tables[0] else 'named so'}" if tables else ""
        raise UserError(f"{path}: no such file; the layout csv reads paths and labels from it{hint}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except UnreadableImageError as error:
        raise UserError(f"{found_at(inside.folder, LABELS_CSV)}: {error}") from None


def _require_cells(folder: Path, path: Path, table: "DataFrame") -> None:
    """Raise a UserError unless a table's cells can be what their columns say."""
    _require(path, table, table["path"] != "", "the path is empty")
    _require(path, table, table["label"] != "", "the label is empty")
    leaves = "{path!r} leaves {folder}; paths are relative to that folder"
    _require(path, table, table["path"].map(_is_below), leaves, folder=folder)
    if table["split"].notna().all():
        expected = f"expected one of {', '.join(SPLITS)}"
        _require(path, table, table["split"].isin(SPLITS), f"unknown split {{split!r}}; {expected}")
    reasons = table.assign(reason=table["group"].map(unreadable))
    _require(path, reasons, reasons["reason"].isna(), "the group {group!r} {reason}; write it without")


def _require(path: Path, table: "DataFrame", is_right: "Series", told: str, **more: object) -> None:
    """Raise a UserError about the first row that is not right; `told` is a format of its values, and of others."""
    if not is_right.all():
        row = table.loc[is_right.idxmin()]
        raise UserError(f"{path}:{row['line']}: {told.format(**row, **more)}")


def _is_below(path: str) -> bool:
    return not path.startswith("/") and ".." not in path.split("/")


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _respelled(inside: Contents, name: str) -> str:
    """Return how a path probably has to be written of which there is no file.

    It may have a slash of Windows, spaces around it, or folders in front that are those of the data set, too; or it may
    lack folders, or differ in capital letters or in its ending.
    """
    parts = name.strip().replace("\\", "/").split("/")
    tails = ["/".join(parts[first:]) for first in range(len(parts))]
    respelled = [one for one in tails if inside.is_file(one)][:1]
    if not respelled:
        respelled = [one for one in inside.files if _spellings(one) & _spellings("/".join(parts))]
    if not respelled:
        last = _spellings(parts[-1])
        respelled = [one for one in inside.files if _spellings(one.rpartition("/")[2]) & last]
    return f"; write {respelled[0]!r}" if len(respelled) == 1 else ""


def _spellings(path: str) -> set[str]:
    """Return a path without capital letters, with its ending and without."""
    return {path.lower(), posixpath.splitext(path.lower())[0]}


def _arrays(inside: Contents, dataset: Dataset) -> list[Labelled]:
    """List the images of `<split>_images.npy` with the labels of `<split>_labels.npy`."""
    folder = inside.folder
    images: list[Labelled] = []
    labels: dict[str, np.ndarray] = {}
    for split in SPLITS:
        names = [f"{split}_{kind}.npy" for kind in ("labels", "images")]
        if split == "validation" and not any(map(inside.is_file, names)):
            continue
        labels[split] = _label_numbers(folder, *names)
    least = min((int(part.min()) for part in labels.values() if len(part)), default=0)
    highest = max((int(part.max()) for part in labels.values() if len(part)), default=-1)
    count = len(dataset.classes) if dataset.classes else highest + 1
    width = len(str(highest))
    for split, part in labels.items():
        for row, number in enumerate(part):
            if not 0 <= number < count:
                raise UserError(
                    f"{folder / f'{split}_labels.npy'}: row {row}: the classes have the numbers 0 to "
                    f"{count - 1}, not {number}{_from_zero(least)}"
                )
            label = dataset.classes[number] if dataset.classes else f"{number:0{width}}"
            images.append(Labelled(f"{split}_images.npy{ROW_MARK}{row}", label, split))
    return images


def _label_numbers(folder: Path, of_labels: str, of_images: str) -> np.ndarray:
    """Return the numbers of the classes, ints (images,), of an array of images that can be read."""
    numbers, pixels = open_array(folder, of_labels), open_array(folder, of_images)
    labels, images = found_at(folder, of_labels), found_at(folder, of_images)
    if numbers.dtype.kind not in "iu" or numbers.shape not in ((numbers.size,), (numbers.size, 1)):
        raise UserError(
            f"{labels}: expected whole numbers of shape (n,), got {numbers.dtype} {numbers.shape}{_mended(numbers)}"
        )
    is_grey = pixels.ndim == 3 or (pixels.ndim == 4 and pixels.shape[3] == 1)
    if not is_grey and not (pixels.ndim == 4 and pixels.shape[3] == 3):
        are_first = pixels.ndim == 4 and pixels.shape[1] in (1, 3)
        mended = "; if its channels come first, save images.transpose(0, 2, 3, 1)" if are_first else ""
        raise UserError(
            f"{images}: expected images of shape (n, height, width, 3) or (n, height, width), "
            f"got {pixels.shape}{mended}"
        )
    if pixels.dtype != np.uint8 and pixels.dtype.kind != "f":
        mended = "; save images * np.uint8(255)" if pixels.dtype.kind == "b" else ""
        raise UserError(f"{images}: expected pixels 0-255 as uint8, got {pixels.dtype}{mended}")
    if len(numbers) != len(pixels):
        raise UserError(f"{labels}: {len(numbers)} labels for {len(pixels)} images")
    return np.asarray(numbers).reshape(-1)


def _mended(labels: np.ndarray) -> str:
    """Return how labels that are no whole numbers are made ones."""
    if labels.ndim == 2 and labels.dtype.kind in "iufb" and labels.shape[1] > 1:
        return "; if each row has a 1 for its class, save labels.argmax(axis=1)"
    if labels.dtype.kind in "USO":
        return "; save numbers, and list the names in dataset.classes"
    return "; save labels.astype(int)" if labels.ndim == 1 else ""
