"""Cross-validation: against scikit-learn's, and that no fold sees what it leaves out."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.conftest import ROOT
from tests.test_training import clusters
from thaw import logistic, models, trained_folds
from thaw.backend import keras
from thaw.cross_validation import cross_validate
from thaw.files import sha256
from thaw.folds import Images
from thaw.normalization import Normalization
from thaw.params.evaluation import CrossValidation
from thaw.params.variants import Variant
from thaw.row_file import Index, RowFile
from thaw.row_writer import writing

CLASSES = ("ash", "elm", "fir")
TENSORS = {"pixels": [4, 4], "normalization": Normalization.of("none").to_json()}


def rows(
    path: Path,
    values: np.ndarray,
    labels: np.ndarray,
    made_of: dict[str, object],
    views: int = 1,
    groups: np.ndarray | None = None,
) -> RowFile:
    """Write rows whose first half is for training; `values` has the views of that half."""
    count, half = len(labels), len(labels) // 2
    index = Index(
        keys=np.array([str(number).encode() for number in range(count)], "S64"),
        paths=np.array([b"p"] * count),
        labels=labels.astype(np.int32),
        groups=np.full(count, b"") if groups is None else groups,
        classes=CLASSES,
        splits={"train": slice(0, half), "validation": slice(half, half + 6), "test": slice(half + 6, count)},
    ).with_views("train", views)
    with writing(path, index, values.shape[1:], np.float32, {"features": {"views": views}, **made_of}) as file:
        file.write([values])
    return RowFile(path)


def test_a_solved_head_is_validated_as_scikit_learn_does(tmp_path: Path) -> None:
    features, labels = clusters(3, 12, seed=4)
    variant = Variant(start="backbones/b", inputs="features/f", fit={"solver": "logistic_regression", "C": [0.1]})
    wanted = CrossValidation(folds=4, repeats=2, variants=["v"])
    found = cross_validate("v", variant, tmp_path, rows(tmp_path / "rows.h5", features, labels, {}), wanted)
    reference = cross_val_score(
        make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000)),
        features.astype(np.float64),
        labels,
        cv=RepeatedStratifiedKFold(n_splits=4, n_repeats=2, random_state=0),
    )
    assert found.accuracy == pytest.approx(reference.mean())
    assert found.fits == 8
    assert found.accuracy_low < found.accuracy < found.accuracy_high


def test_a_solved_head_is_validated_without_keras() -> None:
    program = "import sys, thaw.cross_validation; print({'keras', 'tensorflow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_all_views_of_an_image_are_on_one_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.arange(24) % 3
    image = np.concatenate([np.arange(12), np.arange(12), np.arange(12), np.arange(12, 24)])
    values = np.stack([image, np.random.default_rng(0).normal(size=len(image))], axis=1).astype(np.float32)
    file = rows(tmp_path / "rows.h5", values, labels, {}, views=3)
    images = Images.of(file)
    assert images.views.shape == (24, 3)
    assert all((images.values[view][:, 0] == np.arange(24)).all() for view in images.views.T)
    assert (images.labels == labels).all()
    assert (images.row_labels() == labels[image]).all()
    solved, seen = logistic.solve_path, []

    def watched(features, fitted_labels, val_features, val_labels, strengths):  # type: ignore[no-untyped-def]
        seen.append((features[:, 0], val_features[:, 0]))
        return solved(features, fitted_labels, val_features, val_labels, strengths)

    monkeypatch.setattr(logistic, "solve_path", watched)
    variant = Variant(start="backbones/b", inputs="features/f", fit={"solver": "logistic_regression", "C": [0.1, 1.0]})
    cross_validate("v", variant, tmp_path, file, CrossValidation(folds=3, repeats=1, variants=["v"]))
    assert len(seen) == 6  # for C, and with it, three times
    for fitted, tested in seen:
        assert not set(fitted) & set(tested)
        assert len(tested) == len(set(tested))
        assert all((fitted == one).sum() == (3 if one < 12 else 1) for one in set(fitted))
    assert sorted(np.concatenate([tested for _, tested in seen[1::2]])) == list(range(24))


def backbone(path: Path) -> Path:
    """Write a network with one layer, the identity."""
    inputs = keras.Input((4, 4, 3))
    network = keras.Model(inputs, keras.layers.Conv2D(3, 1, name="conv")(inputs))
    network.layers[-1].set_weights([np.eye(3)[None, None], np.zeros(3)])
    models.save(network, path, {"backbone": {}})
    return path


def coloured(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images whose channel tells the class, but for one in ten."""
    labels = np.arange(count) % 3
    shown = np.where(np.arange(count) % 10 == 9, (labels + 1) % 3, labels)
    pixels = np.random.default_rng(0).uniform(0, 60, (count, 4, 4, 3))
    pixels[np.arange(count), :, :, shown] += 60
    return pixels.astype(np.float32), labels


@pytest.mark.parametrize("begun_by_a_solver", [False, True])
def test_a_trained_variant_starts_every_fold_alike_and_scores_what_it_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun_by_a_solver: bool
) -> None:
    pixels, labels = coloured(60)
    start = backbone(tmp_path / "b.keras")
    tensors = rows(tmp_path / "tensors.h5", pixels, labels, {"tensors": TENSORS})
    head = ["GlobalAveragePooling2D", {"Dense": {"units": "classes", "activation": "softmax"}}]
    fit: dict[str, object] = {"epochs": 2, "batch_size": 8, "optimizer": {"SGD": {"learning_rate": 1e-5}}}
    if begun_by_a_solver:
        model, _ = models.load(start)
        body = models.assemble(model, 4, 4, Normalization.of("none"), "avg")
        solved = keras.Model(body.input, keras.layers.Dense(3, "softmax", name="head_1_dense")(body.output))
        solved.layers[-1].set_weights([np.zeros((3, 3)), np.array([9.0, 0, 0])])  # knows one class only
        about = {
            "backbone_digest": sha256(start),
            "tensors": TENSORS,
            "classes": list(CLASSES),
            "boundary": "pooling",
            "frozen": "pooling",
            "variant": {"fit": {"solver": "logistic_regression", "C": [0.01]}},
        }
        start = tmp_path / "solved.keras"
        models.save(solved, start, about)
        variant = Variant(start="variants/s", inputs="tensors/t", fit=fit)
    else:
        variant = Variant(
            start="backbones/b",
            inputs="tensors/t",
            fit=fit | {"epochs": 40, "optimizer": {"Adam": {"learning_rate": 0.05}}},
            head=head,
        )
    begun, really_train = [], trained_folds.train

    def watched(model, boundary, rows, fit, augmentation):  # type: ignore[no-untyped-def]
        begun.append([weight.copy() for weight in model.get_weights()])
        assert not set(rows.train[0]) & set(rows.validation)
        assert len(rows.train[0]) + len(rows.validation) == 40
        return really_train(model, boundary, rows, fit, augmentation)

    monkeypatch.setattr(trained_folds, "train", watched)
    found = cross_validate("v", variant, start, tensors, CrossValidation(folds=3, repeats=1, variants=["v"]))
    assert found.fits == 3
    assert 0.6 < found.accuracy <= 0.9
    backbones = [weights[:2] for weights in begun]
    heads = [weights[-2:] for weights in begun]
    for weights in backbones[1:]:
        assert all((one == other).all() for one, other in zip(weights, backbones[0], strict=True))
    same = [all((one == other).all() for one, other in zip(head, heads[0], strict=True)) for head in heads[1:]]
    assert same == [not begun_by_a_solver] * 2  # a solved head is solved for each fold
