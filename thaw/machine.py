"""What this machine has, found out without loading Keras."""

import importlib.util
import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from thaw.errors import UserError

# The driver's file, and what stands for it in Windows' Linux.
HAS_NVIDIA = any(Path(file).exists() for file in ("/dev/nvidiactl", "/dev/dxg"))
HAS_CUDA = importlib.util.find_spec("nvidia") is not None
"""Whether its libraries are installed."""
HAS_OPENVINO = importlib.util.find_spec("openvino") is not None  # there are platforms without it

BACKENDS = ("tensorflow", "jax")


def backend(*others: str) -> str:
    """Return the name of the backend that Keras is to compute with.

    Args:
        others: that will do, for what computes no results.

    Raises:
        UserError: it is none that Thaw knows, or is not installed.
    """
    name = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if name not in (*BACKENDS, *others):
        raise UserError(
            f"KERAS_BACKEND: expected tensorflow or jax, got {name!r}; `unset KERAS_BACKEND` gives tensorflow"
        )
    if importlib.util.find_spec(name) is None:
        raise UserError(
            f"KERAS_BACKEND: {name} is not installed: `python -m pip install {name}`, or name another backend"
        )
    return name


def processor() -> str:
    """Return the processor's kind: on another one, floating-point results may differ in their last bits."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return f"{platform.machine()} {found[1] if found else platform.processor()}"


def versions(*packages: str) -> dict[str, str | None]:
    """Return the versions of packages; None of those that are not installed."""
    found: dict[str, str | None] = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found
