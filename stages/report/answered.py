"""Accuracy against the share of images that is answered, where a classifier leaves its least confident answers out."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Answered:
    """The images that are answered from some confidence on."""

    share: float
    """Of all images."""
    confidence: float
    """The least probability of the likeliest class among them."""
    accuracy: float


def answered(labels: np.ndarray, probabilities: np.ndarray) -> list[Answered]:
    """Return the risk-coverage curve, with accuracy for risk (Geifman and El-Yaniv 2017, arXiv 1705.08500).

    Args:
        labels: true classes, ints (images,).
        probabilities: floats (images, classes).

    Returns:
        A point for each confidence that there is, from the greatest to the least, at which all are answered.

    >>> probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.4, 0.6]])
    >>> [(one.share, one.accuracy) for one in answered(np.array([0, 1, 1, 1]), probabilities)]
    [(0.25, 1.0), (0.5, 1.0), (1.0, 0.75)]
    """
    confidence = probabilities.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    right = np.cumsum((probabilities.argmax(axis=1) == labels)[order])
    descending = confidence[order]
    ends = np.flatnonzero(np.append(descending[1:] < descending[:-1], True))
    return [
        Answered((end + 1) / len(labels), float(descending[end]), float(right[end] / (end + 1)))
        for end in ends.tolist()
    ]


def by_percent(points: list[Answered], least: float) -> list[Answered]:
    """Return points that are a percent of the images or more apart, from a share on, the last of all among them."""
    last = {round(one.share * 100): one for one in points if one.share >= least}
    return list(last.values())


def at(points: list[Answered], share: float) -> Answered:
    """Return the point at which a share of the images is answered, or the next fewer; if there are none, the first."""
    return next((one for one in reversed(points) if one.share <= share), points[0])
