"""What whoever starts a stage or a command sees: every character, and of Ctrl-C nothing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from commands.__main__ import COMMANDS
from tests.conftest import ROOT

STAGES = sorted(path.stem for path in (ROOT / "stages").glob("[a-z]*.py"))
INTERRUPTED = """
import os, runpy, signal, sys

awaited, module = sys.argv[1:3]

class Interrupting:
    def find_spec(self, name, *_):
        if name == awaited:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
sys.argv[:3] = ["-m"]  # as it is while `python -m` looks for a module
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""
"""Runs a module, and presses Ctrl-C when another one is about to be imported."""
NAMES = "苹果, яблоко, ябълка, تفاح, pomme dapi à l’ancienne, \udce4, 🍎"


@pytest.mark.parametrize(
    ("awaited", "module", "arguments"),
    [
        *(("thaw", f"stages.{name}", []) for name in STAGES),
        *((f"commands.{name}", "commands", [name]) for name in COMMANDS),
    ],
)
def test_ctrl_c_while_modules_are_imported_ends_a_process_without_a_word(awaited, module, arguments):
    command = [sys.executable, "-c", INTERRUPTED, awaited, module, *arguments]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_ctrl_c_while_a_stages_libraries_are_loaded_ends_it_without_a_word():
    command = [sys.executable, "-m", "stages.train"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        while "numpy" not in Path(f"/proc/{process.pid}/maps").read_text():
            time.sleep(0.001)
        process.send_signal(signal.SIGINT)
        assert process.communicate() == ("", None)
    assert process.returncode == 130


@pytest.mark.parametrize(("ignored", "code"), [(True, 0), (False, 130)])
def test_who_ignores_ctrl_c_goes_on_ignoring_it(ignored, code):
    """As a shell script's background jobs do."""
    stage = "import os, signal; from thaw.stage import run; run(lambda: os.kill(os.getpid(), signal.SIGINT))"
    prepare = (lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) if ignored else None
    done = subprocess.run([sys.executable, "-c", stage], cwd=ROOT, preexec_fn=prepare, check=False)
    assert done.returncode == code


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8", "ascii:strict"])
@pytest.mark.parametrize("how", ["print(NAMES); print(NAMES, file=sys.stderr)", "raise UserError(NAMES)"])
def test_names_are_printed_in_a_terminal_of_any_encoding(how, encoding):
    stage = f"""
import sys
from thaw.errors import UserError
from thaw.stage import run

NAMES = {NAMES!a}

def stage():
    {how}

run(stage)
"""
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", stage], cwd=ROOT, env=environment, capture_output=True, check=False)
    codec = encoding.split(":")[0]
    shown = NAMES.encode(codec, errors="backslashreplace")
    assert done.stderr == (b"error: " if "raise" in how else b"") + shown + b"\n"
    assert done.stdout == (b"" if "raise" in how else shown + b"\n")
