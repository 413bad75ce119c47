"""Solving a linear head and choosing its C, against scikit-learn."""

from functools import partial

import numpy as np
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from benchmarks.measuring import Comparison, Measured, in_turn
from thaw.params.variants import Solver
from thaw.training.logistic import Candidate, best, folds_of, solve_path

ROWS, FEATURES, CLASSES = 45_000, 1_280, 10
CLUSTERS = 4
"""Of each class: it looks several ways."""
MISLABELLED = 0.02
STRENGTHS = Solver(solver="logistic_regression").C


def measure() -> Measured:
    """Measure the path of the default values of C on many rows, and on a tenth of them scikit-learn's own choice."""
    features, labels = rows(ROWS)
    whole = in_turn({"ours": partial(_ours, features, labels), "path": partial(_path, features, labels)}, 1, warm_ups=0)
    few, few_labels = features[: ROWS // 10], labels[: ROWS // 10]
    theirs = _scikit(few, few_labels)
    tenth = in_turn({"ours": partial(_ours, few, few_labels), "scikit": partial(_scikit, few, few_labels)}, 1, 0)
    chosen = best(_ours(few, few_labels))
    apart = abs((chosen.cv_loss or 0.0) + theirs.scores_.mean(axis=(0, 1)).max())
    what = f"{FEATURES:,} features, {CLASSES} classes, {len(STRENGTHS)} values of C, chosen by 5 folds"
    return Measured(
        [
            Comparison(
                f"{ROWS:,} rows of {what}",
                0,
                whole["ours"],
                "the same path by `LogisticRegression`, warm starts, one thread, no folds: nothing is chosen",
                whole["path"],
            ),
            Comparison(f"{len(few):,} rows of {what}", 0, tenth["ours"], "`LogisticRegressionCV`", tenth["scikit"]),
        ],
        f"On the {len(few):,} rows C = {chosen.C:g} is chosen, by scikit-learn {theirs.C_:g}; the losses in "
        f"cross-validation differ by {apart:.1e}.",
    )


def rows(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return features like a pretrained network's: correlated, of decaying variance, in clusters that overlap."""
    random = np.random.default_rng(0)
    spread = np.arange(1, FEATURES + 1) ** -0.75
    rotation = np.linalg.qr(random.normal(size=(FEATURES, FEATURES)))[0].astype(np.float32)
    centres = random.normal(size=(CLASSES * CLUSTERS, FEATURES)) * spread
    cluster = random.integers(len(centres), size=count)
    values = (centres[cluster] + 1.5 * random.normal(size=(count, FEATURES)) * spread).astype(np.float32)
    labels = cluster % CLASSES
    wrong = random.random(count) < MISLABELLED
    labels[wrong] = random.integers(CLASSES, size=wrong.sum())
    return np.maximum(values @ rotation + 0.1, 0), labels


def _ours(features: np.ndarray, labels: np.ndarray) -> list[Candidate]:
    return solve_path("", features, labels, np.arange(len(labels)), STRENGTHS)


def _standardized(features: np.ndarray) -> np.ndarray:
    return StandardScaler().fit_transform(features.astype(np.float64))  # type: ignore[no-any-return]


def _path(features: np.ndarray, labels: np.ndarray) -> None:
    x, model = _standardized(features), LogisticRegression(max_iter=2000, warm_start=True)
    for C in STRENGTHS:
        with threadpool_limits(1):
            model.set_params(C=C).fit(x, labels)


def _scikit(features: np.ndarray, labels: np.ndarray) -> LogisticRegressionCV:
    folds = folds_of(labels, np.arange(len(labels)))
    parts = [(np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)) for fold in range(folds.max() + 1)]
    model = LogisticRegressionCV(
        Cs=STRENGTHS, l1_ratios=(0,), cv=parts, scoring="neg_log_loss", max_iter=2000, use_legacy_attributes=False
    )
    return model.fit(_standardized(features), labels)
