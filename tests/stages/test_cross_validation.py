"""Cross-validation: against scikit-learn's, and that no fold sees what it leaves out."""

import copy
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from stages.cross_validate import trained
from stages.cross_validate.folding import cross_validate, parts_of
from stages.cross_validate.solved import Images, SolvedFolds
from stages.cross_validate.trained import TrainedFolds
from tests.conftest import CLASSES as TREES
from tests.conftest import IMAGES_PER_CLASS, PARAMS, ROOT, draw_trees, make_project, record
from tests.thaw.test_logistic import clusters
from thaw.errors import UserError
from thaw.files.reading import sha256
from thaw.formats.model_file import BackboneRecord
from thaw.formats.row_file import Index, Origin, RowFile
from thaw.formats.row_writer import writing
from thaw.images.normalization import Normalization
from thaw.networks import models
from thaw.networks.backend import keras
from thaw.params.cross_validation import CrossValidation
from thaw.params.variants import Training, Variant
from thaw.training import logistic

CLASSES = ("ash", "elm", "fir")
OF = {"start": "backbones/b", "inputs": "features/f"}
TENSORS = {"pixels": [4, 4], "normalization": Normalization.of("none").to_json()}


def rows(
    path: Path,
    values: np.ndarray,
    labels: np.ndarray,
    origin: Origin | None = None,
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
    with writing(path, index, values.shape[1:], np.float32, origin or Origin({}, features={"views": views})) as file:
        file.write([values])
    return RowFile(path)


def test_a_solved_head_is_validated_as_scikit_learn_does(tmp_path: Path) -> None:
    features, labels = clusters(3, 12, seed=4)
    variant = Variant(start="backbones/b", inputs="features/f", fit={"solver": "logistic_regression", "C": [0.1]})
    wanted = CrossValidation(folds=4, repeats=2, **OF)
    found = cross_validate(
        "cross_validation.v", wanted, "variants.v", variant, tmp_path, rows(tmp_path / "rows.h5", features, labels)
    )
    reference = cross_val_score(
        make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000)),
        features.astype(np.float64),
        labels,
        cv=RepeatedStratifiedKFold(n_splits=4, n_repeats=2, random_state=0),
    )
    assert found.accuracy == pytest.approx(reference.mean())
    assert found.fits == 8
    assert found.accuracy_low < found.accuracy < found.accuracy_high


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_where_all_fits_are_as_accurate_the_interval_is_that_of_the_images(
    share: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features, labels = clusters(3, 12, seed=4)
    monkeypatch.setattr(SolvedFolds, "__call__", lambda *_: share)
    variant = Variant(start="backbones/b", inputs="features/f", fit={"solver": "logistic_regression", "C": [0.1]})
    file = rows(tmp_path / "rows.h5", features, labels)
    found = cross_validate("cross_validation.v", several(3), "variants.v", variant, tmp_path, file)
    reference = binomtest(round(share * len(labels)), len(labels)).proportion_ci(0.95, method="wilson")
    assert found.accuracy == share
    assert (found.accuracy_low, found.accuracy_high) == pytest.approx((reference.low, reference.high))


def test_a_fold_that_cannot_be_trained_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: SolvedFolds, fitted: np.ndarray, *others: np.ndarray) -> float:
        raise UserError("the training has only 3 steps")

    monkeypatch.setattr(SolvedFolds, "__call__", fails)
    variant = Variant(start="backbones/b", inputs="features/f", fit={"solver": "logistic_regression"})
    features, labels = clusters(3, 12, seed=4)
    file = rows(tmp_path / "rows.h5", features, labels)
    with pytest.raises(
        UserError, match=r"^cross_validation\.v: fit 1 of 6, on 16 images: the training has only 3 steps"
    ):
        cross_validate("cross_validation.v", several(3), "variants.v", variant, tmp_path, file)


def test_a_solved_head_is_validated_without_keras() -> None:
    program = "import sys, stages.cross_validate.folding; print({'keras', 'tensorflow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_all_views_of_an_image_are_on_one_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.arange(24) % 3
    image = np.concatenate([np.arange(12), np.arange(12), np.arange(12), np.arange(12, 24)])
    values = np.stack([image, np.random.default_rng(0).normal(size=len(image))], axis=1).astype(np.float32)
    file = rows(tmp_path / "rows.h5", values, labels, views=3)
    images = Images.of(file)
    assert images.views.shape == (24, 3)
    assert all((images.values[view][:, 0] == np.arange(24)).all() for view in images.views.T)
    assert (images.labels == labels).all()
    assert (images.by_row(images.labels) == labels[image]).all()
    solved, seen = logistic.solve_path, []

    def watched(where, features, labels, units, strengths):  # type: ignore[no-untyped-def]
        seen.append((features[:, 0], units, logistic.folds_of(labels, units)))
        return solved(where, features, labels, units, strengths)

    monkeypatch.setattr(logistic, "solve_path", watched)
    variant = Variant(start="backbones/b", inputs="features/f", fit={"solver": "logistic_regression", "C": [0.1, 1.0]})
    cross_validate(
        "cross_validation.v", CrossValidation(folds=3, repeats=1, **OF), "variants.v", variant, tmp_path, file
    )
    assert len(seen) == 3
    for fitted, units, folds in seen:
        assert len(set(fitted)) == 16
        assert all((fitted == one).sum() == (3 if one < 12 else 1) for one in set(fitted))
        for one in set(fitted):  # inside of a fold, C is chosen on other images than are fitted
            assert len(set(units[fitted == one])) == len(set(folds[fitted == one])) == 1
    assert sorted(np.concatenate([sorted(set(range(24)) - set(fitted)) for fitted, *_ in seen])) == list(range(24))


def images_of(labels: np.ndarray, units: np.ndarray) -> Images:
    count = len(labels)
    classes = tuple(f"class {number}" for number in range(labels.max() + 1))
    return Images(np.zeros((count, 1), np.float32), np.arange(count)[:, None], labels, units, classes)


def several(folds: int, repeats: int = 2, seed: int = 3) -> CrossValidation:
    return CrossValidation(folds=folds, repeats=repeats, seed=seed, **OF)


def units_at_random(kind: str, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the classes of images and what belongs together: at least 12 units of each of three classes."""
    sizes = random.integers(1, 1 if kind == "alone" else 9, size=36, endpoint=True)
    if kind == "some alone":
        sizes[::2] = 1
    units = np.repeat(random.permutation(36), sizes)
    labels = units % 3
    if kind == "of several classes":
        labels = random.integers(3, size=len(units))
        labels[np.unique(units, return_index=True)[1]] = np.arange(36) % 3
    order = random.permutation(len(units))
    return labels[order], units[order]


@pytest.mark.parametrize("kind", ["alone", "grouped", "some alone", "of several classes"])
@pytest.mark.parametrize("folds", [2, 3, 5, 12])
def test_what_belongs_together_is_never_torn_apart_and_every_class_is_fitted(kind: str, folds: int) -> None:
    for seed in range(3):
        labels, units = units_at_random(kind, np.random.default_rng([seed, folds]))
        parts = list(parts_of("cross_validation.v", several(folds), images_of(labels, units)))
        assert len(parts) == 2 * folds
        for repeat in (parts[:folds], parts[folds:]):
            assert sorted(np.concatenate([outside for *_, outside in repeat])) == list(range(len(labels)))
        assert {tuple(sorted(outside)) for *_, outside in parts[:folds]} != {
            tuple(sorted(outside)) for *_, outside in parts[folds:]
        }
        for part in parts:
            assert sorted(np.concatenate(part)) == list(range(len(labels)))
            assert all(len(one) for one in part)
            fitted, held_out, outside = (set(units[one]) for one in part)
            assert not fitted & held_out
            assert not (fitted | held_out) & outside
            assert set(labels[part[0]]) == {0, 1, 2}


def test_images_that_stand_alone_are_divided_as_scikit_learn_does() -> None:
    labels = np.random.default_rng(0).integers(3, size=50)
    partition = RepeatedStratifiedKFold(n_splits=4, n_repeats=2, random_state=3)
    expected = [
        (*train_test_split(inside, test_size=1 / 4, stratify=labels[inside], random_state=3), outside)
        for inside, outside in partition.split(labels, labels)
    ]
    found = list(parts_of("cross_validation.v", several(4), images_of(labels, np.arange(50))))
    assert all(
        np.array_equal(one, other)
        for part, own in zip(expected, found, strict=True)
        for one, other in zip(part, own, strict=True)
    )


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("classes", [2, 12])
@pytest.mark.filterwarnings("error")
def test_the_most_folds_that_are_named_are_possible(size: int, classes: int) -> None:
    """Whatever the smallest class, as many folds as the message says divide it, and no more do."""
    for count in range(1, 8):
        numbers = [count, *[count + 2] * (classes - 1)]
        units = np.repeat(np.arange(sum(numbers)), size)
        images = images_of(np.repeat(np.repeat(np.arange(classes), numbers), size), units)
        refused = {}
        for folds in range(2, 9):
            try:
                assert all(
                    set(images.labels[fitted]) == set(range(classes))
                    for fitted, *_ in parts_of("cross_validation.v", several(folds), images)
                )
            except UserError as error:
                refused[folds] = str(error)
        least = [2] if count == 3 else []
        assert list(refused) == (list(range(2, 9)) if count < 3 else least + list(range(count + 1, 9)))
        for folds, text in refused.items():
            assert text.startswith(f"cross_validation.v.folds: {folds} folds need ")
            grouped = f"{count * size} images in {count} groups".replace("1 groups", "1 group")
            has = grouped if size > 1 else f"{count} image" + "s" * (count > 1)
            possible = "no number of folds is" if count < 3 else f"at most {count} folds are"
            assert f"class 'class 0' has {has}: {possible} possible; or " in text


def test_groups_of_several_classes_are_divided_where_they_can_be() -> None:
    labels = np.arange(50) % 10 // 9  # in each of five groups, one image of the second class
    for folds in (3, 4, 5):
        assert (
            len(list(parts_of("cross_validation.v", several(folds), images_of(labels, np.arange(50) // 10))))
            == 2 * folds
        )


def test_groups_that_cannot_be_divided_are_refused() -> None:
    units = np.repeat(np.arange(4), [10, 1, 1, 1])  # of which a half is one group
    labels = np.array([0, 1] * 5 + [1, 0, 1])
    with pytest.raises(UserError, match=r"^cross_validation\.v\.folds: 2 folds"):
        list(parts_of("cross_validation.v", several(2), images_of(labels, units)))
    twice_as_many = images_of(np.concatenate([labels, labels]), np.concatenate([units, units + 4]))
    assert len(list(parts_of("cross_validation.v", several(2), twice_as_many))) == 4


@pytest.mark.slow
def test_of_groups_with_random_labels_nothing_is_learnt(tmp_path: Path) -> None:
    """30 trees of six photos that hardly differ: who knows one of a tree knows all, but nothing of other trees."""
    covered = []
    for seed in range(20):
        random = np.random.default_rng(seed)
        trees = np.repeat(np.arange(30), 6)
        labels = random.permutation(np.concatenate([np.arange(3), random.integers(3, size=27)]))[trees]
        looks = random.normal(size=(30, 20))[trees] + random.normal(scale=0.05, size=(180, 20))
        names = np.array([str(tree).encode() for tree in trees])
        order = random.permutation(180)
        file = rows(tmp_path / f"{seed}.h5", looks[order], labels[order], groups=names[order])
        variant = Variant(start="backbones/b", inputs="features/f", fit={"solver": "logistic_regression", "C": [0.1]})
        found = cross_validate(
            "cross_validation.v", CrossValidation(folds=5, repeats=2, **OF), "variants.v", variant, tmp_path, file
        )
        covered.append(found.accuracy_low <= 1 / 3 <= found.accuracy_high)
    assert np.mean(covered) >= 0.85


def backbone(path: Path) -> Path:
    """Write a network with one layer, the identity."""
    inputs = keras.Input((4, 4, 3))
    network = keras.Model(inputs, keras.layers.Conv2D(3, 1, name="conv")(inputs))
    network.layers[-1].set_weights([np.eye(3)[None, None], np.zeros(3)])
    models.save(network, path, BackboneRecord({}))
    return path


def coloured(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images whose channel tells the class, but for one in ten."""
    labels = np.arange(count) % 3
    shown = np.where(np.arange(count) % 10 == 9, (labels + 1) % 3, labels)
    pixels = np.random.default_rng(0).uniform(0, 60, (count, 4, 4, 3))
    pixels[np.arange(count), :, :, shown] += 60
    return pixels.astype(np.float32), labels


@pytest.mark.slow
@pytest.mark.parametrize("begun_by_a_solver", [False, True])
def test_a_trained_variant_starts_every_fold_alike_and_scores_what_it_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun_by_a_solver: bool
) -> None:
    pixels, labels = coloured(60)
    start = backbone(tmp_path / "b.keras")
    tensors = rows(tmp_path / "tensors.h5", pixels, labels, Origin(TENSORS))
    head = ["GlobalAveragePooling2D", {"Dense": {"units": "classes", "activation": "softmax"}}]
    fit: dict[str, object] = {"epochs": 2, "batch_size": 8, "optimizer": {"SGD": {"learning_rate": 1e-5}}}
    if begun_by_a_solver:
        model, _ = models.load(start)
        body = models.assemble(model, 4, 4, Normalization.of("none"), "avg")
        solved = keras.Model(body.input, keras.layers.Dense(3, "softmax", name="head_1_dense")(body.output))
        solved.layers[-1].set_weights([np.zeros((3, 3)), np.array([9.0, 0, 0])])  # knows one class only
        of = record(
            list(CLASSES),
            TENSORS,
            variant={"fit": {"solver": "logistic_regression", "C": [0.01]}},
            boundary="pooling",
            frozen="pooling",
            backbone_digest=sha256(start),
        )
        start = tmp_path / "solved.keras"
        models.save(solved, start, of)
        variant = Variant(start="variants/s", inputs="tensors/t", fit=fit)
    else:
        variant = Variant(
            start="backbones/b",
            inputs="tensors/t",
            fit=fit | {"epochs": 10, "optimizer": {"Adam": {"learning_rate": 0.2}}},
            head=head,
        )
    begun, seeds, really_train = [], [], trained.train

    def watched(model, boundary, rows, fit, augmentation):  # type: ignore[no-untyped-def]
        begun.append([weight.copy() for weight in model.get_weights()])
        seeds.append(fit.seed)
        assert not set(rows.train[0]) & set(rows.validation)
        assert len(rows.train[0]) + len(rows.validation) == 40
        return really_train(model, boundary, rows, fit, augmentation)

    monkeypatch.setattr(trained, "train", watched)
    found = cross_validate(
        "cross_validation.v", CrossValidation(folds=3, repeats=1, **OF), "variants.v", variant, start, tensors
    )
    assert found.fits == 3
    assert 0.6 < found.accuracy <= 0.9
    backbones = [weights[:2] for weights in begun]
    heads = [weights[-2:] for weights in begun]
    for weights in backbones[1:]:
        assert all((one == other).all() for one, other in zip(weights, backbones[0], strict=True))
    # A solved head is solved for each fold; another is drawn by a seed of the fold's own, the same one again.
    assert len({head[0].tobytes() for head in heads}) == 3
    assert len(set(seeds)) == 3
    if not begun_by_a_solver:
        brief = variant.model_copy(update={"fit": variant.fit.model_copy(update={"epochs": 1})})
        cross_validate(
            "cross_validation.v", CrossValidation(folds=3, repeats=1, **OF), "variants.v", brief, start, tensors
        )
        assert [weights[-2].tobytes() for weights in begun[3:]] == [head[0].tobytes() for head in heads]


def test_a_solved_head_is_trained_further_on_the_features_that_it_was_solved_on(tmp_path: Path) -> None:
    pixels, labels = coloured(60)
    model, _ = models.load(backbone(tmp_path / "b.keras"))
    body = models.assemble(model, 4, 4, Normalization.of("none"), "avg")
    solved = keras.Model(body.input, keras.layers.Dense(3, "softmax", name="head_1_dense")(body.output))
    fit = Training(epochs=1, batch_size=8, optimizer={"SGD": {"learning_rate": 1e-5}})
    variant = Variant(start="variants/s", inputs="features/f", fit=fit)
    of = record(list(CLASSES), TENSORS, boundary="pooling", frozen="pooling")
    of = replace(of, start_fit={"solver": "logistic_regression", "C": [0.01]})
    images = Images.of(rows(tmp_path / "f.h5", pixels.mean(axis=(1, 2)), labels))
    accuracy = TrainedFolds(images, "variants.v", variant, fit, solved, of)
    everything = np.arange(len(labels))
    assert accuracy(everything[:30], everything[30:40], everything[40:]) > 0.6


@pytest.mark.slow
def test_groups_of_a_table_reach_the_folds_and_impossible_folds_stop_before_tensors(tmp_path: Path, warm: Path) -> None:
    params = copy.deepcopy(PARAMS)
    params["dataset"] |= {"path": "data/raw/leaves", "layout": "csv"}
    params["features"] = {"bottleneck": params["features"]["bottleneck"]}
    params["variants"] = {"frozen_head": params["variants"]["frozen_head"]}
    params["variants"]["frozen_head"]["fit"]["C"] = [
        0.1
    ]  # one group of each class is left to train on, none to choose by
    of = {key: params["variants"]["frozen_head"][key] for key in ("start", "inputs")}
    params["cross_validation"] = {"frozen_head": {**of, "folds": 6, "repeats": 1}}
    project = make_project(tmp_path / "p", warm, params)
    folder = project.folder / "data/raw/leaves"
    draw_trees(folder)
    groups = [min(number // 2, 2) for number in range(IMAGES_PER_CLASS)]
    table = [f"{label}/tree {n}.png,{label},{label} {group}" for label in TREES for n, group in enumerate(groups)]
    (folder / "labels.csv").write_text("path,label,group\n" + "\n".join(table) + "\n", encoding="utf-8")
    refused = project.dvc("repro", "evaluate@frozen_head")
    assert refused.code != 0
    assert [stage for stage in refused.ran if not stage.startswith("backbone")] == ["manifest", "tensors@small"]
    assert "class 'oak' has 7 images in 3 groups: at most 3 folds are possible" in refused.text
    assert "Traceback" not in refused.text
    params["cross_validation"]["frozen_head"]["folds"] = 3
    project.write_params(params)
    ran = project.repro("evaluate@frozen_head", "cross_validate@frozen_head")
    scores = json.loads((project.folder / "metrics/frozen_head.json").read_text())
    for split in ("validation", "test"):
        assert f"{split} images are of {scores[split]['groups']} groups" in ran.text
    assert scores["test"]["groups"] == 3
    assert json.loads((project.folder / "metrics/cross_validation/frozen_head.json").read_text())["fits"] == 3
    index = RowFile(project.folder / "data/features/bottleneck.h5").index
    assert len(set(index.groups.tolist())) == 9
