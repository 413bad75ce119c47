"""A DVC project of a few bytes, for what does not depend on what the pipeline computes."""

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from dvc.cli import main
from dvc.repo import Repo

from commands import pipeline
from tests.conftest import Project

PIPELINE = """
stages:
  text:
    cmd: tr a-z A-Z < raw.txt > text.txt
    deps: [raw.txt]
    outs: [text.txt]
  folder:
    cmd: mkdir folder && echo one > folder/1.txt && echo two > folder/2.txt
    deps: [text.txt]
    outs: [folder]
"""
RESULTS = ("raw.txt", "text.txt", "folder/1.txt", "folder/2.txt")


def git(folder: Path, *arguments: str) -> None:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *arguments]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def commit(project: Project) -> None:
    git(project.folder, "add", ".")
    git(project.folder, "commit", "--message", "work")


def make_toy(folder: Path) -> Project:
    """Make a project in which everything has run."""
    folder.mkdir()
    project = Project(folder, Path(sys.executable).parent)
    git(folder, "init", "--quiet")
    dvc(project, "init", "--quiet")
    (folder / "raw.txt").write_text("raw\n" * 100)
    (folder / "dvc.yaml").write_text(PIPELINE)
    dvc(project, "add", "--quiet", "raw.txt")
    dvc(project, "repro", "--quiet")
    commit(project)
    return project


def copied(project: Project, folder: Path) -> Project:
    return Project(Path(shutil.copytree(project.folder, folder)), project.python)


def dvc(project: Project, *arguments: str) -> None:
    """Do what a command of DVC does, in this process, which is faster; it must succeed."""
    with contextlib.chdir(project.folder):
        assert main(list(arguments)) == 0


@contextlib.contextmanager
def opened(project: Project) -> Iterator[Repo]:
    """Open a project as the commands do, which are started in its folder."""
    with contextlib.chdir(project.folder), pipeline.opened() as repo:
        yield repo


def results(project: Project) -> dict[str, bytes]:
    return {name: (project.folder / name).read_bytes() for name in RESULTS}


def runs(project: Project) -> set[str]:
    """Return what is in a project's run cache."""
    folder = project.folder / ".dvc" / "cache" / "runs"
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
