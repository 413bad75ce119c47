"""Tables that say which of a project's files they are, what made them, and whether they were altered."""

import csv
import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from thaw.errors import UserError
from thaw.files.reading import ANEW, reading
from thaw.files.writing import replacing

DIGITS = 6
"""Decimal places of scores that are written: what is behind them differs from one kind of processor to another."""
ZEROS = "sha256:" + "0" * 64
SEAL = re.compile(r"(?:of (\S+) )?(?:by ([0-9a-f]{64}) )?sha256:([0-9a-f]{64})")


def write_csv(path: Path, columns: list[str], rows: Iterable[Iterable[str]], by: str = "") -> None:
    """Write a CSV file as UTF-8 with Unix line ends, whole or not at all, and sealed.

    Behind the columns stands an empty one, whose name is the seal: which file of the project it is, by what it was
    made, and the SHA-256 of the file as it is with zeros in that number's place. So tools read the table as any other.

    Args:
        by: SHA-256 of what made it; none if that is of no interest.

    >>> write_csv(Path("trees.csv"), ["name"], [["oak"], ["fig"]])
    >>> print(Path("trees.csv").read_text(), end="")
    name,sha256:fc43312ed898b3ba6e24f18aca6ee57c0e5b207679c82be9750dfde15c4d6231
    oak,
    fig,
    """
    content, of = hashlib.sha256(), title(path)
    with replacing(path) as temporary, temporary.open("wb") as file:

        def write(text: str) -> None:
            content.update(text.encode())
            file.write(text.encode())

        writer = csv.writer(SimpleNamespace(write=write), lineterminator="\n")
        writer.writerow([*columns, f"{f'of {of} ' if of else ''}{f'by {by} ' if by else ''}{ZEROS}"])
        place = file.tell() - len("0" * 64 + "\n")
        writer.writerows([*row, ""] for row in rows)
        file.seek(place)
        file.write(content.hexdigest().encode())


@dataclass(frozen=True)
class Table:
    """A table that is read."""

    columns: list[str]
    rows: Iterator[list[str]]
    """As many texts as there are columns; behind the last row, a `ValueError` says if the table was altered."""
    of: str
    """Which file of the project it is; see `title`."""
    by: str
    """SHA-256 of what made it; empty if that is not known."""


def parse_csv(lines: Iterable[str], is_bound: bool = False) -> Table:
    """Return the table that lines with their ends are.

    Args:
        is_bound: the lines are known to be what they were, by Git or by DVC: they need no seal, as earlier versions
            wrote none.

    Raises:
        ValueError, csv.Error: `write_csv` did not write them, or they were altered.
    """
    head: list[str] = []
    content, lines = hashlib.sha256(), iter(lines)

    def hashed() -> Iterator[str]:
        for line in lines:
            content.update(line.encode())
            yield line

    for line in lines:  # a name may have several lines
        head.append(line)
        if seal := SEAL.fullmatch(line.removesuffix("\n").rpartition(",")[2]):
            break
    else:
        if not is_bound:
            raise ValueError
        reader = csv.reader(head, strict=True)
        return Table(next(reader), reader, "", "")
    header = next(csv.reader(head, strict=True))
    before, _, behind = "".join(head).rpartition(f"sha256:{seal[3]}")
    content.update(f"{before}{ZEROS}{behind}".encode())

    def rows() -> Iterator[list[str]]:
        for row in csv.reader(hashed(), strict=True):
            if len(row) != len(header) or row[-1]:
                raise ValueError
            yield row[:-1]
        if content.hexdigest() != seal[3]:
            raise ValueError

    return Table(header[:-1], rows(), seal[1] or "", seal[2] or "")


@contextmanager
def reading_csv(path: Path, is_bound: bool = False) -> Iterator[Table]:
    """Read a table that `write_csv` wrote; see `parse_csv`.

    Raises:
        UserError: it is missing, damaged, or another one than its path says; or the block raises what it does then.
    """
    with reading(path), path.open(encoding="utf-8", newline="") as file:
        table = parse_csv(file, is_bound)
        require_title(path, table.of)
        yield table


def title(path: Path) -> str:
    """Return which of a project's files of one kind a path in its folder names, so that no other is taken for it.

    Elsewhere, files can be called anything.

    >>> title(Path("data/history/full.csv")), title(Path("models/variants/full.keras")), title(Path("/tmp/full.csv"))
    ('history/full', 'variants/full', '')
    """
    first, *inner = Path(os.path.relpath(path)).with_suffix("").parts or ("",)
    is_named = first == "data" or (first == "models" and inner[:1] in (["backbones"], ["variants"]))
    return "/".join(inner) if is_named and len(inner) > 1 else ""


def require_title(path: Path, found: str) -> None:
    """Raise a `UserError` if a file is another one of the project than its path says."""
    if (expected := title(path)) and found != expected:
        raise UserError(f"{path}: not {expected}, but {found or 'a file of no name'}; {ANEW}")
