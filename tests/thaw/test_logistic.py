"""The linear head's solver and its choice of C, against scikit-learn in float64."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.model_selection import StratifiedGroupKFold
from threadpoolctl import threadpool_limits

from thaw.errors import UserError
from thaw.training import logistic
from thaw.training.logistic import GroupFolds, best, folds_of, out_of_fold, solve_path

Examples = tuple[np.ndarray, np.ndarray]


def clusters(classes: int, per_class: int, seed: int, features: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Return rows around one centre per class, on scales that differ from column to column."""
    centres = np.random.default_rng(7).normal(size=(classes, features))
    labels = np.repeat(np.arange(classes), per_class)
    noise = np.random.default_rng(seed).normal(size=(len(labels), features))
    rows = (centres[labels] + noise) * 10.0 ** np.arange(-2, features - 2) + 5
    return rows.astype(np.float32), labels


def constant(features: np.ndarray) -> None:
    features[:, 2] = 4.1


def constant_in_a_part(features: np.ndarray) -> None:
    features[1:, 2] = 4.1


def huge(features: np.ndarray) -> None:
    features[:, 1] *= 1e30


def twice(features: np.ndarray) -> None:
    features[:, 1] = features[:, 0]


def standardized(features: np.ndarray) -> np.ndarray:
    x = features.astype(np.float64)
    deviation = np.where(np.ptp(x, axis=0) == 0, 1.0, x.std(axis=0))
    return (x - x.mean(axis=0)) / deviation


def reference(x: np.ndarray, labels: np.ndarray, C: float) -> LogisticRegression:
    return LogisticRegression(C=C, tol=1e-9, max_iter=10_000).fit(x, labels)


def objective(features: np.ndarray, labels: np.ndarray, C: float, weights: np.ndarray, bias: np.ndarray) -> float:
    """Return what the solver makes small, for weights of features that are not standardized, in float64."""
    x, deviation = features.astype(np.float64), features.astype(np.float64).std(axis=0)
    losses = -log_softmax(x @ weights.astype(np.float64) + bias, axis=1)[np.arange(len(labels)), labels]
    penalty = ((weights * deviation[:, None]) ** 2).sum() * (2 if weights.shape[1] == 2 else 1)
    return float(losses.mean() + penalty / (2 * C * len(labels)))


def best_possible(features: np.ndarray, labels: np.ndarray, C: float) -> float:
    """Return the least value of that, by scikit-learn."""
    x = standardized(features)
    model = reference(x, labels, C)
    losses = -np.log(model.predict_proba(x)[np.arange(len(labels)), labels])
    return float(losses.mean() + (model.coef_**2).sum() / (2 * C * len(labels)))


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("change", [None, constant, constant_in_a_part, huge, twice])
@pytest.mark.parametrize("width", [6, 300])
def test_the_solution_is_the_optimum(
    classes: int, change: Callable[[np.ndarray], None] | None, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logistic, "BLOCK", 50)
    features, labels = clusters(classes, 40, seed=1)
    if width > 6:
        features = np.random.default_rng(2).normal(size=(len(labels), width)).astype(np.float32) + labels[:, None] / 9
    if change:
        change(features)
    for solved in solve_path("fit.C", features, labels, np.arange(len(labels)), [1e-3, 0.1, 10.0]):
        found = objective(features, labels, solved.C, solved.weights, solved.bias)
        assert found == pytest.approx(best_possible(features, labels, solved.C), abs=2e-6)
        assert solved.converged
        assert solved.scores(features, labels) == (solved.loss, solved.accuracy)


@pytest.mark.parametrize(("iterations", "ends"), [(2000, True), (3, False)])
def test_where_rounding_hides_what_is_left_to_gain_the_solver_has_ended(
    iterations: int, ends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logistic, "MAX_ITERATIONS", iterations)
    for seed in range(3):  # of which the solver finds no better step on some, as their classes lie far apart
        labels = np.arange(40) % 3
        features = (np.random.default_rng(seed).normal(size=(40, 8)) + 5 * np.eye(3, 8)[labels]).astype(np.float32)
        found = solve_path("fit.C", features, labels, np.arange(40), [10.0**exponent for exponent in range(-6, 2)])
        assert all(one.converged for one in found) == ends
        if ends:
            solved = objective(features, labels, 10.0, found[-1].weights, found[-1].bias)
            assert solved == pytest.approx(best_possible(features, labels, 10.0), abs=2e-6)


@pytest.mark.parametrize("scale", [1e-42, 1e-34, 1.0, 1e30], ids=str)
def test_a_feature_that_varies_by_no_more_than_its_rounding_has_no_weight(scale: float) -> None:
    features, labels = clusters(3, 40, seed=1)
    features[:, 2] = scale
    # As an engine computes it that sums in another order in other batches; it tells the classes apart.
    features[labels > 0, 2] = np.nextafter(np.float32(scale), np.float32(np.inf))
    (found,) = solve_path("fit.C", features, labels, np.arange(len(labels)), [10.0])
    constant(features)
    assert (found.weights[2] == 0).all()
    assert objective(features, labels, 10.0, found.weights, found.bias) == pytest.approx(
        best_possible(features, labels, 10.0), abs=2e-6
    )
    assert found.converged


@pytest.mark.parametrize("classes", [2, 3])
def test_c_is_chosen_as_scikit_learn_does_on_the_same_folds(classes: int) -> None:
    features, labels = clusters(classes, 60, seed=1, features=20)
    features[:, 5:] = np.random.default_rng(0).normal(size=(len(labels), 15))
    strengths = [1e-4, 1e-2, 0.1, 1.0, 100.0]
    folds = folds_of(labels, np.arange(len(labels)))
    parts = [(np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)) for fold in range(5)]
    scikit = LogisticRegressionCV(
        Cs=strengths,
        l1_ratios=(0,),
        cv=parts,
        scoring="neg_log_loss",
        tol=1e-7,
        max_iter=10_000,
        use_legacy_attributes=False,
    ).fit(standardized(features), labels)
    found = solve_path("fit.C", features, labels, np.arange(len(labels)), strengths)
    sizes = [len(held_out) for _, held_out in parts]
    expected = np.average(-scikit.scores_[:, 0], axis=0, weights=sizes)
    np.testing.assert_allclose([candidate.cv_loss for candidate in found], expected, rtol=1e-3)
    assert best(found).C == scikit.C_ not in (1e-4, 100.0)
    assert best(found).cv_loss == pytest.approx(min(expected), abs=2e-5)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_least_c_there_is_leaves_the_shares_of_the_classes(classes: int) -> None:
    labels = np.array([0, 0, 0, 1, 1, *([2] * (classes - 2))])
    features = np.random.default_rng(0).normal(size=(len(labels), 4)).astype(np.float32)
    (found,) = solve_path("C", features, labels, np.arange(len(labels)), [5e-324])
    assert not found.weights.any()
    np.testing.assert_allclose(softmax(found.bias), np.bincount(labels) / len(labels), rtol=1e-6)


def test_of_one_value_nothing_is_chosen() -> None:
    (solved,) = solve_path("fit.C", *clusters(3, 1, seed=1), np.arange(3), [0.1])
    assert (solved.cv_loss, solved.cv_accuracy) == (None, None)
    assert best([solved]) is solved


def test_several_values_need_something_to_hold_out() -> None:
    features, labels = clusters(3, 2, seed=1)
    assert len(solve_path("fit.C", features, labels, np.arange(6), [0.1, 1.0])) == 2
    with pytest.raises(UserError, match=r"^variants\.v\.fit\.C: one of 2 values .* name one value, or add images$"):
        solve_path("variants.v.fit.C", features, labels, labels, [0.1, 1.0])


def test_probabilities_out_of_fold_are_those_of_models_without_the_fold() -> None:
    features, labels = clusters(3, 30, seed=1)
    folds = folds_of(labels, np.arange(90), count=3)
    folds[:4] = -1
    (found,) = out_of_fold(features.copy(), labels, folds, [0.5])
    assert found.dtype == np.float32
    assert np.isnan(found[:4]).all()
    x = standardized(features)
    for fold in range(3):
        held_out = folds == fold
        expected = reference(x[~held_out], labels[~held_out], 0.5).predict_proba(x[held_out])
        np.testing.assert_allclose(found[held_out], expected, atol=2e-3)


@pytest.mark.parametrize("seed", range(8))
def test_folds_of_groups_are_those_of_scikit_learn(seed: int) -> None:
    random = np.random.default_rng(seed)
    count, classes = int(random.integers(60, 300)), int(random.integers(2, 12))
    labels = np.concatenate([np.arange(classes), random.integers(0, classes, count)])
    groups = random.integers(0, int(random.integers(20, count)), len(labels))
    expected = StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(labels, labels, groups)
    found = GroupFolds(5, shuffle=True, random_state=seed).split(labels, labels, groups)
    for (_, one), (_, other) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_bytes_do_not_depend_on_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logistic, "BLOCK", 32)
    features, labels = clusters(3, 100, seed=1, features=8)
    units, found = np.arange(300), set()
    for cores in (1, 2, 5):
        monkeypatch.setattr("thaw.threads.cores", lambda cores=cores: cores)
        with threadpool_limits(cores):
            path = solve_path("fit.C", features, labels, units, [0.01, 1.0])
            (out,) = out_of_fold(features.copy(), labels, folds_of(labels, units), [1.0])
        found.add(
            (out.tobytes(), *((one.weights.tobytes(), one.bias.tobytes(), one.loss, one.cv_loss) for one in path))
        )
    assert len(found) == 1


def test_many_classes_are_solved_as_few_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """One part after another, where side by side they would take too much memory."""
    features, labels = clusters(3, 20, seed=1)
    together = solve_path("fit.C", features, labels, np.arange(60), [0.1, 1.0])
    monkeypatch.setattr(logistic, "LOGITS", 3)
    for one, other in zip(solve_path("fit.C", features, labels, np.arange(60), [0.1, 1.0]), together, strict=True):
        assert one.cv_loss == pytest.approx(other.cv_loss, abs=1e-4)
        assert one.loss == pytest.approx(other.loss, abs=1e-4)


@pytest.mark.parametrize("kind", ["alone", "views", "grouped", "of several classes"])
@pytest.mark.filterwarnings("error")
def test_folds_keep_together_what_belongs_together_and_leave_every_class(kind: str) -> None:
    for seed in range(20):
        random = np.random.default_rng(seed)
        count = int(random.integers(3, 40))
        sizes = (
            random.integers(1, 6, count)
            if kind in ("grouped", "of several classes")
            else [3 if kind == "views" else 1] * count
        )
        units = random.permutation(np.repeat(random.permutation(count), sizes))
        labels = units % 3 if kind != "of several classes" else random.integers(3, size=len(units))
        labels[units == 0] = 3  # of this class there is no other unit
        _, labels = np.unique(labels, return_inverse=True)
        folds = folds_of(labels, units, seed=seed)
        assert (folds == folds_of(labels, units, seed=seed)).all()
        assert (folds[units == 0] == -1).all()
        assert all(len(set(folds[units == unit])) == 1 for unit in units)
        assert set(folds[folds >= 0]) == set(range(folds.max() + 1))
        for fold in range(folds.max() + 1):
            assert set(labels[folds != fold]) == set(labels)
        if kind != "of several classes":
            several = [len(set(units[labels == label])) > 1 for label in labels]
            assert ((folds >= 0) == several).all()


def test_folds_are_stratified_and_as_many_as_can_be() -> None:
    labels = np.repeat([0, 1, 2], [50, 20, 4])
    folds = folds_of(labels, np.arange(74))
    counts = np.array([np.bincount(labels[folds == fold], minlength=3) for fold in range(5)])
    assert (np.ptp(counts, axis=0) <= 1).all()
    assert set(folds_of(np.array([0, 0, 1, 1]), np.arange(4))) == {0, 1}
    assert set(folds_of(np.array([0, 1, 1, 0]), np.array([5, 6, 6, 5]))) == {-1}
    assert (folds != folds_of(labels, np.arange(74), seed=1)).any()
