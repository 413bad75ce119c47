"""What this machine has, found out without loading Keras."""

import importlib.util
import os
import platform
import re
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from thaw.errors import UserError
from thaw.threads import cores

# The driver's file, and what stands for it in Windows' Linux.
HAS_NVIDIA = any(Path(file).exists() for file in ("/dev/nvidiactl", "/dev/dxg"))
HAS_CUDA = importlib.util.find_spec("nvidia") is not None
"""Whether CUDA's libraries are installed."""
HAS_OPENVINO = importlib.util.find_spec("openvino") is not None  # there are platforms without it
HAS_HUB = importlib.util.find_spec("keras_hub") is not None
INSTALL = "python -m pip install --constraint constraints.txt"
INSTALL_HUB = f"{INSTALL} --editable '.[hub]'"

BACKENDS = ("tensorflow", "jax")


def backend(*others: str) -> str:
    """Return the name of the backend that Keras is to compute with: if none is named, the first that is installed.

    Args:
        others: further backends that will do, for what computes no results.

    Raises:
        UserError: KERAS_BACKEND names none that Thaw knows, or one that is not installed.
    """
    installed = [one for one in BACKENDS if importlib.util.find_spec(one)]
    name = os.environ.get("KERAS_BACKEND") or (installed or BACKENDS)[0]
    if name not in (*BACKENDS, *others):
        raise UserError(
            f"KERAS_BACKEND: expected tensorflow or jax, got {name!r}; `unset KERAS_BACKEND` gives tensorflow"
        )
    if importlib.util.find_spec(name) is None:
        raise UserError(f"KERAS_BACKEND: {name} is not installed: `{INSTALL} {name}`, or name another backend")
    return name


def cpu() -> str:
    """Return the CPU and its cores in words, and why no GPU is used where one is expected."""
    is_hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    why = None if is_hidden else unused_gpu(HAS_NVIDIA, HAS_CUDA)
    count = cores()
    return f"the CPU, {count} core{'s' if count > 1 else ''}{f' ({why})' if why else ''}"


def unused_gpu(is_there: bool, has_libraries: bool) -> str | None:
    """Return why no GPU is used where one is expected, and what to do; None where none is.

    Args:
        is_there: an NVIDIA GPU.
        has_libraries: CUDA's are installed.
    """
    on_jax = backend() == "jax"
    if is_there and has_libraries:
        look = "jax; jax.devices('gpu')" if on_jax else "tensorflow as tf; tf.config.list_physical_devices('GPU')"
        return (
            "warning: an NVIDIA GPU is there, and CUDA's libraries are, but it cannot be used: compare the driver that "
            f'`nvidia-smi` names, and see what `python -c "import {look}"` prints'
        )
    if is_there:
        command = f"{INSTALL} 'jax[cuda12]'" if on_jax else "make repro GPU=1"
        return f"warning: an NVIDIA GPU is there, but CUDA's libraries are not: `{command}` installs them"
    if has_libraries:
        return (
            "warning: CUDA's libraries are installed, but no NVIDIA GPU is in sight: see what `nvidia-smi` says; "
            "a container has to be started with the GPU, as by `docker run --gpus all`"
        )
    return None


def processor() -> str:
    """Return the processor's kind: on another one, floating-point results may differ in their last bits."""
    found: list[str] = []
    with suppress(OSError):
        # ARM's have no name there, but numbers of who designed them, and what.
        said = Path("/proc/cpuinfo").read_text()
        found = re.findall(r"^(?:model name|CPU implementer|CPU part)\s*:\s*(.+)$", said, re.MULTILINE)
    return f"{platform.machine()} {' '.join(dict.fromkeys(found)) or platform.processor()}"


def versions(*packages: str) -> dict[str, str | None]:
    """Return the versions of packages; None of those that are not installed."""
    found: dict[str, str | None] = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found
