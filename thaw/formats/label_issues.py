"""The table of labels that may be wrong, one row per image."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from thaw.formats.sealed_csv import DIGITS, reading_csv, write_csv

LABEL_ISSUE_COLUMNS = ["path", "given", "suggested", "quality", "suspected"]


@dataclass(frozen=True, slots=True)
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


def write_label_issues(path: Path, issues: list[LabelIssue], features: str = "") -> None:
    """Write rows as CSV, in their order.

    Args:
        features: `RowFile.digest` of those by which the labels were judged.

    >>> write_label_issues(Path("bottleneck.csv"), [LabelIssue("oak/1.jpg", "oak", "fig", 0.01, True)])
    >>> read_label_issues(Path("bottleneck.csv"))
    [LabelIssue(path='oak/1.jpg', given='oak', suggested='fig', quality=0.01, suspected=True)]
    """
    rows = [
        [one.path, one.given, one.suggested, f"{one.quality:.{DIGITS}f}", "yes" if one.suspected else "no"]
        for one in issues
    ]
    write_csv(path, LABEL_ISSUE_COLUMNS, rows, features)


def read_label_issues(path: Path) -> list[LabelIssue]:
    """Read rows.

    Raises:
        UserError: the file is missing, damaged, or not one that `write_label_issues` wrote.
    """
    with reading_csv(path) as table:
        if table.columns != LABEL_ISSUE_COLUMNS:
            raise ValueError
        return label_issues(table.rows)


def label_issues(rows: Iterable[list[str]]) -> list[LabelIssue]:
    """Return the rows of a table.

    Raises:
        ValueError, KeyError: `write_label_issues` did not write them.
    """
    return [
        LabelIssue(image, given, suggested, float(quality), {"yes": True, "no": False}[suspected])
        for image, given, suggested, quality, suspected in rows
    ]
