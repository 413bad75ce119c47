"""People who share a Git repository and a DVC remote: nobody computes what somebody has computed."""

import copy
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.conftest import PARAMS, Project
from tests.pipeline.test_reruns import ANOTHER, CONTRACT, SHOW
from tests.planned import plan_in, repro_as_planned

RAW = PARAMS["dataset"]["path"]


def git(folder: Path, *arguments: str, check: bool = True) -> None:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *arguments]
    subprocess.run(command, cwd=folder, check=check, capture_output=True)


def commit(project: Project) -> None:
    git(project.folder, "add", ".")
    git(project.folder, "commit", "--message", "work")


def clone(shared: Project, folder: Path) -> Project:
    git(folder.parent, "clone", str(shared.folder), str(folder))
    return Project(folder, shared.python)


def done(project: Project, *arguments: str) -> None:
    outcome = project.dvc(*arguments)
    assert outcome.code == 0, outcome.text


def entries(project: Project) -> dict[str, Any]:
    """Return the entries of dvc.lock by stage."""
    return dict(YAML(typ="safe").load(project.folder / "dvc.lock")["stages"])


def objects(project: Project) -> dict[str, int]:
    """Return the bytes of each object in a project's cache, by its hash."""
    files = (project.folder / ".dvc" / "cache" / "files" / "md5").glob("*/*")
    return {path.parent.name + path.name: path.stat().st_size for path in files}


@pytest.fixture(scope="module")
def shared(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A finished project whose raw images DVC tracks, committed and pushed."""
    folder = tmp_path_factory.mktemp("shared")
    shutil.copytree(finished.folder, folder / "project", ignore=shutil.ignore_patterns("cache"))
    # Objects never change, so they need not be copied.
    cache = Path(".dvc", "cache")
    shutil.copytree(finished.folder / cache, folder / "project" / cache, copy_function=os.link)
    project = Project(folder / "project", finished.python)
    done(project, "remote", "add", "--default", "store", str(folder / "store"))
    done(project, "add", RAW)
    commit(project)
    done(project, "push", "--run-cache")
    return project


@pytest.fixture(scope="module")
def early(shared: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A teammate's clone, in which everything has been pulled."""
    project = clone(shared, tmp_path_factory.mktemp("early") / "clone")
    done(project, "pull", "--run-cache")
    return project


@pytest.fixture(scope="module")
def late(shared: Project, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, dict[str, int]]:
    """Another one's, in which one more head was trained and pushed; and what was pulled for that."""
    project = clone(shared, tmp_path_factory.mktemp("late") / "clone")
    params = copy.deepcopy(PARAMS)
    params["variants"]["another"] = ANOTHER
    project.write_params(params)
    planned = plan_in(project.folder)
    assert planned.incomplete
    done(project, "pull", *planned.fetched)
    pulled = objects(project)
    assert project.repro("--pull", "--allow-missing").ran == ["train@another", "evaluate@another", *SHOW]
    commit(project)
    done(project, "push", "--run-cache")
    return project, pulled


IN_A_CLONE = ["a comment in params.yaml", "a module of the report", "a stage's own module"]


@pytest.mark.parametrize("name", IN_A_CLONE)
def test_in_a_fresh_clone_a_change_runs_the_same(name: str, shared: Project, tmp_path: Path) -> None:
    project = clone(shared, tmp_path / "clone")
    change, expected = CONTRACT[name]
    change(project)
    planned = plan_in(project.folder)
    if planned.fetched:
        assert project.dvc("pull", *planned.fetched).code == 0
    assert repro_as_planned(project, planned, "--pull", "--allow-missing").ran == expected


def test_after_a_pull_nothing_runs(early: Project) -> None:
    assert early.repro().ran == []
    assert (early.folder / RAW).is_dir()


def test_one_more_head_pulls_what_it_reads_and_no_more(shared: Project, late: tuple[Project, dict[str, int]]) -> None:
    project, pulled = late
    outs = {out["path"]: out for entry in entries(shared).values() for out in entry["outs"]}
    read = ["data/features/bottleneck.h5", "models/backbones/lite0.keras", "data/thumbnails.zip", "data/manifest.csv"]
    compared = [path for path in outs if path.startswith(("data/validation/", "data/predictions/", "data/history/"))]
    assert pulled == {outs[path]["md5"]: outs[path]["size"] for path in [*read, *compared]}
    assert sum(pulled.values()) < sum(out["size"] for out in outs.values()) / 2
    # Nor did running it pull more.
    assert not {out["md5"] for out in outs.values()} & (objects(project).keys() - pulled.keys())
    assert not (project.folder / RAW).exists()
    assert not (project.folder / "data" / "tensors").exists()


def test_after_a_merge_nothing_is_trained_again(early: Project, late: tuple[Project, dict[str, int]]) -> None:
    params = copy.deepcopy(PARAMS)
    params["variants"]["half"]["fit"]["optimizer"]["Adam"]["learning_rate"] = 2e-4
    early.write_params(params)
    assert early.repro().ran == ["train@half", "evaluate@half", *SHOW]
    commit(early)
    half = entries(early)["evaluate@half"]
    other, _ = late
    git(early.folder, "pull", "--no-rebase", str(other.folder), "HEAD", check=False)
    assert "<<<<<<<" in (early.folder / "dvc.lock").read_text()

    git(early.folder, "checkout", "--ours", "dvc.lock", "metrics")
    # Git has the other one's metrics, which DVC's remote has not: they are computed again, not trained.
    assert early.repro("--pull").ran == ["evaluate@another", *SHOW]
    commit(early)
    assert early.repro().ran == []
    assert entries(early)["evaluate@half"] == half
    assert entries(early)["evaluate@another"] == entries(other)["evaluate@another"]
    for name in ("comparison.md", "report.html"):
        shown = (early.folder / "metrics" / name).read_text(encoding="utf-8")
        assert "another" in shown
        assert "<<<<<<<" not in shown
