"""`make repro JOBS=2`: independent stages side by side, with the result of one after the other."""

import contextlib
import copy
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

import commands.repro
from commands.launching import LAUNCHER, launched_by
from commands.launching import main as launch
from commands.repro import UNFINISHED, Commands, _before, _sort_lock, side_by_side, visible_gpus
from tests.conftest import ROOT, Project
from tests.toy import dvc, make_toy
from thaw.errors import UserError
from thaw.stage import STARTED_BY

NEEDS: dict[str, set[str]] = {
    "pixels": set(),
    "network": set(),
    "features": {"pixels", "network"},
    "train a": {"features"},
    "train b": {"features"},
    "train c": {"network"},
    "compare": {"train a", "train b", "train c"},
}


@pytest.mark.parametrize("jobs", [1, 2, 3, 10**18])
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


def test_the_longest_chain_is_begun_first() -> None:
    begun: list[str] = []
    needs: dict[str, set[str]] = {"short": set(), "long": set(), "behind short": {"short"}, "behind long": {"long"}}
    needs |= {"last": {"behind long", "short"}}

    def run(stage: str, place: int) -> bool:
        begun.append(stage)
        return True

    assert side_by_side(needs, 1, run) == []
    assert begun == ["long", "short", "behind long", "behind short", "last"]


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


# Each of the pair waits for the other to begin.
MEET = "touch {0}.begun; until test -e {1}.begun; do sleep 0.1; done; cat start.txt > {0}.txt"
PIPELINE: dict[str, Any] = {
    "start": {"cmd": "echo 1 > start.txt", "outs": ["start.txt"]},
    "train": {
        "foreach": {"b": "a", "a": "b"},
        "do": {"cmd": MEET.format("${key}", "${item}"), "deps": ["start.txt"], "outs": ["${key}.txt"]},
    },
    "compare": {"cmd": "cat a.txt b.txt > all.txt", "deps": ["a.txt", "b.txt"], "outs": ["all.txt"]},
}


@pytest.mark.parametrize("text", ["", "null", "5", '["gone"]', '{"a": 1}', "[" * 99_999, "pipe"])
def test_an_order_that_cannot_be_read_is_that_of_the_lock(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    UNFINISHED.parent.mkdir()
    if text == "pipe":
        os.mkfifo(UNFINISHED)
    else:
        UNFINISHED.write_text(text)
    Path("dvc.lock").write_text("stages:\n  one: {cmd: a}\n")
    assert _before() == ["one"]


@pytest.mark.parametrize("kind", ["false", "true"])
def test_the_lock_is_put_into_order_only_while_nobody_else_writes_it(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("dvc.lock.DEFAULT_TIMEOUT", 0.1)
    monkeypatch.setattr("flufl.lock.Lock._sleep", lambda _: time.sleep(0.01))
    toy = make_toy(tmp_path / "toy")
    lock = toy.folder / "dvc.lock"
    dvc(toy, "config", "core.hardlink_lock", kind)
    (toy.folder / ".dvc" / "tmp" / "lock").unlink(missing_ok=True)
    dvc(toy, "config", "core.autostage", "true")
    with contextlib.chdir(toy.folder):
        with Repo() as repo, repo.lock:
            sorting = threading.Thread(target=_sort_lock, args=([], ["folder", "text", "more"]))
            sorting.start()
            sorting.join(0.5)
            lock.write_text(f"{lock.read_text()}  more:\n    cmd: echo\n")  # as DVC does for another run
        sorting.join(20)
    assert re.findall(r"^  (\w+):", lock.read_text(), re.MULTILINE) == ["folder", "text", "more"]
    staged = subprocess.run(["git", "show", ":dvc.lock"], cwd=toy.folder, capture_output=True, text=True, check=True)
    assert staged.stdout == lock.read_text()
    told = capsys.readouterr().out
    assert "/.dvc/tmp/lock: waiting until another command of DVC is done" in told
    assert ("one was killed: remove the file" in told) == (kind == "true")


def write_pipeline(folder: Path, pipeline: dict[str, Any]) -> None:
    with (folder / "dvc.yaml").open("w", encoding="utf-8") as file:
        YAML().dump({"stages": pipeline}, file)


def repro(folder: Path, *command: str) -> tuple[int, str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, env=environment, text=True, capture_output=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


MEMORY = "its process was killed, as a system does where memory is lacking; let fewer run at a time"
SECONDS = "its process was ended, for it had used up the processor time that it may have; allow more (`ulimit -t`)"


@pytest.mark.parametrize(
    ("status", "why"),
    [("-9", MEMORY), ("137\n\nmore", MEMORY), ("-24", SECONDS), ("152", SECONDS), ("1", None), ("-99", None)],
)
def test_why_a_stage_was_probably_killed_is_told(
    status: str, why: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    says = f"ERROR: failed to reproduce 'a': failed to run: python -m stages.train, exited with {status}"
    assert not Commands().run(["sh", "-c", 'echo "$0"; exit 255', says], {}, "a: ")
    told = capsys.readouterr().out
    assert f"\na: {why}" in told if why else "its process" not in told


def test_who_waits_for_another_run_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(commands.repro, "PAUSE", 0)
    busy = "echo \"ERROR: 'a.csv' is busy, it is being blocked by:\"; echo '  (PID 1)'; echo 1 >> tries; exit 255"
    assert Commands().run(["sh", "-c", f"[ $(cat tries | wc -l) -gt 2 ] && echo done || {{ {busy}; }}"], {}, "a: ")
    told = [line for line in capsys.readouterr().out.splitlines() if "tries" not in line]
    assert told == [
        "a: ERROR: 'a.csv' is busy, it is being blocked by:",
        *("a:   (PID 1)", "a: waiting until that is done", "a: done"),
    ]


@pytest.mark.slow
def test_two_at_a_time_write_the_lock_that_one_after_the_other_write(tmp_path: Path) -> None:
    lock = tmp_path / "dvc.lock"
    assert repro(tmp_path, "dvc", "init", "--quiet", "--no-scm")[0] == 0
    write_pipeline(tmp_path, PIPELINE)
    code, text = repro(tmp_path, "commands", "repro", "--jobs", "2")
    assert code == 0, text
    assert "train@a: Running stage 'train@a':" in text
    assert "Data and pipelines are up to date." in text
    of_two = lock.read_bytes()
    lock.unlink()
    assert repro(tmp_path, "dvc", "repro")[0] == 0  # takes all from its run cache
    assert lock.read_bytes() == of_two

    failing = copy.deepcopy(PIPELINE)
    failing["train"]["do"]["cmd"] = "test ${key} = a || { echo no room; exit 3; }; cat start.txt > ${key}.txt"
    write_pipeline(tmp_path, failing)
    code, text = repro(tmp_path, "commands", "repro", "--jobs", "2")
    assert code == 1
    assert "train@b: no room" in text
    assert "error: failed: train@b; what DVC says of it stands above" in text
    assert "Traceback" not in text
    assert "Running stage 'start'" not in text  # had not changed
    assert "Running stage 'compare'" not in text


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGKILL, -9)])
def test_nothing_goes_on_behind_a_pipeline_that_is_ended(number: signal.Signals, code: int, tmp_path: Path) -> None:
    """Though the signal reaches only the first process; of one that is killed, the stages notice that by themselves."""
    stage = "import time; from thaw.stage import run; run(lambda: (open('${key}.begun', 'w'), time.sleep(99)))"
    train = {"foreach": {"a": 0, "b": 0}, "do": {"cmd": f'{sys.executable} -c "{stage}"', "outs": ["${key}.txt"]}}
    write_pipeline(tmp_path, {"train": train})
    dvc(Project(tmp_path, Path(sys.executable).parent), "init", "--quiet", "--no-scm")
    command = [sys.executable, "-m", "commands", "repro", "--jobs", "2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (tmp_path / "output").open("w+") as output:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=output, stderr=output)
        while process.poll() is None and len(list(tmp_path.glob("*.begun"))) < 2:
            time.sleep(0.05)
        behind = psutil.Process(process.pid).children(recursive=True)
        assert len(behind) >= 4, (tmp_path / "output").read_text()
        process.send_signal(number)
        assert process.wait() == code
    assert psutil.wait_procs(behind, timeout=15)[1] == []
    assert "Traceback" not in (tmp_path / "output").read_text()
    if number != signal.SIGKILL:
        return
    # The next run is not kept from beginning.
    write_pipeline(tmp_path, {"train": {**train, "do": {"cmd": "echo 1 > ${key}.txt", "outs": ["${key}.txt"]}}})
    assert repro(tmp_path, "commands", "repro", "--jobs", "2")[0] == 0


SSH = """#!/bin/sh
shift
cd / && exec env -i sh -c "$*"
"""
"""Does what ssh does: another folder, another environment, and a shell of its own that takes the words as one text."""


@pytest.mark.slow
def test_stages_that_are_launched_elsewhere_write_the_same_lock_and_a_killed_one_is_named(tmp_path: Path) -> None:
    ssh, folder = tmp_path / "ssh", tmp_path / "it's a project"
    ssh.write_text(SSH)
    ssh.chmod(0o700)
    folder.mkdir()
    assert repro(folder, "dvc", "init", "--quiet", "--no-scm")[0] == 0
    pipeline = copy.deepcopy(PIPELINE)
    killed = "test ${key} = a || test -e killed || { touch killed; kill -9 $$; }; "
    pipeline["train"]["do"]["cmd"] = pipeline["train"]["do"]["cmd"].replace("cat", f"pwd; {killed}cat")
    write_pipeline(folder, pipeline)
    launch = ("commands", "repro", "--jobs", "2", "--launch", f"{ssh} host")
    code, text = repro(folder, *launch)
    assert code == 1
    assert f"train@a: {folder}" in text
    assert re.search(r"train@b: error: ssh ended \(.*\) before what it launched: that was killed", text)
    assert "error: failed: train@b; what DVC says of it stands above" in text
    assert "Traceback" not in text
    code, text = repro(folder, *launch)
    assert code == 0, text
    assert "train@a: Running" not in text
    assert list((folder / ".thaw" / "launched").iterdir()) == []
    of_launched = (folder / "dvc.lock").read_bytes()
    (folder / "dvc.lock").unlink()
    assert repro(folder, "dvc", "repro")[0] == 0  # takes all from its run cache
    assert (folder / "dvc.lock").read_bytes() == of_launched


def test_a_command_takes_along_what_thaw_reads_of_the_environment_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHELL", "/bin/sh")
    monkeypatch.setenv(LAUNCHER, "env -i")
    monkeypatch.setenv("KERAS_BACKEND", "'jax'")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.setenv("SECRET", "x")
    assert launch("env > found; exit 7") == 7
    found = Path("found").read_text().splitlines()
    assert "KERAS_BACKEND='jax'" in found
    assert any(line.startswith(f"PATH={os.environ['PATH']}") for line in found)
    assert not [line for line in found if line.startswith(("CUDA", "SECRET", LAUNCHER))]


def test_a_check_that_is_killed_is_told_to_have_been(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/bin/sh")
    status = launch("python -m stages.check 2> /dev/null; kill -9 $$")
    assert any(text.search(f"exited with {status % 256}") for text in commands.repro.KILLED)


@pytest.mark.parametrize("launcher", ["env -i", "env"])  # srun, too, hands all of the environment over
def test_no_stage_elsewhere_waits_for_a_process_that_is_here(
    launcher: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There it is none, or another one's number: the stage would end at once, or with that."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHELL", "/bin/sh")
    monkeypatch.setenv(LAUNCHER, launcher)
    monkeypatch.setenv(STARTED_BY, str(os.getpid()))
    assert launch(f'test -z "${STARTED_BY}"') == 0


@pytest.mark.parametrize(
    ("launcher", "message"),
    [
        ("true", r"true ended \(status 0\) and began nothing: see what it says, and whether .* is there, too"),
        ("sh -c 'exit 3'", r"sh ended \(status 3\) and began nothing"),
        ("sh -c 'cd ${1%/*} && : > begun && : > ended'", r"sh ended \(status 0\) before what it launched"),
        ('sh -c \'"$0" "$1" & sleep 0.5\'', r"sh ended \(status 0\) before what it launched"),
    ],
)
def test_a_launcher_that_does_not_run_a_command_to_its_end_is_named(
    launcher: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHELL", "/bin/sh")
    monkeypatch.setenv(LAUNCHER, launcher)
    with pytest.raises(UserError, match=message):
        launch("sleep 2")


@pytest.mark.parametrize("launcher", ["", "'", "no-such-launcher -N1"])
def test_what_is_no_launcher_is_refused(launcher: str) -> None:
    with pytest.raises(UserError, match="--launch: "), launched_by(launcher):
        pass


def made(folder: Path, script: str, *arguments: str, **environment: str) -> str:
    """Return what `make repro` prints where `python` is a script."""
    shutil.copy(ROOT / "Makefile", folder)
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o700)
    for name in ("pyproject.toml", "constraints.txt", ".venv/pyvenv.cfg", ".venv/installed"):
        (folder / name).touch()
    command = ["make", "--no-print-directory", "repro", *arguments]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, text=True, capture_output=True, check=True
    )
    return done.stdout


@pytest.mark.parametrize("launcher", ["srun -N1", "env 'A=a b' \"C=$D\""])
def test_make_hands_a_launcher_over_word_for_word(launcher: str, tmp_path: Path) -> None:
    printed = made(tmp_path, 'for word; do echo "<$word>"; done', f"LAUNCH={launcher.replace('$', '$$')}")
    assert "leftovers" not in printed  # for which `thaw repro` looks itself
    assert printed.endswith(f"<-m>\n<commands>\n<repro>\n<--jobs>\n<2>\n<--launch>\n<{launcher}>\n")


def test_make_takes_no_other_python_where_a_colon_divides_the_path(tmp_path: Path) -> None:
    (tmp_path / "10:30").mkdir()
    with pytest.raises(subprocess.CalledProcessError) as told:
        made(tmp_path / "10:30", "exit 1", PATH="/usr/bin:/bin")
    assert told.value.stdout == ""
    assert "10:30: there cannot be a .venv in a path with a colon; rename the folder" in told.value.stderr


def test_make_has_dvc_run_where_it_would_not_by_itself(tmp_path: Path) -> None:
    printed = made(tmp_path, 'echo "<$SHELL$PYTHONWARNINGS>"', SHELL="/usr/sbin/nologin", PYTHONWARNINGS="error")
    assert printed.endswith("</bin/sh>\n")


@pytest.mark.parametrize("user", ["ann", ""])
def test_make_gives_dvc_the_name_that_it_wants(user: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the user is a number without a name, as in a container."""
    monkeypatch.delenv("LOGNAME", raising=False)
    monkeypatch.delenv("USER", raising=False)
    (tmp_path / "id").write_text('#!/bin/sh\n[ "$1" = -u ] && echo 12345\n')
    (tmp_path / "id").chmod(0o700)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    printed = made(tmp_path, 'echo "<$LOGNAME>"', PATH=path, **({"USER": user} if user else {}))
    assert printed.endswith(f"<{user or 12345}>\n")
