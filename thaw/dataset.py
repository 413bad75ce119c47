"""From a folder of labelled images to the rows of a manifest."""

import hashlib
import os
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from thaw.errors import UserError
from thaw.images import UnreadableImageError, decode
from thaw.manifest import Row
from thaw.params.dataset import Dataset, Split
from thaw.progress import progress

SHOWN = 10
IGNORED = {"thumbs.db", "desktop.ini"}


@dataclass(frozen=True)
class Labelled:
    """A file that claims to be an image of a class; `path` is below the data set's folder."""

    path: str
    label: str


@dataclass(frozen=True)
class Skipped:
    """A file that is left out, and why."""

    path: str
    reason: str


def collect(folder: Path, dataset: Dataset) -> tuple[list[Row], list[Skipped]]:
    """Find, read and split the images of a data set.

    Every file is read and decoded once, so that later stages can rely on it.

    Raises:
        UserError: there are no images or too few of a class; or, with `on_bad_image: fail`, a file cannot be
            used; equal bytes in two classes are never accepted silently.
    """
    files, bad = class_folders(folder)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda file: _read(folder / file.path), files)
        read = list(progress(results, len(files), "reading images"))
    bad += [Skipped(file.path, reason) for file, (_, reason) in zip(files, read, strict=True) if reason]
    first: dict[str, Labelled] = {}
    repeated: list[Skipped] = []
    contradicted: set[str] = set()
    for file, (digest, reason) in zip(files, read, strict=True):
        if reason:
            continue
        twin = first.setdefault(digest, file)
        if twin.label != file.label:
            contradicted.add(digest)
            bad.append(Skipped(file.path, f"the same bytes as {twin.path}, which is in another class"))
        elif twin is not file:
            repeated.append(Skipped(file.path, f"the same bytes as {twin.path}"))
    if bad and dataset.on_bad_image == "fail":
        shown = "".join(f"\n  {folder / one.path}: {one.reason}" for one in bad[:SHOWN])
        more = f"\n  and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
        raise UserError(
            f"files that cannot be used: {len(bad)}{shown}{more}\n"
            "mend or remove them, or set dataset.on_bad_image: skip to leave them out and list them"
        )
    bad += [Skipped(first[digest].path, "the same bytes as a file in another class") for digest in contradicted]
    usable = {digest: file for digest, file in first.items() if digest not in contradicted}
    classes = {file.label for file in files}
    assigned = stratified(usable, classes, dataset.split)
    rows = [Row(file.path, file.label, assigned[digest], digest) for digest, file in usable.items()]
    return rows, sorted(bad + repeated, key=lambda one: one.path)


def class_folders(folder: Path) -> tuple[list[Labelled], list[Skipped]]:
    """List the files of a folder that has one folder for each class, sorted by path, and those beside them.

    Hidden files and the folder thumbnails that desktops leave behind are not listed.

    Raises:
        UserError: the folder is missing, has no class folders, or one of them is empty or cannot be read; or a
            name is not one that a text file can hold.
    """
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such folder; dataset.path in params.yaml names the folder that holds one folder per class"
        )
    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        _refuse(error)
    classes = [one.name for one in inside if one.is_dir() and not one.name.startswith(".")]
    loose = [one.name for one in inside if one.is_file() and not _is_ignored(one.name)]
    if len(classes) < 2:
        found = f"only {classes[0]!r}" if classes else "none"
        raise UserError(f"{folder}: expected a folder for each of two classes or more, found {found}")
    files = []
    for label in classes:
        found_here = []
        for parent, folders, names in os.walk(folder / label, onerror=_refuse, followlinks=True):
            folders[:] = [name for name in folders if not name.startswith(".")]
            below = Path(parent).relative_to(folder)
            found_here += [(below / name).as_posix() for name in names if not _is_ignored(name)]
        if not found_here:
            raise UserError(f"{folder / label}: no images in this class; add some or remove the folder")
        files += [Labelled(path, label) for path in found_here]
    for path in [*loose, *(file.path for file in files)]:
        if any(unicodedata.category(character) in ("Cc", "Cs") for character in path):
            raise UserError(f"{folder}: the file name {path!r} is not UTF-8 text or has control characters; rename it")
    beside = [Skipped(name, "it lies beside the class folders, so it has no class") for name in loose]
    return sorted(files, key=lambda file: file.path), beside


def _refuse(error: OSError) -> NoReturn:
    raise UserError(f"{error.filename}: cannot be read: {error.strerror}")


def _is_ignored(name: str) -> bool:
    return name.startswith(".") or name.lower() in IGNORED


def _read(path: Path) -> tuple[str, str]:
    """Return a file's SHA-256, and why it cannot be used if it cannot."""
    try:
        data = path.read_bytes()
        decode(data)
    except OSError as error:
        return "", f"cannot be read: {error.strerror}"
    except UnreadableImageError as error:
        return "", str(error)
    return hashlib.sha256(data).hexdigest(), ""


def stratified(images: dict[str, Labelled], classes: set[str], split: Split) -> dict[str, str]:
    """Assign each image to a split, at random within its class.

    Of a class of n images, round(n * share) go to test and to validation, at least one to each split.

    Args:
        images: by SHA-256.
        classes: that must be there.
        split: shares and seed.

    Returns:
        The split of each SHA-256.

    Raises:
        UserError: a class has fewer than three images.
    """
    assigned = {}
    for number, label in enumerate(sorted(classes)):
        members = sorted((file.path, digest) for digest, file in images.items() if file.label == label)
        count = len(members)
        if count < 3:
            raise UserError(
                f"class {label!r} has {count} usable image{'s' * (count != 1)}; training, validation and test need "
                "one each: add images or remove the class"
            )
        test = min(max(1, round(count * split.test)), count - 2)
        validation = min(max(1, round(count * split.validation)), count - test - 1)
        names = ["test"] * test + ["validation"] * validation + ["train"] * (count - test - validation)
        order = np.random.default_rng([split.seed, number]).permutation(count)
        assigned.update({members[place][1]: name for place, name in zip(order, names, strict=True)})
    return assigned
