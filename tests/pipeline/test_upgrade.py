"""A project that begins from Thaw takes up a newer Thaw, by the commands that the README prints."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT, Outcome, Project, make_project
from tests.toy import commit, git

BEGIN = """
git clone {thaw} trees && cd trees
git remote rename origin thaw
"""
BEGIN_FROM_TEMPLATE = """
git remote add thaw {thaw}
git fetch thaw
git merge --strategy ours --allow-unrelated-histories \
  "$(git log thaw/main --format='%H %T' | grep --max-count 1 "$(git log --max-parents=0 --format=%T)" | cut -c -40)"
"""
UPGRADE = "make upgrade"
IMPORTED = "outs: [{path: vehicles, hash: md5, md5: 0123456789abcdef0123456789abcdef.dir}]\n"
OWN = ("params.yaml", "dvc.lock", "metrics", "data/label_issues")


def shell(project: Project, command: str) -> Outcome:
    author = {f"GIT_{who}_{what}": "a" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    done = subprocess.run(
        ["bash", "-ec", command],
        cwd=project.folder,
        env=project.environment | author | {"LC_ALL": "C"},
        text=True,
        capture_output=True,
        check=False,
    )
    return Outcome(done.returncode, done.stdout + done.stderr)


def done(project: Project, command: str) -> str:
    outcome = shell(project, command)
    assert outcome.code == 0, outcome.text
    return outcome.text


def append(project: Project, *names: str) -> None:
    """Append a comment to files, which says whose it is."""
    for name in names:
        with (project.folder / name).open("a") as file:
            file.write(f"\n# {project.folder.name}'s\n")


def own(project: Project) -> dict[str, bytes]:
    """Return the files in which a project's parameters and results are."""
    files = [path for name in OWN for path in [project.folder / name, *(project.folder / name).rglob("*")]]
    return {path.relative_to(project.folder).as_posix(): path.read_bytes() for path in files if path.is_file()}


def test_without_the_remote_its_command_is_named(plain: Path, tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    project = Project(tmp_path, plain)
    git(tmp_path, "init", "--quiet")
    commit(project)
    outcome = shell(project, UPGRADE)
    assert outcome.code == 2
    assert "add it: git remote add thaw https://" in outcome.text
    assert "Could not read from remote repository" not in outcome.text


@pytest.fixture(scope="module", params=["a clone", "from GitHub's template"])
def began(request: pytest.FixtureRequest, warm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with Thaw, and with a project that began from it; in both, all has changed since."""
    folder = tmp_path_factory.mktemp("began")
    thaw, trees = make_project(folder / "thaw", warm), Project(folder / "trees", warm)
    git(thaw.folder, "branch", "--move", "main")
    for name in ("Makefile", "params.yaml", "dvc.lock"):
        shutil.copy(ROOT / name, thaw.folder / name)
    for name in ("metrics", "recipes"):
        shutil.copytree(ROOT / name, thaw.folder / name)
    commit(thaw)

    if request.param == "a clone":
        done(Project(folder, warm), BEGIN.format(thaw=thaw.folder))
    else:  # a first commit of the same files
        shutil.copytree(thaw.folder, trees.folder, ignore=shutil.ignore_patterns(".git"))
        git(trees.folder, "init")
        commit(trees)
    done(trees, "python -m commands start vehicles")
    git(trees.folder, "rm", "metrics/full.json")
    append(trees, "dvc.lock", "metrics/comparison.md", "commands/tables.py")
    (trees.folder / "metrics" / "mine.json").write_text("{}\n")
    (trees.folder / "metrics" / "[my] nötes.md").write_text("mine\n")
    (trees.folder / "data" / "label_issues" / "pooled.csv").write_text("mine\n")
    (trees.folder / "data" / "raw" / "vehicles.dvc").write_text(IMPORTED)
    commit(trees)

    append(thaw, "params.yaml", "dvc.lock", "metrics/comparison.md", "metrics/report.html", "metrics/full.json")
    append(thaw, "thaw/stage.py", "dvc.yaml")
    (thaw.folder / "metrics" / "half.json").unlink()
    for name in ("metrics/new.json", "data/label_issues/bottleneck.csv", "commands/new.py"):
        (thaw.folder / name).write_text("{}\n")
    commit(thaw)
    if request.param != "a clone":
        before = own(trees)
        done(trees, BEGIN_FROM_TEMPLATE.format(thaw=thaw.folder))
        assert own(trees) == before
    return folder


@pytest.fixture
def trees(began: Path, warm: Path, tmp_path: Path) -> Project:
    """A copy of the project, beside a copy of that Thaw."""
    project = Project(shutil.copytree(began, tmp_path / "began", symlinks=True) / "trees", warm)
    git(project.folder, "remote", "set-url", "thaw", "../thaw")
    return project


def test_the_code_is_the_newer_one_and_parameters_and_results_are_the_projects(trees: Project) -> None:
    before = own(trees)
    done(trees, UPGRADE)
    assert own(trees) == before
    assert done(trees, "git status --porcelain") == ""
    # Beside what is the project's own, its code differs from Thaw's where the project changed it.
    assert done(trees, "git diff --name-only thaw/main -- . ':!metrics'").split() == [
        "commands/tables.py",
        "data/label_issues/bottleneck.csv",
        "data/label_issues/pooled.csv",
        "data/raw/vehicles.dvc",
        "dvc.lock",
        "params.yaml",
    ]
    planned = done(trees, "python -m commands plan")
    assert "tensors@lite224" in planned
    assert "Not here, but needed: `dvc pull data/raw/vehicles`." in planned

    head = done(trees, "git rev-parse HEAD")
    assert "Already up to date." in done(trees, UPGRADE)
    assert done(trees, "git rev-parse HEAD") == head
    assert own(trees) == before


def test_a_project_that_has_committed_no_results_gets_none(trees: Project) -> None:
    git(trees.folder, "rm", "-r", "metrics", "dvc.lock", "data/label_issues/pooled.csv")
    commit(trees)
    done(trees, UPGRADE)
    assert {*own(trees)} == {"params.yaml", "data/label_issues/README.md"}
    assert done(trees, "git status --porcelain") == ""


def test_what_is_not_committed_is_not_lost(trees: Project) -> None:
    append(trees, "params.yaml")
    before, head = own(trees), done(trees, "git rev-parse HEAD")
    outcome = shell(trees, UPGRADE)
    assert outcome.code != 0
    assert "error: there are changes that are not committed; commit first\n" in outcome.text
    assert (own(trees), done(trees, "git rev-parse HEAD")) == (before, head)


def test_code_that_both_changed_is_all_that_has_to_be_merged_by_hand(trees: Project) -> None:
    append(trees, "thaw/stage.py")
    commit(trees)
    before = own(trees)
    assert shell(trees, UPGRADE).code != 0
    assert done(trees, "git diff --name-only --diff-filter=U").split() == ["thaw/stage.py"]
    append(trees, "thaw/stage.py")
    done(trees, "git add thaw/stage.py && git commit --no-edit")
    assert own(trees) == before
    assert "Already up to date." in done(trees, UPGRADE)


def test_a_newer_thaw_that_would_overwrite_a_file_that_git_does_not_have_is_not_taken(trees: Project) -> None:
    (trees.folder / "metrics" / "new.json").write_text("mine\n")
    before, head = own(trees), done(trees, "git rev-parse HEAD")
    outcome = shell(trees, UPGRADE)
    assert outcome.code != 0
    assert "would be overwritten by merge:\n\tmetrics/new.json" in outcome.text
    assert (own(trees), done(trees, "git rev-parse HEAD")) == (before, head)
