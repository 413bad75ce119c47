"""Commands side by side: two clones with one cache, one store of rows and one remote; two queues of experiments."""

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import PARAMS, Project
from tests.faults.conftest import Tried
from tests.faults.test_kills import contents, locked
from tests.toy import commit, dvc, git

pytestmark = [pytest.mark.slow, pytest.mark.long_form]


@pytest.fixture
def clones(finished: Project, tmp_path: Path) -> list[Project]:
    """Two copies of the finished project, in which nothing has run; they share all that can be shared."""
    made = []
    for name in ("one", "other"):
        project = Project(tmp_path / name, finished.python)
        shutil.copytree(finished.folder, project.folder, ignore=shutil.ignore_patterns("tmp", "cache", ".thaw"))
        for entry in locked(project).values():
            for out in (project.folder / one["path"] for one in entry["outs"]):
                shutil.rmtree(out) if out.is_dir() else out.unlink()
        (project.folder / "dvc.lock").unlink()
        dvc(project, "config", "cache.dir", str(tmp_path / "cache"))
        dvc(project, "config", "core.site_cache_dir", str(tmp_path / "site"))
        dvc(project, "remote", "add", "--quiet", "--default", "store", str(tmp_path / "store"))
        dvc(project, "add", "--quiet", PARAMS["dataset"]["path"])
        commit(project)
        made.append(project)
    return made


def at_once(projects: list[Project], cache: Path, *words: str) -> None:
    """Run a command in each project at the same time; all must succeed."""
    running = [
        subprocess.Popen(
            ["python", "-m", *words],
            cwd=project.folder,
            env={**project.environment, "THAW_CACHE": str(cache)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for project in projects
    ]
    texts = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0] * len(projects), "\n\n".join(texts)


def made_by(project: Project) -> dict[str, str]:
    outs = [project.folder / one["path"] for entry in locked(project).values() for one in entry["outs"]]
    found = contents([*outs, project.folder / "dvc.lock"])
    return {str(Path(path).relative_to(project.folder)): digest for path, digest in found.items()}


def test_two_clones(clones: list[Project], finished: Project, tried: Tried, tmp_path: Path) -> None:
    at_once(clones, tmp_path / "rows", "dvc", "repro")
    wanted = made_by(finished)
    assert [made_by(project) for project in clones] == [wanted, wanted]
    tried("dvc repro", "in two clones at once", "the same bytes")

    at_once(clones, tmp_path / "rows", "dvc", "push", "--run-cache")
    third = Project(tmp_path / "third", finished.python)
    commit(clones[0])
    git(tmp_path, "clone", "--quiet", str(clones[0].folder), str(third.folder))
    dvc(third, "config", "cache.dir", str(tmp_path / "another cache"))
    dvc(third, "pull", "--quiet")
    assert made_by(third) == wanted
    tried("dvc push", "from two clones at once", "the same bytes")


def test_two_queues(clones: list[Project], tried: Tried, tmp_path: Path) -> None:
    at_once(clones, tmp_path / "rows", "dvc", "repro")
    for project in clones:
        commit(project)
        for rate in (2e-4, 3e-4):
            rates = f"variants.half.fit.optimizer.Adam.learning_rate={rate}"
            assert project.dvc("exp", "run", "--queue", "--name", f"rate-{rate}", "-S", rates).code == 0
    at_once(clones, tmp_path / "rows", "dvc", "queue", "start")
    found = []
    for project in clones:
        until = time.monotonic() + 600
        while (status := project.dvc("queue", "status").text).count("Success") < 2:
            assert "Failed" not in status, status
            assert time.monotonic() < until, status
            time.sleep(2)
        table = project.dvc("exp", "show", "--csv", "--drop", "Created|State|Executor|rev|parent")
        found.append([line for line in table.text.splitlines() if "rate-" in line])
    assert len(found[0]) == 2
    assert found[0] == found[1]
    tried("dvc queue start", "in two clones at once", "the same scores")
