"""The bootstrap over images (Efron and Tibshirani 1993, An Introduction to the Bootstrap)."""

from collections.abc import Iterator

import numpy as np

RESAMPLES = 10_000
SEED = 0
INDICES_AT_A_TIME = 2**18
"""Indices that are drawn at a time, so that they stay in the processor's cache."""


def draws(images: int) -> Iterator[np.ndarray]:
    """Yield blocks of resamples: indices of images drawn with replacement, (resamples, images).

    The same number of images is always drawn the same way, so that what two variants get from it belongs together.

    >>> sum(len(block) for block in draws(images=100)) == RESAMPLES
    True
    """
    random = np.random.default_rng(SEED)
    rows = max(INDICES_AT_A_TIME // images, 1)
    for first in range(0, RESAMPLES, rows):
        yield random.integers(images, size=(min(rows, RESAMPLES - first), images), dtype=np.int32)


def resampled_macro_f1(labels: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return macro-F1 in every resample, floats (RESAMPLES,); over the classes that the resample has.

    >>> labels = np.arange(100) % 2
    >>> scores = resampled_macro_f1(labels, predicted=np.where(np.arange(100) < 10, 0, labels))
    >>> scores.shape, round(float(scores.std()), 2)
    ((10000,), 0.02)
    """
    classes = int(max(labels.max(), predicted.max())) + 1
    hit = np.where(labels == predicted, labels, classes)
    scores = []
    for block in draws(len(labels)):
        hits = _counts(hit[block], classes + 1)[:, :classes]
        sums = _counts(labels[block], classes) + _counts(predicted[block], classes)
        f1 = np.divide(2 * hits, sums, out=np.zeros(hits.shape), where=sums > 0)
        scores.append(f1.sum(axis=1) / (sums > 0).sum(axis=1))
    return np.concatenate(scores)


def _counts(values: np.ndarray, kinds: int) -> np.ndarray:
    """Return how often each of 0, 1, … `kinds` − 1 stands in each row, ints (rows, kinds)."""
    rows = len(values)
    return np.bincount((values + np.arange(rows)[:, None] * kinds).ravel(), minlength=rows * kinds).reshape(rows, kinds)


def resampled_t(values: np.ndarray) -> np.ndarray:
    """Return Student's t of the mean in every resample, floats (RESAMPLES,): how far it is off, in its own errors.

    This is what the bootstrap-t goes by (chapter 12.5), which allows for long tails better than percentiles do.
    """
    found = []
    for block in draws(len(values)):
        drawn = values[block]
        off = drawn.mean(axis=1) - values.mean()
        error = drawn.std(axis=1) / np.sqrt(len(values))
        # All images of a resample may be alike; its mean is then off by infinitely many errors.
        without_spread = np.where(off == 0, 0, np.copysign(np.inf, off))
        found.append(np.divide(off, error, out=without_spread, where=error > 0))
    return np.concatenate(found)
