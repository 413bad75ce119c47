"""Finding files, writing them whole or not at all, and naming them by their content."""

import csv
import hashlib
import io
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from thaw.errors import UserError

IGNORED = {"thumbs.db", "desktop.ini"}


def files_below(folder: Path) -> Iterator[Path]:
    """Yield the files in a folder, at any depth, except those that `is_ignored` names.

    Raises:
        UserError: a folder cannot be read.
    """
    for parent, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        yield from (Path(parent) / name for name in sorted(names) if not is_ignored(name))


def files_at(paths: Iterable[Path]) -> list[Path]:
    """List files as they are named, and those below folders; none twice.

    Raises:
        UserError: something cannot be read, or there is no file.
    """
    files: dict[Path, None] = {}
    for path in paths:
        try:
            path.stat()
        except OSError as error:
            refuse(error)
        files |= dict.fromkeys(files_below(path) if path.is_dir() else [path])
    if not files:
        raise UserError(f"{', '.join(map(str, paths))}: no files are there")
    return list(files)


def is_ignored(name: str) -> bool:
    """Say whether a file is hidden, or is what desktops leave behind."""
    return name.startswith(".") or name.lower() in IGNORED


def refuse(error: OSError) -> NoReturn:
    """Say of a file or a folder that it cannot be read."""
    raise UserError(f"{error.filename}: cannot be read: {error.strerror}")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block succeeds.

    Nobody ever sees a half-written file: when the block fails, `path` is what it was before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 with Unix line ends, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_csv(path: Path, columns: list[str], rows: Iterable[Iterable[str]]) -> None:
    """Write a CSV file as UTF-8 with Unix line ends, whole or not at all."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_text(path, text.getvalue())


def sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
