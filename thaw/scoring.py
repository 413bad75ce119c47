"""Scores of predicted class probabilities, with their uncertainty."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import (
    balanced_accuracy_score,
    f1_score,
    log_loss,
    precision_recall_fscore_support,
    top_k_accuracy_score,
)

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Scores:
    images: int
    correct: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    balanced_accuracy: float
    macro_f1: float
    log_loss: float


def score(labels: np.ndarray, probabilities: np.ndarray) -> Scores:
    """Score predictions.

    Args:
        labels: true classes, ints (images,).
        probabilities: (images, classes), each row with the sum 1 but for rounding.

    Returns:
        The bounds of accuracy are Wilson's 95 % interval (Wilson 1927), which holds for small test sets too.
    """
    classes = np.arange(probabilities.shape[1])
    predicted = probabilities.argmax(axis=1)
    exact = probabilities.astype(np.float64)
    exact /= exact.sum(axis=1, keepdims=True)
    correct = int((predicted == labels).sum())
    interval = binomtest(correct, len(labels)).proportion_ci(CONFIDENCE, method="wilson")
    return Scores(
        images=len(labels),
        correct=correct,
        accuracy=correct / len(labels),
        accuracy_low=float(interval.low),
        accuracy_high=float(interval.high),
        balanced_accuracy=float(balanced_accuracy_score(labels, predicted)),
        macro_f1=float(f1_score(labels, predicted, labels=classes, average="macro", zero_division=0.0)),
        log_loss=float(log_loss(labels, exact, labels=classes)),
    )


def top_k_accuracy(labels: np.ndarray, probabilities: np.ndarray, k: int) -> float:
    """Return the share of images with the true class among the k likeliest; 1 if there are no more classes."""
    classes = probabilities.shape[1]
    if k >= classes:
        return 1.0
    if classes == 2:
        return float((probabilities.argmax(axis=1) == labels).mean())
    return float(top_k_accuracy_score(labels, probabilities, k=k, labels=np.arange(classes)))


def per_class(labels: np.ndarray, probabilities: np.ndarray) -> list[tuple[int, float, float, float]]:
    """Return, for each class, its test images, precision, recall and F1."""
    classes = np.arange(probabilities.shape[1])
    precision, recall, f1, images = precision_recall_fscore_support(
        labels, probabilities.argmax(axis=1), labels=classes, zero_division=0.0
    )
    return [(int(n), float(p), float(r), float(f)) for n, p, r, f in zip(images, precision, recall, f1, strict=True)]
