"""What benchmarks start can run as it is written: scripts in texts, and stages, which benchmarks call by themselves."""

import ast
import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from benchmarks.measuring import most_memory
from tests.conftest import ROOT


def scripts() -> dict[str, str]:
    """Return the scripts that stand in texts, by their module's and their own name; what is filled in is None."""
    found = {}
    for path in sorted((ROOT / "benchmarks").glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant | ast.JoinedStr):
                parts = getattr(node.value, "values", [node.value])
                text = "".join(str(part.value) if isinstance(part, ast.Constant) else "None" for part in parts)
                if "\nimport " in text:
                    found[f"{path.stem}.{ast.unparse(node.targets[0])}"] = text
    return found


def test_scripts_have_what_they_name() -> None:
    found = scripts()
    assert len(found) > 3
    for name, text in found.items():
        command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F", "-"]
        done = subprocess.run(command, input=text, text=True, capture_output=True, check=False)
        assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"


def test_the_most_memory_of_a_process_is_not_that_of_whoever_started_it() -> None:
    large = bytearray(200 * 2**20)
    code = "from benchmarks.measuring import most_memory; print(most_memory())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True, check=True)
    assert 1 < float(done.stdout) < len(large) / 2**20 < most_memory()
    assert not any("ru_maxrss" in text for text in scripts().values())


@pytest.mark.slow
def test_stages_are_called_by_their_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import project
    from benchmarks.networks import LITE0

    called: list[list[str]] = []
    monkeypatch.setattr(project, "build_backbone", lambda _: None)
    monkeypatch.setattr(project.models, "save", lambda *_: None)
    monkeypatch.setattr(project.manifest, "main", lambda *_: None)
    monkeypatch.setattr(project.subprocess, "run", lambda words, **_: called.append(words))
    project.Project(tmp_path, LITE0).run("float32")
    assert len(called) == 2
    for _, _, module, *arguments in called:
        main = import_module("stages.features.__main__" if module == "stages.features" else module).main
        assert arguments[::2] == [f"--{name}" for name in inspect.signature(main).parameters]
