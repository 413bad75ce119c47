"""Commands that are killed at random moments: the next run finishes by itself with the same bytes; nothing is left.

SIGKILL and Ctrl-C reach all processes of a command, as those of a terminal or a container, SIGTERM only the first, as
from `kill`. The moments are of a seed: uniform in the time that the command takes when nobody kills it.
"""

import contextlib
import hashlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.conftest import PARAMS, ROOT, STAGES, Project
from tests.faults.conftest import Tried
from tests.toy import commit, dvc, make_toy
from thaw.files.writing import UNFINISHED
from thaw.stage import PATIENCE

pytestmark = pytest.mark.slow

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True)
class Outcome:
    code: int
    text: str
    seconds: float
    left: list[str]
    """Processes of the command that went on after it."""


@dataclass
class Command:
    """A command in a project."""

    project: Project
    words: list[str]
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, kill: signal.Signals | None = None, after: float = 0.0) -> Outcome:
        """Run it; if wanted, send it a signal after some seconds, unless it has ended until then."""
        began = time.monotonic()
        environment = {**self.project.environment, "PYTHONPATH": str(self.project.folder), **self.environment}
        with (self.project.folder.parent / "output").open("w+b") as output:
            process = subprocess.Popen(
                self.words,
                cwd=self.project.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            if kill is not None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(after)
                with contextlib.suppress(ProcessLookupError):
                    (os.kill if kill == signal.SIGTERM else os.killpg)(process.pid, kill)
            code = process.wait()
            seconds = time.monotonic() - began
            left = _left(process.pid)
            output.seek(0)
            return Outcome(code, output.read().decode(errors="replace"), seconds, left)


def _left(session: int) -> list[str]:
    """Return what runs in a session after the time that it has to end."""
    until = time.monotonic() + PATIENCE + 5
    while True:
        found = []
        for process in psutil.process_iter(["pid", "status", "cmdline"]):
            with contextlib.suppress(OSError):
                if os.getsid(process.pid) == session and process.info["status"] != psutil.STATUS_ZOMBIE:
                    found.append(" ".join(process.info["cmdline"] or ()))
        if not found or time.monotonic() > until:
            return found
        time.sleep(0.1)


def contents(paths: list[Path]) -> dict[str, str]:
    """Return the digests of files, and of those in folders, but for what DVC has not finished in a cache or remote.

    What Python compiles has times.
    """
    found = sorted(file for path in paths for file in ([path] if path.is_file() else path.rglob("*")))
    files = [file for file in found if file.is_file() and file.suffix not in (".tmp", ".pyc")]
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def unfinished(folder: Path) -> list[str]:
    """Return what Thaw and DVC have begun to write in a project, but for DVC's own folder."""
    names = [path.relative_to(folder) for path in folder.rglob(".*")]
    ends = (UNFINISHED.pattern, r"\..*\.tmp")
    return [
        str(name) for name in names if name.parts[0] != ".dvc" and any(re.fullmatch(end, name.name) for end in ends)
    ]


def is_stack_of_ours(text: str) -> bool:
    """Say whether a traceback was printed, but for one of the moments before Python comes to Thaw's code."""
    return "Traceback" in text and bool(re.search(r'File ".*/(commands|stages|thaw)/', text))


def moments(name: str, count: int) -> Iterator[tuple[signal.Signals, float]]:
    """Yield signals in turn, and parts of a command's time."""
    random = np.random.default_rng(list(name.encode()))
    for number in range(count):
        yield SIGNALS[number % len(SIGNALS)], float(random.uniform(0, 1.05))


def kill_often(
    name: str,
    count: int,
    command: Command,
    mend: Callable[[], list[Outcome]],
    prepare: Callable[[], None],
    results: list[Path],
    tried: Tried,
) -> None:
    """Kill a command at random moments, each time from the same beginning, and compare what comes of the next run.

    Args:
        name: for the table, and the seed.
        count: how often.
        command: that is killed.
        mend: what a person then calls, until all is there.
        prepare: makes the beginning.
        results: files and folders.
        tried: notes what happened.
    """
    prepare()
    for outcome in mend():
        assert outcome.code == 0, outcome.text
    wanted = contents(results)
    prepare()
    whole = command.run()
    assert whole.code == 0, whole.text
    assert contents(results) == wanted
    faults = []
    for number, (kill, part) in enumerate(moments(name, count)):
        prepare()
        killed = command.run(kill, part * whole.seconds)
        outcomes = mend()
        fault = {
            "children left": killed.left,
            "a stack": is_stack_of_ours(killed.text) and kill != signal.SIGKILL,
            "no recovery": [one.text for one in outcomes if one.code],
            "other bytes": contents(results) != wanted,
            "unfinished files": unfinished(command.project.folder),
        }
        named = [what for what, is_so in fault.items() if is_so]
        how = f"{kill.name}, {'ended before' if killed.code == 0 else 'killed'}"
        tried(name, how, ", ".join(named) or "recovered")
        print(f"{name}: {how} after {part * whole.seconds:.1f} s: {', '.join(named) or 'recovered'}", flush=True)
        if named:
            faults.append(
                (number, kill.name, part, killed.code, {what: fault[what] for what in named}, killed.text[-3000:])
            )
    assert not faults, "\n\n".join(map(str, faults))


FURTHER = {
    "seeds": {"half": {"start": "variants/frozen_head", "inputs": "features/midway", "others": [1]}},
    "cross_validation": {
        "frozen_head": {
            "start": "backbones/lite0",
            "inputs": "features/bottleneck",
            "folds": 2,
            "repeats": 2,
            "seed": 0,
        }
    },
}
"""Entries with whose stages not every project is finished."""


@pytest.fixture(scope="module")
def project(finished: Project, tmp_path_factory: pytest.TempPathFactory, is_full: bool) -> Project:
    """The finished project, of which a test may remove what it makes again; in the long form, with all stages."""
    folder = tmp_path_factory.mktemp("kills") / "a project"
    shutil.copytree(finished.folder, folder, symlinks=True, ignore=shutil.ignore_patterns("tmp"))
    project = Project(folder, finished.python)
    if is_full:
        project.write_params({**PARAMS, **FURTHER})
        project.repro()
    return project


def locked(project: Project) -> dict[str, dict]:
    from dvc.utils.serialize import load_yaml

    return load_yaml(project.folder / "dvc.lock")["stages"]


SHORT = "tensors@small"
"""The one stage that is killed in the short form, too."""


@pytest.mark.parametrize(
    "stage",
    [
        SHORT,
        *(pytest.param(one, marks=pytest.mark.long_form) for one in STAGES if one != SHORT),
        *(pytest.param(one, marks=pytest.mark.long_form) for one in ("seeds@half", "cross_validate@frozen_head")),
    ],
)
def test_a_stage(stage: str, project: Project, kills: int, tried: Tried, tmp_path: Path) -> None:
    entry = locked(project)[stage]
    line = entry["cmd"] if isinstance(entry["cmd"], str) else " && ".join(entry["cmd"])
    outs = [project.folder / one["path"] for one in entry["outs"]]
    command = Command(project, ["bash", "-c", line], {"THAW_CACHE": str(tmp_path / "cache")})

    def prepare() -> None:
        for out in outs:  # as DVC does
            shutil.rmtree(out) if out.is_dir() else out.unlink(missing_ok=True)
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)

    kill_often(stage, kills, command, lambda: [command.run()], prepare, outs, tried)


@pytest.fixture
def pipeline(project: Project, plain: Path) -> Project:
    """The same, for real processes, each of which imports what it needs."""
    return Project(project.folder, plain)


def forgetting(project: Project, stage: str) -> Callable[[], None]:
    """Return what removes all results, and from DVC's run cache those of one stage, which then has to run."""
    entries = locked(project)
    outs = [project.folder / one["path"] for entry in entries.values() for one in entry["outs"]]
    runs = project.folder / ".dvc" / "cache" / "runs"
    kept = project.folder.parent / "runs"
    if not kept.exists():
        shutil.copytree(runs, kept)
    names = [
        path.relative_to(kept) for path in kept.rglob("*") if path.is_file() and f"--entry {stage}" in path.read_text()
    ]

    def prepare() -> None:
        for out in outs:
            shutil.rmtree(out) if out.is_dir() else out.unlink(missing_ok=True)
        (project.folder / "dvc.lock").unlink(missing_ok=True)
        shutil.rmtree(runs)
        shutil.copytree(kept, runs)
        for name in names:
            shutil.rmtree((runs / name).parent)

    assert names
    return prepare


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("dvc repro", ["python", "-m", "dvc", "repro"]),
        ("thaw repro --jobs 2", ["python", "-m", "commands", "repro", "--jobs", "2"]),
    ],
)
@pytest.mark.long_form
def test_the_pipeline(name: str, words: list[str], pipeline: Project, kills: int, tried: Tried) -> None:
    entries = locked(pipeline)
    results = [pipeline.folder / one["path"] for entry in entries.values() for one in entry["outs"]]
    command = Command(pipeline, words)
    leftovers = Command(pipeline, ["python", "-m", "commands.leftovers"])  # as `make repro` calls it

    def mend() -> list[Outcome]:
        first = [leftovers.run()] if "dvc" in words else []
        return [*first, command.run()]

    kill_often(
        name,
        kills,
        command,
        mend,
        forgetting(pipeline, "tensors.small"),
        [*results, pipeline.folder / "dvc.lock"],
        tried,
    )


@pytest.mark.parametrize("name", ["predict", "export"])
@pytest.mark.long_form
def test_a_command(name: str, project: Project, kills: int, tried: Tried, tmp_path: Path) -> None:
    words = {
        "predict": ["models/variants/half.keras", "data/raw/trees", "--out", "out/predictions.csv"],
        "export": ["models/variants/half.keras", "--format", "openvino", "--out", "out/half.xml"],
    }
    out = project.folder / "out"
    command = Command(
        project, ["python", "-m", "commands", name, *words[name]], {"THAW_CACHE": str(tmp_path / "cache")}
    )

    def prepare() -> None:
        shutil.rmtree(out, ignore_errors=True)
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)

    kill_often(name, kills, command, lambda: [command.run()], prepare, [out], tried)


@pytest.fixture
def remote(plain: Path, tmp_path: Path) -> Project:
    """A toy with a folder of some hundred files, and a remote beside it."""
    project = make_toy(tmp_path / "project")
    shutil.copy(ROOT / ".dvcignore", project.folder)
    (project.folder / "more").mkdir()
    for number in range(300):
        (project.folder / "more" / f"{number}.txt").write_text(str(number))
    dvc(project, "add", "--quiet", "more")
    dvc(project, "remote", "add", "--quiet", "--default", "store", str(tmp_path / "store"))
    dvc(project, "config", "core.site_cache_dir", str(tmp_path / "site"))
    commit(project)
    return Project(project.folder, plain)


@pytest.mark.parametrize("name", ["push", "pull"])
@pytest.mark.long_form
def test_a_transfer(name: str, remote: Project, kills: int, tried: Tried, tmp_path: Path) -> None:
    """The doctor mends what DVC takes for whole; then the command finishes."""
    store, site, cache = tmp_path / "store", tmp_path / "site", remote.folder / ".dvc" / "cache"
    shutil.copytree(cache, tmp_path / "cache")
    results = [remote.folder / one for one in ("text.txt", "folder", "raw.txt", "more")]
    command = Command(remote, ["python", "-m", "dvc", name])
    transfer = {"PYTHONPATH": str(ROOT)}

    def prepare() -> None:
        for folder in (store, site, cache):
            shutil.rmtree(folder, ignore_errors=True)
        if name == "push":
            shutil.copytree(tmp_path / "cache", cache)
        else:
            shutil.copytree(tmp_path / "cache", store)
            for out in results:
                shutil.rmtree(out) if out.is_dir() else out.unlink(missing_ok=True)

    def examine(complete: bool) -> Outcome:
        code = (
            "from commands import pipeline\n"
            "from commands.doctor import check_leftovers, check_pushed, complete_remote\n"
            "with pipeline.opened() as repo: print(check_leftovers(repo))\n"
            f"with pipeline.opened() as repo: print({'complete_remote(repo)' if complete else 'check_pushed(repo)'})\n"
        )
        return Command(remote, ["python", "-c", code], transfer).run()

    def mend() -> list[Outcome]:
        outcomes = [examine(complete=False), command.run()]
        if name == "push":
            found = examine(complete=False)
            if "State.OK" not in found.text.splitlines()[-1]:
                outcomes += [examine(complete=True)]
        return outcomes

    kill_often(name, kills, command, mend, prepare, [store] if name == "push" else results, tried)
