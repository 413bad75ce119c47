"""`labels.csv`, whatever program wrote it: its cells as text."""

import csv
import io
import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator
from pathlib import Path

import pandas

from thaw.errors import UserError
from thaw.files.reading import POINTED, POINTER

NEEDED = {"path", "label"}
OPTIONAL = {"split": None, "group": ""}
"""Columns that a table need not have, and what they hold then."""
SEPARATORS = ",;\t|"
FLAGS = {"0": 0, "0.0": 0, "false": 0, "1": 1, "1.0": 1, "true": 1}
"""What says whether an image is of a class, where each class has a column."""


def read_table(path: Path, content: bytes) -> pandas.DataFrame:
    r"""Read a table: UTF-8, or UTF-16 with a byte order mark, with commas, semicolons, tabs or bars between values.

    Each value is the text that stands there, also where that reads as a number, a date or a missing value. It is not
    pandas that parses it: that would fill up rows that lack values, and does not tell the line of a row.

    Returns:
        The columns line, in which a row ends, path, label, split, and group, all text but the first; split is None and
        group empty where the table has no such column.

    Raises:
        UserError: the file is no such table.

    >>> read_table(Path("labels.csv"), b"path;label\n1.png;NA\n2.png;007\n")[["line", "label"]].values.tolist()
    [[2, 'NA'], [3, '007']]
    """
    text = _decoded(path, content)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=_separator(text), strict=True)
        names = next(filter(None, reader), [])
        _require_columns(path, names, filter(None, reader))
        rows = []
        for row in filter(None, reader):
            if len(row) != len(names):
                raise UserError(f"{path}:{reader.line_num}: expected {len(names)} values, as the first line has")
            rows.append([reader.line_num, *row])
    except csv.Error as error:
        raise UserError(f"{path}:{reader.line_num}: no CSV: {error}") from None
    table = pandas.DataFrame(rows, columns=["line", *names], dtype=object).astype({"line": int})
    return table.assign(**{name: value for name, value in OPTIONAL.items() if name not in table})


def _decoded(path: Path, content: bytes) -> str:
    """Return a table's text, without a byte order mark."""
    if content.startswith(POINTER):
        raise UserError(f"{path}: no table, but {POINTED}")
    encoding = "UTF-16" if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "UTF-8"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        text = content[: error.start].decode(encoding) + "\0"
    wrong = text.find("\0")  # UTF-16 and UTF-32 without a mark have it, workbooks, and what is compressed
    if wrong < 0:
        return text.removeprefix("\ufeff")
    line = 1 + io.StringIO(text[:wrong], newline=None).read().count("\n")
    raise UserError(f"{path}:{line}: no text in {encoding}; save the table as CSV in UTF-8")


def _separator(text: str) -> str:
    """Return what stands between the names of the columns; a comma if they are others."""
    line = next((one for one in io.StringIO(text, newline=None) if one != "\n"), "").rstrip("\n")
    return next((one for one in SEPARATORS if {*_plain(line.replace('"', "").split(one))} >= NEEDED), ",")


def _plain(names: list[str]) -> list[str]:
    return [name.strip().lower() for name in names]


def _is_one_hot(row: list[str]) -> bool:
    """Say whether a row has something in its first column, and in the others a 1 among zeros."""
    values = [FLAGS.get(value.strip().lower()) for value in row[1:]]
    return len(values) > 1 and None not in values and sum(filter(None, values)) == 1


def _require_columns(path: Path, found: list[str], rows: Iterator[list[str]]) -> None:
    hint = ""
    named = [one for one in found if one]
    if len({*named}) < len(named):
        hint = "; a column is there twice"
    elif NEEDED <= {*found} <= {*NEEDED, *OPTIONAL}:
        return
    elif NEEDED <= {*_plain(found)} <= {*NEEDED, *OPTIONAL}:
        hint = "; write the names without spaces and capital letters"
    elif {*_plain(found)} >= NEEDED:
        hint = "; leave out the others"
    elif found[:1] and found[0].startswith("sep="):
        hint = "; remove that line, the separator is found without it"
    elif len(found) == 1 and {*re.findall("[a-z]+", found[0].lower())} >= NEEDED:
        hint = "; that is one column: put commas between names and values, and no quotes around whole lines"
    elif _is_one_hot(next(rows, [])):
        hint = "; if each class has a column, write the name of the one that is 1 as label"
    else:
        hint = "; the first line has to name them so"
    shown = ", ".join(one if one and one.isprintable() and one == one.strip() else repr(one) for one in found) or "none"
    raise UserError(f"{path}: expected the columns path, label and perhaps split, group; got {shown}{hint}")
