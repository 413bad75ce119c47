"""What the documents for contributors name is there."""

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT

DOCUMENTS = ("CONTRIBUTING.md", "docs/architecture.md")
FOLDERS = ("stages", "thaw", "commands", "benchmarks", "tests", "recipes", "docs", ".ci", ".devcontainer", ".github")
PATH = re.compile(rf"(?:{'|'.join(map(re.escape, FOLDERS))})/[\w./-]*|[\w-]+\.(?:md|toml|yaml)|constraints\.txt|NOTICE")


def named_paths(document: str) -> set[Path]:
    """Return the project's files and folders that a document names as code or links to; NAME stands for any."""
    text = (ROOT / document).read_text(encoding="utf-8")
    code = [word for span in re.findall(r"`+([^`]+)`+", text) for word in span.split()]
    paths = {ROOT / word for word in code if PATH.fullmatch(word) and "NAME" not in word}
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    return paths | {ROOT / Path(document).parent / link for link in links}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_that_a_document_names_is_there(document: str) -> None:
    paths = named_paths(document)
    assert len(paths) > 15
    assert [str(path) for path in sorted(paths) if not path.exists()] == []


def test_every_room_is_on_the_map() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = [
        path.parent.relative_to(ROOT)
        for floor in ("stages", "thaw", "commands")
        for path in ROOT.glob(f"{floor}/*/__init__.py")
    ]
    assert len(rooms) > 15
    assert [str(room) for room in rooms if f"`{room.as_posix()}/`" not in text] == []
