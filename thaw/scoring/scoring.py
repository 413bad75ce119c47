"""Scores of predicted class probabilities, with their uncertainty."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm
from sklearn.metrics import f1_score, precision_recall_fscore_support, recall_score

from thaw.scoring.bootstrap import resampled_macro_f1, resampled_t, standard_error

CONFIDENCE = 0.95
LEAST_PROBABILITY = float(np.finfo(np.float64).eps)
"""The least probability that counts, as in scikit-learn's log loss: one image cannot make it infinite."""
BINS = 15


@dataclass(frozen=True)
class Scores:
    """Scores on the images of a split, the bounds of their 95 % intervals with them; see `score`."""

    images: int
    correct: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    balanced_accuracy: float
    macro_f1: float
    macro_f1_low: float
    macro_f1_high: float
    log_loss: float
    log_loss_low: float
    log_loss_high: float
    calibration_error: float


@dataclass(frozen=True)
class Bin:
    """The images whose likeliest class has a probability between two bounds."""

    images: int
    confidence: float
    """Mean probability of the likeliest class."""
    accuracy: float
    accuracy_low: float
    accuracy_high: float


def score(labels: np.ndarray, probabilities: np.ndarray) -> Scores:
    """Score predictions.

    All bounds are of 95 % intervals:

    - accuracy: Wilson's (1927), which holds for small test sets too;
    - macro-F1: Wilson's at the number of images that would make a proportion vary as macro-F1 does between
      bootstrap resamples (Kott 2017, Survey Methodology 43). Percentiles of the resamples are too narrow
      where mistakes are few, and have no width at all where there is none;
    - log loss: bootstrap-t (Efron and Tibshirani 1993, chapter 12.5), since a few bad mistakes make its tail long; but
      no wider than Wilson's if each image had either no loss or the greatest, which varies the most. Where all answers
      are right and sure but for one to three, many resamples have none of these, and bootstrap-t no bounds.

    Args:
        labels: true classes, ints (images,).
        probabilities: floats (images, classes), each row with the sum 1 but for rounding.

    >>> labels = np.array([0, 0, 1, 1])
    >>> found = score(labels, np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.7, 0.3]]))
    >>> found.correct, found.accuracy, round(found.accuracy_low, 2), round(found.accuracy_high, 2)
    (3, 0.75, 0.3, 0.95)
    """
    predicted, found = probabilities.argmax(axis=1), estimates(labels, probabilities)
    accuracy, f1 = found["accuracy"], found["macro_f1"]
    accuracy_bounds = wilson(accuracy, len(labels))
    f1_bounds = wilson(f1, _effective_images(f1, resampled_macro_f1(labels, predicted), len(labels)))
    loss_bounds = _bootstrap_t(losses(labels, probabilities))
    return Scores(
        images=len(labels),
        correct=int((predicted == labels).sum()),
        accuracy_low=accuracy_bounds[0],
        accuracy_high=accuracy_bounds[1],
        macro_f1_low=f1_bounds[0],
        macro_f1_high=f1_bounds[1],
        log_loss_low=loss_bounds[0],
        log_loss_high=loss_bounds[1],
        **found,
    )


def estimates(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Return the scores of predictions by their names, without intervals; see `score`."""
    predicted = probabilities.argmax(axis=1)
    return {
        "accuracy": int((predicted == labels).sum()) / len(labels),
        # The balanced accuracy of scikit-learn, without its warnings of classes that have no image.
        "balanced_accuracy": float(recall_score(labels, predicted, labels=np.unique(labels), average="macro")),
        "macro_f1": macro_f1(labels, probabilities),
        "log_loss": float(losses(labels, probabilities).mean()),
        "calibration_error": calibration_error(labels, probabilities),
    }


def macro_f1(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the mean F1 of the classes that are there or predicted, as scikit-learn's default is."""
    return float(f1_score(labels, probabilities.argmax(axis=1), average="macro", zero_division=0.0))


def losses(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return each image's log loss, floats (images,)."""
    exact = probabilities.astype(np.float64)
    of_own_class = exact[np.arange(len(labels)), labels] / exact.sum(axis=1)
    by_image: np.ndarray = -np.log(np.clip(of_own_class, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY))
    return by_image


def wilson(share: float, images: float) -> tuple[float, float]:
    """Return the bounds of Wilson's 95 % interval for a share of so many images (Wilson 1927).

    >>> low, high = wilson(0.9, images=100)
    >>> round(low, 3), round(high, 3)
    (0.826, 0.945)
    """
    z = float(norm.ppf((1 + CONFIDENCE) / 2))
    centre = share + z**2 / (2 * images)
    half = z * np.sqrt(share * (1 - share) / images + z**2 / (4 * images**2))
    low, high = (centre - half) / (1 + z**2 / images), (centre + half) / (1 + z**2 / images)
    return max(0.0, float(low)), min(1.0, float(high))


def _effective_images(score: float, resampled: np.ndarray, images: int) -> float:
    variance = float(resampled.var())
    return min(images, score * (1 - score) / variance) if variance > 0 and 0 < score < 1 else images


def _bootstrap_t(values: np.ndarray) -> tuple[float, float]:
    error, mean = standard_error(values), float(values.mean())
    if error == 0:
        return mean, mean
    outside, greatest = (1 - CONFIDENCE) / 2, -float(np.log(LEAST_PROBABILITY))
    least, most = np.quantile(resampled_t(values), [outside, 1 - outside], method="inverted_cdf")
    low, high = wilson(mean / greatest, len(values))
    return max(low * greatest, float(mean - most * error)), min(high * greatest, float(mean - least * error))


def reliability_bins(labels: np.ndarray, probabilities: np.ndarray) -> list[Bin]:
    """Return accuracy by confidence, in `BINS` bins of equal width; without those that have no image."""
    exact = probabilities.astype(np.float64)
    confidence = exact.max(axis=1) / exact.sum(axis=1)
    right = probabilities.argmax(axis=1) == labels
    number = np.minimum((confidence * BINS).astype(int), BINS - 1)
    bins = []
    for one in np.unique(number):
        here = number == one
        images, accuracy = int(here.sum()), float(right[here].mean())
        bins.append(Bin(images, float(confidence[here].mean()), accuracy, *wilson(accuracy, images)))
    return bins


def calibration_error(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the expected calibration error over bins of equal width (Guo et al. 2017, arXiv 1706.04599).

    On few images, it is above 0 for a perfectly calibrated classifier, too.
    """
    bins = reliability_bins(labels, probabilities)
    return sum(one.images * abs(one.accuracy - one.confidence) for one in bins) / len(labels)


def top_k_accuracy(labels: np.ndarray, probabilities: np.ndarray, k: int) -> float:
    """Return the share of images with the true class among the k likeliest; 1 if there are no more classes.

    Of classes that are equally likely, the first come first, as in the predicted class.

    >>> probabilities = np.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]])
    >>> top_k_accuracy(np.array([1, 2]), probabilities, k=2)
    0.5
    """
    own = probabilities[np.arange(len(labels)), labels][:, None]
    comes_first = (probabilities == own) & (np.arange(probabilities.shape[1]) < labels[:, None])
    return float((((probabilities > own) | comes_first).sum(axis=1) < k).mean())


def per_class(labels: np.ndarray, probabilities: np.ndarray) -> list[tuple[int, float, float, float]]:
    """Return, for each class, its images, precision, recall and F1."""
    classes = np.arange(probabilities.shape[1])
    precision, recall, f1, images = precision_recall_fscore_support(
        labels, probabilities.argmax(axis=1), labels=classes, zero_division=0.0
    )
    return [(int(n), float(p), float(r), float(f)) for n, p, r, f in zip(images, precision, recall, f1, strict=True)]
