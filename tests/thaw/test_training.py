"""Heads, freezing and the scores, against independent references."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import top_k_accuracy_score

from commands.export import main as export
from commands.predict import main as predict
from stages.check.keras_names import public_classes
from stages.features.augmentation import Augmentation
from stages.features.views import Views
from stages.train.__main__ import doubts
from tests.conftest import record
from tests.thaw.test_logistic import clusters
from thaw.backbones.building import build_backbone
from thaw.engines.engine import finite
from thaw.engines.ready import trained
from thaw.errors import UserError, lack_of_memory
from thaw.formats.model_file import BackboneRecord
from thaw.formats.row_file import Index, Origin, RowFile
from thaw.formats.row_writer import writing
from thaw.images.normalization import Normalization
from thaw.networks import models
from thaw.networks.backend import keras, reading_ahead
from thaw.networks.boundary import prefix, tail
from thaw.networks.keras_objects import keras_object
from thaw.params.backbones import Backbone
from thaw.params.features import Features
from thaw.params.keras_spec import KerasSpec
from thaw.params.variants import Solver, Training
from thaw.scoring import scoring
from thaw.training import logistic
from thaw.training.batches import Batches, Rows, ValidationBatches, rows_of
from thaw.training.checkpoint import Checkpoint
from thaw.training.training import _factors, _mixed, _with_factors, add_head, freeze, optimizer_of, solve, train

pytestmark = pytest.mark.slow

FOOD_HEAD = [
    "GlobalAveragePooling2D",
    {"Dropout": {"rate": 0.2}},
    {"Dense": {"units": 100, "activation": "relu"}},
    {"Dense": {"units": "classes", "activation": "softmax"}},
]
SOFTMAX = [{"Dense": {"units": "classes", "activation": "softmax"}}]


def everything(values: np.ndarray, labels: np.ndarray) -> Rows:
    """Return rows that are all for training, and all for validation."""
    rows = np.arange(len(labels))
    return Rows(values, labels, rows, ("ash", "elm", "fir"), [rows], rows)


def trainable(model: keras.Model) -> int:
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


@pytest.mark.slow
def test_parameters_of_densenet121_on_dollar_street() -> None:
    backbone = build_backbone(Backbone(architecture="DenseNet121", weights="none"))
    head = [
        "Flatten",
        "BatchNormalization",
        {"Dense": {"units": 50, "activation": "relu"}},
        {"Dropout": {"rate": 0.5}},
        {"Dense": {"units": "classes"}},
    ]
    body = models.assemble(backbone, 160, 160, Normalization.of("rescale"), "max")
    model = add_head(body, head, 10)
    freeze(model, body.layers[-1].name, "frozen")
    assert model.count_params() == 7_093_360
    assert trainable(model) == 53_808


@pytest.mark.parametrize(("boundary", "expected"), [(None, 14_767_099), ("block3_pool", 13_031_611)])
def test_parameters_of_vgg16_on_food11(boundary: str | None, expected: int) -> None:
    backbone = build_backbone(Backbone(architecture="VGG16", weights="none"))
    model = add_head(models.assemble(backbone, 224, 224, Normalization.of("caffe"), None), FOOD_HEAD, 11)
    freeze(model, boundary, "frozen")
    assert model.count_params() == 14_767_099
    assert trainable(model) == expected


@pytest.mark.parametrize(
    ("boundary", "batch_norm", "images", "epochs", "words"),
    [
        (
            "norm",
            "frozen",
            16,
            5,
            [
                "head_1_batchnormalization, and 1 more, scores images by a mean and a variance of which, after 10 "
                "steps, 90% are still the 0 and 1 that it begins with: give it momentum: 0.79, or add epochs"
            ],
        ),
        ("norm", "frozen", 16, 115, []),
        (None, "trained", 16, 115, []),
        (None, "trained", 16, 1, ["norm, and 2 more, scores images", "add epochs"]),
        ("pooling", "frozen", 16, 115, []),
        (None, "frozen", 16, 115, ["norm would stay at mean 0 and variance 1", "set batch_norm: trained"]),
        (
            "pooling",
            "frozen",
            17,
            115,
            [
                "head_1_batchnormalization, and 1 more, takes the mean of a batch from each image, which leaves "
                "nothing of the one image in the last of each 3 batches: set another batch_size than 8"
            ],
        ),
        ("pooling", "frozen", 18, 115, []),
    ],
)
def test_what_is_doubtful_of_batch_normalization_is_told(
    boundary: str | None, batch_norm: str, images: int, epochs: int, words: list[str]
) -> None:
    model = small_network(["BatchNormalization", {"Dense": {"units": 4}}, "BatchNormalization", *SOFTMAX])
    freeze(model, boundary, batch_norm)
    fit = Training(epochs=epochs, batch_size=8, optimizer="Adam", batch_norm=batch_norm)
    found = list(doubts(model, boundary, images, fit))
    assert len(found) == min(len(words), 1)
    assert all(word in found[0] for word in words)


@pytest.mark.parametrize(
    ("optimizer", "epochs", "words"),
    [
        (
            {"SGD": {"use_ema": True}},
            5,
            "after 10 steps, 90% still the weights after the first one: set ema_momentum: 0.79",
        ),
        ({"SGD": {"use_ema": True, "ema_momentum": 0.79}}, 5, ""),
        ({"SGD": {"use_ema": True}}, 120, ""),
        ({"SGD": {"use_ema": False}}, 5, ""),
        ({"SGD": None}, 5, ""),
        ("SGD", 5, ""),
    ],
)
def test_averages_of_weights_that_are_of_few_steps_are_told(optimizer: KerasSpec, epochs: int, words: str) -> None:
    model = small_network()
    freeze(model, "norm", "frozen")
    found = list(doubts(model, "norm", 16, Training(epochs=epochs, batch_size=8, optimizer=optimizer)))
    assert len(found) == bool(words)
    assert all(words in one for one in found)


def small_network(head: Sequence[KerasSpec] = SOFTMAX) -> keras.Model:
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name="conv")(inputs)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.Conv2D(5, 3, name="last")(x)
    body = models.assemble(keras.Model(inputs, x, name="small"), 8, 8, Normalization.of("rescale"), "max")
    return add_head(body, list(head), 3)


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
    model = small_network(["BatchNormalization", *SOFTMAX])
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


def fitted(model: keras.Model, rows: Rows, **fit: object) -> dict[str, list[float]]:
    """Train a whole model for one epoch, or as `fit` says."""
    keras.utils.set_random_seed(0)
    freeze(model, None, "frozen")
    return train(model, None, rows, Training(**{"epochs": 1, "batch_size": 3, "optimizer": "SGD", **fit}), [])


def noise(count: int) -> Rows:
    return everything(
        np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3)).astype(np.uint8), np.arange(count) % 3
    )


@pytest.mark.parametrize(
    "fit",
    [
        {},
        {"loss": "BinaryCrossentropy"},
        {"loss": "BinaryFocalCrossentropy"},
        {"layer_decay": 0.5},
        {"learning_rate_factors": {"conv": 0.1}},
    ],
    ids=str,
)
def test_keras_alone_loads_what_was_trained_as_the_readme_does(fit: dict[str, object], tmp_path: Path) -> None:
    model = small_network()
    fitted(model, noise(6), **fit)
    models.save(model, tmp_path / "full.keras", record(["ash", "elm", "fir"], {}))
    pixels = noise(6).values
    loaded = keras.saving.load_model(tmp_path / "full.keras")
    assert not loaded.compiled
    np.testing.assert_array_equal(loaded.predict(pixels, verbose=0), model.predict(pixels, verbose=0))


def test_a_training_that_does_not_fit_into_memory_says_what_does_not() -> None:
    model = small_network([{"RepeatVector": {"n": 10**9}}, "GlobalAveragePooling1D", *SOFTMAX])
    with pytest.raises(Exception, match="OOM") as raised:
        fitted(model, noise(6))
    assert re.match(r"OOM when allocating tensor with shape\[.*\] .* on .*; let", lack_of_memory(raised.value) or "")


def test_batches_go_on_where_an_epoch_ended_and_take_one_view_after_the_other() -> None:
    views = [np.arange(5), np.arange(5, 10)]
    fit = Training(epochs=1, batch_size=2, steps_per_epoch=2, optimizer="SGD")
    rows = Rows(np.arange(10), np.arange(10), np.arange(10), ("ash", "elm", "fir"), views, np.arange(0))
    batches = Batches(rows, np.arange(10) * 10, fit)
    assert len(batches) == 2
    epochs = []
    for epoch in range(6):
        batches.begin(epoch)
        epochs += [batches[number] for number in range(2)]
    assert [len(rows) for rows, _ in epochs] == [2, 2, 1] * 4
    assert all((targets == rows * 10).all() for rows, targets in epochs)
    passes = [np.concatenate([rows for rows, _ in epochs[first : first + 3]]) for first in (0, 3, 6, 9)]
    assert [sorted(rows) for rows in passes] == [list(range(5)), list(range(5, 10))] * 2
    assert list(passes[0]) != list(passes[2])
    batches.begin(1)
    assert (batches[0][0] == epochs[2][0]).all()


def test_training_on_two_splits_takes_the_views_of_one_and_the_other_itself(tmp_path: Path) -> None:
    labels = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2], np.int32)
    index = Index(
        keys=np.array([b"k"] * 9, "S64"),
        paths=np.array([b"p"] * 9),
        labels=labels,
        groups=np.array([b""] * 9),
        classes=("ash", "elm", "fir"),
        splits={"train": slice(0, 4), "validation": slice(4, 6), "test": slice(6, 9)},
    ).with_views("train", 2)
    assert index.splits == {"train": slice(0, 8), "validation": slice(8, 10), "test": slice(10, 13)}
    with writing(tmp_path / "rows.h5", index, (1,), np.float32, Origin({}, features={"views": 2})) as file:
        file.write([np.arange(13, dtype=np.float32)[:, None]])
    rows = rows_of(RowFile(tmp_path / "rows.h5"), ["train", "validation"], "test")
    values = rows.values[np.arange(13)][:, 0]
    assert [list(values[view]) for view in rows.train] == [[0, 1, 2, 3, 8, 9], [4, 5, 6, 7, 8, 9]]
    assert list(values[rows.validation]) == [10, 11, 12]
    assert all((rows.labels[view] == labels[:6]).all() for view in rows.train)
    assert (rows.units[rows.train[0]] == rows.units[rows.train[1]]).all()
    assert len(set(rows.units)) == 9
    alone = rows_of(RowFile(tmp_path / "rows.h5"), ["validation"], "test")
    assert [list(view) for view in alone.train] == [[8, 9]]


def test_labels_are_smoothed_as_their_loss_is_defined() -> None:
    rows = noise(9)
    model = small_network()
    freeze(model, None, "frozen")
    probabilities = model.predict(rows.values, verbose=0).astype(np.float64)
    curve = fitted(model, rows, batch_size=9, loss={"CategoricalCrossentropy": {"label_smoothing": 0.3}})
    targets = np.eye(3)[rows.labels] * 0.7 + 0.3 / 3
    assert curve["loss"] == [pytest.approx(-(targets * np.log(probabilities)).sum(axis=1).mean(), rel=1e-4)]


@pytest.mark.parametrize("gamma", [None, 2.0], ids=["binary", "focal"])
def test_a_binary_loss_is_that_of_the_probabilities_and_not_of_their_logits(gamma: float | None) -> None:
    """Keras on TensorFlow would take each of the softmax's logits for one of a sigmoid."""
    rows = noise(10)  # so that the last batch is a short one
    model = small_network()
    freeze(model, None, "frozen")
    shares = model.predict(rows.values, verbose=0).astype(np.float64)
    loss = {"BinaryFocalCrossentropy": {"gamma": gamma}} if gamma else "BinaryCrossentropy"
    curve = fitted(model, rows, batch_size=4, loss=loss, optimizer={"SGD": {"learning_rate": 1e-9}})
    of_right = np.where(np.eye(3)[rows.labels] == 1, shares, 1 - shares)
    expected = -((1 - of_right) ** (gamma or 0) * np.log(of_right)).mean()
    assert [*curve["loss"], *curve["val_loss"]] == [pytest.approx(expected, rel=1e-4)] * 2


@pytest.mark.parametrize(
    "layer", [{"MixUp": {"alpha": 0.4}}, {"MixUp": {"alpha": 1e-3}}, {"CutMix": {"factor": [0, 1]}}]
)
def test_images_and_labels_are_mixed_in_the_same_parts(layer: KerasSpec) -> None:
    keras.utils.set_random_seed(1)
    (name,) = layer
    count = 64
    images = np.random.default_rng(0).uniform(0, 255, (count, 16, 16, 3)).astype(np.float32)
    of_one, of_another = np.eye(count, dtype=np.float32), keras_object(layer, "layers")
    parts = []
    for _ in range(10):
        mixed, labels = map(np.asarray, _mixed(of_another, images, of_one))
        assert (labels >= 0).all()
        np.testing.assert_allclose(labels.sum(axis=1), 1, atol=1e-6)
        if name == "MixUp":
            np.testing.assert_allclose(mixed, np.tensordot(labels, images, 1), atol=0.01)
        else:  # a part of the pixels is another image's
            own = (mixed == images).all(axis=3).mean(axis=(1, 2))
            np.testing.assert_allclose(np.diagonal(labels), own, atol=2 * 16 / 16**2)
        parts.append(np.diagonal(labels))
    assert np.concatenate(parts).min() < 0.1 < 0.9 < np.concatenate(parts).max()


def test_a_loss_and_an_accuracy_of_mixed_images_are_those_of_their_mixed_labels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = noise(9)
    parts, order = np.linspace(0.1, 0.9, 9, dtype=np.float32), np.arange(9)[::-1]
    transformation = {"mix_weight": parts, "permutation_order": order}
    monkeypatch.setattr(keras.layers.MixUp, "get_random_transformation", lambda *_, **__: transformation)
    model = small_network()
    freeze(model, None, "frozen")
    fit = Training(epochs=1, batch_size=9, optimizer={"SGD": {"learning_rate": 1e-20}}, loss="CategoricalCrossentropy")
    # All in one batch, whose order is the seed's.
    batch = Batches(rows, np.eye(3), fit)[0]
    curve = train(model, None, rows, fit, ["MixUp"])
    weights = parts[:, None, None, None]
    images, labels = weights * batch[0] + (1 - weights) * batch[0][order], batch[1]
    labels = parts[:, None] * labels + (1 - parts[:, None]) * labels[order]
    mixed, plain = (model.predict(one, verbose=0).astype(np.float64) for one in (images, rows.values))
    assert curve["loss"] == [pytest.approx(-(labels * np.log(mixed)).sum(axis=1).mean(), rel=1e-4)]
    assert curve["accuracy"] == [pytest.approx((mixed.argmax(axis=1) == labels.argmax(axis=1)).mean())]
    assert curve["val_loss"] == [pytest.approx(-np.log(plain[np.arange(9), rows.labels]).mean(), rel=1e-4)]
    assert curve["val_accuracy"] == [pytest.approx((plain.argmax(axis=1) == rows.labels).mean())]


def test_rows_that_are_read_from_a_file_train_the_same_bits_as_rows_in_memory(tmp_path: Path) -> None:
    in_memory = noise(12)
    index = Index(
        keys=np.array([b"k"] * 12, "S64"),
        paths=np.array([b"p"] * 12),
        labels=in_memory.labels.astype(np.int32),
        groups=np.array([b""] * 12),
        classes=in_memory.classes,
        splits={"train": slice(0, 8), "validation": slice(8, 12)},
    )
    with writing(tmp_path / "rows.h5", index, (8, 8, 3), np.uint8, Origin({})) as file:
        file.write([in_memory.values[np.arange(12)]])
    from_file = rows_of(RowFile(tmp_path / "rows.h5"), ["train"], "validation")
    results = []
    for rows in (from_file, dataclasses.replace(from_file, values=in_memory.values)):
        keras.utils.set_random_seed(6)
        model = small_network()
        results.append((fitted(model, rows, epochs=2), model.get_weights()))
    (curve, weights), (of_memory, of_memory_weights) = results
    assert curve == of_memory
    assert all((one == other).all() for one, other in zip(weights, of_memory_weights, strict=True))


@pytest.mark.parametrize("loss", ["SparseCategoricalCrossentropy", "CategoricalCrossentropy"])
def test_a_step_is_traced_once(loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    traced, train_step = [], keras.Model.train_step

    def counted(self, data):  # type: ignore[no-untyped-def]
        traced.append(data)
        return train_step(self, data)

    monkeypatch.setattr(keras.Model, "train_step", counted)
    curve = fitted(small_network(), noise(10), epochs=2, batch_size=4, optimizer="Adam", loss=loss)
    assert len(traced) == 1
    assert len(curve["accuracy"]) == 2


def test_batches_are_read_ahead_as_they_are_and_without_tuning() -> None:
    rows = noise(10)
    for batches in (
        Batches(rows, np.eye(3, dtype=np.float32), Training(epochs=2, batch_size=4, optimizer="SGD")),
        ValidationBatches(rows, np.arange(3), 4),
    ):
        with reading_ahead() as read_ahead:
            ahead = read_ahead(batches)
        assert len(ahead) == 3
        for _ in range(2):
            found = list(ahead.as_numpy_iterator())
            assert len(found) == 3
            for number, batch in enumerate(found):
                for part, expected in zip(batch, batches[number], strict=True):
                    np.testing.assert_array_equal(part, expected, strict=True)
        assert not ahead.options().autotune.enabled


@pytest.mark.parametrize(
    ("error", "read"),
    [(UserError("rows.h5: truncated or altered"), 3), (OSError(5, "Input/output error", "rows.h5"), 8)],
    ids=["damaged", "on a bad disk"],
)
def test_what_is_raised_where_a_batch_is_read_passes_through_a_training(error: Exception, read: int) -> None:
    """Once there is a first batch, it is TensorFlow that reads."""
    rows, left = noise(9), iter(range(read - 1))

    class Failing:
        def __getitem__(self, numbers: np.ndarray) -> np.ndarray:
            if next(left, None) is None:
                raise error
            return np.asarray(rows.values[numbers])

    with pytest.raises(type(error)) as raised:
        fitted(small_network(), dataclasses.replace(rows, values=Failing()), epochs=2)
    assert raised.value is error


def test_a_head_of_logits_is_trained_as_one_with_softmax_and_predicts_the_same() -> None:
    trained = []
    for activation, loss in (
        ("softmax", "SparseCategoricalCrossentropy"),
        (None, {"SparseCategoricalCrossentropy": {"from_logits": True}}),
    ):
        keras.utils.set_random_seed(1)
        model = small_network([{"Dense": {"units": "classes", "activation": activation}}])
        trained.append((fitted(model, noise(9), loss=loss, epochs=3), model))
    (history, model), (of_logits, with_logits) = trained
    assert of_logits["loss"] == pytest.approx(history["loss"], rel=1e-4)
    assert with_logits.layers[-1].name == "head_2_softmax"
    pixels = noise(9).values
    np.testing.assert_allclose(with_logits.predict(pixels), model.predict(pixels), atol=1e-5)
    assert with_logits.count_params() == model.count_params()


def test_logits_for_a_head_that_ends_in_softmax_are_refused() -> None:
    with pytest.raises(UserError, match="from_logits: true, but the head that it trains ends in softmax"):
        fitted(small_network(), noise(9), loss={"SparseCategoricalCrossentropy": {"from_logits": True}})


def test_a_layers_factor_scales_its_learning_rate() -> None:
    before = {layer.name: layer.get_weights() for layer in small_network().layers}
    moved: dict[str, list[np.ndarray]] = {}
    for factors in ({}, {"conv": 0.0, "head_": 0.5}):
        keras.utils.set_random_seed(5)
        model = small_network()
        model.set_weights([weight for weights in before.values() for weight in weights])
        fitted(model, noise(3), learning_rate_factors=factors, optimizer={"SGD": {"learning_rate": 1e-2}})
        for layer in model.layers:
            if layer.trainable_weights:
                moved.setdefault(layer.name, []).append(layer.get_weights()[0] - before[layer.name][0])
    assert np.abs(moved["conv"][0]).max() > 0
    assert not moved["conv"][1].any()
    np.testing.assert_allclose(moved["last"][1], moved["last"][0], rtol=1e-2, atol=1e-7)
    np.testing.assert_allclose(moved["head_1_dense"][1], moved["head_1_dense"][0] / 2, rtol=1e-2, atol=1e-7)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ({"CosineDecay": {"initial_learning_rate": 0, "warmup_target": 0.5, "warmup_steps": 2}}, [0, 0.25, 0.5, 0.25]),
        ({"CosineDecay": {"initial_learning_rate": 1}}, [1, 0.8535534, 0.5, 0.1464466]),
        ({"CosineDecayRestarts": {"initial_learning_rate": 1, "first_decay_steps": 2}}, [1, 0.5, 1, 0.8535534]),
        ({"ExponentialDecay": {"initial_learning_rate": 1, "decay_rate": 0.0625}}, [1, 0.5, 0.25, 0.125]),
        ({"InverseTimeDecay": {"initial_learning_rate": 1, "decay_rate": 4}}, [1, 0.5, 1 / 3, 0.25]),
        ({"PiecewiseConstantDecay": {"boundaries": [0, 1], "values": [1, 0.5, 0]}}, [1, 0.5, 0, 0]),
        (
            {"PolynomialDecay": {"initial_learning_rate": 1, "end_learning_rate": 0, "power": 2}},
            [1, 0.5625, 0.25, 0.0625],
        ),
    ],
    ids=lambda one: next(iter(one)) if isinstance(one, dict) else "",
)
def test_a_learning_rate_that_is_a_whole_number_decays_by_parts_of_it(
    schedule: dict[str, object], expected: list[float]
) -> None:
    optimizer = optimizer_of({"SGD": {"learning_rate": schedule}}, steps=4)
    weight = keras.Variable(np.zeros(1, np.float32))
    optimizer.build([weight])
    rates = []
    for _ in range(4):
        rates.append(float(optimizer.learning_rate))
        optimizer.apply([keras.ops.ones(1)])
    assert rates == pytest.approx(expected)


@pytest.mark.parametrize("name", ["AdamW", "Lion", "Muon", "SGD"])
def test_a_layers_factor_scales_the_decay_of_its_weights(name: str) -> None:
    """Without a gradient, decay is all: by hand, the weights lessen by the learning rate, factor and decay."""
    weights = [keras.Variable(np.full((2, 3), 2.0, np.float32), name=f"{number}") for number in range(3)]
    spec = {name: {"learning_rate": 0.25, "weight_decay": 0.5}}
    optimizer = _with_factors(keras_object(spec, "optimizers"), {id(weights[1]): 0.5, id(weights[2]): 0.0})
    optimizer.build(weights)
    optimizer.apply([keras.ops.zeros((2, 3))] * 3)
    left = [keras.ops.convert_to_numpy(weight)[0, 0] for weight in weights]
    assert left == pytest.approx([2 * (1 - 0.25 * 0.5 * factor) for factor in (1, 0.5, 0)])
    assert float(optimizer.learning_rate) == 0.25


@pytest.mark.parametrize("name", public_classes("optimizers"))
def test_a_weight_with_a_factor_of_0_stays_as_it_is(name: str) -> None:
    weights = [keras.Variable(np.full((2, 3), 0.1, np.float32), name=f"{number}") for number in range(2)]
    optimizer = _with_factors(keras_object(name, "optimizers"), {id(weights[1]): 0.0})
    optimizer.build(weights)
    for _ in range(2):
        optimizer.apply([keras.ops.ones((2, 3))] * 2)
    changed, same = (keras.ops.convert_to_numpy(weight) for weight in weights)
    assert (changed != np.float32(0.1)).all()
    assert (same == np.float32(0.1)).all()


Updates = dict[tuple[str, int], np.ndarray]


def deep_network() -> keras.Model:
    """A network with a residual block, and with normalization behind a kernel."""
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.BatchNormalization(name="first")(inputs)
    x = keras.layers.Conv2D(4, 3, name="stem")(x)
    x = keras.layers.ReLU(name="relu")(keras.layers.BatchNormalization(name="norm")(x))
    around = keras.layers.Conv2D(4, 3, padding="same", name="inner")(x)
    around = keras.layers.Conv2D(4, 3, padding="same", name="outer")(keras.layers.BatchNormalization(name="in")(around))
    x = keras.layers.Conv2D(5, 3, name="last")(keras.layers.Add(name="block")([x, around]))
    body = models.assemble(keras.Model(inputs, x, name="deep"), 8, 8, Normalization.of("rescale"), "max")
    return add_head(body, ["BatchNormalization", {"Dense": {"units": 6, "activation": "relu"}}, *SOFTMAX], 3)


def updates(model: keras.Model, **fit: object) -> tuple[Updates, Updates]:
    """Return the trained weights before one step of plain gradient descent, and what that adds to them."""
    before = weights_of(model)
    shape = model.input.shape[1:]
    pixels = np.random.default_rng(0).integers(0, 256, (3, *shape)).astype(np.uint8)
    freeze(model, None, "trained")
    wanted = Training(epochs=1, batch_size=3, optimizer={"SGD": {"learning_rate": 0.1}}, batch_norm="trained", **fit)
    train(model, None, everything(pixels, np.arange(3)), wanted, [])
    after, trained = weights_of(model), {id(weight) for weight in model.trainable_weights}
    names = [
        (one.name, number) for one in model.layers for number, weight in enumerate(one.weights) if id(weight) in trained
    ]
    model.set_weights([*before.values()])
    return before, {name: after[name] - before[name] for name in names}


def weights_of(model: keras.Model) -> Updates:
    """Return weights by their layers' names and their numbers."""
    return {(one.name, number): weight for one in model.layers for number, weight in enumerate(one.get_weights())}


def by_hand(model: keras.Model) -> dict[str, float]:
    factors = dict.fromkeys(("first", "stem", "norm"), 0.5**3) | dict.fromkeys(("inner", "in", "outer"), 0.5**2)
    head = {one.name: 1.0 for one in model.layers if one.name.startswith(models.HEAD)}
    return factors | {"last": 0.5, "inner": 0.9, "in": 0.25} | head | {"head_2_dense": 0.1}


def lite0() -> keras.Model:
    backbone = build_backbone(Backbone(architecture="EfficientNetLite0", weights="none"))
    body = models.assemble(backbone, 32, 32, Normalization.of("lite"), "avg")
    return add_head(body, [{"Dense": {"units": 8}}, *SOFTMAX], 3)


def by_name(model: keras.Model) -> dict[str, float]:
    """Return what the names of EfficientNet-Lite0's layers give: its stem, 16 blocks, its top, and a head."""
    depths = {"stem": 18, "top": 1, "head": 0} | {f"block_{number}": 17 - number for number in range(16)}
    found = {one.name: re.match(r"block_\d+|stem|top|head", one.name) for one in model.layers if one.weights}
    return {name: 0.75 ** depths[match[0]] for name, match in found.items() if match}


def test_a_rate_decays_from_block_to_block_but_for_layers_by_name() -> None:
    keras.utils.set_random_seed(5)
    model = deep_network()
    expected = by_hand(model)
    before, plain = updates(model)
    _, decayed = updates(model, layer_decay=0.5, learning_rate_factors={"in": 0.25, "inner": 0.9, "head_2": 0.1})
    assert plain.keys() == decayed.keys()
    assert {layer for layer, _ in plain} == expected.keys()
    for (layer, number), update in plain.items():
        of_one = before[layer, number]
        atol = 2 * np.spacing(np.abs(of_one).max() + np.abs(update).max())
        assert np.abs(update).max() > 1e4 * atol, layer
        expected_update = expected[layer] * update
        np.testing.assert_allclose(decayed[layer, number], expected_update, rtol=1e-5, atol=atol, err_msg=layer)


def test_in_efficientnet_a_rate_decays_from_block_to_block() -> None:
    model = lite0()
    factors, expected = _factors(model, 0.75, {}), by_name(model)
    for layer in model.layers:
        for weight in layer.trainable_weights:
            assert factors.get(id(weight), 1) == pytest.approx(expected[layer.name])


def test_from_cached_activations_a_rate_decays_as_from_pixels() -> None:
    model = lite0()
    freeze(model, "block_9", "frozen")
    of_whole = _factors(model, 0.75, {})
    assert len({*of_whole.values()}) == 7  # six blocks and the top
    assert _factors(tail(model, "block_9"), 0.75, {}) == of_whole


def test_in_bfloat16_the_layers_before_the_head_learn_nearly_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: dict[str, str] = {}
    really_compile = keras.Model.compile

    def watched(model: keras.Model, *arguments: object, **others: object) -> None:
        compiled.update({layer.name: layer.compute_dtype for layer in model.layers})
        really_compile(model, *arguments, **others)

    monkeypatch.setattr(keras.Model, "compile", watched)
    results = {}
    for precision in ("float32", "bfloat16"):
        keras.utils.set_random_seed(7)
        model = small_network()
        curve = fitted(model, noise(12), epochs=3, precision=precision, learning_rate_factors={"conv": 0.5})
        results[precision] = curve["loss"], model.get_weights()
        assert {layer.compute_dtype for layer in model.layers if layer.weights} == {"float32"}
    assert compiled["conv"] == compiled["last"] == "bfloat16"
    assert compiled["imagenet_normalization"] == compiled["head_1_dense"] == "float32"
    (loss, weights), (of_bfloat16, weights_of_bfloat16) = results.values()
    assert of_bfloat16 != loss
    assert of_bfloat16 == pytest.approx(loss, rel=2e-2)
    for one, other in zip(weights, weights_of_bfloat16, strict=True):
        assert other.dtype == np.float32
        np.testing.assert_allclose(other, one, atol=1e-2)


@pytest.mark.slow
def test_a_compiled_step_learns_nearly_the_same() -> None:
    curves = []
    for jit_compile in (False, True):
        keras.utils.set_random_seed(7)
        curves.append(fitted(small_network(), noise(12), epochs=2, jit_compile=jit_compile)["loss"])
    assert curves[1] == pytest.approx(curves[0], rel=1e-4)


def test_a_factor_for_no_layer_is_refused() -> None:
    with pytest.raises(UserError, match="no trained layer's name begins with 'block'; there are conv, last, "):
        fitted(small_network(), noise(3), learning_rate_factors={"block": 0.1})


@pytest.mark.parametrize(
    ("fit", "message"),
    [
        ({"learning_rate_factors": {"": 0}}, "learning_rate_factors: each trained layer has the factor 0"),
        ({"learning_rate_factors": {"": 1e-39}}, "learning_rate_factors: each trained layer has the factor 0"),
        ({"class_weight": {"ash": 0, "elm": 0.0, "fir": 1e-39}}, "class_weight: each class has the weight 0"),
        (
            {"optimizer": {"SGD": {"gradient_accumulation_steps": 4}}},
            r"optimizer\.SGD\.gradient_accumulation_steps: 4, but the training has only 1 steps",
        ),
    ],
    ids=["factors", "tiny factors", "weights", "steps"],
)
def test_a_training_that_would_change_nothing_is_refused(fit: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        fitted(small_network(), noise(3), **fit)


def test_of_averaged_weights_the_best_are_restored() -> None:
    """The best epoch by the averages is one whose validation loss is that of the model in the end."""
    keras.utils.set_random_seed(1)
    model, rows = small_network(), noise(12)
    callbacks = [
        {"SwapEMAWeights": {"swap_on_epoch": True}},
        {"EarlyStopping": {"monitor": "val_loss", "patience": 9, "restore_best_weights": True}},
    ]
    optimizer = {"SGD": {"learning_rate": 0.2, "use_ema": True, "ema_momentum": 0.5}}
    curve = fitted(model, rows, epochs=2, optimizer=optimizer, callbacks=callbacks)["val_loss"]
    probabilities = keras.ops.convert_to_numpy(model(rows.values))
    assert min(curve) != curve[-1]
    assert scoring.losses(rows.labels, probabilities).mean() == pytest.approx(min(curve), rel=1e-4)


@pytest.mark.slow
def test_weights_of_classes_weight_the_loss() -> None:
    rows = noise(12)
    unequal = Rows(
        rows.values, np.array([0] * 8 + [1] * 2 + [2] * 2), rows.units, rows.classes, rows.train, rows.validation
    )
    losses = {}
    for name, weights in (
        ("none", None),
        ("ones", {"ash": 1.0}),
        ("balanced", "balanced"),
        ("as balanced", {"ash": 0.5, "elm": 2.0, "fir": 2.0}),
    ):
        for loss in ("SparseCategoricalCrossentropy", "CategoricalCrossentropy"):
            keras.utils.set_random_seed(2)
            losses[name, loss] = fitted(small_network(), unequal, class_weight=weights, loss=loss, batch_size=12)[
                "loss"
            ]
    for loss in ("SparseCategoricalCrossentropy", "CategoricalCrossentropy"):
        assert losses["ones", loss] == pytest.approx(losses["none", loss])
        assert losses["balanced", loss] == pytest.approx(losses["as balanced", loss])
        assert losses["balanced", loss] != pytest.approx(losses["none", loss], rel=1e-2)
    with pytest.raises(UserError, match="class_weight: there is no class 'oak'"):
        fitted(small_network(), unequal, class_weight={"oak": 2.0})


def test_freezing_behind_images_equals_training_on_the_activations() -> None:
    """The layers behind a boundary learn the same from images as from cached activations."""
    rows = noise(6)
    fit = Training(epochs=2, batch_size=6, optimizer="SGD")
    weights = []
    for boundary in (None, "norm"):
        keras.utils.set_random_seed(4)
        model = small_network()
        freeze(model, "norm", "frozen")
        cached = (
            rows if boundary is None else dataclasses.replace(rows, values=prefix(model, "norm").predict(rows.values))
        )
        train(model, boundary, cached, fit, [])
        weights.append(model.get_weights())
    for from_images, from_activations in zip(*weights, strict=True):
        np.testing.assert_allclose(from_images, from_activations, atol=1e-6)


@pytest.mark.parametrize(
    "layers", [["RandomFlip"], [{"RandomTranslation": {"height_factor": 0.2, "width_factor": 0.2}}]]
)
def test_a_view_depends_on_image_view_and_seed_alone(layers: list[object]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 12, 12, 3)).astype(np.uint8)
    keys = [b"a", b"b", b"c", b"d"]
    together = Augmentation(layers, 0)
    views = {
        view: np.stack([together(pixels, key, view) for pixels, key in zip(images, keys, strict=True)])
        for view in range(1, 9)
    }
    alone = Augmentation(layers, 0)
    np.testing.assert_array_equal(alone(images[2], b"c", 3), views[3][2])
    np.testing.assert_array_equal(alone(images[0], b"a", 1), views[1][0])
    assert len({view[0].tobytes() for view in views.values()}) > 1
    others = np.stack([Augmentation(layers, 1)(images[0], b"a", view) for view in range(1, 9)])
    assert (others != np.stack([view[0] for view in views.values()])).any()
    assert views[1].dtype == np.float32
    assert views[1].shape == images.shape


def test_the_layers_of_an_augmentation_draw_apart() -> None:
    image = np.zeros((33, 33, 3), np.uint8)
    image[16, 16] = 255
    shift = {"fill_mode": "constant", "interpolation": "nearest"}
    across = {"RandomTranslation": {"height_factor": 0.0, "width_factor": 0.4, **shift}}
    down = {"RandomTranslation": {"height_factor": 0.4, "width_factor": 0.0, **shift}}
    change = Augmentation([across, down], 0)
    places = [np.argwhere(change(image, b"a", view)[..., 0])[0] for view in range(1, 25)]
    assert abs(np.corrcoef(np.transpose(places))[0, 1]) < 0.7


def test_views_that_are_made_on_all_cores_are_those_that_are_made_one_by_one(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 12, 12, 3), np.uint8)
    keys = np.array([b"%064d" % number for number in range(20)])
    splits = {"train": slice(0, 16), "validation": slice(16, 20)}
    index = Index(keys, keys, np.zeros(20, np.int32), np.full(20, b""), ("ash",), splits)
    with writing(tmp_path / "rows.h5", index, (12, 12, 3), np.uint8, Origin({})) as file:
        file.write([images])
    layers = ["RandomFlip", {"RandomTranslation": {"height_factor": 0.2, "width_factor": 0.2}}]
    wanted = {"tensors": "t", "backbone": "b", "layer": "top", "augmentation": layers, "views": 3, "batch_size": 2}
    views = Views(RowFile(tmp_path / "rows.h5"), Features.model_validate(wanted))
    made = np.concatenate(list(views.batches(np.arange(len(views.keys)))))
    change = Augmentation(layers, 0)
    others = [change(images[number], keys[number], view) for view in (1, 2) for number in range(16)]
    np.testing.assert_array_equal(made, np.concatenate([images[:16], others, images[16:]]))


def test_the_validation_images_choose_no_c_and_are_fitted_if_that_is_wanted() -> None:
    values, labels = clusters(3, 40, seed=1)
    train_rows, validation = np.arange(90), np.arange(90, 120)
    order = np.random.default_rng(0).permutation(120)
    values, labels = values[order], labels[order]
    labels[validation] = (labels[validation] + 1) % 3  # whoever chose by these would regularize most
    rows = Rows(values, labels, np.arange(120), ("ash", "elm", "fir"), [train_rows], validation)
    strengths = [1e-3, 1.0]
    histories, heads = [], []
    for train_on in (["train"], ["train", "validation"]):
        model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, "softmax")])
        fit = Solver(solver="logistic_regression", C=strengths, train_on=train_on)
        histories.append(solve("variants.v", model, rows, fit))
        heads.append(model.layers[-1].get_weights())
    path = logistic.solve_path("", rows.values[train_rows], rows.labels[train_rows], train_rows, strengths)
    assert histories[0] == histories[1]
    assert logistic.best(path).C == 1.0 != strengths[int(np.argmin(histories[0]["val_loss"]))]
    assert list(histories[0]) == ["step", "C", "loss", "accuracy", "cv_loss", "cv_accuracy", "val_loss", "val_accuracy"]
    assert histories[0]["cv_loss"] == [candidate.cv_loss for candidate in path]
    scored = logistic.best(path).scores(rows.values[validation], rows.labels[validation])
    assert (histories[0]["val_loss"][1], histories[0]["val_accuracy"][1]) == scored
    assert (heads[0][0] == logistic.best(path).weights).all()
    (both,) = logistic.solve_path("", rows.values, rows.labels, rows.units, [logistic.best(path).C])
    assert (heads[1][0] == both.weights).all()


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
        [[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.1, 0.7, 0.2], [0.2, 0.7, 0.1], [0.1, 0.1, 0.8], [0.5, 0.1, 0.4]]
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


def test_a_class_without_test_images_counts_where_it_is_predicted() -> None:
    labels, probabilities = np.array([0, 1]), np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1]])
    assert scoring.score(labels, probabilities).macro_f1 == 1
    assert scoring.score(labels, probabilities[:, [0, 2, 1]]).macro_f1 == pytest.approx(1 / 3)


OVERFLOWS: dict[str, dict[str, object]] = {
    "the loss": {"optimizer": {"SGD": {"learning_rate": 1e30}}},
    "with a callback that ends it": {"optimizer": {"SGD": {"learning_rate": 1e30}}, "callbacks": ["TerminateOnNaN"]},
    "a weight alone": {"optimizer": {"SGD": {"learning_rate": 1e38}}, "steps_per_epoch": 1, "batch_size": 9},
    "another loss": {"optimizer": {"Adam": {"learning_rate": 1e35}}, "loss": "MeanSquaredError"},
    "in bfloat16": {"optimizer": {"SGD": {"learning_rate": 1e30}}, "precision": "bfloat16"},
}


@pytest.mark.parametrize("fit", OVERFLOWS.values(), ids=OVERFLOWS)
def test_numbers_that_are_not_finite_end_a_training_in_their_epoch(fit: dict[str, object]) -> None:
    model = small_network()
    freeze(model, None, "frozen")
    pixels = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3)).astype(np.uint8)
    rows = everything(pixels, np.arange(9) % 3)
    rate = float(next(iter(fit["optimizer"].values()))["learning_rate"])  # type: ignore[attr-defined]
    with pytest.raises(UserError) as raised:
        train(model, None, rows, Training(**{"epochs": 9, "batch_size": 3, **fit}), [])  # type: ignore[arg-type]
    said = str(raised.value)
    assert re.match(rf"epoch 1, learning rate {re.escape(f'{rate:g}')}: ", said)
    assert re.search(r"(loss is (nan|inf)|the weight \S+ has a number that is not finite)", said)
    assert "try a smaller learning_rate" in said


def test_a_checkpoint_is_never_of_such_numbers(tmp_path: Path) -> None:
    model = small_network()
    freeze(model, None, "frozen")
    pixels = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3)).astype(np.uint8)
    fit = Training(epochs=2, batch_size=3, optimizer={"SGD": {"learning_rate": 1e30}})
    with pytest.raises(UserError):
        train(model, None, everything(pixels, np.arange(9) % 3), fit, [], Checkpoint(tmp_path / "state", "same"))
    assert not (tmp_path / "state").exists()


@pytest.fixture(params=[np.nan, np.inf])
def overflowed(request: pytest.FixtureRequest) -> keras.Model:
    """A network of which one number of one weight is not finite."""
    model = small_network()
    kernel, bias = model.get_layer("last").get_weights()
    kernel[0, 0, 0, 0] = request.param
    model.get_layer("last").set_weights([kernel, bias])
    return model


def test_a_model_whose_weights_are_not_finite_is_not_written(overflowed: keras.Model, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model\.keras: not written, for numbers of the weight last/kernel are not"):
        models.save(overflowed, tmp_path / "model.keras", BackboneRecord({}))
    assert not any(tmp_path.iterdir())


def test_a_model_whose_weights_are_not_finite_is_not_accepted(
    overflowed: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.keras"
    of = record(["ash", "elm", "fir"], {"pixels": [8, 8], "resize": "pad", "interpolation": "bicubic"})
    monkeypatch.setattr("thaw.reuse.folder.DEFAULT_GIGABYTES", 0)
    with monkeypatch.context() as before:
        before.setattr(models, "not_finite", lambda model: None)
        models.save(overflowed, path, of)
    image = tmp_path / "image.png"
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(image)
    for use in (
        lambda: models.load(path),  # where scoring, exporting, and training from a start begin
        lambda: trained(path),
        lambda: predict(path, [image], None, 1),
        lambda: export(path, "saved_model", tmp_path / "out", []),
    ):
        with pytest.raises(UserError, match=r"model\.keras: numbers of the weight last/kernel are not finite"):
            use()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["image.png", "model.keras"]


def test_what_a_model_computes_has_to_be_finite() -> None:
    batches = [np.zeros((2, 3), np.float32), np.full((2, 3), np.inf, np.float32)]
    found = finite(iter(batches), "models/variants/full.keras")
    assert next(found) is batches[0]
    with pytest.raises(UserError, match=r"models/variants/full\.keras: computes numbers that are not finite"):
        next(found)
