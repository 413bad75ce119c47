"""What `make repro` installs first: killed at any moment, the next run makes it whole; nothing of it goes on."""

import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import psutil
import pytest
from packaging.specifiers import SpecifierSet

from tests.conftest import ROOT, Project
from tests.faults.conftest import Tried
from tests.faults.test_kills import Command, kill_often

# What pip needs of a project to install it as `make` does: the project is its own build system, so nothing is fetched.
PYPROJECT = """\
[build-system]
requires = []
build-backend = "build"
backend-path = ["."]

[project]
name = "small"
version = "1"
dependencies = ["first", "second"]
"""
BUILD = """\
import tomllib
import zipfile

def build_editable(folder, config_settings=None, metadata_directory=None):
    with zipfile.ZipFile(f"{folder}/small-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("small.pth", "")
        wheel.writestr("small-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        metadata = "Metadata-Version: 2.1\\nName: small\\nVersion: 1\\nRequires-Dist: first\\nRequires-Dist: second\\n"
        wheel.writestr("small-1.dist-info/METADATA", metadata)
        wheel.writestr("small-1.dist-info/RECORD", "")
    return "small-1-py3-none-any.whl"
"""
MODULES = 1500
"""Of each package: to install them takes pip as long as to find them."""


def write_wheel(folder: Path, name: str) -> None:
    about = f"{name}-1.dist-info"
    files = {f"{name}/module_{number}.py": f"number = {number}\n" for number in range(MODULES)}
    files[f"{about}/WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{about}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n"
    files[f"{about}/RECORD"] = "".join(f"{path},,\n" for path in (*files, f"{about}/RECORD"))
    with zipfile.ZipFile(folder / f"{name}-1-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)


def write_wheel_of_uv(folder: Path) -> None:
    """Write the wheel from which this Python's uv came."""
    about = metadata.distribution("uv")
    with zipfile.ZipFile(folder / f"uv-{about.version}-py3-none-any.whl", "w") as wheel:
        for file in about.files or ():
            if file.suffix != ".pyc":
                name = f"uv-{about.version}.data/scripts/{file.name}" if file.parent.name == "bin" else str(file)
                wheel.write(str(file.locate()), name)


@pytest.fixture
def small(tmp_path: Path, plain: Path) -> Project:
    """A project with the Makefile of this one, and two packages that it needs."""
    folder, wheels = tmp_path / "project", tmp_path / "wheels"
    folder.mkdir()
    wheels.mkdir()
    shutil.copy(ROOT / "Makefile", folder)
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "build.py").write_text(BUILD)
    (folder / "constraints.txt").write_text("first==1\nsecond==1\n")
    for name in ("first", "second"):
        write_wheel(wheels, name)
    write_wheel_of_uv(wheels)
    return Project(folder, plain)


@pytest.mark.slow
@pytest.mark.long_form
def test_an_installation_that_is_killed_is_made_anew(small: Project, kills: int, tried: Tried, tmp_path: Path) -> None:
    # A pip that is killed leaves what it unpacked where temporary files are.
    wheels = str(tmp_path / "wheels")
    environment = {
        **{"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": wheels, "UV_NO_INDEX": "1", "UV_FIND_LINKS": wheels},
        **{"TMPDIR": str(tmp_path), "UV_CACHE_DIR": str(tmp_path / "cache")},
    }
    command = Command(small, ["make", "--silent", ".venv/installed", f"PYTHON={sys.executable}"], environment)
    installed = small.folder / ".venv"

    def prepare() -> None:
        for folder in (installed, tmp_path / "cache"):
            shutil.rmtree(folder, ignore_errors=True)

    kill_often("make .venv/installed", kills, command, lambda: [command.run()], prepare, [installed], tried)
    (installer,) = installed.glob("lib/*/site-packages/first-1.dist-info/INSTALLER")
    assert installer.read_text() == "uv"


# What stands for Python.
PYTHON = """#!/bin/sh
case "$2 $3" in
  venv*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && : > "$3/pyvenv.cfg" ;;
  "pip config") cat index 2> /dev/null ;;
  uv*) echo "$UV_DEFAULT_INDEX" > .venv/asked && [ ! -e no_uv ] && exec "$0" -m pip install ;;
  pip*)
    [ -e .venv/half ] && { touch .venv/found_half; exit 0; }
    touch .venv/half
    [ -e fast ] || { touch waiting; exec sleep 60; }
    mv .venv/half .venv/whole
    [ ! -e fail ] ;;
esac
"""


def begun(target: str, folder: Path) -> subprocess.Popen[bytes]:
    """Have make install a target in a folder, with what stands for Python; return it when pip is at work."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    python = folder / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    command = ["make", f".venv/{target}", f"PYTHON={python}"]
    process = subprocess.Popen(command, cwd=folder, start_new_session=True, stdout=subprocess.DEVNULL)
    while not (folder / "waiting").exists() and process.poll() is None:
        time.sleep(0.01)
    return process


@pytest.mark.parametrize("target", ["installed", "installed-dev"])
def test_an_installation_that_was_killed_is_made_anew(target: str, tmp_path: Path) -> None:
    process = begun(target, tmp_path)
    command = process.args
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / ".venv" / target).exists()
    (tmp_path / "fast").touch()
    for _ in range(2):  # the second time, there is nothing to do
        subprocess.run(command, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
        assert sorted(path.name for path in (tmp_path / ".venv").iterdir() if path.is_file()) == sorted(
            {"asked", "pyvenv.cfg", "whole", "installed", target}
        )
    # One that fails takes back what it has begun, and what was there stays.
    os.utime(tmp_path / "constraints.txt", (time.time() + 5, time.time() + 5))
    (tmp_path / "fail").touch()
    (tmp_path / ".venv" / "mine").touch()
    assert subprocess.run(command, cwd=tmp_path, check=False, capture_output=True).returncode
    (tmp_path / "fail").unlink()
    subprocess.run(command, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    assert (tmp_path / ".venv" / "mine").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_installation_ends_with_make(number: signal.Signals, tmp_path: Path) -> None:
    with begun("installed", tmp_path) as process:
        started = psutil.Process(process.pid).children(recursive=True)
        (os.kill if number == signal.SIGTERM else os.killpg)(process.pid, number)
        _, going = psutil.wait_procs(started, timeout=5)
        for one in going:
            one.kill()
    assert not going
    assert process.returncode
    assert (tmp_path / ".venv" / "unfinished").exists()


@pytest.mark.parametrize(("version", "fits"), [((3, 10, 13), False), ((3, 13, 9), True), ((3, 14, 0), False)])
def test_another_python_than_thaw_needs_makes_no_folder(
    version: tuple[int, int, int], fits: bool, tmp_path: Path
) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "constraints.txt").touch()
    python = tmp_path / "python"
    named = ".".join(map(str, version))
    of_version = f"import sys; sys.version_info, sys.version = {version}, '{named} (main)'; exec(sys.argv[1])"
    python.write_text(
        f'#!/bin/sh\n[ "$1" = -c ] && exec {sys.executable} -c "{of_version}" "$2"\ntouch begun\nexit 1\n'
    )
    python.chmod(0o755)
    command = ["make", "--silent", ".venv/installed", f"PYTHON={python}"]
    told = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True).stderr
    assert (tmp_path / "begun").exists() == (tmp_path / ".venv").exists() == fits
    assert (f"{python} is Python {named}; Thaw needs 3.11, 3.12 or 3.13: make PYTHON=python3.13" in told) != fits
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert SpecifierSet(needed).contains(named) == fits


@pytest.mark.parametrize("has_uv", [True, False])
def test_uv_gets_the_index_of_pip_which_goes_on_where_uv_fails(has_uv: bool, tmp_path: Path) -> None:
    for name, text in (("fast", ""), ("index", "global.index-url='https://mirror/simple'\n")):
        (tmp_path / name).write_text(text)
    if not has_uv:
        (tmp_path / "no_uv").touch()
    process = begun("installed", tmp_path)
    assert process.wait() == 0
    made = {path.name for path in (tmp_path / ".venv").iterdir() if path.is_file()}
    assert made == {"asked", "pyvenv.cfg", "whole", "installed"}
    assert (tmp_path / ".venv" / "asked").read_text() == "https://mirror/simple\n"
