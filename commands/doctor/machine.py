"""Whether the machine and what is installed on it are what the pipeline needs."""

import json
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import commands
import thaw
from commands.doctor.findings import INSTALL, Finding, State
from commands.output import first_names
from thaw.machine import HAS_CUDA, HAS_NVIDIA, versions

CONSTRAINTS = Path("constraints.txt")
PINNED = re.compile(r"^([\w.-]+)==([^\s;]+)", re.MULTILINE)
MOST_SECONDS = 120
"""Seconds until Keras counts as stuck, as it is where a GPU's driver hangs."""


def check_python() -> Finding:
    """Find out whether stages, which are run by whatever `python` is, run with the packages that are installed here."""
    command = ["python", "-c", "import sys; print(sys.prefix)"]
    try:
        prefix = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        prefix = ""
    if prefix and Path(prefix).resolve() == Path(sys.prefix).resolve():
        here, ours = Path("thaw", "__init__.py"), Path(thaw.__file__)
        others = ours.parents[1]
        if here.exists() and not here.samefile(ours) and sys.flags.safe_path:
            text = f"stages are those of {others}, and not those of this folder, while PYTHONSAFEPATH is set"
            return Finding("Python", State.ERROR, text, "unset PYTHONSAFEPATH")
        if here.exists() and not here.samefile(ours):  # as where worktrees share a .venv
            text = f"`thaw` is that of {others}, stages are those of this folder: here, write `python -m commands`"
            return Finding("Python", State.WARNING, text)
        return Finding("Python", State.OK, f"{platform.python_version()}, {sys.prefix}")
    other = f"is that of {prefix}" if prefix else "cannot be started"
    text = f"stages are run by `python`, which {other}, and not that of {sys.prefix}"
    return Finding("Python", State.ERROR, text, f"source {shlex.quote(sys.prefix)}/bin/activate")


def check_environment() -> Finding:
    """Find out whether the machine's environment sets what no result may depend on, and what is therefore forgotten."""
    shell = os.environ.get("SHELL") or "/bin/sh"
    if not _runs_commands(shell):  # as nologin, which services have
        text = f"DVC has stages run by the shell that SHELL names, {shell}, which runs no commands"
        return Finding("environment", State.ERROR, text, "export SHELL=/bin/sh")
    if "PYTHONWARNINGS" in thaw.FORGOTTEN:
        text = (
            "PYTHONWARNINGS may make errors of warnings: `dvc` stops at those of its libraries, `thaw` and `make` go on"
        )
        return Finding("environment", State.WARNING, text, "unset PYTHONWARNINGS")
    if thaw.FORGOTTEN:
        text = f"set here, and ignored, since no result may depend on it: {first_names(thaw.FORGOTTEN)}"
        return Finding("environment", State.WARNING, text)
    if commands.NAMELESS:
        text = f"no user here has the number {os.getuid()}: `dvc` wants a name, and stops where `thaw` and `make` go on"
        return Finding("environment", State.WARNING, text, "export LOGNAME=$(id -u)")
    return Finding("environment", State.OK, "sets nothing for Keras and its engines that results could depend on")


def _runs_commands(shell: str) -> bool:
    try:
        return subprocess.run([shell, "-c", "exit 7"], capture_output=True, check=False).returncode == 7
    except OSError:
        return False


def check_packages() -> Finding:
    """Find out whether packages have the versions that are pinned: with others, stages may write other bytes."""
    if not CONSTRAINTS.exists():
        return Finding("packages", State.OK, f"no {CONSTRAINTS} says which versions they should have")
    pinned = dict(PINNED.findall(CONSTRAINTS.read_text(encoding="utf-8")))
    # Where pip was killed, some have no name; of two with the same, the first is imported.
    installed = dict(reversed([(_canonical(one.name), one.version) for one in distributions() if one.name]))
    others = [
        f"{name} {installed[_canonical(name)]} instead of {version}"
        for name, version in pinned.items()
        if name not in ("pip", "uv") and installed.get(_canonical(name), version) != version  # they compute nothing
    ]
    if others:
        text = f"{len(others)} not as pinned: {first_names(others)}"
        return Finding("packages", State.WARNING, text, INSTALL)
    return Finding("packages", State.OK, f"as pinned in {CONSTRAINTS}")


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def check_openvino(params: dict[str, Any]) -> Finding:
    """Find out whether features can be computed by OpenVINO, and in bfloat16 where params.yaml asks for it."""
    if HAS_NVIDIA and HAS_CUDA:
        return Finding("OpenVINO", State.OK, "not used where a GPU computes")
    try:
        import openvino
    except ImportError:
        text = "cannot be imported; without it, features are computed by Keras, at half the speed"
        return Finding("OpenVINO", State.WARNING, text, INSTALL)
    has_bfloat16 = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    wanting = list(_in_bfloat16(params))
    has = f"has {'' if has_bfloat16 else 'no '}instructions for bfloat16"
    text = f"{versions('openvino')['openvino']}; the processor {has}"
    if wanting and not has_bfloat16:
        return Finding("OpenVINO", State.WARNING, f"{text}: give {', '.join(wanting)} the precision float32")
    return Finding("OpenVINO", State.OK, text)


def _in_bfloat16(params: dict[str, Any]) -> Iterator[str]:
    for name, entry in params["features"].items():
        if entry.get("precision") == "bfloat16":
            yield f"features.{name}"
    for name, entry in params["variants"].items():
        if entry["fit"].get("precision") == "bfloat16":
            yield f"variants.{name}.fit"


@contextmanager
def starting_keras() -> Iterator["subprocess.Popen[str]"]:
    """Start a process that says what Keras computes on: to load it takes seconds, in which other checks run."""
    command = [sys.executable, "-m", "commands.keras_facts"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def check_keras(process: "subprocess.Popen[str]") -> tuple[Finding, dict[str, int]]:
    """Find out whether Keras can be loaded and sees the GPU that is expected, and the bytes of one image's features."""
    try:
        out, err = process.communicate(timeout=MOST_SECONDS)
    except subprocess.TimeoutExpired:
        text = f"cannot be loaded within {MOST_SECONDS} s; see what `nvidia-smi` says"
        return Finding("Keras", State.ERROR, text), {}
    if process.returncode:
        reason = (err.strip().splitlines() or [f"its process ended with status {process.returncode}"])[-1]
        return Finding("Keras", State.ERROR, f"cannot be loaded: {reason}", INSTALL), {}
    facts = json.loads(out.splitlines()[-1])
    backend, (device, _, warning) = facts["backend"], facts["device"].partition(" (warning: ")
    found = versions("keras", backend)
    text = f"{found['keras']} on {backend} {found[backend]}, on {device}"
    if warning:
        return Finding("Keras", State.WARNING, f"{text}: {warning.removesuffix(')')}"), facts["row_bytes"]
    return Finding("Keras", State.OK, text), facts["row_bytes"]
