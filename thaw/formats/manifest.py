"""The manifest: one row per usable image, and the rules that decide which are."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from sys import intern

from thaw.files.reading import damaged
from thaw.formats.sealed_csv import reading_csv, write_csv

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


def write_manifest(path: Path, rows: list[Row], by: str = "") -> None:
    """Write rows as CSV, sorted by split (training, validation, test), then by path.

    Args:
        by: SHA-256 of the data set's entry of params.yaml; see `Dataset.digest`.

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
        by,
    )


def read_manifest(path: Path, is_bound: bool = False) -> list[Row]:
    """Read a manifest.

    Args:
        is_bound: the file is known to be what it was; see `parse_csv`.

    Raises:
        UserError: the file is missing, damaged, or was not written by `write_manifest`.
    """
    return [*manifest_rows(path, is_bound)]


def manifest_rows(path: Path, is_bound: bool = False) -> Iterator[Row]:
    """Yield the rows of a manifest, of which there may be a million; whether it is damaged is known behind the last.

    Args:
        is_bound: the file is known to be what it was; see `parse_csv`.

    Raises:
        UserError: as `read_manifest`.
    """
    with reading_csv(path, is_bound) as table:
        if table.columns != MANIFEST_COLUMNS:
            raise ValueError
        is_empty = True
        for image, label, number, split, sha256, group in table.rows:
            is_empty = False
            # Many rows share their class, their split and their group.
            yield Row(image, intern(label), intern(split), sha256, intern(group), int(number))
    if is_empty:
        raise damaged(path)


def manifest_by(path: Path) -> str:
    """Return the SHA-256 of the data set's entry that a manifest was made by.

    Raises:
        UserError: as `read_manifest`.
    """
    with reading_csv(path) as table:
        return table.by


def class_names(rows: list[Row]) -> tuple[str, ...]:
    """Return the classes in the order of their numbers."""
    return tuple(label for _, label in sorted({(row.number, row.label) for row in rows}))
