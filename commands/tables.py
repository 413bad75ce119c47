"""Tables as Markdown, or as text in columns."""


def table_lines(header: list[str], rows: list[list[str]], markdown: bool) -> list[str]:
    """Return a table's lines.

    Args:
        header: the columns' titles.
        rows: as many cells each; a cell may have several lines.
        markdown: for GitHub; otherwise, for a terminal.
    """
    if markdown:
        marked = [header, ["---"] * len(header), *([_cell(one) for one in row] for row in rows)]
        return [f"| {' | '.join(row)} |" for row in marked]
    split = [[cell.split("\n") for cell in row] for row in [header, *rows]]
    widths = [max(len(line) for row in split for line in row[column]) for column in range(len(header))]
    lines = []
    for row in split:
        for number in range(max(map(len, row))):
            cells = [cell[number] if number < len(cell) else "" for cell in row]
            lines.append("  ".join(f"{one:{width}}" for one, width in zip(cells, widths, strict=True)).rstrip())
    return lines


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", "<br>")
