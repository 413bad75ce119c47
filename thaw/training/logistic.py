"""Multinomial logistic regression on frozen features, as the weights of a Dense layer.

The protocol is that of linear probes in the literature (Oquab et al. 2023, arXiv 2304.07193, and before):
L2-regularized, the strength chosen on data that were not fitted. Here these are parts of the training data, each left
out once: the validation split stays clean.

For the rows x and their classes, with n of them, softmax(W x + b) is to have the least

    mean log loss + |W|² / (2 n C)        (for two classes |W|² / (n C): scikit-learn penalizes one logit, not two)

How fast L-BFGS gets there depends on the coordinates. The loss's second derivative along a direction of the features
is about the mean of p (1 - p) times their variance in it, and never more than half of that variance (Böhning 1992).
So the rows are turned into the eigenvectors of their covariance, which leaves |W|² as it is, and each coordinate is
scaled by the root of its second derivative, penalty included: all directions are then nearly alike, and a third of the
steps lead to the same optimum.

The parts and the whole are solved side by side: the sum of what each is to make small has the optimum of each. One
pass over the rows serves them all, and its products are of matrices wide enough to be fast.
"""

import functools
import operator
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh, qr
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from threadpoolctl import threadpool_limits

from thaw.errors import UserError
from thaw.threads import on_all_cores

FOLDS, SEED = 5, 0
MAX_ITERATIONS = 2000
TOLERANCE = 3e-5
"""Of the gradient's largest element, by the root of the loss: half its square is what is left to gain, so that this is
relative to the loss."""
LEAST_GAIN = 1e-9
"""Of a step: less is what float32 makes of the rounding of the rows' logits."""
BLOCK = 2048
"""Rows for each product of matrices: sums over blocks are added in their order, however many threads there are."""
LOGITS = 512
"""Logits for each row that are computed side by side, at most, unless there are more classes."""
LEAST_DEVIATION = 1e-32
"""Of a feature that is standardized: what varies less needs weights that float32 does not have."""
LEAST_STRENGTH = 1e-300
"""Of C times the rows: the weights are 0 long before, and the inverse of what is much less is infinite."""
FLATTEST = 1e-6
"""Of the means of p (1 - p) by which directions are scaled: where all rows are told apart, they come to 0."""


@dataclass(frozen=True)
class Candidate:
    """The solution for one C, and what it scores."""

    C: float
    weights: np.ndarray
    """Weights of a Dense layer, float32 (features, classes), for features that are not standardized."""
    bias: np.ndarray
    """Bias of a Dense layer, float32 (classes,)."""
    loss: float
    """Log loss of the training rows."""
    accuracy: float
    cv_loss: float | None
    """Log loss of the training rows that were held out, each by the solution without its fold, by which `best` chooses;
    None where nothing was."""
    cv_accuracy: float | None
    converged: bool
    """Whether the solver ended before `MAX_ITERATIONS`."""

    def scores(self, features: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
        """Return log loss and accuracy of rows; features are float32 (rows, features), labels ints (rows,)."""
        with threadpool_limits(1):
            return _scores(features @ self.weights + self.bias, labels)


def solve_path(
    where: str, features: np.ndarray, labels: np.ndarray, units: np.ndarray, strengths: list[float]
) -> list[Candidate]:
    """Solve for every C, from strong to weak regularization, each from the solution before it.

    If there is more than one C, each is also solved without one fold of the rows after another, for `best` to choose.
    The features are standardized by the rows' mean and deviation; both are folded into the weights that are returned.
    The result is the same, to the bit, for any number of threads.

    Args:
        where: the address in params.yaml of what is solved, for messages.
        features: float32 (rows, features).
        labels: ints (rows,), from 0 to classes - 1, of every class.
        units: ints (rows,), the same for rows that belong together, such as all views of an image.
        strengths: values of C, inverse strengths of the L2 penalty.

    Returns:
        A candidate for each C, in ascending order.

    Raises:
        UserError: there are several C, but nothing that could be held out to choose one.

    >>> features = np.array([[0], [1], [2], [3], [4], [5]], np.float32)
    >>> labels = np.array([0, 0, 0, 1, 1, 1])
    >>> found = solve_path("variants.probe.fit.C", features, labels, np.arange(6), strengths=[1.0, 0.01])
    >>> [candidate.C for candidate in found]
    [0.01, 1.0]
    >>> best(found).weights.shape, best(found).accuracy
    ((1, 2), 1.0)
    """
    several = len(strengths) > 1
    folds = folds_of(labels, units) if several else np.full(len(labels), -1)
    held_out = folds >= 0
    if several and not held_out.any():
        raise UserError(
            f"{where}: one of {len(strengths)} values is to be chosen by cross-validation, but no image can be held "
            "out: each class has one only, or one group, in the training split: name one value, or add images"
        )
    with threadpool_limits(1):
        rotated = _Rotated(features)
        candidates = []
        for C, solutions, converged in _path(rotated, labels, folds, strengths):
            weights, bias = rotated.dense(solutions[0])
            loss, accuracy = _scores(features @ weights + bias, labels)
            left_out = _left_out(rotated, folds, solutions[1:])[held_out]
            cv_loss, cv_accuracy = _scores(left_out, labels[held_out]) if several else (None, None)
            candidates.append(Candidate(C, weights, bias, loss, accuracy, cv_loss, cv_accuracy, converged))
    return candidates


def best(candidates: list[Candidate]) -> Candidate:
    """Return the candidate with the least loss in cross-validation; among equals, the most regularized."""
    return min(candidates, key=lambda candidate: (candidate.cv_loss or 0.0, candidate.C))


class GroupFolds(StratifiedGroupKFold):  # type: ignore[misc]
    """The same folds in a quarter of the time: for each group, all that it can go to are looked at together."""

    def _find_best_fold(self, y_counts_per_fold: np.ndarray, y_cnt: np.ndarray, group_y_counts: np.ndarray) -> int:
        folds = np.arange(self.n_splits)
        proposed = np.repeat(y_counts_per_fold[None], self.n_splits, axis=0)
        proposed[folds, folds] += group_y_counts
        spreads = np.std(proposed / y_cnt, axis=1).mean(axis=1).tolist()
        sizes = y_counts_per_fold.sum(axis=1).tolist()
        best = 0
        for fold in range(1, self.n_splits):
            is_close = abs(spreads[fold] - spreads[best]) <= 1e-8 + 1e-5 * spreads[best]  # as `np.isclose` has it
            if spreads[fold] < spreads[best] or (is_close and sizes[fold] < sizes[best]):
                best = fold
        return best


def folds_of(labels: np.ndarray, units: np.ndarray, count: int = FOLDS, seed: int = SEED) -> np.ndarray:
    """Divide rows into stratified folds, fewer than `count` where there are fewer units.

    A unit whose class would be missing from all other folds is never held out.

    Args:
        labels: ints (rows,), from 0 to classes - 1.
        units: ints (rows,), the same for rows that belong together.

    Returns:
        The fold of each row, ints (rows,) from 0 on; -1 for one that is never held out.

    >>> folds_of(np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 2, 3, 4]), count=2).tolist()
    [0, 0, 1, 1, 0, -1]
    """
    _, first, unit_of, sizes = np.unique(units, return_index=True, return_inverse=True, return_counts=True)
    alike = len(np.unique(sizes)) == 1 and bool((labels == labels[first][unit_of]).all())
    # Where all units are alike, one row stands for each: that is as good, and for many units much faster.
    divided = labels[first] if alike else labels
    count = min(count, len(first), int(np.bincount(divided).max()))
    folds = np.full(len(divided), -1)
    if count > 1:
        partition = (StratifiedKFold if alike else GroupFolds)(count, shuffle=True, random_state=seed)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The least populated class")
            parts = partition.split(divided, divided, None if alike else unit_of)
            for fold, (_, held_out) in enumerate(parts):
                folds[held_out] = fold
    folds = folds[unit_of] if alike else folds
    while True:  # what is never held out is fitted in each fold, so this ends
        counts = np.zeros((count + 1, labels.max() + 1), int)
        np.add.at(counts, (folds, labels), 1)
        alone = (folds >= 0) & (counts[folds, labels] == counts.sum(axis=0)[labels])
        if not alone.any():
            break
        folds[np.isin(units, units[alone])] = -1
    numbers = np.unique(folds[folds >= 0])  # scikit-learn may leave folds empty
    return np.where(folds >= 0, np.searchsorted(numbers, folds), -1)


def out_of_fold(
    features: np.ndarray, labels: np.ndarray, folds: np.ndarray, strengths: list[float]
) -> Iterator[np.ndarray]:
    """Yield, for each C in ascending order, each row's class probabilities by the solution without its fold.

    Args:
        features: float32 (rows, features); they are overwritten, so that they are in memory once.
        labels: ints (rows,), from 0 to classes - 1.
        folds: ints (rows,), as `folds_of` returns them: outside of each fold there are rows of every class.
        strengths: values of C, inverse strengths of the L2 penalty.

    Yields:
        float32 (rows, classes); NaN for rows that are never held out.
    """
    with threadpool_limits(1):
        rotated = _Rotated(features, in_place=True)
        for _, solutions, _ in _path(rotated, labels, folds, strengths):
            yield softmax(_left_out(rotated, folds, solutions[1:]), axis=1)


class _Rotated:
    """Rows, standardized, in the basis of their covariance's eigenvectors.

    Args:
        features: float32 (rows, features).
        in_place: whether they may be overwritten.

    Attributes:
        rows: float32 (rows, rank); the rank is the number of features, or of rows, if that is smaller.
        eigenvalues: float64 (rank,), the variance along each vector.
    """

    def __init__(self, features: np.ndarray, in_place: bool = False):
        count, width = features.shape
        first = features[:1].astype(np.float64)  # without it, a constant feature's deviation would not be 0
        (total,) = _sums(lambda part: ((features[part] - first).sum(axis=0),), count)
        mean = first + total / count
        (squares,) = _sums(lambda part: (((features[part] - mean) ** 2).sum(axis=0),), count)
        deviation = np.sqrt(squares / count)
        rounding = np.finfo(np.float32).eps * np.abs(mean[0])
        is_told = deviation > np.maximum(rounding, LEAST_DEVIATION)
        # What varies by no more than its rounding would else count for as much as the others: its weights become 0.
        deviation = np.where(is_told, deviation, np.where(deviation == 0, 1.0, np.inf))
        self._mean, self._deviation = mean[0], deviation

        def standardized(part: slice) -> np.ndarray:
            rows: np.ndarray = (features[part] - mean) / deviation
            return rows

        if count < width:  # then they lie in a space of so many dimensions
            basis, triangle = qr(standardized(slice(None)).T, mode="economic")
            self.eigenvalues, vectors = eigh(triangle @ triangle.T / count)
            self._basis = basis @ vectors
            self.rows = (triangle.T @ vectors).astype(np.float32)
        else:
            self.rows = features if in_place else np.empty((count, width), np.float32)

            def products(part: slice) -> tuple[np.ndarray]:
                self.rows[part] = standardized(part)
                return ((self.rows[part].T @ self.rows[part]).astype(np.float64),)

            (total,) = _sums(products, count)
            self.eigenvalues, self._basis = eigh(total / count)
            basis = self._basis.astype(np.float32)

            def rotate(part: slice) -> None:
                self.rows[part] = self.rows[part] @ basis

            for _ in on_all_cores(rotate, _blocks(count)):
                pass
        self.eigenvalues = self.eigenvalues.clip(min=0)

    def dense(self, solution: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the float32 weights (features, classes) and bias (classes,) that take the features as they were.

        Args:
            solution: float64 (classes, rank + 1), the intercept last.
        """
        weights = self._basis @ solution[:, :-1].T / self._deviation[:, None]
        return weights.astype(np.float32), (solution[:, -1] - self._mean @ weights).astype(np.float32)


def _path(
    rotated: _Rotated, labels: np.ndarray, folds: np.ndarray, strengths: list[float]
) -> Iterator[tuple[float, np.ndarray, bool]]:
    """Yield each C, in ascending order, the solutions for all rows and without each fold, and whether all converged.

    Solutions are float64 (1 + folds, classes, rank + 1), the intercept last.
    """
    fitted = np.stack([np.full(len(labels), True), *(folds != fold for fold in range(folds.max() + 1))])
    at_once = max(1, LOGITS // (int(labels.max()) + 1))
    together = [_Problems(rotated, labels, fitted[first : first + at_once]) for first in range(0, len(fitted), at_once)]
    for C in sorted(strengths):
        converged = [problems.solve(C) for problems in together]
        yield C, np.concatenate([problems.solutions for problems in together]), all(converged)


class _Problems:
    """Regressions on parts of the same rows, solved together.

    Args:
        fitted: which rows each is fitted on, bools (problems, rows).

    Attributes:
        solutions: float64 (problems, classes, rank + 1), the intercept last; at first, shares of the classes.
    """

    def __init__(self, rotated: _Rotated, labels: np.ndarray, fitted: np.ndarray):
        self._rows, self._labels, self._fitted = rotated.rows, labels, fitted
        self._variances = np.append(rotated.eigenvalues, 1.0)
        self._counts = fitted.sum(axis=1)
        shares = np.stack([np.bincount(labels[one]) for one in fitted]) / self._counts[:, None]
        self.solutions = np.zeros((*shares.shape, len(self._variances)))
        self.solutions[..., -1] = np.log(shares)

    def solve(self, C: float) -> bool:
        """Go on to the solutions for another C; return whether all of them converged."""
        classes, counts = self.solutions.shape[1], self._counts[:, None, None]
        penalties = np.ones_like(self._variances) * (2 if classes == 2 else 1) / np.maximum(C * counts, LEAST_STRENGTH)
        penalties[..., -1] = 0
        losses, _, curvature = self._evaluate(self.solutions)
        scales = 1 / np.sqrt(np.maximum(curvature / counts, FLATTEST) * self._variances + penalties)

        def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
            solutions = flat.reshape(scales.shape) * scales
            losses, gradient, _ = self._evaluate(solutions)
            shrunk = penalties * solutions
            value = (losses / self._counts).sum() + (shrunk * solutions).sum() / 2
            return value, ((gradient / counts + shrunk) * scales).ravel()

        found = minimize(
            objective,
            (self.solutions / scales).ravel(),
            jac=True,
            method="L-BFGS-B",
            options={
                "maxiter": MAX_ITERATIONS,
                "gtol": TOLERANCE * np.sqrt((losses / self._counts).mean()),
                "ftol": LEAST_GAIN,
            },
        )
        self.solutions = found.x.reshape(scales.shape) * scales
        return bool(found.status != 1)  # 2: float32's rounding hides what is left to gain

    def _evaluate(self, solutions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return sums over rows: losses (problems,), gradients like `solutions`, p (1 - p) (problems, classes, 1)."""
        problems, classes, _ = solutions.shape
        weights = solutions.reshape(problems * classes, -1).astype(np.float32)

        def of_block(part: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            rows, fitted = self._rows[part], self._fitted[:, part]
            own = (slice(None), self._labels[part], np.arange(len(rows)))
            logits = (weights[:, :-1] @ rows.T + weights[:, -1:]).reshape(problems, classes, len(rows))
            logits -= logits.max(axis=1, keepdims=True)
            of_label = logits[own]
            p = np.exp(logits, out=logits)
            totals = p.sum(axis=1, keepdims=True)
            losses = ((np.log(totals[:, 0]) - of_label) * fitted).sum(axis=1, dtype=np.float64)
            p *= fitted[:, None] / totals
            curvature = (p - p * p).sum(axis=2, keepdims=True).astype(np.float64)
            p[own] -= fitted
            gradient = np.empty(solutions.shape)
            gradient[..., :-1] = (p.reshape(problems * classes, -1) @ rows).reshape(problems, classes, -1)
            gradient[..., -1] = p.sum(axis=2)
            return losses, gradient, curvature

        losses, gradient, curvature = _sums(of_block, len(self._rows))
        return losses, gradient, curvature


def _left_out(rotated: _Rotated, folds: np.ndarray, solutions: np.ndarray) -> np.ndarray:
    """Return each row's logits by the solution without its fold, float32 (rows, classes); NaN where there is none."""
    logits = np.full((len(folds), solutions.shape[1]), np.nan, np.float32)
    for fold, solution in enumerate(solutions.astype(np.float32)):
        rows = np.flatnonzero(folds == fold)
        for part in _blocks(len(rows)):
            logits[rows[part]] = rotated.rows[rows[part]] @ solution[:, :-1].T + solution[:, -1]
    return logits


def _scores(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Return log loss and accuracy."""
    losses = -log_softmax(logits, axis=1)[np.arange(len(labels)), labels]
    return float(losses.mean(dtype=np.float64)), float((logits.argmax(axis=1) == labels).mean())


def _blocks(count: int) -> Iterator[slice]:
    return (slice(first, min(first + BLOCK, count)) for first in range(0, count, BLOCK))


def _sums(of_block: Callable[[slice], tuple[np.ndarray, ...]], count: int) -> tuple[np.ndarray, ...]:
    """Return the sums, in their order, of what a function returns for each block of rows, which all cores share."""
    if count <= BLOCK:
        return of_block(slice(0, count))  # a thread would take as long to start
    found = on_all_cores(of_block, _blocks(count))
    return functools.reduce(lambda one, other: tuple(map(operator.add, one, other)), found)
