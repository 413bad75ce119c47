"""The vehicles recipe on the real photographs, where a copy of their repository is at hand."""

import csv
import json
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.conftest import ROOT, make_project

BUNDLE = ROOT.parent / "shared" / "data" / "VehicleDataset.bundle"


@pytest.mark.skipif(not BUNDLE.exists(), reason="the vehicle photos' repository is not at hand")
def test_the_frozen_head_on_the_imported_photos(tmp_path: Path, warm: Path) -> None:
    mirror = tmp_path / "VehicleDataset.git"
    subprocess.run(["git", "clone", "--quiet", "--mirror", str(BUNDLE), str(mirror)], check=True)
    recipe = YAML(typ="safe").load(ROOT / "recipes" / "vehicles.yaml")
    project = make_project(tmp_path / "vehicles", warm, recipe)
    imported = project.dvc("import", str(mirror), "train", "-o", recipe["dataset"]["path"])
    assert imported.code == 0, imported.text
    ignored = subprocess.run(
        ["git", "status", "--porcelain", "-uall"], cwd=project.folder, text=True, capture_output=True
    )
    assert "data/raw/vehicles.dvc" in ignored.stdout
    assert ".jpg" not in ignored.stdout

    project.repro("evaluate@frozen_head")
    with (project.folder / "data" / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert Counter(row["label"] for row in rows) == {"qingqi": 80, "rickshaw": 80, "tanga": 80}
    metrics = json.loads((project.folder / "metrics" / "frozen_head.json").read_text())
    assert metrics["cross_validation"]["fits"] == 20
    # Measured: 0.951. A wrong normalization or order of channels costs several points.
    assert metrics["cross_validation"]["accuracy"] >= 0.94
