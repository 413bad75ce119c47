"""What commands say: counts and names, tables for spreadsheets, and paths in a terminal."""

import csv
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

from thaw import errors
from thaw.errors import UserError
from thaw.files.writing import replacing
from thaw.images.reading.archives import Member
from thaw.params.labels import is_formula

WRITTEN = re.compile(rb"path(,class,confidence|(,class_\d+,probability_\d+)+)\n")
"""The first line of a table that a command wrote."""
NAMES_IN_A_LINE = 5
"""The most names that a line gives."""


def refuse_place(out: Path | None, used: Iterable[Path | Member]) -> None:
    """Raise a `UserError` if a folder, a file that is used, or one of the user's own is where a table would be written.

    That is any but an empty one and what the commands write, of which columns that somebody added are no part.
    """
    if out and os.path.realpath(out.parent) == "/dev":  # where a user may write, a file would take a device's place
        raise UserError(f"{out}: no place for files; without --out, a table is printed")
    if out and out.is_dir():
        raise UserError(f"{out}: a folder; give --out the name of a file")
    if out and out.exists():
        files = {one.archive if isinstance(one, Member) else one for one in used}
        if any(one.exists() and one.samefile(out) for one in files):
            raise UserError(f"{out}: one of the files that are read; give --out the name of another")
        with out.open("rb") as file:
            first = file.readline()
        if first and not WRITTEN.fullmatch(first):
            raise UserError(f"{out}: there is a file that would be lost; give --out the name of another, or remove it")


@contextmanager
def writing_table(out: Path, columns: list[str]) -> Iterator[Callable[[Iterable[object]], object]]:
    """Write a CSV file, whole or not at all, by a function that takes a row."""
    try:
        # Names that are not UTF-8 are written byte for byte.
        with (
            replacing(out) as temporary,
            temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="\n") as file,
        ):
            # Only what is in the line's end is quoted; a carriage return in a name would end its row for most readers.
            lines = SimpleNamespace(write=lambda line: file.write(line.removesuffix("\r\n") + "\n"))
            writer = csv.writer(lines, lineterminator="\r\n")
            writer.writerow(columns)
            yield writer.writerow
    except OSError as error:
        raise UserError(f"{out}: cannot be written: {errors.reasons(error)}") from None


def printable(path: Path | Member) -> str:
    """Return a path as a terminal can show it, whatever its bytes."""
    return errors.printable(str(path).encode(errors="backslashreplace").decode()).replace("\n", "\\n")


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return how many things there are, by a word for one of them, and another for more, if that has more than an s.

    >>> counted(1, "file"), counted(1200, "file"), counted(2, "class", "classes")
    ('1 file', '1,200 files', '2 classes')
    """
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def first_names(names: Sequence[str]) -> str:
    """Return names as a line has room for them."""
    return f"{', '.join(names[:NAMES_IN_A_LINE])}{', …' * (len(names) > NAMES_IN_A_LINE)}"


def path_cell(path: Path | Member) -> str:
    """Return a path as a spreadsheet takes it for a text.

    >>> path_cell(Path("=SUM(1).png"))
    './=SUM(1).png'
    """
    return f"./{path}" if is_formula(str(path)) else str(path)


def text_cell(text: str) -> str:
    """Return a text as a spreadsheet takes it for one: behind an apostrophe where it would be a formula."""
    return f"'{text}" if is_formula(text) else text


def percent(probability: float) -> str:
    """Return a probability as a column of a terminal has room for it, in which 0 and 100 % are no rounded ones.

    >>> percent(0.5), percent(0.9996), percent(1e-9), percent(1.0)
    (' 50.0%', '>99.9%', ' <0.1%', '100.0%')
    """
    text = f"{probability:.1%}"
    if text == "100.0%" and probability < 1:
        text = ">99.9%"
    if text == "0.0%" and probability > 0:
        text = "<0.1%"
    return f"{text:>6}"
