"""The vehicles recipe on the real photographs, where a copy of their repository is at hand."""

import csv
import json
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from ruamel.yaml import YAML

from tests.conftest import ROOT, make_project
from thaw.images.decoding import Resize, decode, pixels

BUNDLE = ROOT.parent / "shared" / "data" / "VehicleDataset.bundle"


pytestmark = pytest.mark.skipif(not BUNDLE.exists(), reason="the vehicle photos' repository is not at hand")


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photos' repository."""
    path = tmp_path_factory.mktemp("mirror") / "VehicleDataset.git"
    subprocess.run(["git", "clone", "--quiet", "--mirror", str(BUNDLE), str(path)], check=True)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("method", ["pad", "crop", "stretch"])
def test_photos_are_resized_as_pillow_resizes_all_of_their_pixels(tmp_path: Path, mirror: Path, method: Resize) -> None:
    subprocess.run(["git", "clone", "--quiet", str(mirror), str(tmp_path / "photos")], check=True)
    means = []
    for path in sorted((tmp_path / "photos").rglob("*.jpg"))[::20]:
        image = decode(path.read_bytes())
        by_pillow = {
            "pad": ImageOps.pad(image, (224, 224), color="black"),
            "crop": ImageOps.fit(image, (224, 224), Image.Resampling.BICUBIC),
            "stretch": image.resize((224, 224), Image.Resampling.BICUBIC),
        }[method]
        difference = np.abs(pixels(path.read_bytes(), 224, 224, method).astype(int) - np.asarray(by_pillow))
        assert difference.max() <= 25
        means.append(difference.mean())
    assert max(means) < 1
    assert np.mean(means) < 0.3


def test_the_frozen_head_on_the_imported_photos(tmp_path: Path, mirror: Path, warm: Path) -> None:
    recipe = YAML(typ="safe").load(ROOT / "recipes" / "vehicles.yaml")
    project = make_project(tmp_path / "vehicles", warm, recipe)
    imported = project.dvc("import", str(mirror), "train", "-o", recipe["dataset"]["path"])
    assert imported.code == 0, imported.text
    ignored = subprocess.run(
        ["git", "status", "--porcelain", "-uall"], cwd=project.folder, text=True, capture_output=True
    )
    assert "data/raw/vehicles.dvc" in ignored.stdout
    assert ".jpg" not in ignored.stdout

    project.repro("cross_validate@frozen_head")
    with (project.folder / "data" / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert Counter(row["label"] for row in rows) == {"qingqi": 80, "rickshaw": 80, "tanga": 80}
    metrics = json.loads((project.folder / "metrics" / "cross_validation" / "frozen_head.json").read_text())
    assert metrics["fits"] == 20
    # Measured: 0.944. A wrong normalization or order of channels costs several points.
    assert metrics["accuracy"] >= 0.94
