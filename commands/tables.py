"""Tables as Markdown, or as text in columns."""

import re

from tabulate import tabulate


def table_lines(header: list[str], rows: list[list[str]], markdown: bool) -> list[str]:
    """Return a table's lines.

    Args:
        header: the columns' titles.
        rows: as many cells each; a cell may have several lines.
        markdown: for GitHub; otherwise, for a terminal.

    >>> table_lines(["stage", "because"], [["train@full", "epochs: 8 → 4"]], markdown=True)
    ['| stage | because |', '| --- | --- |', '| train@full | epochs: 8 → 4 |']
    """
    if markdown:
        marked = [[escaped(one).replace("\n", "<br>") for one in row] for row in (header, *rows)]
        return [f"| {' | '.join(row)} |" for row in (marked[0], ["---"] * len(header), *marked[1:])]
    text = tabulate(rows, header, tablefmt="plain", disable_numparse=True)
    return [line.rstrip() for line in text.split("\n")]


def escaped(text: str) -> str:
    """Return a text that Markdown shows as it is; an underscore within a word is none to it."""
    return re.sub(r"[\\`*\[\]<>&|~]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", text)
