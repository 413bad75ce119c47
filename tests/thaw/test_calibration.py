"""The temperature of a trained model: the best one, folded into its weights, and nothing else of it changed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML
from scipy.optimize import minimize
from scipy.special import softmax
from sklearn.metrics import log_loss

from stages.train.__main__ import main as train_stage
from tests.stages.test_cross_validation import TENSORS, backbone
from tests.stages.test_cross_validation import rows as row_file
from tests.thaw.test_training import clusters, small_network
from thaw.engines.ready import engine
from thaw.files.reading import sha256
from thaw.formats.history import read_history
from thaw.formats.model_file import ModelRecord
from thaw.formats.row_file import Origin
from thaw.networks import models
from thaw.networks.backend import keras
from thaw.networks.boundary import prefix
from thaw.training import calibration
from thaw.training.batches import Rows
from thaw.training.calibration import best_temperature, calibrate

pytestmark = pytest.mark.slow

SOFTMAX = [{"Dense": {"units": "classes", "activation": "softmax"}}]
HEADS: dict[str, list[Any]] = {
    "softmax": SOFTMAX,
    "logits, of which a softmax is made": [
        {"Dense": {"units": 7, "activation": "relu"}},
        {"Dense": {"units": "classes"}},
    ],
    "no bias": [{"Dense": {"units": "classes", "activation": "softmax", "use_bias": False}}],
}
PIXELS = np.random.default_rng(3).integers(0, 256, (90, 8, 8, 3)).astype(np.uint8)


class OnlySome:
    """Rows of which only some may be looked at."""

    def __init__(self, values: np.ndarray, allowed: np.ndarray):
        self._values, self._allowed = values, {*allowed.tolist()}

    def __getitem__(self, numbers: np.ndarray) -> np.ndarray:
        assert {*numbers.tolist()} <= self._allowed
        return self._values[numbers]


def overconfident(head: list[Any], factor: float = 20) -> keras.Model:
    """Return a network whose probabilities are nearly 0 or 1."""
    keras.utils.set_random_seed(1)
    model = small_network(head)
    last = next(layer for layer in reversed(model.layers) if layer.weights)
    last.set_weights([factor * weight for weight in last.get_weights()])
    return model


def cross_entropy(targets: np.ndarray, probabilities: np.ndarray) -> float:
    return float(-(targets * np.log(probabilities)).sum(axis=1).mean())


@pytest.mark.parametrize("boundary", [None, "norm", "pooling"])
@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_a_temperature_divides_the_logits_and_changes_no_class(head: list[Any], boundary: str | None) -> None:
    model = overconfident(head)
    before = model.predict(PIXELS, verbose=0).astype(np.float64)
    # One in five is of another class than predicted.
    labels = np.where(np.arange(90) % 5, before.argmax(axis=1), np.arange(90) % 3)
    validation = np.arange(10, 80)
    values = PIXELS if boundary is None else prefix(model, boundary).predict(PIXELS, verbose=0)
    rows = Rows(
        OnlySome(values, validation), labels, np.arange(len(labels)), ("ash", "elm", "fir"), [np.arange(10)], validation
    )
    temperature = calibrate(model, boundary, rows, "v")

    logits = np.log(before)
    targets = np.where(np.arange(3) == labels[validation][:, None], 71 / 72, 1 / 72 / 2)  # of 70 rows and 3 classes
    expected = minimize(
        lambda t: cross_entropy(targets, softmax(logits[validation] / t, axis=1)), [2.0], method="Nelder-Mead"
    ).x[0]
    assert temperature > 1.2
    assert temperature == pytest.approx(expected, rel=1e-3)
    after = model.predict(PIXELS, verbose=0)
    np.testing.assert_allclose(after, softmax(logits / temperature, axis=1), atol=1e-6)
    losses = [log_loss(labels[validation], one[validation]) for one in (before, after)]
    assert losses[1] < losses[0]
    for probabilities in (after, engine(model)(PIXELS)):
        assert (probabilities.argmax(axis=1) == before.argmax(axis=1)).all()


@pytest.mark.parametrize("classes", [2, 5])
def test_the_temperature_by_which_labels_were_drawn_is_found(classes: int) -> None:
    random = np.random.default_rng(classes)
    logits = random.normal(size=(20_000, classes)) * 2
    drawn = (softmax(logits, axis=1).cumsum(axis=1) > random.uniform(size=(20_000, 1))).argmax(axis=1)
    for temperature in (0.25, 1.0, 4.0):
        assert best_temperature(logits * temperature, drawn) == pytest.approx(temperature, rel=0.05)


def kept(model: keras.Model, labels: np.ndarray) -> bool:
    """Say whether calibrating leaves a model as it is."""
    before = model.get_weights()
    everything = np.arange(len(labels))
    temperature = calibrate(
        model, None, Rows(PIXELS[: len(labels)], labels, everything, ("ash", "elm", "fir"), [], everything), "v"
    )
    same = all((one == other).all() for one, other in zip(before, model.get_weights(), strict=True))
    assert same == (temperature == 1)
    return same


def test_without_a_best_temperature_nothing_changes(capsys: pytest.CaptureFixture[str]) -> None:
    model = overconfident(SOFTMAX)
    assert kept(model, model.predict(PIXELS, verbose=0).argmin(axis=1))
    assert (
        "temperature 1: none between 0.01 and 100 is the best for the 90 validation images" in capsys.readouterr().out
    )


def test_a_few_images_make_no_model_much_surer_than_it_may_be() -> None:
    """Of a model that is wrong as often as it says, 50 images may have fewer mistakes than there are elsewhere."""
    random = np.random.default_rng(0)
    logits = np.log(np.where(random.permuted(np.tile([1, 0, 0], (4000, 1)), axis=1), 0.94, 0.03))
    drawn = (np.exp(logits).cumsum(axis=1) > random.uniform(size=(4000, 1))).argmax(axis=1)
    right = logits.argmax(axis=1) == drawn
    few = np.concatenate([np.flatnonzero(right)[:49], np.flatnonzero(~right)[:1]])

    def surer(temperature: float) -> float:
        """Return by how much the log loss of all images is larger, as a share."""
        divided, before = (softmax(logits / one, axis=1) for one in (temperature, 1))
        return float(log_loss(drawn, divided) / log_loss(drawn, before) - 1)

    of_few = minimize(lambda t: log_loss(drawn[few], softmax(logits[few] / t, axis=1)), [1.0], method="Nelder-Mead")
    found = best_temperature(logits[few], drawn[few])
    assert found is not None
    assert surer(found) < surer(of_few.x[0]) / 2
    assert surer(found) < 0.1


@pytest.mark.parametrize(("found", "is_taken"), [(0.5, False), (1.001, False), (1.3, True)])
def test_only_a_temperature_that_lessens_the_loss_by_more_than_chance_is_taken(
    found: float, is_taken: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = overconfident(SOFTMAX, 4)
    labels = np.where(np.arange(90) % 5, model.predict(PIXELS, verbose=0).argmax(axis=1), np.arange(90) % 3)
    monkeypatch.setattr(calibration, "best_temperature", lambda logits, labels: found)
    assert kept(model, labels) != is_taken
    line = f"temperature 1: {found} would make no more than a chance difference to the log loss of the 90 validation"
    assert (line in capsys.readouterr().out) != is_taken


def test_where_rounding_would_change_a_class_a_neighbour_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two kernels that differ in their last bit are the same, once they are divided by some temperatures."""
    best = 1.7

    def divided(value: np.float32, temperature: float) -> np.float32:
        return np.float32(value / float(f"{temperature:.4g}"))

    values = np.nextafter(np.float32(1.75), np.float32(2)) + np.arange(4000, dtype=np.float32) * np.float32(1e-5)
    pairs = [(one, np.nextafter(one, np.float32(2))) for one in values]
    low, high = next(
        (one, other)
        for one, other in pairs
        if divided(one, best) == divided(other, best) and divided(one, best * 1.001) < divided(other, best * 1.001)
    )
    inputs = keras.Input((1,))
    model = keras.Model(inputs, keras.layers.Dense(3, "softmax", use_bias=False, name="head_1_dense")(inputs))
    model.layers[-1].set_weights([np.array([[low, high, -20.0]])])
    rows = np.full((6, 1), 64.0, np.float32)
    assert (model.predict(rows, verbose=0).argmax(axis=1) == 1).all()
    monkeypatch.setattr(calibration, "best_temperature", lambda logits, labels: best)
    # With one image of the last class, the loss falls with the temperature.
    found = calibrate(
        model, None, Rows(rows, np.array([0, 1, 0, 1, 1, 2]), np.arange(6), ("a", "b", "c"), [], np.arange(6)), "v"
    )
    assert found == 1.702
    assert (model.predict(rows, verbose=0).argmax(axis=1) == 1).all()


VARIANTS = {
    "solved": {"inputs": "features/f", "fit": {"solver": "logistic_regression", "C": [100.0]}},
    "trained": {
        "inputs": "features/f",
        "head": SOFTMAX,
        "fit": {"epochs": 3, "batch_size": 8, "optimizer": {"SGD": {"learning_rate": 1.0}}},
    },
}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_stage_calibrates_where_that_is_wanted_and_says_so(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    features, labels = clusters(3, 20, seed=5, features=3)
    order = np.random.default_rng(0).permutation(60)
    features, labels = np.log1p(np.abs(features[order])), labels[order]
    found, curves = {}, {}
    for calibrated in (None, "temperature"):
        variant: dict[str, Any] = {"start": "backbones/b", **VARIANTS[name]}
        variant["fit"] = {**variant["fit"], "calibrate": calibrated}
        with Path("params.yaml").open("w", encoding="utf-8") as file:
            YAML().dump({"variants": {"v": variant}}, file)
        digest = sha256(backbone(Path("b.keras")))
        origin = Origin(TENSORS, features={"views": 1, "pooling": "avg"}, boundary="pooling", backbone_digest=digest)
        row_file(Path("f.h5"), features, labels, origin)
        train_stage(Path("params.yaml"), "variants.v", Path("b.keras"), Path("f.h5"), Path("v.keras"), Path("v.csv"))
        model, record = models.load(Path("v.keras"))
        assert isinstance(record, ModelRecord)
        found[calibrated], curves[calibrated] = (
            (model.get_weights()[-2:], record.temperature),
            read_history(Path("v.csv")),
        )
    (weights, nothing), (divided, temperature) = found.values()
    assert nothing is None
    assert temperature not in (None, 1.0)
    for one, other in zip(weights, divided, strict=True):
        np.testing.assert_allclose(other, one / temperature, rtol=1e-6)
    assert f"temperature {temperature:g}: the log loss of the 6 validation images is " in capsys.readouterr().out
    assert curves[None] == curves["temperature"]
