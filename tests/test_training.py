"""Heads, freezing, the logistic solver and the scores, against independent references."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.metrics import top_k_accuracy_score

from thaw import logistic, models, scoring
from thaw.backbones import build
from thaw.backend import keras
from thaw.normalization import Normalization
from thaw.params.backbones import Backbone
from thaw.params.variants import Training
from thaw.training import Rows, add_head, freeze, train

FOOD_HEAD = [
    "GlobalAveragePooling2D",
    {"Dropout": {"rate": 0.2}},
    {"Dense": {"units": 100, "activation": "relu"}},
    {"Dense": {"units": "classes", "activation": "softmax"}},
]
SOFTMAX = [{"Dense": {"units": "classes", "activation": "softmax"}}]


def clusters(classes: int, per_class: int, seed: int, features: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Return rows around one centre per class, on scales that differ from column to column."""
    centres = np.random.default_rng(7).normal(size=(classes, features))
    labels = np.repeat(np.arange(classes), per_class)
    noise = np.random.default_rng(seed).normal(size=(len(labels), features))
    rows = (centres[labels] + noise) * 10.0 ** np.arange(-2, features - 2) + 5
    return rows.astype(np.float32), labels


def everything(values: np.ndarray, labels: np.ndarray) -> Rows:
    """Return rows that are all for training, and all for validation."""
    rows = np.arange(len(labels))
    return Rows(values, labels, ("ash", "elm", "fir"), [rows], rows)


def trainable(model: keras.Model) -> int:
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


@pytest.mark.parametrize(("boundary", "expected"), [(None, 14_767_099), ("block3_pool", 13_031_611)])
def test_parameters_of_vgg16_on_food11(boundary: str | None, expected: int) -> None:
    backbone = build(Backbone(architecture="VGG16", weights="none"))
    model = add_head(models.assemble(backbone, 224, 224, Normalization.of("caffe"), None), FOOD_HEAD, 11)
    freeze(model, boundary, "frozen")
    assert model.count_params() == 14_767_099
    assert trainable(model) == expected


def small_network(batch_norm_in_head: bool = False) -> keras.Model:
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name="conv")(inputs)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.Conv2D(5, 3, name="last")(x)
    body = models.assemble(keras.Model(inputs, x, name="small"), 8, 8, Normalization.of("rescale"), "max")
    return add_head(body, [*(["BatchNormalization"] if batch_norm_in_head else []), *SOFTMAX], 3)


@pytest.mark.parametrize(
    ("boundary", "batch_norm", "trained"),
    [
        (None, "frozen", ["conv", "last", "head_1_batchnormalization", "head_2_dense"]),
        (None, "trained", ["conv", "norm", "last", "head_1_batchnormalization", "head_2_dense"]),
        ("conv", "trained", ["norm", "last", "head_1_batchnormalization", "head_2_dense"]),
        ("norm", "frozen", ["last", "head_1_batchnormalization", "head_2_dense"]),
        ("pooling", "frozen", ["head_1_batchnormalization", "head_2_dense"]),
    ],
)
def test_what_is_behind_the_boundary_is_trained(boundary: str | None, batch_norm: str, trained: list[str]) -> None:
    model = small_network(batch_norm_in_head=True)
    freeze(model, boundary, batch_norm)
    assert [layer.name for layer in model.layers if layer.trainable_weights] == trained


def test_training_leaves_what_is_frozen_and_changes_the_rest() -> None:
    model = small_network()
    freeze(model, "norm", "frozen")
    before = {layer.name: layer.get_weights() for layer in model.layers}
    rows = np.random.default_rng(0).normal(size=(12, 6, 6, 4)).astype(np.float32)
    labels = np.arange(12) % 3
    fit = Training(
        epochs=2, batch_size=4, optimizer={"Adam": {"learning_rate": {"CosineDecay": {"initial_learning_rate": 0.01}}}}
    )
    history = train(model, "norm", everything(rows, labels), fit, [])
    assert history["step"] == [1.0, 2.0]
    assert set(history) >= {"loss", "accuracy", "val_loss", "val_accuracy"}
    for layer in model.layers:
        same = [np.array_equal(old, new) for old, new in zip(before[layer.name], layer.get_weights(), strict=True)]
        assert not any(same) if layer.name in ("last", "head_1_dense") else all(same)


def test_losses_on_one_hot_and_on_integer_labels_agree() -> None:
    histories = []
    for loss in ("SparseCategoricalCrossentropy", "CategoricalCrossentropy"):
        keras.utils.set_random_seed(3)
        model = small_network()
        freeze(model, None, "frozen")
        pixels = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3)).astype(np.uint8)
        fit = Training(epochs=1, batch_size=3, optimizer="SGD", loss=loss)
        histories.append(train(model, None, everything(pixels, np.arange(9) % 3), fit, []))
    assert histories[0]["loss"] == pytest.approx(histories[1]["loss"], rel=1e-5)
    assert histories[0]["val_loss"] == pytest.approx(histories[1]["val_loss"], rel=1e-5)


@pytest.mark.parametrize("classes", [2, 4])
def test_the_solver_minimizes_the_penalized_log_loss_of_standardized_features(classes: int) -> None:
    features, labels = clusters(classes, 20, seed=1)
    C = 0.05
    (solved,) = logistic.solve_path(features, labels, features, labels, [C])

    x = features.astype(np.float64)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    if classes == 2:  # scikit-learn penalizes one logit there, of which the two rows here are a half each

        def objective(flat: np.ndarray) -> float:
            w, b = flat[:-1], flat[-1]
            logits = np.stack([np.zeros(len(x)), x @ w + b], axis=1)
            return -log_softmax(logits, axis=1)[np.arange(len(x)), labels].sum() * C + 0.5 * (w**2).sum()

        flat = minimize(objective, np.zeros(x.shape[1] + 1), method="BFGS").x
        logits = np.stack([np.zeros(len(x)), x @ flat[:-1] + flat[-1]], axis=1)
    else:

        def objective(flat: np.ndarray) -> float:
            w, b = flat[:-classes].reshape(-1, classes), flat[-classes:]
            return -log_softmax(x @ w + b, axis=1)[np.arange(len(x)), labels].sum() * C + 0.5 * (w**2).sum()

        flat = minimize(objective, np.zeros((x.shape[1] + 1) * classes), method="BFGS").x
        logits = x @ flat[:-classes].reshape(-1, classes) + flat[-classes:]
    found = softmax(features @ solved.weights + solved.bias, axis=1)
    np.testing.assert_allclose(found, softmax(logits, axis=1), atol=2e-3)


def test_c_is_chosen_by_the_validation_loss() -> None:
    candidates = logistic.solve_path(*clusters(3, 5, seed=1), *clusters(3, 30, seed=2), [1e-4, 0.03, 1e3])
    assert [candidate.C for candidate in candidates] == [1e-4, 0.03, 1e3]
    chosen = logistic.best(candidates)
    assert chosen.val_loss == min(candidate.val_loss for candidate in candidates)
    assert chosen.loss != min(candidate.loss for candidate in candidates)


def test_a_constant_feature_does_no_harm() -> None:
    features, labels = clusters(3, 10, seed=1)
    features[:, 2] = 4
    (solved,) = logistic.solve_path(features, labels, features, labels, [1.0])
    assert np.isfinite(solved.weights).all()
    assert solved.accuracy > 0.8


@pytest.mark.parametrize(
    ("correct", "images", "low", "high"),
    [(22, 24, 0.7415, 0.9768), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (50, 100, 0.4038, 0.5962)],
)
def test_accuracy_has_wilsons_interval(correct: int, images: int, low: float, high: float) -> None:
    labels = np.zeros(images, dtype=int)
    probabilities = np.tile([0.8, 0.2], (images, 1))
    probabilities[correct:] = [0.2, 0.8]
    found = scoring.score(labels, probabilities)
    assert (found.correct, found.images) == (correct, images)
    assert (found.accuracy_low, found.accuracy_high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_scores_of_a_small_example_by_hand() -> None:
    labels = np.array([0, 0, 0, 1, 2, 2])
    probabilities = np.array(
        [[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.2, 0.7, 0.1], [0.1, 0.1, 0.8], [0.5, 0.1, 0.4]]
    )
    found = scoring.score(labels, probabilities)
    assert found.accuracy == pytest.approx(4 / 6)
    assert found.balanced_accuracy == pytest.approx((2 / 3 + 1 + 1 / 2) / 3)
    assert found.macro_f1 == pytest.approx((2 / 3 + 2 / 3 + 2 / 3) / 3)
    assert found.log_loss == pytest.approx(-np.log([0.7, 0.6, 0.1, 0.7, 0.8, 0.4]).mean())
    assert scoring.top_k_accuracy(labels, probabilities, 2) == top_k_accuracy_score(labels, probabilities, k=2)
    assert scoring.top_k_accuracy(labels, probabilities, 3) == 1.0
    assert scoring.per_class(labels, probabilities)[0] == (
        3,
        pytest.approx(2 / 3),
        pytest.approx(2 / 3),
        pytest.approx(2 / 3),
    )


def test_a_class_without_test_images_is_scored_as_zero() -> None:
    found = scoring.score(np.array([0, 1]), np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1]]))
    assert found.macro_f1 == pytest.approx(2 / 3)
