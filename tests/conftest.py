"""A small project in a folder of its own, on which tests run real `dvc repro`."""

import ast
import contextlib
import ctypes
import fcntl
import gc
import os
import pickle
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image
from ruamel.yaml import YAML

from tests import warm_python
from thaw.formats.model_file import ModelRecord
from thaw.reuse.folder import FOLDER, LIMIT

ROOT = Path(__file__).parents[1]
CODE = (
    *("dvc.yaml", "constraints.txt", ".dvcignore", ".gitignore", "data/raw/.gitignore"),
    *("data/label_issues/README.md", "data/seeds/README.md"),
    *("commands", "stages", "thaw"),
)
CLASSES = ("oak", "pine", "silver birch")
IMAGES_PER_CLASS = 7

PARAMS: dict[str, Any] = {
    "dataset": {
        "path": "data/raw/trees",
        "layout": "class_folders",
        "on_bad_image": "fail",
        "split": {"method": "stratified", "test": 0.3, "validation": 0.3, "seed": 0},
    },
    "tensors": {"small": {"pixels": [40, 40], "resize": "pad", "normalization": "lite"}},
    "backbones": {"lite0": {"architecture": "EfficientNetLite0", "weights": "package"}},
    "features": {
        "bottleneck": {"tensors": "small", "backbone": "lite0", "layer": "top", "pooling": "avg"},
        "midway": {"tensors": "small", "backbone": "lite0", "layer": "block_14"},
    },
    "variants": {
        "frozen_head": {
            "start": "backbones/lite0",
            "inputs": "features/bottleneck",
            "fit": {"solver": "logistic_regression", "C": [0.01, 0.1]},
        },
        "half": {
            "start": "variants/frozen_head",
            "inputs": "features/midway",
            "fit": {"epochs": 1, "optimizer": {"Adam": {"learning_rate": 1e-4}}},
        },
        "full": {
            "start": "variants/frozen_head",
            "inputs": "tensors/small",
            "augmentation": [{"RandomFlip": {"mode": "horizontal"}}],
            "fit": {"epochs": 1, "optimizer": {"Adam": {"learning_rate": 1e-4}}},
        },
    },
    "evaluation": {"top_k": 2},
    "cross_validation": {},
    "seeds": {},
    "label_issues": {"bottleneck": {}},
}

TRIED = ROOT / ".pytest_cache" / "tried"
"""What Keras took of heads and augmentations in former runs, which is not tried again."""

SLOW = {"bench", "experiment", "finished", "shown", "tried", "warm"}
"""Fixtures with which a test waits for the pipeline or for a browser, or tries faults one after the other."""

LONGEST = ("test_recipes", "test_same_bytes", "test_front_ends", "test_every_network")
"""Files of tests that take half a minute each, or all of which take minutes."""


def pytest_configure(config: pytest.Config) -> None:
    """Give each run a folder for caches, which is not the user's, and each worker cores of its own.

    Where all of them use all cores, it takes a sixth longer. What is run hears Ctrl-C and a closed terminal also where
    the tests do not, as in a script's background and behind nohup.
    """
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, lambda *_: None)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if not worker:
        _work_in_memory()
        os.environ["DVC_NO_ANALYTICS"] = "true"  # for which DVC would start a process behind each command
        caches = os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="thaw-tests-")
        config.add_cleanup(lambda: shutil.rmtree(caches))
        TRIED.mkdir(parents=True, exist_ok=True)
        Path(caches, "thaw").mkdir()
        Path(caches, "thaw", "tried").symlink_to(TRIED)
        for name in (FOLDER, LIMIT):
            os.environ.pop(name, None)
    if worker and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        mine = cores[int(worker.removeprefix("gw")) :: int(os.environ["PYTEST_XDIST_WORKER_COUNT"])]
        os.sched_setaffinity(0, mine or cores)


def _work_in_memory() -> None:
    """Have temporary files lie in memory where there is plenty: pipelines take a third less time there."""
    memory = Path("/dev/shm")
    plenty = 8 * 2**30
    if memory.is_dir() and min(shutil.disk_usage(memory).free, psutil.virtual_memory().available) > plenty:
        os.environ.setdefault("TMPDIR", str(memory))
        tempfile.tempdir = None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what a fixture makes slow; begin with the longest tests: at the end, no worker waits for another."""
    for item in items:
        if SLOW.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)
    ranks = {name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path.stem, len(ranks)))


def pytest_collection_finish() -> None:
    """Look for garbage less often, and not among the libraries: Python takes a twentieth of the time for that."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def pytest_runtest_setup() -> None:
    """Have Keras draw the same weights for a test whenever it runs: it draws its seeds by Python."""
    random.seed(0)


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    code: int
    text: str

    @property
    def ran(self) -> list[str]:
        """The stages that ran, in order; those that came from the run cache did not."""
        return re.findall(r"^Running stage '(.+)':$", self.text, flags=re.MULTILINE)


@dataclass(frozen=True)
class Project:
    """A Thaw project in a folder of its own."""

    folder: Path
    python: Path
    """The folder of the `python` that stages run with."""

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "PATH": f"{self.python}{os.pathsep}{os.environ['PATH']}"}

    def dvc(self, *arguments: str) -> Outcome:
        command = [str(self.python / "python"), "-m", "dvc", *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, text=True, capture_output=True, check=False
        )
        return Outcome(done.returncode, done.stdout + done.stderr)

    def repro(self, *arguments: str) -> Outcome:
        """Run `dvc repro`, which must succeed."""
        outcome = self.dvc("repro", *arguments)
        assert outcome.code == 0, outcome.text
        return outcome

    @property
    def params(self) -> Path:
        return self.folder / "params.yaml"

    def write_params(self, params: dict[str, Any]) -> None:
        with self.params.open("w", encoding="utf-8") as file:
            YAML().dump(params, file)


WITHOUT = """
from importlib.machinery import PathFinder

find = PathFinder.find_spec
PathFinder.find_spec = lambda name, *where: None if name.partition(".")[0] in {names!r} else find(name, *where)
"""


def without(names: set[str], folder: Path) -> Path:
    """Return a folder for PYTHONPATH with which imports of packages fail as where they are not installed."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(WITHOUT.format(names=names))
    return folder


def named(stage: str, *values: object) -> list[str]:
    """Return a stage's arguments as the command line has them, from the first values of its parameters."""
    module = ROOT / "stages" / stage
    code = (module / "__main__.py" if module.is_dir() else module.with_suffix(".py")).read_text(encoding="utf-8")
    (main,) = (one for one in ast.parse(code).body if isinstance(one, ast.FunctionDef) and one.name == "main")
    pairs = zip(main.args.args, values, strict=False)
    return [word for one, value in pairs for word in (f"--{one.arg.replace('_', '-')}", str(value))]


def record(classes: list[str], tensors: dict[str, Any], **others: Any) -> ModelRecord:
    """Return what a model's file says about it, of which most is of no interest."""
    nothing = {"variant": {}, "boundary": None, "frozen": None, "start_fit": None}
    digests = dict.fromkeys(("backbone_digest", "start_digest", "inputs_digest"), "")
    return ModelRecord(classes, tensors, **{**nothing, **digests, **others})


def draw_trees(folder: Path) -> None:
    """Write a data set: three classes of small photos that differ in colour, with noise."""
    for number, label in enumerate(CLASSES):
        for count in range(IMAGES_PER_CLASS):
            noise = np.random.default_rng([number, count])
            pixels = noise.integers(0, 120, (24 + count, 30, 3))
            pixels[..., number] += 100
            path = folder / label / f"tree {count}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(path)


def make_project(folder: Path, python: Path, params: dict[str, Any] | None = None) -> Project:
    """Make a project of this repository's code and small data; nothing has run in it."""
    folder.mkdir(parents=True)
    for name in CODE:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, folder / name)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    project = Project(folder, python)
    assert project.dvc("init", "--quiet").code == 0
    shutil.copy(ROOT / ".dvc" / "config", folder / ".dvc" / "config")
    draw_trees(folder / PARAMS["dataset"]["path"])
    project.write_params(PARAMS if params is None else params)
    return project


STAGES = [
    "digits",
    "manifest",
    "tensors@small",
    "backbone@lite0",
    *("features@bottleneck", "features@midway"),
    *("train@frozen_head", "train@half", "train@full"),
    *("evaluate@frozen_head", "evaluate@half", "evaluate@full"),
    "label_issues@bottleneck",
    "report",
]


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, warm: Path) -> Project:
    """A project in which everything has run; whoever changes it puts it back."""
    with first_of_all_workers(tmp_path_factory, "finished") as (shared, is_first):
        if is_first:
            project = make_project(shared / "a project", warm)
            assert sorted(project.repro().ran) == sorted(STAGES)
    return Project(
        shutil.copytree(shared, tmp_path_factory.mktemp("finished"), symlinks=True, dirs_exist_ok=True) / "a project",
        warm,
    )


@contextlib.contextmanager
def first_of_all_workers(factory: pytest.TempPathFactory, name: str) -> Iterator[tuple[Path, bool]]:
    """Give all workers of a run the same folder, and tell which of them has to fill it; the others wait."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    parent = factory.getbasetemp().parent if run else factory.mktemp("alone")
    folder, done = parent / f"{name} {run}", parent / f"{name} {run} done"
    with (parent / f"{name} {run} lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder, not done.exists()
        done.touch()


EPOCHS = 12
"""Of the experiment: too many for what it prints about them to fit into the smallest buffer."""
RATE = 0.001


@dataclass(frozen=True)
class Experiment:
    """A project that is committed, in which an experiment named `longer` has run with more epochs at another rate."""

    project: Project
    outcome: Outcome
    meanwhile: dict[str, Outcome]
    """What DVC showed while the training was under way."""
    curve_meanwhile: str
    """The learning curve's file, read then."""
    curve: str
    """The same at the end."""


@pytest.fixture(scope="session")
def experiment(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """An experiment, which is the branch `change`; the workspace is at `main` before it, raw images are DVC's."""
    with first_of_all_workers(tmp_path_factory, "experiment") as (shared, is_first):
        if is_first:
            made = _experiment(finished, shared / "a project")
            (shared / "record").write_bytes(pickle.dumps(made))
    folder = tmp_path_factory.mktemp("experiment") / "a project"
    shutil.copytree(shared / "a project", folder, symlinks=True, copy_function=_linked)
    made = pickle.loads((shared / "record").read_bytes())
    return replace(made, project=Project(folder, finished.python))


def _linked(source: str, target: str) -> None:
    """Copy a file; DVC's objects never change, so they need not be copied."""
    (os.link if "/.dvc/cache/" in source else shutil.copy2)(source, target)


def _experiment(finished: Project, folder: Path) -> Experiment:
    shutil.copytree(finished.folder, folder, ignore=shutil.ignore_patterns("cache", ".git", ".thaw"))
    shutil.copytree(finished.folder / ".dvc" / "cache", folder / ".dvc" / "cache", copy_function=_linked)
    project = Project(folder, finished.python)
    for command in ("init --initial-branch main", "config user.name a", "config user.email a@example.org"):
        subprocess.run(["git", *command.split()], cwd=folder, check=True, capture_output=True)
    assert project.dvc("add", PARAMS["dataset"]["path"]).code == 0
    for command in ("add .", "commit --message base"):
        subprocess.run(["git", *command.split()], cwd=folder, check=True, capture_output=True)

    overrides = (f"variants.half.fit.epochs={EPOCHS}", f"variants.half.fit.optimizer.Adam.learning_rate={RATE}")
    command = [sys.executable, "-m", "dvc", "exp", "run", "--name", "longer", "-S", overrides[0], "-S", overrides[1]]
    curve, started = folder / "data" / "history" / "half.csv", time.time_ns()
    ours, theirs = socket.socketpair()
    # What nobody reads fits into the smallest buffer for a few lines only: then the training stands still.
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    with theirs:
        running = subprocess.Popen(command, cwd=folder, env=project.environment, stdout=theirs, stderr=theirs)
    ours.settimeout(0.01)
    read = [b" "]
    while read[-1] and not (curve.exists() and curve.stat().st_mtime_ns > started):
        with contextlib.suppress(TimeoutError):
            read.append(ours.recv(4096))
    shown = {"plots": ["plots", "diff", "--json"], "table": ["exp", "show", "--json"]}
    meanwhile = {name: project.dvc(*arguments) for name, arguments in shown.items()}
    curve_meanwhile = curve.read_text()
    ours.settimeout(None)
    while read[-1]:
        read.append(ours.recv(4096))
    ours.close()
    outcome = Outcome(running.wait(), b"".join(read).decode())
    assert outcome.code == 0, outcome.text
    curve_at_the_end = curve.read_text()
    subprocess.run(["git", "checkout", "--quiet", "."], cwd=folder, check=True)
    assert project.dvc("checkout").code == 0
    assert project.dvc("exp", "branch", "longer", "change").code == 0
    return Experiment(project, outcome, meanwhile, curve_meanwhile, curve_at_the_end)


def clone_of(experiment: Experiment, branch: str, folder: Path) -> Project:
    """Clone a branch of it; nothing is pulled, the cache of what is cloned is the remote."""
    origin = experiment.project.folder
    command = ["git", "clone", "--quiet", "--branch", branch, str(origin), str(folder)]
    subprocess.run(command, check=True)
    clone = Project(folder, experiment.project.python)
    remote = str(origin / ".dvc" / "cache")
    assert clone.dvc("remote", "add", "--local", "--default", "store", remote).code == 0
    return clone


@pytest.fixture
def memory_back() -> Iterator[None]:
    """Give the system back what a test's networks take: gigabytes, which Keras's processes would keep."""
    yield
    from thaw.networks.backend import keras

    keras.backend.clear_session()
    gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


@pytest.fixture(scope="session")
def plain() -> Path:
    """The folder of the interpreter that runs the tests."""
    return Path(sys.executable).parent


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a `python` that starts fast; see warm_python."""
    folder = tmp_path_factory.mktemp("bin")
    # A socket's address has about a hundred characters at most.
    address = f"\0thaw-tests-{os.getpid()}"
    server = subprocess.Popen(
        [sys.executable, warm_python.__file__, address.replace("\0", "@")], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    assert server.stdout.readline() == "ready\n"
    warm_python.write_client(folder, address)
    yield folder
    server.kill()
    server.wait()
