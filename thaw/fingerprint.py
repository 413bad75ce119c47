"""What a result depends on besides its inputs: code, and the kind of machine."""

import hashlib
import json
import platform
import re
import sys
from pathlib import Path
from typing import Any

PACKAGES = ("stages", "thaw")


def fingerprint(*parts: Any) -> str:
    """Return a SHA-256 of JSON-serializable parts and of the project's modules that this process has loaded.

    So whatever is kept under a fingerprint is never taken for the result of other code.
    """
    code = {}
    for name, module in list(sys.modules.items()):
        spec, file = getattr(module, "__spec__", None), getattr(module, "__file__", None)
        name = spec.name if spec else name  # a stage's own module is __main__
        if file and name.partition(".")[0] in PACKAGES:
            code[name] = hashlib.sha256(Path(file).read_bytes()).hexdigest()
    return hashlib.sha256(json.dumps([parts, code], sort_keys=True).encode()).hexdigest()


def machine() -> str:
    """Return the processor's kind: on another one, floating-point results may differ in their last bits."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return f"{platform.machine()} {found[1] if found else platform.processor()}"
