"""Running stages elsewhere: DVC stays here, and hands each stage's command to a launcher, such as srun or ssh.

DVC runs a command by the shell that the variable SHELL names. Here that is a file which calls this module. So dvc.yaml,
dvc.lock and all hashes are those of a run without a launcher.
"""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from thaw.errors import UserError
from thaw.stage import STARTED_BY, end_with_starters, in_terminal

LAUNCHER = "THAW_LAUNCHER"
PASSED = ("DVC_", "JAX_", "KERAS_", "PYTHON", "TF_CPP_", "THAW_", "TQDM_", "XDG_CACHE_HOME", "XLA_")
"""Beginnings of the variables that go with a command; which GPUs it has, the launcher says."""
SHELL = """#!/bin/sh
exec {python} -m commands.launching "$@"
"""
SCRIPT = """echo > {begun}
(
cd {folder} || exit
{variables}
{command}
)
echo $? > {ended}
"""


@contextmanager
def launched_by(launcher: str | None) -> Iterator[dict[str, str]]:
    """Give the environment variables by which DVC has its commands launched.

    Args:
        launcher: a command that takes another one behind its own words, waits for it, and passes on what it prints;
            None runs them here.

    Raises:
        UserError: there is no such command.
    """
    if launcher is None:
        yield {}
        return
    try:
        words = shlex.split(launcher)
    except ValueError as error:
        raise UserError(f"--launch: {launcher!r}: {error}") from None
    if not words or shutil.which(words[0]) is None:
        raise UserError(f"--launch: there is no command {words[0] if words else launcher!r} here")
    with _folder() as folder:
        shell = folder / "shell"
        shell.write_text(SHELL.format(python=shlex.quote(sys.executable)), encoding="utf-8")
        shell.chmod(0o700)
        yield {"SHELL": str(shell), LAUNCHER: launcher}


@contextmanager
def _folder() -> Iterator[Path]:
    """Make a folder in the project's own, which the other end has, too, wherever else caches are; then remove it."""
    root = Path(".thaw", "launched").absolute()
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root) as folder:
        yield Path(folder)


def main(command: str) -> int:
    """Run one of a stage's commands by the launcher, in this folder, and return its exit status.

    Raises:
        UserError: it did not begin there, or the launcher ended before it did.
    """
    os.environ["SHELL"] = "/bin/sh"  # launchers start helpers by it, as ssh does
    if command.startswith("python -m stages.check "):  # takes less than a second; a launcher may wait for minutes
        status = subprocess.run(["/bin/sh", "-c", command], check=False).returncode
        return status if status >= 0 else 128 - status  # as a shell tells of a signal
    words = shlex.split(os.environ.pop(LAUNCHER))
    os.environ.pop(STARTED_BY, None)  # the number of a process here is none, or another one's, elsewhere
    with _folder() as folder:
        script, begun, ended = (folder / name for name in ("command.sh", "begun", "ended"))
        script.write_text(_script(command, begun, ended), encoding="utf-8")
        # A file's name is a word to all launchers; but ssh hands words over as one text, to another shell.
        name = Path(words[0]).name
        path = shlex.quote(str(script)) if name == "ssh" else str(script)
        launched = [*words, "/bin/sh", path]
        status = subprocess.run(launched, stdin=subprocess.DEVNULL, check=False).returncode
        if ended.exists() and (text := ended.read_text().strip()):  # nothing, where the disk was full
            return int(text)
        said = f"killed by signal {-status}" if status < 0 else f"status {status}"
        if begun.exists():
            raise UserError(
                f"{name} ended ({said}) before what it launched: that was killed, or {name} does not wait for "
                "it; the next run goes on from there"
            )
        raise UserError(
            f"{name} ended ({said}) and began nothing: see what it says, and whether {Path.cwd()} is there, too, "
            "as the same folder"
        )


def _script(command: str, begun: Path, ended: Path) -> str:
    """Return the shell's commands for the other end, which may know nothing of this end but its files."""
    variables = {name: value for name, value in os.environ.items() if name.startswith(PASSED)}
    lines = [f"export {name}={shlex.quote(value)}" for name, value in sorted(variables.items())]
    lines.append(f"export PATH={shlex.quote(os.environ['PATH'])}:$PATH")
    begun_, ended_, folder = (shlex.quote(str(path)) for path in (begun, ended, Path.cwd()))
    return SCRIPT.format(begun=begun_, folder=folder, variables="\n".join(lines), command=command, ended=ended_)


if __name__ == "__main__":
    with in_terminal():
        end_with_starters()
        sys.exit(main(sys.argv[-1]))
