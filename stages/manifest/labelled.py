"""Images and what is said of them, and what all layouts ask of names."""

from dataclasses import dataclass
from pathlib import Path

from thaw.errors import UserError
from thaw.images.reading.archives import is_text
from thaw.params.labels import LATIN, alike, is_formula, unreadable

SHOWN = 10
"""The most lines of a message, or names in one."""


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


def require_text(folder: Path, images: list[Labelled], beside: list[Skipped]) -> None:
    for path in [*(one.path for one in beside), *(image.path for image in images)]:
        if not is_text(path):
            raise UserError(f"{folder}: the file name {path!r} is not UTF-8 text or has control characters; rename it")
        if is_formula(path):
            raise UserError(f"{folder}: the file name {path!r} is a formula to spreadsheets; rename it")


def refuse_labels(source: Path, places: dict[str, str]) -> None:
    """Raise a UserError unless labels can be read and told apart; `places` says for each where it first stands."""
    for group in alike(places):
        shown = ", ".join(f"{label!r} ({places[label]})" for label in group)
        odd = "".join(f"; {one!r} is {one!a}" for one in group if not one.isascii() and one.translate(LATIN).isascii())
        raise UserError(f"{source}: these classes look the same: {shown}{odd}; write them in one way")
    for label, place in places.items():
        reason = unreadable(label)
        if reason:
            raise UserError(f"{source}: the class {label!r} ({place}) {reason}; write it without")


def from_zero(least: int) -> str:
    """Return what to do where the least number of a class is not 0."""
    return f"; numbers begin with {least} here, but with 0 in dataset.classes: subtract {least}" if least > 0 else ""
