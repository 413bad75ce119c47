"""The manifest: one row per usable image, and the rules that decide which are."""

import csv
from dataclasses import dataclass
from pathlib import Path
from sys import intern

from thaw.errors import UserError
from thaw.files import write_csv

SPLITS = ("train", "validation", "test")
MANIFEST_COLUMNS = ["path", "label", "number", "split", "sha256", "group"]


@dataclass(frozen=True, slots=True)
class Row:
    """One image."""

    path: str
    """The image's path below the data set's folder."""
    label: str
    """The name of its class."""
    split: str
    """One of `SPLITS`."""
    sha256: str
    """SHA-256 of its bytes, hexadecimal."""
    group: str = ""
    """The name of the group of images that belong together; empty for one that stands alone."""
    number: int = 0
    """The number of its class: which of a model's outputs is its probability."""


def write_manifest(path: Path, rows: list[Row]) -> None:
    """Write rows as CSV, sorted by split (training, validation, test), then by path.

    >>> rows = [Row("oak/2.jpg", "oak", "test", "ab" * 32), Row("oak/1.jpg", "oak", "train", "cd" * 32)]
    >>> write_manifest(Path("manifest.csv"), rows)
    >>> [row.path for row in read_manifest(Path("manifest.csv"))]
    ['oak/1.jpg', 'oak/2.jpg']
    """
    ordered = sorted(rows, key=lambda row: (SPLITS.index(row.split), row.path))
    write_csv(
        path,
        MANIFEST_COLUMNS,
        [[row.path, row.label, str(row.number), row.split, row.sha256, row.group] for row in ordered],
    )


def read_manifest(path: Path) -> list[Row]:
    """Read a manifest.

    Raises:
        UserError: the file is missing, or was not written by `write_manifest`.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if reader.fieldnames != MANIFEST_COLUMNS:
                raise UserError(
                    f"{path}: expected the columns {', '.join(MANIFEST_COLUMNS)}; `dvc repro manifest` makes it anew"
                )
            # Many rows share their class, their split and their group.
            rows = [
                Row(
                    row["path"],
                    intern(row["label"]),
                    intern(row["split"]),
                    row["sha256"],
                    intern(row["group"]),
                    int(row["number"]),
                )
                for row in reader
            ]
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; `dvc repro manifest` makes it") from None
    if not rows:
        raise UserError(f"{path}: no rows; `dvc repro manifest` makes it anew")
    return rows


def class_names(rows: list[Row]) -> tuple[str, ...]:
    """Return the classes in the order of their numbers."""
    return tuple(label for _, label in sorted({(row.number, row.label) for row in rows}))


def splits_of(rows: list[Row]) -> dict[str, slice]:
    """Return where each split lies in rows that are sorted as in a manifest.

    >>> splits_of([Row("1.jpg", "oak", "train", ""), Row("2.jpg", "oak", "train", ""), Row("3.jpg", "oak", "test", "")])
    {'train': slice(0, 2, None), 'test': slice(2, 3, None)}
    """
    names = [row.split for row in rows]
    return {
        split: slice(names.index(split), names.index(split) + names.count(split)) for split in SPLITS if split in names
    }
