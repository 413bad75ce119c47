"""What this machine has, found out without loading Keras."""

import importlib.util
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# The driver's file, and what stands for it in Windows' Linux.
HAS_NVIDIA = any(Path(file).exists() for file in ("/dev/nvidiactl", "/dev/dxg"))
HAS_CUDA = importlib.util.find_spec("nvidia") is not None
"""Whether its libraries are installed."""
HAS_OPENVINO = importlib.util.find_spec("openvino") is not None  # there are platforms without it


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
