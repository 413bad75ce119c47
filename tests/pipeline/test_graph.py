"""What a stage reads is what dvc.yaml declares, nothing more and nothing less."""

import ast
import hashlib
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import grimp
import pytest
from ruamel.yaml import YAML

from tests.conftest import ROOT, STAGES, Project
from tests.toy import dvc
from thaw.machine import HAS_CUDA, HAS_NVIDIA, HAS_OPENVINO
from thaw.reuse.fingerprint import imports

DECLARED: dict[str, Any] = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
SECTIONS = (
    *("dataset", "tensors", "backbones", "features", "variants"),
    *("evaluation", "cross_validation", "seeds", "label_issues"),
)
WITHOUT_KERAS = ("check", "digits", "manifest", "tensors", "label_issues", "report")


def definition(name: str) -> dict[str, Any]:
    """Return what dvc.yaml says of one stage, or of each that a foreach makes."""
    return DECLARED[name].get("do", DECLARED[name])


def command(stage: dict[str, Any]) -> str:
    """Return the command that does a stage's work; the one before it checks params.yaml."""
    return stage["cmd"] if isinstance(stage["cmd"], str) else stage["cmd"][-1]


def declared_code(name: str) -> list[Path]:
    """Return the modules that a stage declares, and the folders that stand for all modules below them."""
    return [Path(path) for path in definition(name)["deps"] if path.startswith(("stages/", "thaw/"))]


def modules(folder: Path) -> set[Path]:
    """Return the modules below a folder in which something is run."""
    found = [path.relative_to(ROOT) for path in (ROOT / folder).rglob("*.py")]
    return {path for path in found if is_run(path)}


def is_run(path: Path) -> bool:
    """Tell whether a module is more than a docstring; nothing depends on one that is not."""
    return any(not isinstance(node, ast.Expr) for node in ast.parse((ROOT / path).read_bytes()).body)


def started(name: str) -> str:
    """Return the module that `python -m stages.NAME` runs."""
    return f"stages.{name}.__main__" if (ROOT / "stages" / name).is_dir() else f"stages.{name}"


@pytest.mark.parametrize("name", DECLARED)
def test_the_modules_that_a_stage_declares_are_those_that_it_imports(name: str) -> None:
    graph = grimp.build_graph("stages", "thaw", cache_dir=None)
    imported = {started(name)} | graph.find_upstream_modules(started(name))
    parents = {".".join(one.split(".")[:depth]) for one in imported for depth in range(1, one.count(".") + 1)}
    files = set()
    for one in imported | parents:
        path = Path(*one.split("."))
        files.add(path / "__init__.py" if (ROOT / path).is_dir() else path.with_suffix(".py"))
    files = {path for path in files if is_run(path)}
    expanded = [{path} if path.suffix else modules(path) for path in declared_code(name)]
    assert set.union(*expanded) == files
    assert sum(map(len, expanded)) == len(files)  # none twice
    # What is kept between runs goes by the same modules.
    assert files == {path.relative_to(ROOT) for path in imports(f"stages.{name}").values()}


@pytest.mark.parametrize("name", DECLARED)
def test_a_folder_is_declared_where_all_of_it_is_imported(name: str) -> None:
    declared = declared_code(name)
    assert declared == sorted(declared)
    for folder in {path.parent for path in declared if len(path.parent.parts) > 1}:
        assert not modules(folder) <= set(declared) or len(modules(folder)) == 1


@pytest.mark.parametrize("name", DECLARED)
def test_the_entries_that_a_stage_declares_are_those_that_its_command_names(name: str) -> None:
    words = shlex.split(command(definition(name)))
    named = [word for word in words if re.match(rf"({'|'.join(SECTIONS)})(\.\$|$)", word)]
    assert definition(name).get("params", []) == named


@pytest.mark.parametrize("name", [name for name in DECLARED if "params" in definition(name)])
def test_a_stage_with_params_checks_all_of_them_first(name: str) -> None:
    with_manifest = " --manifest data/manifest.csv" if name in ("tensors", "report") else ""
    assert definition(name)["cmd"][0] == f"python -m stages.check --params params.yaml{with_manifest}"


@pytest.mark.parametrize("name", WITHOUT_KERAS)
def test_a_stage_that_needs_no_keras_does_not_import_it(name: str) -> None:
    graph = grimp.build_graph("stages", "thaw", include_external_packages=True, cache_dir=None)
    assert not graph.find_upstream_modules(started(name)) & {"keras", "tensorflow", "thaw.networks.backend"}


def test_git_ignores_what_stages_write_and_dvc_keeps_and_nothing_else_of_data(tmp_path: Path) -> None:
    write_gitignore(tmp_path)
    kinds = ("outs", "plots")
    outs = [
        out for name in DECLARED for kind in kinds for out in definition(name).get(kind, []) if isinstance(out, str)
    ]
    assert len(outs) > 12
    ignored = [out.replace("${key}", "x") for out in outs]
    kept = [
        "data/label_issues/x.csv",
        "data/seeds/README.md",
        "data/labels.csv",
        "data/x.dvc",
        "data/x/oak.dvc",
        "data/raw/x.dvc",
        "data/raw/x/oak.dvc",
        "data/raw/x/.gitignore",
    ]
    for path in (*ignored, *kept):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("")
    command = ["git", "check-ignore", *ignored, *kept]
    done = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, check=True)
    assert done.stdout.split() == ignored


@pytest.mark.parametrize("place", ["data/mine", "data/mine/oak", "data/raw/mine", "data/raw/mine/oak", "photos"])
def test_images_can_be_added_to_dvc_wherever_they_are(place: str, plain: Path, tmp_path: Path) -> None:
    write_gitignore(tmp_path)
    project = Project(tmp_path, plain)
    dvc(project, "init", "--quiet")
    (tmp_path / place).mkdir(parents=True)
    (tmp_path / place / "1.png").write_text("an image")
    dvc(project, "add", place)
    command = ["git", "status", "--short", "--untracked-files=all"]
    done = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, check=True)
    assert f"?? {place}.dvc" in done.stdout
    assert "1.png" not in done.stdout


def write_gitignore(folder: Path) -> None:
    """Make a Git repository that ignores what this one does."""
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    for name in (".gitignore", "data/raw/.gitignore"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_gives_the_same_bytes_where_only_what_it_declares_is_there(
    name: str, finished: Project, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lock = YAML(typ="safe").load(finished.folder / "dvc.lock")["stages"][name]
    for dependency in lock.get("deps", []):
        source, target = finished.folder / dependency["path"], tmp_path / dependency["path"]
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    params: dict[str, Any] = {}
    for address, value in lock.get("params", {}).get("params.yaml", {}).items():
        node = params
        *parents, key = address.split(".")
        for parent in parents:
            node = node.setdefault(parent, {})
        node[key] = value
    with (tmp_path / "params.yaml").open("w", encoding="utf-8") as file:
        YAML().dump(params, file)

    before = set(tmp_path.rglob("*"))
    # What stages keep to save time is the one thing they may write besides. Here it is elsewhere and empty: nothing
    # that was computed before helps them.
    cache = tmp_path_factory.mktemp("cache")
    environment = {**Project(tmp_path, finished.python).environment, "THAW_CACHE": str(cache)}
    done = subprocess.run(
        command(lock), shell=True, cwd=tmp_path, env=environment, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    outputs = {tmp_path / output["path"]: output["md5"] for output in lock["outs"]}
    for path, md5 in outputs.items():
        assert dvc_hash(path) == md5, path
    aside = {"__pycache__", ".thaw"}  # kept to save time only
    written = {path for path in set(tmp_path.rglob("*")) - before if path.is_file() and not aside & {*path.parts}}
    undeclared = {path for path in written if not any(path.is_relative_to(output) for output in outputs)}
    assert not undeclared
    if name.startswith("train@") and HAS_OPENVINO and not (HAS_NVIDIA or HAS_CUDA):
        assert list(cache.glob("rows/*/graph.zip"))  # with which the model is scored without Keras


def dvc_hash(path: Path) -> str:
    """Return the hash by which DVC knows a file, or a folder by the sorted list of its files."""
    if path.is_file():
        return hashlib.md5(path.read_bytes()).hexdigest()
    files = sorted(one for one in path.rglob("*") if one.is_file())
    listing = [
        {"md5": hashlib.md5(one.read_bytes()).hexdigest(), "relpath": one.relative_to(path).as_posix()} for one in files
    ]
    listing.sort(key=lambda entry: entry["relpath"].split("/"))
    return hashlib.md5(json.dumps(listing, sort_keys=True).encode()).hexdigest() + ".dir"
