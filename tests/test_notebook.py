"""The notebook shows what a finished pipeline has made."""

import json
from pathlib import Path
from typing import Any

import matplotlib
import pytest

from tests.conftest import CLASSES, ROOT, Project

CELLS: list[dict[str, Any]] = json.loads((ROOT / "docs" / "look.ipynb").read_text(encoding="utf-8"))["cells"]
CODE = [cell for cell in CELLS if cell["cell_type"] == "code"]


def test_no_outputs_are_committed() -> None:
    assert [(cell["outputs"], cell["execution_count"]) for cell in CODE] == [([], None)] * len(CODE)


def test_every_cell_runs_on_a_finished_project(
    finished: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    matplotlib.use("agg")
    monkeypatch.chdir(finished.folder / "metrics")  # from where it finds the project, as it does from docs
    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in CODE:
        exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    assert Path.cwd() == finished.folder
    scores = json.loads((finished.folder / "metrics" / "full.json").read_text())["test"]
    wrong = scores["images"] - scores["correct"]
    assert capsys.readouterr().out == f"{wrong} of {scores['images']} are taken for another class\n"
    assert len(names["wrong"]) == wrong
    assert names["layout"].shape == (len(names["train"]), 2)
    assert {*names["train"]["label"]} == {*CLASSES}
