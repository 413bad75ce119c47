"""`make repro JOBS=2`: independent stages side by side, with the result of one after the other."""

import copy
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from commands.repro import side_by_side, visible_gpus
from tests.conftest import PARAMS, ROOT, Outcome, Project, make_project

NEEDS: dict[str, set[str]] = {
    "pixels": set(),
    "network": set(),
    "features": {"pixels", "network"},
    "train a": {"features"},
    "train b": {"features"},
    "train c": {"network"},
    "compare": {"train a", "train b", "train c"},
}


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_a_stage_runs_behind_those_that_it_needs_and_beside_the_others(jobs: int) -> None:
    done: list[str] = []
    at_work: dict[int, str] = {}
    most = 0
    guard = threading.Lock()
    # Two stages that wait for each other: only side by side can they end.
    meet = threading.Barrier(2)

    def run(stage: str, place: int) -> bool:
        nonlocal most
        with guard:
            assert place not in at_work
            at_work[place] = stage
            most = max(most, len(at_work))
            assert NEEDS[stage] <= set(done)
        if jobs > 1 and stage in ("train a", "train b"):
            meet.wait(timeout=10)
        with guard:
            del at_work[place]
            done.append(stage)
        return True

    assert side_by_side(NEEDS, jobs, run) == []
    assert sorted(done) == sorted(NEEDS)
    assert most <= jobs


def test_behind_a_failure_nothing_is_started_and_what_runs_ends() -> None:
    ended: list[str] = []
    failed = threading.Event()

    def run(stage: str, place: int) -> bool:
        if stage == "network":
            failed.wait(timeout=10)
        if stage == "pixels":
            failed.set()
            return False
        ended.append(stage)
        return True

    assert side_by_side(NEEDS, 2, run) == ["pixels"]
    assert ended == ["network"]


@pytest.mark.parametrize(("named", "gpus"), [("", []), ("2", ["2"]), ("0,3", ["0", "3"])])
def test_the_gpus_that_the_environment_names_are_shared_out(
    named: str, gpus: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert visible_gpus() == gpus


def params() -> dict[str, Any]:
    """Return two variants that do not need each other, both quickly solved."""
    small = copy.deepcopy(PARAMS)
    del small["features"]["midway"]
    head = small["variants"]["frozen_head"]
    small["variants"] = {"one": head, "another": {**head, "fit": {**head["fit"], "C": [0.1]}}}
    return small


def thaw_repro(project: Project) -> Outcome:
    command = [sys.executable, "-m", "commands", "repro", "--jobs", "2"]
    environment = {**project.environment, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=project.folder, env=environment, text=True, capture_output=True, check=False)
    return Outcome(done.returncode, done.stdout + done.stderr)


def test_two_at_a_time_write_the_lock_that_one_after_the_other_write(warm: Path, tmp_path: Path) -> None:
    project = make_project(tmp_path / "a project", warm, params())
    lock = project.folder / "dvc.lock"
    first = thaw_repro(project)
    assert first.code == 0, first.text
    assert "train@one: Running stage 'train@one':" in first.text
    assert "train@another: variants.another: from backbones/lite0 on 9 features/bottleneck" in first.text
    assert "Data and pipelines are up to date." in first.text
    side_by_side_lock = lock.read_bytes()
    lock.unlink()
    project.repro()  # from the run cache
    assert lock.read_bytes() == side_by_side_lock

    assert ": Running stage" not in thaw_repro(project).text
    with (project.folder / "thaw" / "comparison.py").open("a") as file:
        file.write("raise SystemExit('error: no comparison')\n")
    failed = thaw_repro(project)
    assert failed.code == 1
    assert "compare: error: no comparison" in failed.text
    assert "error: failed: compare; what DVC says of it stands above" in failed.text
    assert "Traceback" not in failed.text
    assert lock.read_bytes() == side_by_side_lock
