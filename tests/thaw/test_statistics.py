"""Intervals, calibration and paired tests, against references and in simulations with a known truth."""

import warnings
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import binom, binomtest, t
from sklearn.metrics import (
    balanced_accuracy_score,
    f1_score,
    log_loss,
    precision_recall_fscore_support,
    top_k_accuracy_score,
)

from stages.report import comparison
from stages.report.__main__ import main as report
from thaw.errors import UserError
from thaw.formats.manifest import Row, write_manifest
from thaw.formats.predictions import Predictions, write_predictions
from thaw.scoring import bootstrap, scoring, significance


def guesses(random: np.random.Generator, labels: np.ndarray, signal: float, shared: np.ndarray) -> np.ndarray:
    """Return calibrated probabilities for three classes; half of their noise is shared between classifiers."""
    noise = (shared + random.normal(size=shared.shape)) / np.sqrt(2)
    return np.asarray(softmax(signal * (signal * np.eye(3)[labels] + noise), axis=1))


def simulated(images: int, signal: float, seed: int, classifiers: int = 1) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return labels, and the probabilities of classifiers that are equally good."""
    random = np.random.default_rng([images, seed])
    labels, shared = random.integers(3, size=images), random.normal(size=(images, 3))
    return labels, [guesses(random, labels, signal, shared) for _ in range(classifiers)]


@pytest.fixture
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough for a simulation, which averages over many tests."""
    for module in (bootstrap, significance):
        monkeypatch.setattr(module, "RESAMPLES", 500)


@pytest.mark.parametrize("images", [24, 240, 3347])
def test_the_interval_of_accuracy_covers_the_truth(images: int) -> None:
    # Coverage oscillates from one true accuracy to the next; its mean over 0.50, 0.51, … 0.99 is what is promised.
    truths = np.linspace(0.5, 0.99, 50)[:, None]
    correct = np.arange(images + 1)
    low, high = np.transpose([scoring.wilson(one / images, images) for one in correct])
    covered = binom.pmf(correct, images, truths) * ((low <= truths) & (truths <= high))
    assert 0.93 <= covered.sum(axis=1).mean() <= 0.97


@pytest.mark.parametrize(("correct", "images"), [(0, 7), (3, 7), (7, 7), (3300, 3347)])
def test_a_share_has_wilsons_interval(correct: int, images: int) -> None:
    reference = binomtest(correct, images).proportion_ci(0.95, method="wilson")
    assert scoring.wilson(correct / images, images) == pytest.approx((reference.low, reference.high), abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(("images", "signal"), [(24, 1.2), (240, 2.5)])
@pytest.mark.usefixtures("few_resamples")
def test_the_intervals_of_macro_f1_and_log_loss_cover_the_truth(images: int, signal: float) -> None:
    labels, (probabilities,) = simulated(200_000, signal, 0)
    f1, loss = scoring.macro_f1(labels, probabilities), scoring.losses(labels, probabilities).mean()
    found = [
        scoring.score(labels, one) for seed in range(1, 201) for labels, (one,) in [simulated(images, signal, seed)]
    ]
    assert 0.93 <= np.mean([one.macro_f1_low <= f1 <= one.macro_f1_high for one in found]) <= 0.98
    assert 0.91 <= np.mean([one.log_loss_low <= loss <= one.log_loss_high for one in found]) <= 0.97


def test_scores_are_inside_their_intervals_also_where_nothing_is_wrong() -> None:
    found = scoring.score(np.array([0, 1] * 12), np.array([[0.9, 0.1], [0.2, 0.8]] * 12))
    assert (found.macro_f1, found.macro_f1_high) == (1.0, 1.0)
    assert found.macro_f1_low == found.accuracy_low == pytest.approx(0.862, abs=1e-3)
    assert found.log_loss_low < found.log_loss < found.log_loss_high
    alike = scoring.score(np.array([0, 1]), np.array([[0.9, 0.1], [0.1, 0.9]]))
    assert alike.log_loss_low == alike.log_loss == alike.log_loss_high


@pytest.mark.parametrize(("images", "mistakes"), [(20, 2), (269, 1), (1000, 3)])
def test_a_few_bad_mistakes_among_sure_answers_leave_the_log_loss_bounds(images: int, mistakes: int) -> None:
    """Many resamples have none of them, and then no spread by which one could say how far off they are."""
    labels, own = np.arange(images) % 2, np.where(np.arange(images) < mistakes, 0.01, 1.0)
    probabilities = np.where(np.eye(2)[labels] == 1, own[:, None], 1 - own[:, None]).astype(np.float32)
    found = scoring.score(labels, probabilities)
    assert 0 < found.log_loss_low < found.log_loss < found.log_loss_high
    most = -np.log(np.finfo(float).eps)
    assert found.log_loss_high < most * (mistakes + 5) / images


@pytest.mark.parametrize("images", [5, 10, 33])
def test_losses_that_differ_by_rounding_only_are_alike(images: int) -> None:
    labels, sevenths = np.arange(images) % 7, np.eye(7)[np.arange(images) % 7]
    one, other = (np.where(sevenths > 0, share, (1 - share) / 6) for share in (0.9, 0.8))
    found = scoring.score(labels, one)
    assert found.log_loss_low == pytest.approx(found.log_loss) == found.log_loss_high
    (pair,) = significance.paired_tests(labels, {"a": one, "b": other}, [("a", "b")])
    assert pair.log_loss.p == pytest.approx(2 * 0.5**images)


@pytest.mark.parametrize(
    "row", [[1 / 3, 1 / 3, 1 / 3], [0.5, 0, 0.5], [0, 0, 1], [0.2, 0.4, 0.4], [0.25, 0.5, 0.25]], ids=str
)
def test_of_equally_likely_classes_the_first_are_the_likeliest_as_for_accuracy(row: list[float]) -> None:
    probabilities, labels = np.tile(np.float32(row), (3, 1)), np.arange(3)
    order = sorted(range(3), key=lambda number: (-row[number], number))
    assert int(probabilities[0].argmax()) == order[0]
    for label in labels:
        right = [scoring.top_k_accuracy(labels[label : label + 1], probabilities[:1], k) for k in (1, 2, 3)]
        assert right == [float(label in order[:k]) for k in (1, 2, 3)]


@pytest.mark.parametrize("changes", [[0, 1, 0], [0, 1, 1, 0, 0, 0], [-1, 1, 0, 1, 1, 0], [0, -1, 1, 0] * 5], ids=str)
def test_where_many_images_change_by_the_same_rounding_hides_no_resample_that_is_as_far_off(changes: list[int]) -> None:
    """The p of log loss is that of whole numbers, with which nothing is rounded."""
    count, whole = len(changes), np.array(changes)
    less = 0.4 * 0.9**whole
    first, second = (np.stack([own, 1 - own], axis=1) for own in (np.full(count, 0.4), less))
    (pair,) = significance.paired_tests(np.zeros(count, int), {"a": first, "b": second}, [("a", "b")])
    drawn = np.concatenate([whole[block] for block in bootstrap.draws(count)])

    def spread(values: np.ndarray) -> np.ndarray:
        return np.asarray(count * (values**2).sum(axis=-1) - values.sum(axis=-1) ** 2)

    off, spreads = drawn.sum(axis=1) - whole.sum(), spread(drawn)
    as_far = off**2 * spread(whole) >= whole.sum() ** 2 * spreads
    as_far[spreads == 0] = (off[spreads == 0] != 0) | (whole.sum() == 0)
    assert pair.log_loss.p == (1 + as_far.sum()) / (1 + bootstrap.RESAMPLES)


def test_a_resamples_macro_f1_is_that_of_its_images() -> None:
    labels, (probabilities,) = simulated(40, 1.2, 0)
    predicted = probabilities.argmax(axis=1)
    resamples = next(bootstrap.draws(40))
    assert np.bincount(resamples.ravel(), minlength=40).min() > 0
    found = bootstrap.resampled_macro_f1(labels, predicted)
    assert len(found) == bootstrap.RESAMPLES
    for one, images in islice(zip(found, resamples, strict=False), 50):
        assert one == pytest.approx(f1_score(labels[images], predicted[images], average="macro"))


@pytest.mark.parametrize("tested", [[0], [0, 1], [1, 3], [0, 1, 2, 3]], ids=str)
@pytest.mark.parametrize("guessed", [[1], [0, 2], [0, 1, 2, 3]], ids=str)
@pytest.mark.filterwarnings("error")
def test_scores_are_scikit_learns_whatever_classes_are_tested_or_predicted(
    tested: list[int], guessed: list[int]
) -> None:
    random = np.random.default_rng([len(tested), len(guessed)])
    labels = np.array(tested)[np.arange(40) % len(tested)]
    probabilities = random.dirichlet(np.ones(4), size=40)
    probabilities[np.arange(40), np.array(guessed)[random.integers(len(guessed), size=40)]] += 2
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    predicted = probabilities.argmax(axis=1)
    found, by_class = scoring.score(labels, probabilities), scoring.per_class(labels, probabilities)
    resampled = bootstrap.resampled_macro_f1(labels, predicted)
    top = scoring.top_k_accuracy(labels, probabilities, 2)
    (pair,) = significance.paired_tests(labels, {"a": probabilities, "b": np.eye(4)[labels]}, [("a", "b")])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        f1 = f1_score(labels, predicted, average="macro")
        assert found.macro_f1 == pytest.approx(f1)
        assert found.balanced_accuracy == pytest.approx(balanced_accuracy_score(labels, predicted))
        assert found.log_loss == pytest.approx(log_loss(labels, probabilities, labels=range(4)))
        assert top == pytest.approx(top_k_accuracy_score(labels, probabilities, k=2, labels=range(4)))
        reference = precision_recall_fscore_support(labels, predicted, labels=range(4))
        for precision, recall, score, images, own in zip(*reference, by_class, strict=True):
            assert own == pytest.approx((images, precision, recall, score))
        for one, images in islice(zip(resampled, next(bootstrap.draws(40)), strict=False), 20):
            assert one == pytest.approx(f1_score(labels[images], predicted[images], average="macro"))
    assert pair.macro_f1.value == pytest.approx(1 - f1)
    assert found.macro_f1_low <= found.macro_f1 <= found.macro_f1_high


def test_log_loss_is_scikit_learns() -> None:
    labels, (probabilities,) = simulated(100, 3, 0)
    probabilities[0] = np.eye(3)[(labels[0] + 1) % 3]
    assert scoring.losses(labels, probabilities).mean() == pytest.approx(log_loss(labels, probabilities))


def test_of_normal_values_the_bootstrap_t_is_students() -> None:
    values = np.random.default_rng(0).normal(size=60)
    low, high = np.quantile(bootstrap.resampled_t(values), [0.025, 0.975])
    # The spread that t goes by has images in its denominator here, images - 1 in Student's.
    assert (low, high) == pytest.approx(np.array([-1, 1]) * t.ppf(0.975, 59) * np.sqrt(60 / 59), rel=0.06)


def test_calibration_of_an_example_by_hand() -> None:
    labels = np.array([0, 0, 1, 1])
    probabilities = np.array([[0.96, 0.04], [0.98, 0.02], [0.99, 0.01], [0.41, 0.59]])
    half, sure = scoring.reliability_bins(labels, probabilities)
    assert (half.images, half.confidence, half.accuracy) == (1, pytest.approx(0.59), 1.0)
    assert (sure.images, sure.confidence, sure.accuracy) == (3, pytest.approx(2.93 / 3), pytest.approx(2 / 3))
    expected = 1 / 4 * 0.41 + 3 / 4 * (2.93 - 2) / 3
    assert scoring.score(labels, probabilities).calibration_error == pytest.approx(expected)


def test_a_calibrated_classifier_has_a_small_calibration_error_and_an_overconfident_one_a_large_one() -> None:
    labels, (probabilities,) = simulated(20_000, 1.2, 0)
    assert scoring.calibration_error(labels, probabilities) < 0.01
    sharper = probabilities**3 / (probabilities**3).sum(axis=1, keepdims=True)
    assert scoring.calibration_error(labels, sharper) > 0.1


def test_p_values_are_corrected_as_holm_did() -> None:
    assert significance.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert significance.holm([0.7, 0.6]) == [1.0, 1.0]


def test_accuracy_is_tested_by_the_images_that_only_one_gets_right() -> None:
    labels = np.zeros(20, dtype=int)
    first, second = (np.tile([0.9, 0.1], (20, 1)) for _ in range(2))
    second[:6] = [0.1, 0.9]
    first[5:7] = [0.1, 0.9]
    (pair,) = significance.paired_tests(labels, {"a": first, "b": second}, [("a", "b")])
    assert (pair.only_first_right, pair.only_second_right) == (5, 1)
    assert pair.accuracy.value == pytest.approx(-0.2)
    assert pair.accuracy.p == pytest.approx(2 * (1 + 6) / 2**6)


def test_a_classifier_does_not_differ_from_itself() -> None:
    labels, (one,) = simulated(30, 1.2, 0)
    (pair,) = significance.paired_tests(labels, {"a": one, "b": one}, [("a", "b")])
    assert [test.p for test in (pair.accuracy, pair.macro_f1, pair.log_loss)] == [1, 1, 1]


@pytest.mark.slow
@pytest.mark.parametrize(("images", "signal"), [(24, 1.2), (240, 2.0)])
@pytest.mark.usefixtures("few_resamples")
def test_false_alarms_are_rare_where_nothing_differs(images: int, signal: float) -> None:
    alarms = []
    for seed in range(300):
        labels, (first, second) = simulated(images, signal, seed, 2)
        (pair,) = significance.paired_tests(labels, {"a": first, "b": second}, [("a", "b")])
        alarms.append([not one.is_noise for one in (pair.accuracy, pair.macro_f1, pair.log_loss)])
    assert (np.mean(alarms, axis=0) <= 0.06).all()
    assert (np.mean(alarms, axis=0)[1:] >= 0.02).all()


@pytest.mark.slow
@pytest.mark.usefixtures("few_resamples")
def test_false_alarms_are_rare_when_the_best_is_chosen_on_the_same_images() -> None:
    names, alarms = ["a", "b", "c", "d"], []
    for seed in range(100):
        labels, found = simulated(100, 1.5, seed, len(names))
        probabilities = dict(zip(names, found, strict=True))
        best = max(names, key=lambda name: scoring.macro_f1(labels, probabilities[name]))
        pairs = [(one, other) for one in names for other in names if one < other]
        tests = zip(pairs, significance.paired_tests(labels, probabilities, pairs), strict=True)
        alarms.append([any(best in pair and not score(test).is_noise for pair, test in tests) for score in SCORES])
    assert (np.mean(alarms, axis=0) <= 0.06).all()


@pytest.mark.usefixtures("few_resamples")
def test_a_real_difference_is_found() -> None:
    found = []
    for seed in range(40):
        random = np.random.default_rng(seed)
        labels, shared = random.integers(3, size=240), random.normal(size=(240, 3))
        worse, better = (guesses(random, labels, signal, shared) for signal in (1.2, 2.0))
        (pair,) = significance.paired_tests(labels, {"a": worse, "b": better}, [("a", "b")])
        assert significance.verdict(pair).startswith("accuracy")
        found.append([not score(pair).is_noise for score in SCORES])
    assert (np.mean(found, axis=0) > 0.9).all()


SCORES = (lambda pair: pair.accuracy, lambda pair: pair.macro_f1, lambda pair: pair.log_loss)


def test_a_comparison_ranks_by_validation_and_tests_against_the_best() -> None:
    labels, (good, same) = simulated(240, 2.5, 3, 2)
    poor = np.roll(good, 1, axis=1)
    test = {"poor": poor, "same": same, "good": good, "seen": good}
    # On the validation split, the one that is poor on the test split is right more often than another, which has the
    # less log loss; the best of all is not ranked.
    validation = {"poor": good, "same": np.sqrt(good), "good": good**2, "seen": good**3}
    scores = {
        split: {name: scoring.score(labels, rows / rows.sum(axis=1, keepdims=True)) for name, rows in of.items()}
        for split, of in (("test", test), ("validation", validation))
    }
    standing = comparison.Standing(scores["validation"], scores["test"], {"seen": comparison.CHOSEN_ON_TEST})
    losses = {name: one.log_loss for name, one in scores["validation"].items()}
    assert standing.ranked == sorted(["poor", "same", "good"], key=losses.__getitem__)
    best = standing.ranked[0]
    assert standing.order == [*standing.ranked, "seen"]
    text = comparison.as_markdown(comparison.compare(labels, test, standing))
    head, _, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()[:6]]
    assert [row[0] for row in rows] == [*standing.ranked, "seen \\*"]
    for row, name in zip(rows, standing.order, strict=True):
        shown = dict(zip(head, row, strict=True))
        for split in ("validation", "test"):
            assert shown[f"{split} accuracy"].startswith(f"{scores[split][name].accuracy:.1%} (")
            assert shown[f"{split} log loss"].startswith(f"{scores[split][name].log_loss:.3f}")
    assert "\\* seen: not ranked, since the training was validated on the test split" in text
    assert f"Against {best}, the best by validation, on the same 240 test images" in text
    assert "corrected for 3 pairs" in text
    found = significance.paired_tests(labels, test, [(best, name) for name in standing.order[1:]])
    verdicts = [f"{significance.verdict(pair)}." for pair in found]
    assert [line.split(": ")[1] for line in text.splitlines() if line.startswith("- ")] == verdicts


def test_where_no_variant_can_be_chosen_none_is_ranked() -> None:
    labels, (one, other) = simulated(60, 2.5, 3, 2)
    test = {"b": one, "a": other}
    reasons = {"b": comparison.TRAINED_ON_VALIDATION, "a": comparison.NO_VALIDATION}
    scores = {name: scoring.score(labels, rows) for name, rows in test.items()}
    text = comparison.as_markdown(comparison.compare(labels, test, comparison.Standing({}, scores, reasons)))
    assert [line.split(" ")[1:4] for line in text.splitlines()[2:4]] == [["b", "\\*", "|"], ["a", "\\*", "|"]]
    assert "| b \\* | – | – | " in text
    assert "No variant can be ranked by the validation split: they stand in the order of params.yaml." in text
    assert "\\* b: not ranked, since validation images were trained on." in text
    assert "\\* a: not ranked, since there are no validation images." in text
    assert "Against b \\*, the first in params.yaml, on the same 60 test images" in text


def test_predictions_of_different_images_are_not_compared(tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text(
        "backbones: {}\nfeatures: {}\nvariants: {a: {fit: {}}, b: {fit: {}}}\nseeds: {}\nlabel_issues: {}"
    )
    write_manifest(tmp_path / "manifest", [Row("a.png", "x", "test", ""), Row("t.png", "y", "train", "", number=1)])
    for name in ("a", "b"):
        rows = Predictions([f"{name}.png"], np.array([0]), np.array([[0.9, 0.1]]), ["x", "y"])
        write_predictions(tmp_path / f"{name}.csv", rows)
    with pytest.raises(UserError, match=r"a\.csv: of other images than .*manifest; run `dvc repro`"):
        report(
            params,
            "backbones",
            "features",
            "variants",
            "seeds",
            "label_issues",
            tmp_path / "manifest",
            *[tmp_path] * 4,
            tmp_path / "seeds",
            tmp_path / "issues",
            *[tmp_path] * 4,
        )
    assert not (tmp_path / "a.md").exists()
