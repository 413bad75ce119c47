"""What a variant is chosen by: its scores on validation images that it was not trained on."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from stages.evaluate import main as evaluate
from stages.report.__main__ import _why_unranked
from stages.report.comparison import CHOSEN_ON_TEST, NO_VALIDATION, TRAINED_ON_VALIDATION
from stages.train.__main__ import main as train
from tests.conftest import PARAMS, Project
from thaw.formats.history import best_step, read_history
from thaw.formats.model_file import read_record
from thaw.formats.predictions import read_predictions
from thaw.formats.row_file import RowFile
from thaw.scoring.scoring import score

pytestmark = pytest.mark.slow

BOTH = ["train", "validation"]
BEST: dict[str, Any] = {
    "epochs": 4,
    "batch_size": 4,
    "optimizer": {"SGD": {"learning_rate": 1e-3}},
    "callbacks": [{"EarlyStopping": {"monitor": "val_loss", "patience": 4, "restore_best_weights": True}}],
}


class Made:
    """Variants that are trained and evaluated in this process, on the inputs of a project in which all has run."""

    def __init__(self, finished: Project, folder: Path, variants: dict[str, Any]):
        self._of, self.folder = finished.folder.resolve(), folder
        self.variants = copy.deepcopy(PARAMS["variants"]) | variants
        with (folder / "params.yaml").open("w", encoding="utf-8") as file:
            YAML().dump({"variants": self.variants, "evaluation": {"top_k": 2}}, file)

    def __call__(self, name: str) -> dict[str, Any]:
        """Return the metrics of a variant, whose start is made before."""
        variant, params = self.variants[name], self.folder / "params.yaml"
        section, start = variant["start"].split("/")
        models = self.folder if section == "variants" else self._of / "models" / section
        inputs, model = self._of / "data" / f"{variant['inputs']}.h5", self.folder / f"{name}.keras"
        history = self.folder / f"{name}.history.csv"
        train(params, f"variants.{name}", models / f"{start}.keras", inputs, model, history)
        outs = ("metrics.json", "validation.csv", "predictions.csv", "classes.csv", "confidence.csv", "mistakes.jpg")
        paths = [self.folder / f"{name}.{out}" for out in outs]
        evaluate(params, "evaluation", name, model, inputs, self._of / "data" / "thumbnails.zip", *paths)
        found: dict[str, Any] = json.loads(paths[0].read_text())
        return found


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("THAW_CACHE", str(tmp_path / ".thaw"))
    return tmp_path


def test_the_validation_loss_is_that_of_the_best_epoch_which_was_restored(finished: Project, here: Path) -> None:
    made = Made(finished, here, {"half": {**PARAMS["variants"]["half"], "fit": BEST}})
    for name in ("frozen_head", "half"):  # one is solved, its C chosen by cross-validation
        found, curve = made(name)["validation"], read_history(here / f"{name}.history.csv")
        best = best_step(curve)
        assert best is not None
        assert found["log_loss"] == pytest.approx(curve["val_loss"][best], abs=1e-5)
        assert found["accuracy"] == pytest.approx(curve["val_accuracy"][best], abs=1e-5)
    assert best < len(curve["step"]) - 1  # so that another epoch's loss would be told from it
    assert abs(curve["val_loss"][best] - curve["val_loss"][-1]) > 1e-3


def test_validation_scores_are_of_the_validation_images_and_say_what_those_of_the_test_do(
    finished: Project, here: Path
) -> None:
    metrics = Made(finished, here, {})("frozen_head")
    assert [*metrics] == ["chosen_on", "validation", "test", "parameters"]
    assert [*metrics["validation"]] == [*metrics["test"]]
    assert metrics["chosen_on"] == "train"
    index = RowFile(finished.folder / "data" / "features" / "bottleneck.h5").index
    for split, file in (("validation", "validation"), ("test", "predictions")):
        said = read_predictions(here / f"frozen_head.{file}.csv")
        assert [path.encode() for path in said.paths] == index.paths[index.splits[split]].tolist()
        expected = score(said.labels, said.probabilities)
        assert metrics[split]["macro_f1_low"] == pytest.approx(expected.macro_f1_low, abs=1e-6)


def test_what_was_trained_on_validation_images_has_no_score_of_them_nor_what_descends_from_it(
    finished: Project, here: Path
) -> None:
    head, half = (PARAMS["variants"][name] for name in ("frozen_head", "half"))
    on_test = {**half["fit"], "validate_on": "test"}
    made = Made(
        finished,
        here,
        {
            "frozen_head": {**head, "fit": {**head["fit"], "train_on": BOTH}},
            "half": {**half, "fit": on_test},
            "again": {**half, "start": "variants/half", "fit": on_test},
        },
    )
    for name, chosen_on in (("frozen_head", "train"), ("half", "test"), ("again", "test")):
        metrics = made(name)
        assert [*metrics] == ["chosen_on", "test", "parameters"]
        assert metrics["chosen_on"] == chosen_on
        said = read_predictions(here / f"{name}.validation.csv")
        assert (said.paths, said.labels.shape, said.probabilities.shape) == ([], (0,), (0, 3))
        assert said.classes == read_record(here / f"{name}.keras").classes  # type: ignore[union-attr]
    assert read_record(here / "again.keras").trained_on == BOTH  # type: ignore[union-attr]


def test_what_descends_from_a_choice_by_the_test_split_is_marked_as_that(finished: Project, here: Path) -> None:
    half = PARAMS["variants"]["half"]
    made = Made(
        finished,
        here,
        {
            "half": {**half, "fit": {**half["fit"], "validate_on": "test"}},
            "again": {**half, "start": "variants/half"},
        },
    )
    found = {name: made(name) for name in ("frozen_head", "half", "again")}
    assert {name: one["chosen_on"] for name, one in found.items()} == {
        "frozen_head": "train",
        "half": "test",
        "again": "test",
    }
    assert all(0 <= one["validation"]["accuracy"] <= 1 for one in found.values())


@pytest.mark.parametrize(
    ("fits", "is_validated", "reason"),
    [
        ([{}], True, None),
        ([{}, {"solver": "logistic_regression"}], True, None),
        ([{}], False, NO_VALIDATION),
        ([{"train_on": BOTH}], False, TRAINED_ON_VALIDATION),
        ([{"train_on": BOTH, "validate_on": "test"}], False, CHOSEN_ON_TEST),
        ([{}, {"validate_on": "validation"}, {"validate_on": "test"}], True, CHOSEN_ON_TEST),
        ([{"train_on": ["train"]}, {}, {"train_on": BOTH}], False, TRAINED_ON_VALIDATION),
    ],
)
def test_why_a_variant_is_not_ranked(fits: list[dict[str, Any]], is_validated: bool, reason: str | None) -> None:
    starts = [f"variants/{number + 1}" for number in range(len(fits) - 1)] + ["backbones/0"]
    pairs = zip(starts, fits, strict=True)
    variants = {str(number): {"start": start, "fit": fit} for number, (start, fit) in enumerate(pairs)}
    assert _why_unranked("0", variants, is_validated) == reason
