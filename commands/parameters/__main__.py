"""`python -m commands.parameters` writes the schema and the reference of params.yaml anew."""

from pathlib import Path

from commands.parameters.reference import reference
from commands.parameters.schema import in_lines, schema
from thaw.files.writing import write_text

FOLDER = Path("docs")
RECIPE = Path("recipes/vehicles.yaml")
"""Where examples come from: it has every section."""


def written() -> dict[Path, str]:
    """Return the files, each with what it has to hold."""
    tree = schema()
    return {
        FOLDER / "params.schema.json": in_lines(tree) + "\n",
        FOLDER / "parameters.md": reference(tree, RECIPE.read_text(encoding="utf-8")),
    }


if __name__ == "__main__":
    for path, text in written().items():
        write_text(path, text)
