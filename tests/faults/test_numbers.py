"""Data of which little can be learnt, and numbers at their ends: scores are right, or what is wrong is named."""

import copy
import csv
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.conftest import PARAMS, ROOT
from tests.faults.conftest import Tried
from tests.faults.test_parameters import outcome_of
from thaw.engines.engine import finite
from thaw.errors import UserError
from thaw.scoring.scoring import per_class, reliability_bins, score, top_k_accuracy
from thaw.scoring.significance import paired_tests

IMAGES = 8
"""Of each class."""


def save(folder: Path, pixels: np.ndarray, label: str, number: int) -> None:
    """Write an image whose bytes no other has, whatever it shows."""
    path = folder / "data" / "raw" / "trees" / label / f"{number}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = PngInfo()
    text.add_text("Comment", f"{label} {number}")
    Image.fromarray(pixels).save(path, pnginfo=text)


def constant(folder: Path) -> dict[str, Any]:
    """Each class is one colour."""
    for number in range(IMAGES):
        for place, label in enumerate(("black", "grey", "white")):
            save(folder, np.full((20, 20, 3), 127 * place, np.uint8), label, number)
    return {}


def the_same(folder: Path) -> dict[str, Any]:
    """All images of all classes show the same."""
    for number in range(IMAGES):
        for label in ("fig", "oak"):
            save(folder, np.full((20, 20, 3), 99, np.uint8), label, number)
    return {}


def noise_of(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (20, 20, 3), np.uint8)


def of_one_class(split: str) -> Callable[[Path], dict[str, Any]]:
    """Return what makes a data set of which a split has images of one class only."""

    def make(folder: Path) -> dict[str, Any]:
        rows = []
        for number in range(IMAGES):
            for place, label in enumerate(("fig", "oak", "elm")):
                save(folder, noise_of(number * 3 + place), label, number)
                given = ("train", "train", "train", "train", "validation", "validation", "test", "test")[number]
                rows.append([f"{label}/{number}.png", label, "train" if given == split and label != "oak" else given])
        with (folder / "data" / "raw" / "trees" / "labels.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["path", "label", "split"], *rows])
        return {"layout": "csv", "split": {"method": "given"}}

    return make


def few(folder: Path) -> dict[str, Any]:
    """Classes of three images."""
    for number in range(3):
        for place, label in enumerate(("fig", "oak")):
            save(folder, noise_of(number * 2 + place), label, number)
    return {}


DATA = {
    "constant images": constant,
    "images that are all the same": the_same,
    "one class in validation": of_one_class("validation"),
    "one class in the test": of_one_class("test"),
    "three images a class": few,
}


def tree_of(change: dict[str, Any]) -> dict[str, Any]:
    tree = copy.deepcopy(PARAMS)
    tree["dataset"] |= change
    tree["variants"]["half"]["fit"]["calibrate"] = "temperature"
    tree["cross_validation"] = {
        "frozen_head": {"start": "backbones/lite0", "inputs": "features/bottleneck", "folds": 2, "repeats": 1}
    }
    return tree


class TestPipelines:
    @pytest.mark.long_form
    def test_data_of_which_little_can_be_learnt(self, tmp_path: Path, warm: Path, tried: Tried) -> None:
        for name, make in DATA.items():
            folder = tmp_path / name
            folder.mkdir()
            (folder / "constraints.txt").write_bytes((ROOT / "constraints.txt").read_bytes())
            found = outcome_of(folder, warm, tree_of(make(folder)))
            tried("numbers", name, found)

    @pytest.mark.long_form
    def test_a_class_that_is_added_later_runs_all_anew(self, tmp_path: Path, warm: Path, tried: Tried) -> None:
        (tmp_path / "constraints.txt").write_bytes((ROOT / "constraints.txt").read_bytes())
        tree = tree_of(constant(tmp_path))
        tree["cross_validation"] = {}
        assert outcome_of(tmp_path, warm, tree) == "ran"
        for number in range(IMAGES):
            save(tmp_path, noise_of(number), "a new class", number)
        assert outcome_of(tmp_path, warm, tree) == "ran"
        assert "a new class" in (tmp_path / "data" / "predictions" / "half.csv").read_text().splitlines()[0]
        tried("numbers", "a class that is added later", "ran")


@pytest.mark.parametrize(("labels", "sure"), [([0], 1.0), ([1] * 9, 1e-38), ([0, 1, 2] * 3, 0.0)])
def test_scores_of_few_classes_and_of_extreme_probabilities_are_finite(labels: list[int], sure: float) -> None:
    true = np.array(labels)
    rest = (1 - sure) / 2
    probabilities = np.full((len(true), 3), rest)
    probabilities[:, 0] = sure
    found = asdict(score(true, probabilities))
    assert all(math.isfinite(one) for one in found.values()), found
    assert 0 <= found["accuracy_low"] <= found["accuracy"] <= found["accuracy_high"] <= 1
    assert all(math.isfinite(one) for row in per_class(true, probabilities) for one in row)
    assert reliability_bins(true, probabilities)
    assert 0 <= top_k_accuracy(true, probabilities, 2) <= 1
    (pair,) = paired_tests(true, {"one": probabilities, "other": probabilities[:, ::-1]}, [("one", "other")])
    assert 0 <= pair.accuracy.p <= 1


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_activations_that_overflow_are_named_before_they_are_stored(value: float) -> None:
    rows = np.zeros((3, 2), np.float32)
    rows[1, 1] = value
    with pytest.raises(UserError, match=r"lite0\.keras: computes numbers that are not finite"):
        list(finite([rows], "models/backbones/lite0.keras"))
