"""The contract: a change runs exactly the stages that depend on it."""

import copy
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from ruamel.yaml import YAML

from commands.plan.steps import RUNNING, Plan
from tests.conftest import CODE, PARAMS, Project
from tests.planned import plan_in, repro_as_planned

TRAIN = ["train@frozen_head", "train@half", "train@full"]
EVALUATE = ["evaluate@frozen_head", "evaluate@half", "evaluate@full"]
SHOW = ["report"]
FEATURES = ["features@bottleneck", "features@midway"]
JUDGE = ["label_issues@bottleneck"]
FROM_FEATURES = [*FEATURES, *TRAIN, *EVALUATE, *JUDGE, *SHOW]
FROM_TENSORS = ["tensors@small", *FROM_FEATURES]
EVERYTHING = ["digits", "manifest", "backbone@lite0", *FROM_TENSORS]

Change = Callable[[Project], None]


def parameter(address: str, value: Any) -> Change:
    """Set one parameter; None removes it."""

    def change(project: Project) -> None:
        params = copy.deepcopy(PARAMS)
        *parents, key = address.split(".")
        node = params
        for parent in parents:
            node = node[parent]
        if value is None:
            del node[key]
        else:
            node[key] = value
        project.write_params(params)

    return change


def appended(path: str, text: str) -> Change:
    """Append text to a file."""

    def change(project: Project) -> None:
        with (project.folder / path).open("a", encoding="utf-8") as file:
            file.write(text)

    return change


def image_added(project: Project) -> None:
    folder = project.folder / PARAMS["dataset"]["path"] / "oak"
    Image.new("RGB", (20, 20), (90, 160, 40)).save(folder / "new.png")


def image_changed(project: Project) -> None:
    path = project.folder / PARAMS["dataset"]["path"] / "pine" / "tree 1.png"
    Image.new("RGB", (20, 20), (10, 150, 90)).save(path)


LEARNING_RATE = {"Adam": {"learning_rate": 3e-4}}
ANOTHER = {
    "start": "backbones/lite0",
    "inputs": "features/bottleneck",
    "head": [{"Dense": {"units": "classes", "activation": "softmax"}}],
    "fit": {"epochs": 1, "optimizer": "SGD"},
}
SOLVED_AT_ONCE = {"solver": "logistic_regression", "C": [0.03]}
FOLDS = {"start": "backbones/lite0", "inputs": "features/bottleneck", "folds": 3, "repeats": 1}
OF_FROZEN_HEAD = [*TRAIN, *EVALUATE, *SHOW]
OF_HALF = ["train@half", "evaluate@half", *SHOW]
OF_FULL = ["train@full", "evaluate@full", *SHOW]

CONTRACT: dict[str, tuple[Change, list[str]]] = {
    "nothing": (lambda project: None, []),
    "a comment in params.yaml": (appended("params.yaml", "# a comment\n"), []),
    "what is done with bad images, where none is bad": (parameter("dataset.on_bad_image", "skip"), ["manifest"]),
    "the split's seed": (parameter("dataset.split.seed", 1), ["manifest", *FROM_TENSORS]),
    "an image added": (image_added, ["manifest", *FROM_TENSORS]),
    "how images are resized": (parameter("tensors.small.resize", "stretch"), FROM_TENSORS),
    "tensors that nothing uses": (
        parameter("tensors.unused", {**PARAMS["tensors"]["small"], "pixels": [8, 8]}),
        ["tensors@unused"],
    ),
    "a backbone's weights": (
        parameter("backbones.lite0", {"architecture": "EfficientNetLite0", "weights": "none"}),
        ["backbone@lite0", *FROM_FEATURES],
    ),
    "pooling, of a head that others start from": (
        parameter("features.bottleneck.pooling", "max"),
        ["features@bottleneck", *OF_FROZEN_HEAD, *JUDGE],
    ),
    "the layer of a freeze boundary": (
        parameter("features.midway.layer", "block_15"),
        ["features@midway", *OF_HALF],
    ),
    "a variant that others start from": (parameter("variants.frozen_head.fit.C", [0.03]), OF_FROZEN_HEAD),
    "the half variant's epochs": (parameter("variants.half.fit.epochs", 2), OF_HALF),
    "the full variant's learning rate": (parameter("variants.full.fit.optimizer", LEARNING_RATE), OF_FULL),
    "the full variant's augmentation": (parameter("variants.full.augmentation", []), OF_FULL),
    "k of top-k accuracy": (parameter("evaluation.top_k", 3), EVALUATE),
    "folds of cross-validation": (parameter("cross_validation.frozen_head", FOLDS), ["cross_validate@frozen_head"]),
    "folds by which labels are judged": (parameter("label_issues.bottleneck.folds", 4), [*JUDGE, *SHOW]),
    "no labels judged": (parameter("label_issues", {}), SHOW),
    "a variant added": (parameter("variants.another", ANOTHER), ["train@another", "evaluate@another", *SHOW]),
    "a variant removed": (parameter("variants.full", None), SHOW),
    "a module of the report": (appended("stages/report/comparison.py", "# a comment\n"), SHOW),
    "how the report looks": (appended("stages/report/page.css", "/* a comment */\n"), SHOW),
    "a module of the backbones": (appended("thaw/backbones/lite.py", "# a comment\n"), ["backbone@lite0"]),
    "a module of the parameters' check": (appended("stages/check/checking.py", "# a comment\n"), []),
    "a module of no stage": (appended("stages/check/keras_names.py", "# a comment\n"), []),
    "a stage's own module": (appended("stages/manifest/splits.py", "# a comment\n"), ["manifest"]),
    "the engine, whose results stay the same": (
        appended("thaw/engines/openvino.py", "# a comment\n"),
        [*FEATURES, *EVALUATE],
    ),
}

PLANNED = (
    *("an image added", "how images are resized", "a variant that others start from", "a backbone's weights"),
    *("the full variant's learning rate", "the split's seed", "pooling, of a head that others start from"),
    *("the full variant's augmentation", "how the report looks", "a variant added", "the half variant's epochs"),
    "the layer of a freeze boundary",
)
"""Whose stages run in other cases, too: of these, the plan is enough, which takes a second and not half a minute."""


def clone_without_data(project: Project, folder: Path) -> Path:
    """Make what git has of a project, and its raw images; its data would come from a remote."""
    tracked = [path for path in CODE if not path.startswith("data/")]
    for name in (*tracked, "params.yaml", "dvc.lock", "metrics", "data/label_issues", "data/raw"):
        source, target = project.folder / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("digits"))
        else:
            shutil.copy(source, target)
    (folder / ".dvc").mkdir()
    (folder / ".dvc" / "config").write_text(
        "[core]\n    no_scm = true\n    remote = far\n['remote \"far\"']\n    url = far\n"
    )
    return folder


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    """A copy of what has run, to change."""
    written = [finished.folder / name for name in (".dvc/cache", "data", "models")]
    images = finished.folder / PARAMS["dataset"]["path"]

    def copy(source: str, target: str) -> str:
        # Nobody writes into what stages wrote: it is replaced. To link thousands of files takes no time.
        is_result = any(Path(source).is_relative_to(one) for one in written) and images not in Path(source).parents
        return str((os.link if is_result else shutil.copy2)(source, target) or target)

    return Project(shutil.copytree(finished.folder, tmp_path / "a project", copy_function=copy), finished.python)


def planned_anywhere(project: Project, folder: Path) -> Plan:
    """Return what is planned, which has to be the same in a clone without data."""
    planned = plan_in(project.folder)
    in_a_clone = plan_in(clone_without_data(project, folder / "clone"))
    assert [(step.stage, step.action) for step in in_a_clone.steps] == [
        (step.stage, step.action) for step in planned.steps
    ]
    return planned


@pytest.mark.parametrize("name", CONTRACT)
def test_a_change_runs_exactly_what_depends_on_it(name: str, project: Project, tmp_path: Path) -> None:
    change, expected = CONTRACT[name]
    change(project)
    planned = planned_anywhere(project, tmp_path)
    runs = [step.stage for step in planned.steps if step.action in RUNNING]
    ran = runs if name in PLANNED else repro_as_planned(project, planned).ran
    assert sorted(ran) == sorted(expected)


def test_after_an_images_bytes_changed_what_was_there_before_comes_from_the_run_cache(
    project: Project, tmp_path: Path
) -> None:
    images = project.folder / PARAMS["dataset"]["path"]
    shutil.copytree(images, tmp_path / "images")
    only = {**PARAMS, "variants": {"frozen_head": {**PARAMS["variants"]["frozen_head"], "fit": SOLVED_AT_ONCE}}}
    project.write_params({**only, "features": {"bottleneck": PARAMS["features"]["bottleneck"]}})
    image_changed(project)
    ran = repro_as_planned(project, planned_anywhere(project, tmp_path)).ran
    of_frozen_head = ["features@bottleneck", "train@frozen_head", "evaluate@frozen_head"]
    assert sorted(ran) == sorted(["manifest", "tensors@small", *of_frozen_head, *JUDGE, *SHOW])
    shutil.rmtree(images)
    shutil.copytree(tmp_path / "images", images)
    project.write_params(PARAMS)
    # It does not keep what git keeps.
    assert set(repro_as_planned(project, plan_in(project.folder)).ran) <= {"label_issues@bottleneck", *SHOW}


def test_a_removed_variant_leaves_nothing_that_the_report_depends_on(project: Project) -> None:
    lock = (project.folder / "dvc.lock").read_bytes()
    parameter("variants.half", None)(project)
    project.repro()
    for folder in ("predictions", "validation"):
        assert not (project.folder / "data" / folder / "half.csv").exists()
    for shown in ("comparison.md", "report.html"):
        assert "half" not in (project.folder / "metrics" / shown).read_text(encoding="utf-8")
    project.write_params(PARAMS)
    project.repro()
    assert (project.folder / "dvc.lock").read_bytes() == lock


def test_other_seeds_train_nothing_else_and_scoring_trains_no_seed(project: Project) -> None:
    before = YAML(typ="safe").load(project.folder / "dvc.lock")["stages"]
    parameter("seeds.half", {key: PARAMS["variants"]["half"][key] for key in ("start", "inputs")} | {"others": [1]})(
        project
    )
    assert repro_as_planned(project, plan_in(project.folder)).ran == ["seeds@half", *SHOW]
    after = YAML(typ="safe").load(project.folder / "dvc.lock")["stages"]
    assert {name: after[name] for name in before if name not in SHOW} == {
        name: entry for name, entry in before.items() if name not in SHOW
    }
    scores = json.loads((project.folder / "metrics" / "seeds" / "half.json").read_text())
    own = json.loads((project.folder / "metrics" / "half.json").read_text())
    for split in ("validation", "test"):
        ends = [scores[split][f"log_loss_{end}"] for end in ("min", "max")]
        assert own[split]["log_loss"] in ends
    for shown in ("comparison.md", "report.html"):
        text = (project.folder / "metrics" / shown).read_text(encoding="utf-8")
        assert "With several seeds: the mean, and in brackets the least and the greatest" in text
    with project.params.open(encoding="utf-8") as file:
        params = YAML(typ="safe").load(file)
    params["evaluation"]["top_k"] = 3
    project.write_params(params)
    assert not [step.stage for step in plan_in(project.folder).steps if step.stage == "seeds@half" and step.reasons]
    params["seeds"] = {}
    params["evaluation"] = PARAMS["evaluation"]
    project.write_params(params)
    project.repro()
    assert not (project.folder / "data" / "seeds" / "half.csv").exists()  # so it is in a fresh clone


def test_an_error_in_params_runs_nothing(project: Project) -> None:
    params = copy.deepcopy(PARAMS)
    params["variants"]["full"]["fit"]["epochs"] = 2
    params["variants"]["half"]["fit"]["optimizer"] = "Adamm"
    params["tensors"]["small"]["resize"] = "pads"
    project.write_params(params)
    outcome = project.dvc("repro")
    project.write_params(PARAMS)
    assert outcome.code != 0
    assert "variants.half.fit.optimizer: unknown optimizer 'Adamm'; did you mean 'Adam'?" in outcome.text
    assert "tensors.small.resize: " in outcome.text
    assert "Traceback" not in outcome.text
    assert outcome.ran == ["tensors@small"]  # begun, and stopped by the check
    assert project.repro().ran == []
