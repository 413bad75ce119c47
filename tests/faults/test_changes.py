"""Inputs that change while a stage runs: it fails in one line, and leaves nothing that DVC could take for a result."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.faults.conftest import Tried
from thaw.files.watching import SMALL
from thaw.files.writing import A_DAY, write_text
from thaw.params.dataset import Dataset
from thaw.params.reading import read_entry, read_node
from thaw.stage import run

PARAMS = """
dataset: {path: images, layout: class_folders, split: {method: stratified, test: 0.2, validation: 0.2, seed: 0}}
variants: {full: {start: backbones/lite0}}
"""
IMAGE = Path("images/oak/1.png")


def edited(params: Path, old: str, new: str) -> None:
    params.write_text(params.read_text().replace(old, new))


def back_dated(path: Path) -> None:
    """Change a file, and have the system say that it is as old as before."""
    stat = path.stat()
    path.write_bytes(b"other")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def replaced(path: Path) -> None:
    """Put another file of the same size and age in a file's place."""
    stat = path.stat()
    other = path.with_name("other")
    other.write_bytes(path.read_bytes()[::-1])
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    other.replace(path)


MODULE = Path("stages_of_mine.py")
"""Stands for a module of the project."""
LATE = Path("imported_late.py")
"""Another, which is imported while the stage runs."""


def imported(then: Callable[[], object]) -> None:
    """Import that module, and do something."""
    sys.modules["stages.late"] = SimpleNamespace(__file__=str(LATE.resolve()))  # type: ignore[assignment]
    then()


def rewritten(path: Path) -> None:
    """Change a file at this moment: the system's clock for files is coarse."""
    path.write_text("value = 2\n")
    os.utime(path, ns=(time.time_ns(),) * 2)


CHANGES: dict[str, tuple[Callable[[], object], str]] = {
    "its entry edited": (lambda: edited(Path("params.yaml"), "seed: 0", "seed: 1"), "params.yaml: dataset: changed"),
    "its entry gone": (lambda: edited(Path("params.yaml"), "dataset:", "data:"), "params.yaml: dataset: there is no"),
    "a section edited": (lambda: edited(Path("params.yaml"), "lite0", "lite1"), "params.yaml: variants: changed"),
    "params.yaml no YAML": (lambda: Path("params.yaml").write_text("{"), "params.yaml:1: not valid YAML"),
    "params.yaml gone": (lambda: Path("params.yaml").unlink(), "params.yaml: no such file"),
    "an image added": (lambda: Path("images/oak/3.png").write_bytes(b"3"), "images: changed"),
    "an image removed": (IMAGE.unlink, "images: changed"),
    "an image changed": (lambda: back_dated(IMAGE), "images: changed"),
    "an image renamed": (lambda: IMAGE.rename("images/oak/4.png"), "images: changed"),
    "an image replaced": (lambda: replaced(IMAGE), "images: changed"),
    "a file changed": (lambda: back_dated(Path("input.h5")), "input.h5: changed"),
    "a file replaced": (lambda: replaced(Path("input.h5")), "input.h5: changed"),
    "a large file changed": (lambda: back_dated(Path("large.h5")), "large.h5: changed"),
    "a large file replaced": (lambda: replaced(Path("large.h5")), "large.h5: changed"),
    "code edited": (lambda: MODULE.write_text("value = 2\n"), f"{MODULE}: changed"),
    "code imported late edited": (lambda: imported(lambda: rewritten(LATE)), f"{LATE}: changed"),
    "code imported late removed": (lambda: imported(LATE.unlink), f"{LATE}: changed"),
    "a file removed": (lambda: Path("input.h5").unlink(), "input.h5: changed"),
}
HARMLESS: dict[str, Callable[[], object]] = {
    "nothing": lambda: None,
    "another entry edited": lambda: edited(Path("params.yaml"), "variants:", "variants: {}\nother:"),
    "a comment": lambda: edited(Path("params.yaml"), "dataset:", "# mine\ndataset:"),
    "what a desktop leaves": lambda: Path("images/oak/.DS_Store").write_bytes(b"1"),
    "code imported late": lambda: imported(lambda: None),
    "code of a time to come": lambda: imported(lambda: os.utime(LATE, (time.time() + A_DAY,) * 2)),
    "code saved again": lambda: MODULE.write_text("value = 1\n"),
    "a small file saved again": lambda: Path("input.h5").write_bytes(b"rows"),
    "another file": lambda: Path("input.txt").write_text("1"),
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(PARAMS)
    IMAGE.parent.mkdir(parents=True)
    for number in (1, 2):
        IMAGE.with_name(f"{number}.png").write_bytes(b"%d image" % number)
    Path("input.h5").write_bytes(b"rows")
    Path("large.h5").write_bytes(bytes(SMALL + 1))
    MODULE.write_text("value = 1\n")
    LATE.write_text("value = 1\n")
    os.utime(LATE, (1, 1))
    monkeypatch.setitem(sys.modules, "stages.late", None)
    monkeypatch.setitem(sys.modules, "stages.mine", SimpleNamespace(__file__=str(MODULE.resolve())))
    return tmp_path


def started(monkeypatch: pytest.MonkeyPatch, change: Callable[[], object], with_section: bool) -> object:
    """Run a stage during which something changes, and return with what the process ends; None if it succeeds."""

    def stage(params: Path, entry: str, folder: Path, inputs: Path, large: Path, table: Path, more: Path) -> None:
        read_entry(params, entry, Dataset)
        if with_section:
            read_node(params, "variants")
        write_text(table, "half")
        write_text(table, "whole")
        change()
        write_text(more, "whole")

    paths = {"params": "params.yaml", "folder": "images", "inputs": "input.h5", "large": "large.h5"}
    paths |= {"table": "table.csv", "more": "more.csv"}
    words = [word for name, path in paths.items() for word in (f"--{name}", path)]
    monkeypatch.setattr(sys, "argv", ["stage", *words, "--entry", "dataset"])
    try:
        run(stage)
    except SystemExit as leaving:
        return leaving.code
    return None


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_what_a_stage_reads_is_told_and_nothing_is_left(
    project: Path, monkeypatch: pytest.MonkeyPatch, change: str, tried: Tried
) -> None:
    Path("table.csv").write_text("of an earlier run")
    made, words = CHANGES[change]
    told = started(monkeypatch, made, with_section=change == "a section edited")
    assert isinstance(told, str)
    assert told.startswith(f"error: {words}")
    assert "\n" not in told
    assert not Path("table.csv").exists()
    assert not Path("more.csv").exists()
    tried("an input", change, "named")


@pytest.mark.parametrize("change", HARMLESS)
def test_what_no_stage_reads_may_change(
    project: Path, monkeypatch: pytest.MonkeyPatch, change: str, tried: Tried
) -> None:
    Path("table.csv").write_text("of an earlier run")
    assert started(monkeypatch, HARMLESS[change], with_section=False) is None
    assert [Path(name).read_text() for name in ("table.csv", "more.csv")] == ["whole", "whole"]
    tried("what is no input", change, "harmless")
