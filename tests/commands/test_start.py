"""`thaw start`: a recipe takes the place of params.yaml, and Git has all that was there."""

import shutil
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from commands import lock, pipeline, start
from commands.plan.steps import plan
from tests.conftest import PARAMS, ROOT, Project, make_project
from tests.toy import commit, copied, git
from thaw.errors import UserError

PIPELINE = """
stages:
  manifest:
    cmd: echo ${dataset.path} > manifest.csv
    params: [dataset]
    outs: [manifest.csv]
  evaluate:
    foreach: ${variants}
    do:
      cmd: echo ${item} > scores/${key}.csv && echo '{}' > metrics/${key}.json
      deps: [manifest.csv]
      outs: ["scores/${key}.csv"]
      metrics: ["metrics/${key}.json": {cache: false}]
"""
FORMER = "dataset: {path: raw}\nvariants: {old: 1, kept: 2, other: 3}\n"
RECIPE = """\
# Trees: oaks and pines.
#   dvc add raw

# A detail.
dataset: {path: data/trees}
variants: {kept: 2, new: 3}
"""


@pytest.fixture(scope="module")
def original(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that has run and is committed, with a recipe that has only one of its variants."""
    project = Project(tmp_path_factory.mktemp("original") / "a project", plain)
    for name in ("recipes", "metrics", "scores"):
        (project.folder / name).mkdir(parents=True)
    git(project.folder, "init", "--quiet")
    assert project.dvc("init", "--quiet").code == 0
    files = {"dvc.yaml": PIPELINE, "params.yaml": FORMER, "recipes/trees.yaml": RECIPE, "metrics/notes.md": "mine\n"}
    for name, text in {**files, ".gitignore": "/scores\n/manifest.csv\n"}.items():
        (project.folder / name).write_text(text)
    project.repro()
    commit(project)
    return project


@pytest.fixture
def project(original: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy of it, in which the test runs."""
    project = copied(original, tmp_path / "a project")
    monkeypatch.chdir(project.folder)
    return project


def contents(folder: Path) -> dict[str, bytes]:
    """Return a project's files by path, without those of Git and DVC."""
    files = (path for path in folder.rglob("*") if path.is_file() and not {".git", ".dvc"} & {*path.parts})
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def status() -> set[str]:
    done = subprocess.run(["git", "status", "--porcelain"], text=True, capture_output=True, check=True)
    return {*done.stdout.splitlines()}


def refused(recipe: str | None) -> str:
    """Return what a start is refused with, which has to leave everything as it was."""
    before, tracked = contents(Path()), status()
    with pytest.raises(UserError) as caught:
        start.main(recipe)
    assert contents(Path()) == before
    assert status() == tracked
    return str(caught.value)


@pytest.mark.slow
def test_a_recipe_takes_the_place_of_the_parameters_and_git_brings_all_back(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    before, entries = contents(project.folder), lock.stages_now()
    start.main("trees")
    assert project.params.read_text() == RECIPE
    assert status() == {" M params.yaml", " M dvc.lock", "D  metrics/old.json", "D  metrics/other.json"}
    # What stays is of stages that there still are, or is none of the pipeline's.
    assert lock.stages_now() == {name: entries[name] for name in ("manifest", "evaluate@kept")}
    assert {*contents(project.folder)} == {*before} - {"metrics/old.json", "metrics/other.json"}

    lines = capsys.readouterr().out.splitlines()
    assert "metrics/old.json, metrics/other.json, their entries of dvc.lock." in lines[1]
    assert lines[3:] == [
        "",
        "Trees: oaks and pines.",
        "  dvc add raw",
        "",
        "There is no data/trees yet, where the data belong.",
    ]
    undo = lines[2].split("`")[1]
    subprocess.run(undo.split(), check=True, capture_output=True)
    assert contents(project.folder) == before
    assert status() == set()
    assert project.repro().ran == []


@pytest.mark.slow
def test_what_is_not_of_a_variant_that_is_gone_may_be_uncommitted(project: Project) -> None:
    (project.folder / "metrics" / "notes.md").write_text("not committed\n")
    (project.folder / "metrics" / "kept.json").write_text('{"not": "committed"}\n')
    start.main("trees")
    assert " M metrics/notes.md" in status()
    assert (project.folder / "metrics" / "kept.json").read_text() == '{"not": "committed"}\n'


def test_a_second_run_with_the_same_variants_removes_nothing(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    start.main("trees")
    commit(project)
    capsys.readouterr()
    start.main("trees")
    assert status() == set()
    assert "Removed" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["params.yaml", "dvc.lock", "metrics/old.json"])
def test_what_git_has_otherwise_is_not_replaced(project: Project, name: str) -> None:
    with (project.folder / name).open("a") as file:
        file.write(" \n")
    assert refused("trees") == f"{name}: not what the last commit has, and would be lost; commit first"
    git(project.folder, "add", ".")
    assert refused("trees").startswith(f"{name}: not what the last commit has")
    commit(project)
    start.main("trees")


@pytest.mark.parametrize("flag", ["--assume-unchanged", "--skip-worktree"])
def test_what_git_is_told_not_to_look_at_is_not_replaced(project: Project, flag: str) -> None:
    git(project.folder, "update-index", flag, "params.yaml")
    with project.params.open("a") as file:
        file.write("# mine\n")
    assert refused("trees").startswith("params.yaml: not what the last commit has")
    project.params.write_text(FORMER)
    start.main("trees")


@pytest.mark.parametrize("ignored", ["", "params.yaml\n"])
def test_parameters_that_git_does_not_have_are_not_replaced(project: Project, ignored: str) -> None:
    git(project.folder, "rm", "--cached", "params.yaml")
    (project.folder / ".gitignore").write_text(ignored)
    git(project.folder, "commit", "--all", "--message", "without them")
    assert refused("trees").startswith("params.yaml: not what the last commit has")


def test_parameters_and_metrics_that_are_not_there_are_none_to_lose(project: Project) -> None:
    project.params.unlink()
    (project.folder / "metrics" / "old.json").unlink()
    start.main("trees")
    assert project.params.read_text() == RECIPE
    assert "D  metrics/old.json" in status()


def test_a_recipe_that_dvc_cannot_use_changes_nothing(project: Project) -> None:
    (project.folder / "recipes" / "trees.yaml").write_text("dataset: {path: raw}\n")
    assert "variants" in refused("trees")
    project.params.rename("mine.yaml")
    assert "variants" in refused("trees")
    project.params.symlink_to("mine.yaml")
    commit(project)
    assert "variants" in refused("trees")


@pytest.mark.parametrize(
    ("recipe", "told"),
    [
        (b"variants: {}\n", "recipes/trees.yaml: dataset.path: expected the folder of the images, got null"),
        (b"dataset: {path: 5}\nvariants: {}\n", "recipes/trees.yaml: dataset.path: expected the folder of the images"),
        (b"# Caf\xe9.\ndataset: {path: raw}\n", "recipes/trees.yaml:1: not UTF-8"),
        (b"dataset: {path: raw\n", "recipes/trees.yaml:2: not valid YAML"),
    ],
)
def test_what_is_wrong_in_a_recipe_is_told_of_the_recipe(project: Project, recipe: bytes, told: str) -> None:
    (project.folder / "recipes" / "trees.yaml").write_bytes(recipe)
    assert refused("trees").startswith(told)


def test_no_terminal_obeys_a_recipe(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    (project.folder / "recipes" / "trees.yaml").write_text(f"# \x1b[31mTrees.\n{RECIPE}")
    start.main(None)
    assert capsys.readouterr().out == "  trees  \\x1b[31mTrees.\n"


def test_while_git_is_at_work_nothing_changes(project: Project) -> None:
    (project.folder / ".git" / "index.lock").touch()
    assert refused("trees").startswith("git rm metrics/old.json metrics/other.json: failed, nothing was changed")


def test_in_a_folder_of_a_larger_repository(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(project.folder / ".git")
    shutil.rmtree(project.folder / ".dvc")
    git(tmp_path, "init", "--quiet")
    assert project.dvc("init", "--quiet", "--subdir").code == 0
    commit(Project(tmp_path, project.python))
    start.main("trees")
    assert not (project.folder / "metrics" / "old.json").exists()
    assert (project.folder / "metrics" / "kept.json").exists()
    assert "metrics/old.json" in " ".join(status())
    with project.params.open("a") as file:
        file.write("# mine\n")
    assert refused("trees").startswith("params.yaml, dvc.lock: ")


def test_without_a_recipe_all_are_listed(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    (project.folder / "recipes" / "leaves.yaml").write_text(FORMER)
    (project.folder / "recipes" / "mine.yaml").write_bytes(b"\xef\xbb\xbf# Caf\xe9.\r\n")
    (project.folder / "recipes" / "folder.yaml").mkdir()
    start.main(None)
    assert capsys.readouterr().out == "  leaves  \n  mine    Caf\ufffd.\n  trees   Trees: oaks and pines.\n"
    assert refused("tres").startswith("tres: no such recipe; did you mean 'trees'?\n  leaves")
    assert refused("recipe").startswith("recipe: no such recipe\n")


def test_outside_git_and_outside_a_project(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(project.folder.parent))
    shutil.rmtree(project.folder / ".git")
    before = contents(project.folder)
    with pytest.raises(UserError, match="^not a Git repository, which would keep what is replaced; `git init`"):
        start.main("trees")
    assert contents(project.folder) == before
    monkeypatch.chdir(project.folder / "metrics")
    with pytest.raises(UserError, match="^recipes: no recipes are there; run this in the project's folder$"):
        start.main("trees")


@pytest.mark.slow
def test_every_recipe_says_what_it_is_and_becomes_the_pipeline(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = make_project(tmp_path / "a project", plain, PARAMS)
    shutil.copytree(ROOT / "recipes", project.folder / "recipes")
    monkeypatch.chdir(project.folder)
    start.main(None)
    recipes = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert {*recipes} == {path.stem for path in Path("recipes").iterdir()}
    assert all(sentence.endswith(".") for sentence in recipes.values())
    for name in recipes:
        commit(project)
        start.main(name)
        with pipeline.opened() as repo:
            stages = {step.stage for step in plan(repo).steps}
        variants = YAML(typ="safe").load(project.params)["variants"]
        assert {stage for stage in stages if stage.startswith("train@")} == {f"train@{one}" for one in variants}
        printed = capsys.readouterr().out
        assert "  dvc repro\n" in printed
        assert "There is no data/raw/" in printed
