"""What a finished pipeline leaves: models that Keras alone can use, and metrics and plots that DVC can show."""

import copy
import csv
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import CLASSES, PARAMS, Project
from thaw.images.decoding import pixels

VARIANTS = list(PARAMS["variants"])
PREDICT = """
import pathlib, sys, numpy, keras
for path in map(pathlib.Path, sys.argv[1:]):
    model = keras.saving.load_model(path, safe_mode=True)
    numpy.save(path.stem, model(numpy.load("pixels.npy").astype("float32"), training=False).numpy())
assert "thaw" not in sys.modules
"""


def predictions(project: Project, variant: str, folder: str = "predictions") -> list[dict[str, str]]:
    with (project.folder / "data" / folder / f"{variant}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_keras_alone_loads_every_variant_and_predicts_what_was_scored(finished: Project, tmp_path: Path) -> None:
    rows = predictions(finished, VARIANTS[0])
    images = finished.folder / PARAMS["dataset"]["path"]
    shown = [pixels((images / row["path"]).read_bytes(), 40, 40, "pad") for row in rows]
    np.save(tmp_path / "pixels.npy", np.stack(shown))
    files = [str(finished.folder / "models" / "variants" / f"{variant}.keras") for variant in VARIANTS]
    subprocess.run([sys.executable, "-I", "-c", PREDICT, *files], cwd=tmp_path, check=True)
    for variant in VARIANTS:
        scored = [[float(row[f"p_{label}"]) for label in CLASSES] for row in predictions(finished, variant)]
        # Of logits as large as these, a difference in the sixth digit is one in the fifth of a probability.
        np.testing.assert_allclose(np.load(tmp_path / f"{variant}.npy"), scored, rtol=0, atol=1e-4, err_msg=variant)


@pytest.mark.parametrize("variant", VARIANTS)
def test_class_names_are_inside_a_models_file(variant: str, finished: Project) -> None:
    with zipfile.ZipFile(finished.folder / "models" / "variants" / f"{variant}.keras") as archive:
        assert json.loads(archive.read("thaw.json"))["classes"] == list(CLASSES)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("split", "folder"), [("validation", "validation"), ("test", "predictions")])
def test_metrics_follow_from_the_predictions(variant: str, split: str, folder: str, finished: Project) -> None:
    metrics = json.loads((finished.folder / "metrics" / f"{variant}.json").read_text())[split]
    rows = predictions(finished, variant, folder)
    correct = sum(row["actual"] == row["predicted"] for row in rows)
    assert metrics["images"] == len(rows) == 2 * len(CLASSES)
    assert metrics["correct"] == correct
    assert metrics["accuracy"] == pytest.approx(correct / len(rows), abs=1e-6)
    assert metrics["accuracy_low"] < metrics["accuracy"] <= metrics["accuracy_high"]
    # As in scikit-learn, no probability counts as less than float64's resolution: one image cannot make it infinite.
    of_own_class = [max(float(row[f"p_{row['actual']}"]), np.finfo(np.float64).eps) for row in rows]
    assert metrics["log_loss"] == pytest.approx(-np.log(of_own_class).mean(), abs=1e-5)


def test_parameters_are_counted_behind_the_boundary(finished: Project) -> None:
    counts = {
        variant: json.loads((finished.folder / "metrics" / f"{variant}.json").read_text())["parameters"]
        for variant in VARIANTS
    }
    assert len({count["total"] for count in counts.values()}) == 1
    assert counts["frozen_head"]["trainable"] == 1280 * len(CLASSES) + len(CLASSES)
    assert counts["frozen_head"]["trainable"] < counts["half"]["trainable"] < counts["full"]["trainable"]


def test_dvc_shows_metrics_and_plots(finished: Project, tmp_path: Path) -> None:
    table = finished.dvc("metrics", "show", "--md")
    assert table.code == 0
    assert all(f"| metrics/{variant}.json" in table.text for variant in VARIANTS)
    assert "| test.accuracy_low" in table.text
    shown = finished.dvc("plots", "show", "--json")
    assert shown.code == 0
    plots = json.loads(shown.text[shown.text.index("{") :])
    expected = [
        f"data/{kind}/{name}.csv"
        for kind in ("history", "predictions", "per_class", "reliability")
        for name in VARIANTS
    ]
    expected += [f"data/mistakes/{name}.jpg" for name in VARIANTS]
    expected += [
        "data/suspected/bottleneck.jpg",
        "data/class_distribution.csv",
        "data/samples.jpg",
        "metrics/learning_curves.svg",
    ]
    assert not plots.get("errors")
    assert set(plots["data"]) == set(expected)


def test_dvc_diffs_a_change_against_a_commit(finished: Project) -> None:
    for command in (["add", "."], ["-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-qm", "base"]):
        subprocess.run(["git", *command], cwd=finished.folder, check=True)
    params = copy.deepcopy(PARAMS)
    params["variants"]["half"]["fit"]["optimizer"]["Adam"]["learning_rate"] = 1e-2
    finished.write_params(params)
    try:
        assert finished.repro().ran == ["train@half", "evaluate@half", "report"]
        difference = finished.dvc("metrics", "diff", "--md")
        assert "metrics/half.json" in difference.text
        assert "test.log_loss" in difference.text
        assert "validation.log_loss" in difference.text
        assert "metrics/full.json" not in difference.text
        plots = finished.dvc("plots", "diff", "--json", "HEAD")
        assert plots.code == 0
        data = json.loads(plots.text[plots.text.index("{") :])["data"]
        drawn = {revision for plot in data["data/history/half.csv"] for revision in plot["revisions"]}
        assert drawn == {"HEAD", "workspace"}
    finally:
        finished.write_params(PARAMS)
        finished.repro()
