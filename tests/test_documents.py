"""What the documents for contributors name is there, and so is every option of a command that any of them prints."""

import argparse
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from commands.__main__ import COMMANDS
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


PRINTED = re.compile(rf"(thaw (?:{'|'.join(COMMANDS)})|python -m stages\.check)\b((?: +[^\s`#|>]+)+)")


def printed_commands() -> Iterator[tuple[str, set[str], set[str]]]:
    """Yield the commands of Thaw that documents print with arguments, each with the options that it has and takes."""
    for path in [ROOT / "Makefile", *ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob(".github/**/*.yml")]:
        text = path.read_text(encoding="utf-8")
        code = (
            re.findall(r"^```.*?^```|`[^`]+`", text, flags=re.MULTILINE | re.DOTALL) if path.suffix == ".md" else [text]
        )
        for command, arguments in PRINTED.findall("\n".join(code)):
            takes = {"--params", "--manifest"}
            if command.startswith("thaw"):
                parser = argparse.ArgumentParser()
                import_module(f"commands.{command.split()[1]}").add_arguments(parser)
                takes = {*parser._option_string_actions}
            yield f"{path.name}: {command}{arguments}", {*re.findall(r" (--?[a-z][\w-]*)", arguments)}, takes


def test_every_command_that_is_printed_has_such_options() -> None:
    printed = [*printed_commands()]
    assert len(printed) > 20
    assert [command for command, has, takes in printed if not has <= takes] == []
    assert [command for command, has, _ in printed if "stages.check" in command and "--params" not in has] == []


def test_whatever_is_told_to_install_keeps_to_the_versions_that_are_pinned() -> None:
    files = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
    files += [path for floor in ("stages", "thaw", "commands") for path in ROOT.glob(f"{floor}/**/*.py")]
    told = [line for path in files for line in re.findall("pip install.*", path.read_text(encoding="utf-8"))]
    assert len(told) > 10
    others = [line for line in told if not line.startswith("pip install --constraint constraints.txt")]
    assert others == ["pip install 'ray[default]'` and the cloud's own"]  # beside `ray up`, it computes nothing


def test_every_room_is_on_the_map() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = [
        path.parent.relative_to(ROOT)
        for floor in ("stages", "thaw", "commands")
        for path in ROOT.glob(f"{floor}/*/__init__.py")
    ]
    assert len(rooms) > 15
    assert [str(room) for room in rooms if f"`{room.as_posix()}/`" not in text] == []
