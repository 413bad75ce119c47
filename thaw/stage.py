"""How a stage is started from the command line, and how it fails."""

import argparse
import atexit
import csv
import errno
import inspect
import io
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread, Timer
from typing import Any, NoReturn

import psutil

from thaw.errors import REMEDIES, UserError, explained, lack_of_memory, printable
from thaw.files.reading import require_regular
from thaw.files.watching import unchanged, watch_late
from thaw.reuse.folder import project_folder

NO_THREAD = "can't start new thread"
"""What Python says then."""
STARTED_BY = "THAW_STARTED_BY"
"""The number of the process that runs the pipeline, where that is not the one that starts the stage."""
LONGEST = 10**9
"""Seconds that no stage takes."""
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals of who wants a process to end: by Ctrl-C, by `kill`, or by closing its terminal."""
PATIENCE = 10
"""Seconds that a process has to clean up when it is told to end."""


def run(stage: Callable[..., None]) -> None:
    """Call `stage` with the command line's arguments, one `--name value` for each of its parameters.

    A parameter annotated `Path` gets a `Path`, every other one the text itself; one with a default may be left out.
    What it reads, and its code, must not change meanwhile: that is an error, behind which nothing is left of what it
    wrote.
    A `UserError` ends the process with status 1 and its message alone, and so does what the system refuses, such as to
    write on a full disk; Ctrl-C with status 130, SIGTERM with 143 and a terminal that is closed with 129, all without a
    word. A stage that DVC runs ends with it. How long a success took is kept; see `durations`.
    """
    parser = argparse.ArgumentParser(description=inspect.getdoc(stage))
    for parameter in inspect.signature(stage).parameters.values():
        kind = Path if parameter.annotation in (Path, Path | None) else str
        is_needed = parameter.default is parameter.empty
        parser.add_argument(f"--{parameter.name.replace('_', '-')}", type=kind, required=is_needed)
    with in_terminal():
        end_with_starters()
        arguments = vars(parser.parse_args())
        refuse_special(arguments.values())
        began = time.time_ns()
        with unchanged([*(value for value in arguments.values() if isinstance(value, Path)), *_code()]):
            stage(**arguments)
            for path in _code():  # some modules are imported when they are needed
                watch_late(path, began)
        with suppress(OSError):  # without it, only estimates are lost
            _keep_duration(_age())


def _code() -> list[Path]:
    """Return the files of the project's modules that are loaded."""
    ours = [
        module for name, module in [*sys.modules.items()] if name.partition(".")[0] in ("stages", "thaw", "__main__")
    ]
    return [Path(os.path.relpath(file)) for module in ours if (file := getattr(module, "__file__", None))]


@contextmanager
def in_terminal() -> Iterator[None]:
    """Print in any terminal, and end the process as `run` says where that is not a success.

    Characters that a terminal's encoding lacks are printed as escapes, such as \\u82f9. Where standard input, output or
    errors are closed, as of some services, nothing is read and what is printed is lost.
    """
    _open_standard_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    came: list[int] = []

    def leave(number: int, frame: Any) -> NoReturn:
        came.append(number)
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)

    handlers = dict.fromkeys(ENDING, leave)
    for number, handler in handlers.items():
        if signal.getsignal(number) is not signal.SIG_IGN:  # as SIGINT is in a shell script's background
            signal.signal(number, handler)
    former, sys.unraisablehook = sys.unraisablehook, _try_again
    try:
        try:
            _require_utf8()
            yield
            sys.stdout.flush()
        except BaseException:
            if came:  # libraries in C make a SystemError, or an exception of their own, of what a signal raises in them
                _end(128 + came[0])
            raise
    except UserError as error:
        sys.exit(f"error: {printable(str(error))}")
    except BrokenPipeError:  # nobody reads on, as behind `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        sys.exit(f"error: {printable(explained(error))}")
    except Exception as error:
        if str(error) == NO_THREAD:
            sys.exit(f"error: {error}: {REMEDIES[errno.EAGAIN]}")
        if lack := lack_of_memory(error):
            sys.exit(f"error: not enough memory: {printable(lack)}")
        raise
    finally:
        sys.unraisablehook = former
        for number, handler in handlers.items():
            if signal.getsignal(number) is handler:  # whoever presses it again does not want to wait
                signal.signal(number, signal.SIG_DFL)


def _require_utf8() -> None:
    """Refuse to read names of files in another encoding: they would be other names, in other results."""
    if sys.getfilesystemencoding() != "utf-8":
        raise UserError(
            f"names of files are read as {sys.getfilesystemencoding()} here, by LC_ALL, LC_CTYPE or LANG: "
            "`export PYTHONUTF8=1` has all read UTF-8"
        )


def _open_standard_streams() -> None:
    """Have nothing take the place of standard streams that are closed: the next file that is opened would be one."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the first number that is free
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, io.TextIOWrapper(io.FileIO(number, "w"), "utf-8"))


def _end(status: int) -> NoReturn:
    """End the process, but leave libraries as they are: threads of theirs may be at work on what would be freed."""
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def _try_again(ignored: "sys.UnraisableHookArgs") -> None:
    """Send a signal once more that came in a finalizer, or another place where Python ignores exceptions."""
    status = 128 + signal.SIGINT if ignored.exc_type is KeyboardInterrupt else getattr(ignored.exc_value, "code", None)
    if status in {128 + one for one in ENDING}:  # a moment later: now it would be ignored as well
        Timer(0.01, os.kill, (os.getpid(), status - 128)).start()
    else:
        sys.__unraisablehook__(ignored)


def _starters() -> list[psutil.Process]:
    """Return the processes behind which nobody waits for this stage: DVC, which started it, and who started that.

    Of a stage that a person started, there are none.
    """
    if "DVC_STAGE" not in os.environ:
        return []
    try:
        parent = psutil.Process().parent()
        if parent and parent.name() == Path(os.environ.get("SHELL") or "sh").name:
            parent = parent.parent()
        first = [psutil.Process(int(os.environ[STARTED_BY]))] if STARTED_BY in os.environ else []
    except psutil.NoSuchProcess:
        sys.exit(128 + signal.SIGTERM)
    return [*first, parent] if parent else first


def end_with_starters() -> None:
    """End this process soon after one of those that started it has ended, as it does where DVC is killed.

    Nobody would wait for it, and the next run would begin the same stage beside it.
    """
    starters = _starters()

    def watch() -> None:
        while all(map(_runs, starters)):
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(PATIENCE)  # library code in which no signal is handled may take long
        os._exit(128 + signal.SIGTERM)

    if starters:
        Thread(target=watch, daemon=True).start()


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def refuse_special(paths: Iterable[object]) -> None:
    """Raise a `UserError` if one is the path of a pipe, socket or device, from which one would read for ever."""
    for path in paths:
        if isinstance(path, Path) and path.exists() and not (path.is_file() or path.is_dir()):
            raise UserError(f"{path}: a pipe, socket or device, where a file or folder is expected")


def durations() -> dict[tuple[str, ...], float]:
    """Return the seconds that stages took when they last ran here, by the words of their commands."""
    try:
        require_regular(_duration_file())
        with _duration_file().open(encoding="utf-8", newline="") as file:
            found = {tuple(shlex.split(command)): float(seconds) for command, seconds in csv.reader(file)}
        return {command: seconds for command, seconds in found.items() if 0 <= seconds < LONGEST}
    except (OSError, ValueError, csv.Error):  # only estimates
        return {}


def _age() -> float:
    """Return the seconds since this process began."""
    began: float = psutil.Process().create_time()
    if hasattr(time, "CLOCK_BOOTTIME"):
        # Linux counts from its boot, whose own time is known to a second only.
        began -= psutil.boot_time()
        return time.clock_gettime(time.CLOCK_BOOTTIME) - began
    return time.time() - began


def _keep_duration(seconds: float) -> None:
    module = sys.modules["__main__"].__spec__
    name = module.name.removesuffix(".__main__") if module else sys.argv[0]
    command = shlex.join(["python", "-m", name, *sys.argv[1:]])
    _duration_file().parent.mkdir(parents=True, exist_ok=True)
    with _duration_file().open("a", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerow([command, f"{seconds:.1f}"])


def _duration_file() -> Path:
    return project_folder() / "durations.csv"


def announce(text: str) -> None:
    """Print the line with which a stage says what it will do."""
    print(printable(text), flush=True)
