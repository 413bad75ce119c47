"""The pipeline, with stages that do not need each other side by side."""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Lock

from dvc.lock import LockError
from dvc.repo import Repo
from dvc.repo.reproduce import get_active_graph
from dvc.stage import Stage
from dvc.utils.serialize import modify_yaml

from commands import whole_number
from commands.launching import launched_by
from commands.leftovers import commit_results, remove_leftovers
from commands.lock import LOCK, stages_now
from commands.pipeline import complaining, require_inputs, require_valid_params, stages_of
from thaw.errors import UserError
from thaw.files.reading import DAMAGE, require_regular
from thaw.files.writing import replacing, write_text
from thaw.stage import PATIENCE, STARTED_BY

PAUSE = 3
"""Seconds until a file that another of DVC's processes reads or writes is tried again."""
# What DVC says then.
BUSY = ("is busy, it is being blocked by", "Unable to acquire lock")
# And of a stage that somebody killed, by itself or below a shell; and why that mostly is.
KILLED = {
    re.compile(r"exited with (-9|137)$", re.MULTILINE): (
        "its process was killed, as a system does where memory is lacking; let fewer run at a time, or take a smaller "
        "batch_size; `thaw doctor` says how much is free"
    ),
    re.compile(r"exited with (-24|152)$", re.MULTILINE): (
        "its process was ended, for it had used up the processor time that it may have; allow more (`ulimit -t`), or "
        "run it where more is allowed, as by a scheduler"
    ),
}
UNFINISHED = Path(".thaw", "unfinished.json")
"""Stages of dvc.lock before a run, until that comes to its end: what it adds is put into the order of `dvc repro`."""
DVC = (sys.executable, "-m", "dvc", "--wait-for-lock", "repro")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("--jobs", type=whole_number, default=2, metavar="N", help="stages at a time; 2 by default")
    parser.add_argument(
        "--launch",
        metavar="COMMAND",
        help="run each stage's command by this one, such as 'srun -N1 -G1', 'ssh HOST', 'kubectl exec POD --' or 'ray "
        "job submit --', on a machine that has this folder at the same place",
    )


def main(jobs: int, launch: str | None = None) -> None:
    """Do what `dvc repro` does, and write the same dvc.lock, with up to N stages at a time.

    Each stage is a `dvc repro --single-item` of its own. Where there are several GPUs, each of the N has one, or as
    many as its fit.devices says; with --launch, COMMAND has to see to it that the stages have them.
    """
    require_valid_params()
    remove_leftovers()
    commit_results()
    with _holding_lock():
        before = _before()
    with complaining():
        needs, changed, devices = _stages()
    require_inputs()
    write_text(UNFINISHED, json.dumps(before))
    gpus = [] if launch else visible_gpus()
    ran: set[str] = set()
    commands = Commands()
    with launched_by(launch) as launching:

        def run(stage: str, place: int) -> bool:
            if stage not in changed and not needs[stage] & ran:
                return True
            ran.add(stage)
            of_place = {"CUDA_VISIBLE_DEVICES": share_of(gpus, place, devices[stage])} if len(gpus) > 1 else {}
            return commands.run([*DVC, "--single-item", stage], {**of_place, **launching}, f"{stage}: ")

        try:
            failed = side_by_side(needs, jobs, run, commands.end)
        finally:
            _sort_lock(before, list(needs))
        if failed:
            raise UserError(f"failed: {', '.join(failed)}; what DVC says of it stands above, behind the stage's name")
        # Finds nothing to do, unless something changed in the meantime.
        if side_by_side({"": set()}, 1, lambda *_: commands.run(DVC, launching, ""), commands.end):
            raise UserError("`dvc repro` failed; what it says of it stands above")
    UNFINISHED.unlink(missing_ok=True)


def _stages() -> tuple[dict[str, set[str]], set[str], dict[str, int]]:
    """Return what is known of stages before they run.

    Returns:
        The stages that each stage needs, in the order of `dvc repro`; the stages that are not up to date; and on how
        many devices each trains.
    """
    while True:
        try:
            with Repo(_wait_for_lock=True) as repo, repo.lock:
                graph = get_active_graph(repo.index.graph)
                plan = stages_of(repo)
                needs = {stage.addressing: {one.addressing for one in graph.successors(stage)} for stage in plan}
                devices = {stage.addressing: _devices(stage) for stage in plan}
                # Whether what was imported is another where it came from is no matter of a run, nor is it always there.
                changed = {name for stage in plan for name in stage.status(check_updates=False)}
                return needs, changed, devices
        except LockError as error:
            print(error, flush=True)
            time.sleep(PAUSE)


def _devices(stage: Stage) -> int:
    entries = [entry for params in stage.params for entry in params.read_params().values()]
    fits = [entry.get("fit") for entry in entries if isinstance(entry, dict)]
    return max([1, *(int(fit.get("devices", 1)) for fit in fits if isinstance(fit, dict))])


def side_by_side(
    needs: Mapping[str, set[str]],
    jobs: int,
    run: Callable[[str, int], bool],
    end: Callable[[], None] = lambda: None,
) -> list[str]:
    """Run stages, each behind those that it needs, and several at a time; first those with the most stages behind them.

    Args:
        needs: for each stage, those that it needs, which come before it.
        jobs: how many at a time.
        run: takes a stage and its place, from 0 to jobs - 1; returns whether it succeeded.
        end: ends what runs, when this process has to end.

    Returns:
        The stages that failed; behind the first, no other is started.
    """
    longest = dict.fromkeys(needs, 0)  # chain of stages behind each
    for stage in reversed(list(needs)):
        for needed in needs[stage]:
            longest[needed] = max(longest[needed], longest[stage] + 1)
    waiting = dict(sorted(needs.items(), key=lambda item: -longest[item[0]]))
    jobs = max(1, min(jobs, len(needs)))
    places = list(range(jobs))
    failed: list[str] = []
    running: dict[Future[bool], tuple[str, int]] = {}
    with ThreadPoolExecutor(jobs) as pool:
        try:
            while True:
                unfinished = {*waiting, *(stage for stage, _ in running.values())}
                ready = [stage for stage, needed in waiting.items() if not needed & unfinished]
                for stage in ready[: len(places)] if not failed else []:
                    del waiting[stage]
                    place = places.pop(0)
                    running[pool.submit(run, stage, place)] = stage, place
                if not running:
                    return failed
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    stage, place = running.pop(future)
                    places.append(place)
                    if not future.result():
                        failed.append(stage)
        except BaseException:  # Ctrl-C, or SIGTERM
            end()
            raise


def visible_gpus() -> list[str]:
    """Return the GPUs that a process may use, as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name for name in named.split(",") if name]
    return [str(number) for number in range(len(list(Path("/dev").glob("nvidia[0-9]*"))))]


def share_of(gpus: list[str], place: int, count: int) -> str:
    """Return the GPUs of a stage at one of the places that are taken side by side.

    >>> share_of(["0", "1", "2"], place=1, count=1), share_of(["0", "1", "2"], place=2, count=2)
    ('1', '2,0')
    """
    return ",".join(gpus[(place + number) % len(gpus)] for number in range(min(count, len(gpus))))


class Commands:
    """DVC's commands that run, all of which end with this process.

    Each is the first of a group of processes, so that Ctrl-C and signals reach it and its stage from here alone.
    """

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[str]] = set()
        self._ended = Event()
        self._starting = Lock()

    def run(self, command: Sequence[str], environment: dict[str, str], name: str) -> bool:
        """Run a command, again while another process has its files; show what it prints, each line behind a name.

        Returns:
            Whether it succeeded.
        """
        settings = {"TQDM_DISABLE": "1", "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
        settings |= {STARTED_BY: str(os.getpid())}
        told: set[str] = set()
        while True:
            with self._starting:
                if self._ended.is_set():
                    return False
                process = subprocess.Popen(
                    command,
                    env=os.environ | environment | settings,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    encoding="utf-8",
                    errors="replace",
                    process_group=0,
                )
                self._running.add(process)
            lines = []
            with process:
                assert process.stdout is not None
                for line in process.stdout:
                    lines.append(line)
                    if line.strip() and line not in told:
                        print(f"{name}{line}", end="", flush=True)
            self._running.discard(process)
            if not process.returncode:
                return True
            for ended, why in KILLED.items():
                if ended.search("".join(lines)):
                    print(f"{name}{why}", flush=True)
            is_busy = any(text in line for text in BUSY for line in lines)
            if is_busy and not told:
                print(f"{name}waiting until that is done", flush=True)
            told.update(lines)
            if not is_busy or self._ended.wait(PAUSE):
                return False

    def end(self) -> None:
        """End what runs as Ctrl-C does, and after some time by force; nothing is started any more."""
        with self._starting:
            self._ended.set()
        for number in (signal.SIGINT, signal.SIGKILL):
            for process in self._running.copy():
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
            until = time.monotonic() + PATIENCE
            while self._running and time.monotonic() < until:
                time.sleep(0.05)


@contextmanager
def _holding_lock() -> Iterator[Repo]:
    """Keep others from writing dvc.lock, as DVC does: what another run beside this one notes would be lost."""
    with complaining(), Repo() as repo:
        try:
            repo.lock.lock()
        except LockError:
            hint = "; if none runs, one was killed: remove the file" if repo.config["core"].get("hardlink_lock") else ""
            print(f"{repo.lock.lockfile}: waiting until another command of DVC is done{hint}", flush=True)
            repo.lock._wait = True
            repo.lock.lock()
        try:
            yield repo
        finally:
            repo.lock.unlock()


def _before() -> list[str]:
    """Return the stages of dvc.lock, in its order, as they were before a run that did not come to its end, if any."""
    there = list(stages_now())
    try:
        require_regular(UNFINISHED)
        before: list[str] = json.loads(UNFINISHED.read_text(encoding="utf-8"))
        return before if there[: len(before)] == before else there
    except (OSError, *DAMAGE):
        return there


def _sort_lock(before: list[str], plan: list[str]) -> None:
    """Put the stages that are new in dvc.lock into the order in which `dvc repro` would have put them there."""
    with _holding_lock() as repo, repo.scm_context(quiet=True) as context:
        there = list(stages_now())
        new = [stage for stage in plan if stage in there and stage not in before]
        if there != [*before, *new]:
            with replacing(Path(LOCK)) as temporary:
                shutil.copy(LOCK, temporary)
                with modify_yaml(temporary) as lock:
                    for stage in new:
                        lock["stages"][stage] = lock["stages"].pop(stage)
            context.track_file(LOCK)  # puts it into Git's index, where core.autostage says so
