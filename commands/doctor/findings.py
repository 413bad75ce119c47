"""What a check finds."""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from dvc.exceptions import DvcException

from thaw.errors import UserError, reasons

INSTALL = "python -m pip install --constraint constraints.txt --editable ."


class State(StrEnum):
    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Finding:
    """What a check finds: a line of `thaw doctor`."""

    about: str
    """The thing that was looked at, in a word or two."""
    state: State
    text: str
    command: str | None = None
    """The command that mends it."""


def checked(about: str, check: Callable[[], Finding]) -> Finding:
    """Return what a check finds; that it fails is an error that it finds."""
    try:
        return check()
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return Finding(about, State.ERROR, f"{place}{reasons(error)}")
    except (UserError, DvcException, sqlite3.DatabaseError) as error:
        return Finding(about, State.ERROR, str(error))


def amount(count: float) -> str:
    """Return a number of bytes in words.

    >>> amount(1.25e9), amount(999_999), amount(500)
    ('1.2 GB', '1.0 MB', '0 kB')
    """
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if count >= 0.9995 * size:  # what is less does not become 1000 of the smaller unit
            return f"{count / size:.{0 if count >= 100 * size else 1}f} {unit}"
    return f"{count / 1e3:.0f} kB"
