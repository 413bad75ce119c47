"""Training noise: each seed gives what a variant with that seed would be, and what was trained is not trained again."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from stages import seeds as stage
from stages.report.comparison import Standing, as_markdown
from stages.report.seeds import Trainings, over_seeds, read_seeds
from stages.train.__main__ import main as train_stage
from tests.stages.test_cross_validation import TENSORS, backbone, coloured
from tests.stages.test_cross_validation import rows as row_file
from thaw.engines.ready import trained
from thaw.errors import UserError
from thaw.formats.frames import frame
from thaw.formats.metrics import SeedScores, read_seed_scores, write_seed_scores
from thaw.formats.row_file import Origin, RowFile
from thaw.reuse.folder import FOLDER
from thaw.scoring.scoring import Scores, estimates, score

VARIANT: dict[str, Any] = {
    "start": "backbones/b",
    "inputs": "tensors/t",
    "head": [
        "GlobalAveragePooling2D",
        {"Dropout": {"rate": 0.3}},
        {"Dense": {"units": "classes", "activation": "softmax"}},
    ],
    "augmentation": [{"RandomFlip": {"mode": "horizontal"}}],
    "fit": {"epochs": 2, "batch_size": 8, "optimizer": {"Adam": {"learning_rate": 0.02}}, "calibrate": "temperature"},
}


def write_params(others: list[int], seed: int = 0) -> None:
    variant = {**VARIANT, "fit": {**VARIANT["fit"], "seed": seed}}
    entry = {"start": "backbones/b", "inputs": "tensors/t", "others": others}
    with Path("params.yaml").open("w", encoding="utf-8") as file:
        YAML().dump({"variants": {"v": variant}, "seeds": {"v": entry}}, file)


def train(model: str) -> None:
    train_stage(Path("params.yaml"), "variants.v", Path("b.keras"), Path("t.h5"), Path(model), Path("v.csv"))


def run() -> tuple[bytes, bytes]:
    """Run the stage; return what it wrote."""
    paths = [Path(name) for name in ("b.keras", "t.h5", "v.keras", "seeds.csv", "seeds.json")]
    stage.main(Path("params.yaml"), "seeds.v", "variants.v", *paths)
    return paths[-2].read_bytes(), paths[-1].read_bytes()


@pytest.fixture
def trainings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A folder in which the variant is trained, with seed 0; the seeds with which the stage trains are listed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(FOLDER, str(tmp_path / "cache"))
    backbone(Path("b.keras"))
    row_file(Path("t.h5"), *coloured(60), Origin(TENSORS))
    write_params([5])
    train("v.keras")
    seeds, really_train = [], stage.train

    def counted(model, boundary, rows, fit, *others):  # type: ignore[no-untyped-def]
        seeds.append(fit.seed)
        return really_train(model, boundary, rows, fit, *others)

    monkeypatch.setattr(stage, "train", counted)
    return seeds


@pytest.mark.slow
def test_a_seed_scores_what_a_variant_with_that_seed_does(trainings: list[int]) -> None:
    run()
    assert trainings == [5]
    found, summary = read_seed_scores(Path("seeds.csv")), json.loads(Path("seeds.json").read_text())
    rows = RowFile(Path("t.h5"))
    write_params([0], seed=5)
    train("five.keras")
    for split in ("validation", "test"):
        pixels, labels = rows.read_split(split)
        expected = {
            seed: estimates(labels, trained(Path(name))(pixels)) for seed, name in ((0, "v.keras"), (5, "five.keras"))
        }
        assert [*found[split]] == [0, 5]
        for seed, scores in expected.items():
            assert found[split][seed] == {name: round(value, 6) for name, value in scores.items()}
        assert found[split][0]["log_loss"] != found[split][5]["log_loss"]
        values = [one["log_loss"] for one in found[split].values()]
        of_split = summary[split]
        assert [of_split["log_loss_min"], of_split["log_loss_max"]] == sorted(values)
        assert of_split["log_loss_mean"] == pytest.approx(sum(values) / 2, abs=1e-6)
    assert summary["seeds"] == 2
    table = frame("seeds.csv")
    assert table["seed"].tolist() == [0, 5, 0, 5]
    assert table["split"].tolist() == ["validation", "validation", "test", "test"]
    assert table["accuracy"].tolist() == [one["accuracy"] for of in found.values() for one in of.values()]
    assert frame("seeds.json").loc["seeds", "test.log_loss_min"] == summary["test"]["log_loss_min"]


@pytest.mark.slow
def test_what_was_trained_is_not_trained_again_and_what_was_interrupted_goes_on(
    trainings: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run()
    write_params([5, 6])
    run()
    write_params([5])
    assert run() == whole
    assert trainings == [5, 6]
    monkeypatch.setenv(FOLDER, "another")
    with monkeypatch.context() as once:
        once.setattr(stage, "calibrate", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run()
    begun = []
    really_train = stage.train
    monkeypatch.setattr(stage, "train", lambda *those: begun.append(those[-1].epochs) or really_train(*those))
    assert run() == whole
    assert begun == [2]
    assert not [*Path("another", "training").glob("*")]


def test_a_table_by_seed_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "v.csv"
    with pytest.raises(UserError, match=r"v\.csv: no such file; `dvc repro` makes it"):
        read_seed_scores(path)
    for text in ("", "seed,split\n0,test\n", "split,seed,accuracy\ntest,0\n", "split,seed,accuracy\ntest,x,1\n"):
        path.write_text(text)
        with pytest.raises(UserError, match=r"v\.csv: truncated or altered; delete it and run `dvc repro`"):
            read_seed_scores(path)


def test_scores_of_other_seeds_than_are_wanted_are_refused(tmp_path: Path) -> None:
    """Such as an older table's."""
    path = tmp_path / "v.csv"
    write_seed_scores(
        path, {split: {seed: {"accuracy": 0.5} for seed in (0, 1, 2)} for split in ("validation", "test")}
    )
    assert read_seeds(path, [1, 2]) == read_seeds(path, [2, 0]) == read_seed_scores(path)
    for others in ([1], [1, 3], [1, 2, 3]):
        with pytest.raises(UserError, match=r"v\.csv: of other seeds than params\.yaml names; run `dvc repro`"):
            read_seeds(path, others)


def standing(**accuracies: float) -> Standing:
    """Return the scores of variants that are equally good on both splits; those named `unseen…` have one split."""
    scores: dict[str, Scores] = {}
    for name, accuracy in accuracies.items():
        labels = np.zeros(100, int)
        right = np.arange(100) < 100 * accuracy
        scores[name] = score(labels, np.where(right[:, None], [0.9, 0.1], [0.1, 0.9]))
    validation = {name: one for name, one in scores.items() if not name.startswith("unseen")}
    return Standing(validation, scores, {name: "why" for name in scores if name not in validation})


def by_seed(*accuracies: float, splits: tuple[str, ...] = ("validation", "test")) -> SeedScores:
    return {split: {n: {"accuracy": one, "log_loss": 1 - one} for n, one in enumerate(accuracies)} for split in splits}


def test_differences_that_seeds_can_make_are_told_apart() -> None:
    scores = standing(full=0.95, half=0.92, head=0.5, other=0.91, unseen=0.9)
    seeds = {"full": by_seed(0.95, 0.9, 0.94), "unseen": by_seed(0.9, 0.99, splits=("test",))}
    blocks = over_seeds(Trainings(seeds, solved={"head"}), scores)
    text = as_markdown(blocks)
    assert "| full | 3 | 93.0% (90.0% – 95.0%) | 0.070 (0.050 – 0.100) | 93.0% (90.0% – 95.0%) |" in text
    assert "| unseen \\* | 2 | – | – | 94.5% (90.0% – 99.0%) | 0.055 (0.010 – 0.100) |" in text
    lines = {line[2:].partition(":")[0]: line for line in text.splitlines() if line.startswith("- ")}
    assert [*lines] == ["half", "other", "head", "unseen \\*"]
    assert lines["half"] == (
        "- half: validation accuracy -3.0 points (range 5.0) and test accuracy -3.0 points (range 5.0) within the "
        "seeds' range; validation log loss +0.066 (range 0.050) and test log loss +0.066 (range 0.050) beyond the "
        "seeds' range; half was trained with one seed."
    )
    assert "validation accuracy -45.0 points (range 5.0), " in lines["head"].partition(" beyond ")[0]
    assert "within" not in lines["head"]
    assert "one seed" not in lines["head"]
    assert "validation" not in lines["unseen \\*"]
    assert "test accuracy -5.0 points (range 9.0)" in lines["unseen \\*"].partition(" within ")[0]  # the larger range
    close = over_seeds(Trainings({"full": by_seed(0.95, 0.9504)}, solved=set()), standing(full=0.95, half=0.95))
    assert "accuracy +0.0 points (range 0.04)" in as_markdown(close)


def test_without_seeds_nothing_is_said() -> None:
    assert over_seeds(Trainings({}, {"head"}), standing(full=0.9, head=0.8)) == []
