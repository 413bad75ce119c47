"""Stages that are killed go on where they were, and images that were seen before are not computed again."""

import re
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import PARAMS, Project, make_project, named
from tests.toy import commit, git
from thaw.formats.row_file import RowFile
from thaw.machine import HAS_CUDA, HAS_NVIDIA, HAS_OPENVINO

BATCH = 8
IMAGES = 60
IMAGES_FOLDER = PARAMS["dataset"]["path"]
ARGUMENTS = {
    "tensors": ["tensors.small", IMAGES_FOLDER, "data/manifest.csv", "data/small.h5"],
    "features": ["features.f", "data/small.h5", "models/lite0.keras", "data/f.h5"],
}
WATCHED = """
import os, runpy, signal, sys

_, stage, kill_after, *arguments = sys.argv
from thaw.reuse import row_store

append, stored = row_store.RowStore._append, []

def append_and_count(self, keys, rows):
    append(self, keys, rows)
    stored.append(len(rows))
    if len(stored) == int(kill_after):
        os.kill(os.getpid(), signal.SIGKILL)

row_store.RowStore._append = append_and_count
computed = []
if stage == "stages.tensors":
    from thaw.images import decoding

    pixels = decoding.pixels
    decoding.pixels = lambda *arguments: computed.append(1) or pixels(*arguments)
else:
    from stages.features.views import Views

    def batches(self, numbers, batches=Views.batches):
        for pixels in batches(self, numbers):
            computed.append(len(pixels))
            yield pixels

    Views.batches = batches
sys.argv = [stage, *arguments]
runpy.run_module(stage, run_name="__main__", alter_sys=True)
print("computed:", sum(computed))
print("Keras is loaded" if "keras" in sys.modules else "Keras is not loaded")
"""
"""Runs a stage; says how many rows went through the decoder or the network; dies when so many batches are stored."""


@dataclass(frozen=True)
class Run:
    code: int
    computed: int | None
    known: int | None


def execute(project: Project, *words: str, cache: str = ".thaw") -> subprocess.CompletedProcess[str]:
    environment = {**project.environment, "THAW_CACHE": cache}
    done = subprocess.run(
        ["python", "-m", *words], cwd=project.folder, env=environment, text=True, capture_output=True, check=False
    )
    assert done.returncode in (0, signal.SIGKILL), done.stdout + done.stderr
    return done


def run(project: Project, stage: str, cache: str = ".thaw", kill_after: int = 0) -> Run:
    words = ["watched", f"stages.{stage}", str(kill_after), *named(stage, "params.yaml", *ARGUMENTS[stage])]
    done = execute(project, *words, cache=cache)
    computed = re.search(r"^computed: (\d+)$", done.stdout, re.MULTILINE)
    known = re.search(r"; (\d+)(?: of \d+ rows)? were (?:decoded|computed) before$", done.stdout, re.MULTILINE)
    return Run(done.returncode, computed and int(computed[1]), known and int(known[1]))


def draw(project: Project, count: int) -> None:
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 256, (30, 40, 3), np.uint8)
        path = project.folder / IMAGES_FOLDER / f"tree {number % 3}" / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)


def list_images(project: Project, seed: int = 0) -> None:
    features = {"tensors": "small", "backbone": "lite0", "layer": "block_4", "batch_size": BATCH}
    params = {**PARAMS, "features": {"f": features}, "dataset": {**PARAMS["dataset"]}}
    params["dataset"]["split"] = {"method": "stratified", "test": 0.2, "validation": 0.2, "seed": seed}
    project.write_params(params)
    written = ["manifest.csv", "skipped.csv", "near.csv", "classes.csv", "samples.jpg", "thumbnails.zip"]
    paths = [f"data/{name}" for name in written]
    execute(project, "stages.manifest", *named("manifest", "params.yaml", "dataset", IMAGES_FOLDER, *paths))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, warm: Path) -> Project:
    """A project with some images and a backbone."""
    made = make_project(tmp_path_factory.mktemp("resume") / "a project", warm)
    shutil.rmtree(made.folder / IMAGES_FOLDER)
    (made.folder / "watched.py").write_text(WATCHED)
    draw(made, IMAGES)
    list_images(made)
    execute(made, "stages.backbone", *named("backbone", "params.yaml", "backbones.lite0", "models/lite0.keras"))
    return made


def test_nothing_is_computed_twice_and_the_bytes_are_those_of_a_clean_run(project: Project) -> None:
    stages = [("tensors", 32, project.folder / "data/small.h5"), ("features", BATCH, project.folder / "data/f.h5")]
    for stage, batch, output in stages:
        assert run(project, stage, kill_after=1).code == signal.SIGKILL
        assert not output.exists()
        assert run(project, stage) == Run(0, IMAGES - batch, batch)
        resumed = output.read_bytes()
        assert run(project, stage, cache=f"clean {stage}") == Run(0, IMAGES, 0)
        assert output.read_bytes() == resumed

    draw(project, IMAGES + 5)
    list_images(project, seed=1)
    for stage, _, output in stages:
        earlier = output.read_bytes()
        assert run(project, stage) == Run(0, 5, IMAGES)
        grown = output.read_bytes()
        assert grown != earlier
        assert run(project, stage, cache=f"clean grown {stage}") == Run(0, IMAGES + 5, 0)
        assert output.read_bytes() == grown


def test_another_worktree_begins_with_the_rows_of_the_first(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    another = Project(tmp_path / "another", project.python)
    commit(project)
    git(project.folder, "worktree", "add", str(another.folder))
    for name in (IMAGES_FOLDER, "data/manifest.csv"):
        (shutil.copytree if (project.folder / name).is_dir() else shutil.copy)(
            project.folder / name, another.folder / name
        )
    count = len(list((project.folder / IMAGES_FOLDER).glob("*/*.png")))
    assert run(project, "tensors", cache="") == Run(0, count, 0)
    assert run(another, "tensors", cache="") == Run(0, 0, count)
    assert not (another.folder / ".thaw" / "rows").exists()
    tensors = Path("data/small.h5")
    assert (another.folder / tensors).read_bytes() == (project.folder / tensors).read_bytes()


@pytest.mark.skipif(HAS_NVIDIA or HAS_CUDA or not HAS_OPENVINO, reason="Keras runs the frozen part here")
def test_a_frozen_part_is_made_once_and_then_runs_without_keras(project: Project, plain: Path) -> None:
    def extract(cache: str) -> str:
        words = ["watched", "stages.features", "0", *named("features", "params.yaml", *ARGUMENTS["features"])]
        return execute(Project(project.folder, plain), *words, cache=cache).stdout

    run(project, "tensors")
    run(project, "features", cache="parts")
    output = project.folder / "data/f.h5"
    made = output.read_bytes()
    (part,) = (project.folder / "parts" / "rows").glob("*/graph.zip")
    for rows in (project.folder / "parts" / "rows").glob("*/*.rows"):
        rows.unlink()
    text = extract("parts")
    assert "Keras is not loaded" in text
    assert f"computed: {len(RowFile(output))}" in text
    assert output.read_bytes() == made
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    assert "Keras is loaded" in extract("parts")
    assert output.read_bytes() == made
    assert "Keras is not loaded" in extract("parts")
