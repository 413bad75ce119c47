"""Say which of the packages in constraints.txt have no wheel, for every Python and machine that they are meant for.

Run `python -m tests.wheels`; it asks pip's index, in about six minutes. pip 25.3 or newer fetches no whole packages
for it. The status is 1 where a wheel is missing.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.11", "3.12", "3.13")
# To pip, a platform is the wheels' tag and, but for macOS, no older ones. Debian 12 has glibc 2.36.
PLATFORMS = {
    "Linux x86-64": [*(f"manylinux_2_{minor}_x86_64" for minor in range(36, 4, -1)), "manylinux2014_x86_64"],
    "Linux arm64": [*(f"manylinux_2_{minor}_aarch64" for minor in range(36, 16, -1)), "manylinux2014_aarch64"],
    "macOS arm64": ["macosx_14_0_arm64"],
}
# Pure Python that pip builds by itself, for its authors publish no wheel.
SOURCE_ONLY = {"antlr4-python3-runtime", "wsgidav"}


def missing(python: str, platforms: list[str], pins: list[str]) -> list[str]:
    """Return those of the pins, such as `numpy==2.4.6`, that have no wheel; pip stops at the first one each time."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--only-binary=:all:"]
    command += ["--use-feature=fast-deps", "--python-version", python, *(f"--platform={one}" for one in platforms)]
    found: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        while True:
            wanted = Path(folder) / "wanted.txt"
            wanted.write_text("\n".join(pin for pin in pins if pin not in found), encoding="utf-8")
            arguments = ["--target", folder, "--requirement", str(wanted)]
            done = subprocess.run([*command, *arguments], text=True, capture_output=True, check=False)
            lacking = re.search(r"No matching distribution found for (\S+)", done.stderr)
            if lacking:
                found.append(lacking[1])
            elif done.returncode:
                sys.exit(done.stderr)
            else:
                return found


def main() -> None:
    """Print a line for each Python on each platform."""
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    complete = True
    for name, platforms in PLATFORMS.items():
        # CUDA's libraries are what the extra `gpu` takes besides, on Linux alone.
        wanted = [pin for pin in pins if pin.partition("==")[0] not in SOURCE_ONLY]
        wanted = [pin for pin in wanted if "Linux" in name or not pin.startswith("nvidia-")]
        for python in PYTHONS:
            found = missing(python, platforms, wanted)
            complete = complete and not found
            said = f"no wheel of {', '.join(found)}" if found else "a wheel of every package"
            print(f"Python {python}, {name}: {said}", flush=True)
    sys.exit(not complete)


if __name__ == "__main__":
    main()
