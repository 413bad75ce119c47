"""Generated params files: the check accepts or refuses each, and what it accepts runs, or says in a line why not."""

import copy
import json
import math
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.conftest import PARAMS, ROOT, draw_trees
from tests.faults.conftest import Tried
from tests.faults.nonsense import generated, outcome
from tests.stages_of import Stage, stages_of

PARTS = 8
EACH = 250


class TestTheCheck:
    def test_every_generated_file_is_accepted_or_refused(
        self, is_full: bool, tmp_path: Path, tried: Tried, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if not is_full:
            monkeypatch.setattr("stages.check.trials.tried", lambda _: iter(()))
            monkeypatch.setattr("stages.check.checking.tried", lambda _: iter(()))
            path = tmp_path / "params.yaml"
            for number in range(40):
                path.write_bytes(generated(number))
                found = outcome(path)
                assert found in ("valid", "refused"), f"{number}: {found}"
                tried("params.yaml", "generated", found)
            return
        for part in range(PARTS):
            command = [sys.executable, "-m", "tests.faults.nonsense", str(part * EACH), str(EACH)]
            environment = {**os.environ, "KERAS_BACKEND": "numpy"}
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr[-2000:]
            found = json.loads(done.stdout.splitlines()[-1])
            assert found["failed"] == {}
            for name, count in found["counts"].items():
                for _ in range(count):
                    tried("params.yaml", "generated", name)


BASE = copy.deepcopy(PARAMS)
BASE["dataset"]["path"] = "data/raw/trees"
BASE["variants"]["fresh"] = {
    "start": "backbones/lite0",
    "inputs": "features/bottleneck",
    "head": [{"Dense": {"units": "classes", "activation": "softmax"}}],
    "fit": {"epochs": 1, "optimizer": {"Adam": {"learning_rate": 1e-3}}},
}
BASE["seeds"] = {"half": {"start": "variants/frozen_head", "inputs": "features/midway", "others": [1]}}
BASE["cross_validation"] = {
    "frozen_head": {"start": "backbones/lite0", "inputs": "features/bottleneck", "folds": 3, "repeats": 1}
}
FITS = ("variants.half.fit", "variants.full.fit", "variants.fresh.fit")
RATES = (0.0, 1e-30, 1e-3, 1.0, 1e4, 1e20, 1e30)
EXTREMES: dict[str, tuple[Any, ...]] = {
    "tensors.small.pixels": ([1, 1], [1, 300], [33, 32], [200, 7], [32, 32]),
    "tensors.small.resize": ("pad", "stretch", "crop"),
    "tensors.small.interpolation": ("bilinear", "bicubic", "nearest"),
    "features.bottleneck.batch_size": (1, 3, 10**6, 10**30),
    "features.midway.layer": ("stem_conv", "block_1", "block_14", "top"),
    "features.bottleneck.pooling": ("avg", "max"),
    "variants.frozen_head.fit.C": ([1e-300], [1e300], [1e-12, 1.0, 1e12], [5e-324, 1.7e308], [0.1]),
    **{f"{fit}.optimizer": tuple({"Adam": {"learning_rate": rate}} for rate in RATES) for fit in FITS},
    **{f"{fit}.epochs": (1, 2) for fit in FITS},
    **{f"{fit}.batch_size": (1, 2, 10**6, 10**30) for fit in FITS},
    **{f"{fit}.seed": (0, 2**32 - 1) for fit in FITS},
    **{f"{fit}.class_weight": ("balanced", {"oak": 0.0}, {"oak": 1e30}, None) for fit in FITS},
    **{f"{fit}.steps_per_epoch": (1, 30, None) for fit in FITS},
    **{f"{fit}.calibrate": ("temperature", None) for fit in FITS},
    "variants.full.fit.layer_decay": (1e-300, 0.5, 1.0),
    "variants.full.fit.batch_norm": ("frozen", "trained"),
    "variants.full.fit.learning_rate_factors": ({}, {"block_1": 0.0}, {"block": 1e30}),
    "variants.full.augmentation": ([], [{"RandomRotation": {"factor": 1.0}}, {"RandomZoom": {"height_factor": 0.9}}]),
    "variants.fresh.head": (
        [{"Dense": {"units": "classes", "activation": "softmax"}}],
        [{"Dropout": {"rate": 0.99}}, {"Dense": {"units": "classes", "activation": "softmax"}}],
        [{"Dense": {"units": 2000, "activation": "relu"}}, {"Dense": {"units": "classes"}}],
    ),
    "evaluation.top_k": (2, 3, 10**6),
    "cross_validation.frozen_head.folds": (2, 3, 7),
    "cross_validation.frozen_head.repeats": (1, 2),
    "seeds.half.others": ([2**32 - 1], [2, 1]),
    "label_issues.bottleneck": ({}, {"folds": 2}, {"folds": 10**6}, {"C": [1e-300, 1e300]}),
    "dataset.split": (
        {"method": "stratified", "test": 0.3, "validation": 0.3},
        {"method": "stratified", "test": 1e-9, "validation": 1e-9},
        {"method": "shuffled", "test": 0.5, "validation": 0.2},
        {"method": "stable", "test": 0.5, "validation": 0.1, "seed": 2**32 - 1},
    ),
    "dataset.near_duplicates": (None, 0, 32),
}


def extreme(number: int) -> dict[str, Any]:
    """Return a valid params file with some values at their ends."""
    chance = random.Random(number)
    tree = copy.deepcopy(BASE)
    kept = chance.choice(["half", "full", "fresh"])
    tree["variants"] = {name: tree["variants"][name] for name in ("frozen_head", kept)}
    if kept != "half":
        del tree["features"]["midway"], tree["seeds"]["half"]
    there = [one for one in sorted(EXTREMES) if one.split(".")[1] in tree.get(one.split(".")[0], {})]
    there += [one for one in EXTREMES if one.startswith(("dataset", "evaluation"))]
    for address in chance.sample(sorted({*there}), 6):
        *path, last = address.split(".")
        node = tree
        for step in path:
            node = node[step]
        value = copy.deepcopy(chance.choice(EXTREMES[address]))
        if value is None:
            node.pop(last, None)
        else:
            node[last] = value
    if kept == "half" and tree["features"]["midway"]["layer"] == "top":
        tree["features"]["midway"]["pooling"] = "avg"
    return tree


def outcome_of(folder: Path, python: Path, tree: dict[str, Any]) -> str:
    """Run the stages of a params file, up to the first that refuses; say whether one does, in a line.

    The scores have to be finite.
    """
    with (folder / "params.yaml").open("w") as file:
        YAML().dump(tree, file)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "THAW_CACHE": str(folder / ".thaw")}
    calls = {"check": Stage("stages.check", ["--params", "params.yaml"], []), **stages_of(tree)}
    del calls["digits"]
    for name, stage in calls.items():
        if name.startswith("backbone") and (folder / stage.outs[0]).exists():  # always the same
            continue
        command = [str(python / "python"), "-m", stage.module, *stage.arguments]
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False
        )
        said = f"{json.dumps(tree)}\n{name}: {done.stderr[-3000:]}"
        assert "Traceback" not in done.stderr, said
        if done.returncode:
            assert done.returncode == 1, said
            assert "\nerror: " in f"\n{done.stderr}", said
            return f"refused by {name.partition('@')[0]}"
    for name in tree["variants"]:
        scores = json.loads((folder / "metrics" / f"{name}.json").read_text())
        for split in ("validation", "test"):
            assert all(math.isfinite(one) for one in scores.get(split, {}).values()), scores
    return "ran"


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images and what else the stages read."""
    folder = tmp_path_factory.mktemp("trees")
    draw_trees(folder / "data" / "raw" / "trees")
    shutil.copy(ROOT / "constraints.txt", folder)
    return folder


@pytest.mark.long_form
@pytest.mark.parametrize("number", range(100))
def test_what_the_check_accepts_runs_or_says_in_a_line_why_not(
    number: int, trees: Path, warm: Path, tried: Tried
) -> None:
    tried("params.yaml", "extreme", outcome_of(trees, warm, extreme(number)))
