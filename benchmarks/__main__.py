"""Measure, and write docs/benchmarks.md and docs/benchmarks.svg.

Run `make bench`, or `python -m benchmarks SECTION…` for some sections; of the others stays what was measured before.
Without a name, what needs a GPU is measured where one is.
"""

import importlib
import json
import os
import platform
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.measuring import COLUMNS, Comparison
from benchmarks.picture import draw_ratios
from thaw.files.writing import write_text
from thaw.machine import HAS_NVIDIA, backend, versions

FOLDER = Path("docs")
MEASURED = FOLDER / "benchmarks.json"
SECTIONS = {
    "extraction": "From photos to features",
    "decoding": "Decoding and resizing",
    "fine_tuning": "Training",
    "solver": "Solving a linear head",
    "variants": "A whole recipe",
    "growth": "More images",
    "million": "A million images",
    "prediction": "Using a model",
    "labels": "Labels",
    "gpu": "On a GPU",
}
UNMEASURED = {"gpu": "No GPU was at hand. Where one is, `python -m benchmarks gpu` measures this section."}
"""What stands in place of what a machine cannot measure."""
INTRODUCTION = """# Benchmarks

`make bench` measures all of this; `python -m benchmarks extraction` measures one section. The ways that are compared
run one after the other, several times but for those that take minutes; a ratio is how many times as long the other way
takes, the median over pairs of runs, and from the least to the greatest of them. Only ratios carry over to other
machines. Networks other than EfficientNet-Lite0 have random weights, which take the same time.

![ratios](benchmarks.svg)
"""


def main(names: list[str]) -> None:
    """Measure sections, all by default, and write the results."""
    unknown = sorted(set(names) - set(SECTIONS))
    if unknown:
        sys.exit(f"error: there is no section {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    measured = json.loads(MEASURED.read_text(encoding="utf-8")) if MEASURED.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["THAW_CACHE"] = str(Path(folder) / "rows")
        for name in names or [name for name in SECTIONS if name not in UNMEASURED or HAS_NVIDIA]:
            print(f"measuring: {name}", flush=True)
            found = importlib.import_module(f"benchmarks.{name}").measure()
            rows = [one.to_json() for one in found.comparisons]
            measured[name] = {"machine": machine(), "rows": rows, "words": found.words}
            write_text(MEASURED, json.dumps(measured, indent=1) + "\n")
    sections = {name: measured[name] for name in SECTIONS if name in measured}
    write_text(FOLDER / "benchmarks.md", document(measured))
    drawn = {SECTIONS[name]: [Comparison(**row) for row in of["rows"]] for name, of in sections.items()}
    draw_ratios(FOLDER / "benchmarks.svg", drawn)


def document(measured: dict[str, Any]) -> str:
    """Return docs/benchmarks.md."""
    found = [
        _section(name, measured[name]) if name in measured else f"\n## {SECTIONS[name]}\n\n{UNMEASURED[name]}\n"
        for name in SECTIONS
        if name in measured or name in UNMEASURED
    ]
    return INTRODUCTION + "".join(found)


def _section(name: str, measured: dict[str, Any]) -> str:
    rows = [Comparison(**row).row() for row in measured["rows"]]
    table = "\n".join([COLUMNS, *rows]) + "\n\n" if rows else ""
    words = f"{measured['words']}\n\n" if measured["words"] else ""
    return f"\n## {SECTIONS[name]}\n\n{table}{words}Measured on {measured['machine']}.\n"


def machine() -> str:
    """Describe what is measured on."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    name = re.search(r"model name\s*: (.+)", text)
    instructions = [one for one in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if re.search(rf"\b{one}\b", text)]
    found = versions(backend(), "keras", "openvino", "pillow")
    packages = ", ".join(f"{name} {version}" for name, version in found.items() if version)
    return (
        f"{os.cpu_count()} cores of {name[1] if name else platform.processor() or platform.machine()} "
        f"({', '.join(instructions) or 'no instructions known'}), Python {platform.python_version()}, {packages}"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
