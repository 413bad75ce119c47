"""Multinomial logistic regression on frozen features, as the weights of a Dense layer.

The protocol is that of linear probes in the literature (Oquab et al. 2023, arXiv 2304.07193, and before):
L2-regularized, the strength chosen on data that were not fitted.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

MAX_ITERATIONS = 2000


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
    val_loss: float
    """Log loss of the validation rows, by which `best` chooses."""
    val_accuracy: float
    converged: bool
    """Whether the solver ended before `MAX_ITERATIONS`."""


def solve_path(
    features: np.ndarray, labels: np.ndarray, val_features: np.ndarray, val_labels: np.ndarray, strengths: list[float]
) -> list[Candidate]:
    """Solve for every C, from strong to weak regularization, each from the solution before it.

    The features are standardized by the training rows' mean and deviation; both are folded into the weights
    that are returned.

    Args:
        features, val_features: float arrays (rows, features).
        labels, val_labels: ints (rows,), from 0 to classes - 1, every class among the training rows.
        strengths: values of C, inverse strengths of the L2 penalty.

    Returns:
        A candidate for each C, in ascending order.

    >>> features, labels = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0, 0, 1, 1])
    >>> found = solve_path(features, labels, features, labels, strengths=[1.0, 0.01])
    >>> [candidate.C for candidate in found]
    [0.01, 1.0]
    >>> best(found).weights.shape, best(found).accuracy
    ((1, 2), 1.0)
    """
    x = features.astype(np.float64)
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    deviation[deviation == 0] = 1.0
    x -= mean
    x /= deviation
    model = LogisticRegression(max_iter=MAX_ITERATIONS, warm_start=True)
    candidates = []
    for C in sorted(strengths):
        model.set_params(C=C)
        # One thread: the products are small, threads would wait for each other, and sums would depend on their number.
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(x, labels)
        coefficients, intercept = model.coef_.T, model.intercept_
        if coefficients.shape[1] == 1:  # two classes: one logit, of which softmax takes half from each side
            coefficients, intercept = coefficients * [[-0.5, 0.5]], intercept * [-0.5, 0.5]
        weights = (coefficients / deviation[:, None]).astype(np.float32)
        bias = (intercept - (mean / deviation) @ coefficients).astype(np.float32)
        candidates.append(
            Candidate(
                C,
                weights,
                bias,
                *_score(features, labels, weights, bias),
                *_score(val_features, val_labels, weights, bias),
                converged=bool(np.max(model.n_iter_) < MAX_ITERATIONS),
            )
        )
    return candidates


def best(candidates: list[Candidate]) -> Candidate:
    """Return the candidate with the least validation loss; among equals, the most regularized."""
    return min(candidates, key=lambda candidate: (candidate.val_loss, candidate.C))


def _score(features: np.ndarray, labels: np.ndarray, weights: np.ndarray, bias: np.ndarray) -> tuple[float, float]:
    """Return log loss and accuracy of the rows."""
    logits = features @ weights + bias
    loss = -log_softmax(logits, axis=1)[np.arange(len(labels)), labels].mean()
    return float(loss), float((logits.argmax(axis=1) == labels).mean())
