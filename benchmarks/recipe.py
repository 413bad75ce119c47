"""The vehicles recipe in a project of its own."""

import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.photos import photos

ROOT = Path(__file__).parents[1]
PHOTOS = 240


def make_project(folder: Path) -> None:
    """Make a project of this repository's code, the vehicles recipe and its photos; nothing has run in it."""
    for name in ("stages", "thaw"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    folders = (f"data/{name}/README.md" for name in ("label_issues", "seeds"))
    for name in ("dvc.yaml", "constraints.txt", ".gitignore", ".dvcignore", *folders):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    shutil.copy(ROOT / "recipes" / "vehicles.yaml", folder / "params.yaml")
    photos(folder / "data" / "raw" / "vehicles", PHOTOS)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "--quiet"], cwd=folder, check=True)
    shutil.copy(ROOT / ".dvc" / "config", folder / ".dvc" / "config")  # else DVC reports its use


def reproduce(folder: Path, *stages: str) -> None:
    """Run stages and what they depend on."""
    subprocess.run([sys.executable, "-m", "dvc", "repro", *stages], cwd=folder, check=True, capture_output=True)
