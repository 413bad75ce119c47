"""The table of labels that may be wrong, one row per image."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from thaw.errors import UserError
from thaw.files import write_csv
from thaw.formats.metrics import DIGITS

LABEL_ISSUE_COLUMNS = ["path", "given", "suggested", "quality", "suspected"]


@dataclass(frozen=True)
class LabelIssue:
    """An image that seems to show another class than its own."""

    path: str
    """The image's path below the data set's folder."""
    given: str
    """The name of its class."""
    suggested: str
    """The name of the likeliest class."""
    quality: float
    """From 0 to 1, the less the likelier its label is wrong."""
    suspected: bool
    """Whether its label is thought to be wrong; else the image may only be a hard one."""


def write_label_issues(path: Path, issues: list[LabelIssue]) -> None:
    """Write rows as CSV, in their order.

    >>> write_label_issues(Path("bottleneck.csv"), [LabelIssue("oak/1.jpg", "oak", "fig", 0.01, True)])
    >>> print(Path("bottleneck.csv").read_text(), end="")
    path,given,suggested,quality,suspected
    oak/1.jpg,oak,fig,0.010000,yes
    """
    rows = [
        [one.path, one.given, one.suggested, f"{one.quality:.{DIGITS}f}", "yes" if one.suspected else "no"]
        for one in issues
    ]
    write_csv(path, LABEL_ISSUE_COLUMNS, rows)


def read_label_issues(path: Path) -> list[LabelIssue]:
    """Read rows.

    Raises:
        UserError: the file is missing, or is not one that `write_label_issues` wrote.
    """
    try:
        return parse_label_issues(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; `dvc repro` makes it, Git has it") from None


def parse_label_issues(text: str, name: str) -> list[LabelIssue]:
    """Return the rows of a table.

    Args:
        text: what `write_label_issues` wrote.
        name: where it is from, for the message.

    Raises:
        UserError: it is something else.
    """
    try:
        header, *rows = csv.reader(io.StringIO(text, newline=""))
        if header != LABEL_ISSUE_COLUMNS:
            raise ValueError
        return [
            LabelIssue(image, given, suggested, float(quality), {"yes": True, "no": False}[suspected])
            for image, given, suggested, quality, suspected in rows
        ]
    except (ValueError, KeyError):
        raise UserError(f"{name}: not a table of label issues; delete it and run `dvc repro`") from None
