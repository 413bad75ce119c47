"""The bootstrap over images (Efron and Tibshirani 1993, An Introduction to the Bootstrap)."""

from collections.abc import Iterator

import numpy as np

RESAMPLES = 10_000
SEED = 0
INDICES_AT_A_TIME = 2**18
"""Indices that are drawn at a time, so that they stay in the processor's cache."""
ROUNDING = 1e-12
"""By how much values can differ, in relation to the greatest, only because each was computed by itself."""


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
    kinds, kind = np.unique(labels * classes + predicted, return_inverse=True)  # of images: a class, taken for one
    kind = kind.astype(np.min_scalar_type(len(kinds)))  # which stays in the processor's cache
    of_class, taken_for = np.divmod(kinds, classes)
    right = of_class == taken_for
    by_taken = np.argsort(taken_for, kind="stable")
    scores = []
    for block in draws(len(labels)):
        counts = _counts(kind.take(block), len(kinds))
        hits = np.zeros((len(block), classes))
        hits[:, of_class[right]] = counts[:, right]
        sums = _by_class(counts, of_class, classes) + _by_class(counts[:, by_taken], taken_for[by_taken], classes)
        f1 = np.divide(2 * hits, sums, out=np.zeros(hits.shape), where=sums > 0)
        scores.append(f1.sum(axis=1) / (sums > 0).sum(axis=1))
    return np.concatenate(scores)


def _by_class(counts: np.ndarray, classes: np.ndarray, count: int) -> np.ndarray:
    """Return the sums of columns of one class, ints (rows, count); classes are ascending, one for each column."""
    present, starts = np.unique(classes, return_index=True)
    sums = np.zeros((len(counts), count), counts.dtype)
    sums[:, present] = np.add.reduceat(counts, starts, axis=1)
    return sums


def _counts(values: np.ndarray, kinds: int) -> np.ndarray:
    """Return how often each of 0, 1, … `kinds` − 1 stands in each row, ints (rows, kinds)."""
    rows = len(values)
    return np.bincount((values + np.arange(rows)[:, None] * kinds).ravel(), minlength=rows * kinds).reshape(rows, kinds)


def standard_error(values: np.ndarray) -> float:
    """Return the standard error of values' mean; 0 where they differ by rounding only.

    >>> standard_error(np.array([1.0, 3.0])), standard_error(np.array([0.1 + 0.2, 0.3]))
    (0.7071067811865475, 0.0)
    """
    spread = values.std()
    return float(spread / np.sqrt(len(values))) if spread > ROUNDING * np.abs(values).max() else 0.0


def resampled_t(values: np.ndarray) -> np.ndarray:
    """Return Student's t of the mean in every resample, floats (RESAMPLES,): how far it is off, in its own errors.

    This is what the bootstrap-t goes by (chapter 12.5), which allows for long tails better than percentiles do.
    """
    found, rounding = [], ROUNDING * np.abs(values).max()
    for block in draws(len(values)):
        drawn = values.take(block)  # faster than an index where images are many
        means = drawn.mean(axis=1, keepdims=True)
        off = means[:, 0] - values.mean()
        drawn -= means  # in place: `std` would take as much memory once more, and longer
        drawn *= drawn
        spread = np.sqrt(drawn.mean(axis=1))
        # All images of a resample may be alike; its mean is then off by infinitely many errors.
        without_spread = np.where(np.abs(off) <= rounding, 0, np.copysign(np.inf, off))
        found.append(np.divide(off, spread / np.sqrt(len(values)), out=without_spread, where=spread > rounding))
    return np.concatenate(found)
