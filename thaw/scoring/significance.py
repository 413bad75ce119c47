"""Whether two classifiers differ: paired tests on the same images."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import binomtest, t

from thaw.scoring.bootstrap import RESAMPLES, ROUNDING, resampled_macro_f1, resampled_t, standard_error
from thaw.scoring.scoring import CONFIDENCE, losses, macro_f1
from thaw.threads import on_all_cores


@dataclass(frozen=True)
class Difference:
    """A score's change from a first classifier to a second one."""

    value: float
    p: float
    """The probability of a change at least as great, up or down, between classifiers that are equally good."""

    @property
    def is_noise(self) -> bool:
        return self.p > 1 - CONFIDENCE

    @property
    def shown_p(self) -> str:
        """How `p` relates to a number with three decimal places: it is never 0.

        >>> Difference(0.1, 0.0412).shown_p, Difference(0.1, 0.0001).shown_p
        ('= 0.041', '< 0.001')
        """
        return "< 0.001" if self.p < 0.0005 else f"= {self.p:.3f}"


@dataclass(frozen=True)
class PairedTest:
    """How a second classifier differs from a first one on the same images."""

    only_first_right: int
    """Images that the first classifier gets right, and the second does not."""
    only_second_right: int
    accuracy: Difference
    macro_f1: Difference
    log_loss: Difference


def paired_tests(
    labels: np.ndarray, probabilities: dict[str, np.ndarray], pairs: list[tuple[str, str]]
) -> list[PairedTest]:
    """Test pairs of classifiers for differences on the same images.

    - accuracy: McNemar's test, exact;
    - macro-F1: the change between bootstrap resamples of the images gives its standard error, Student's t the p;
    - log loss: bootstrap-t of the images' differences (Efron and Tibshirani 1993, chapters 12.5 and 16.4).

    Each score's p are corrected for the number of pairs (Holm 1979). Where the pairs to look at are chosen by the same
    images, such as those with the best classifier, all pairs have to be given.

    Args:
        labels: true classes, ints (images,).
        probabilities: each classifier's, floats (images, classes).
        pairs: names of a first and a second classifier.

    >>> labels = np.arange(100) % 2
    >>> right = np.where(np.eye(2)[labels] > 0, 0.9, 0.1)
    >>> half_right = np.where(np.arange(100)[:, None] < 50, 1 - right, right)
    >>> (found,) = paired_tests(labels, {"old": half_right, "new": right}, [("old", "new")])
    >>> found.only_first_right, found.only_second_right, found.accuracy.value
    (0, 50, 0.5)
    >>> verdict(found)
    'accuracy, macro-F1 and log loss better'
    """
    predicted = {name: rows.argmax(axis=1) for name, rows in probabilities.items()}
    scores = on_all_cores(lambda classes: resampled_macro_f1(labels, classes), predicted.values())
    resampled = dict(zip(predicted, scores, strict=True))
    loss = {name: losses(labels, rows) for name, rows in probabilities.items()}
    found = []
    for first, second in pairs:
        right = [predicted[name] == labels for name in (first, second)]
        lost, won = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
        f1 = macro_f1(labels, probabilities[second]) - macro_f1(labels, probabilities[first])
        found.append(
            PairedTest(
                lost,
                won,
                Difference((won - lost) / len(labels), binomtest(won, won + lost).pvalue if won + lost else 1.0),
                Difference(f1, _p_of_score(f1, resampled[second] - resampled[first], len(labels))),
                Difference(float((loss[second] - loss[first]).mean()), _p_of_mean(loss[second] - loss[first])),
            )
        )
    corrected = {
        score: holm([getattr(pair, score).p for pair in found]) for score in ("accuracy", "macro_f1", "log_loss")
    }
    return [
        replace(pair, **{score: replace(getattr(pair, score), p=ps[number]) for score, ps in corrected.items()})
        for number, pair in enumerate(found)
    ]


def holm(ps: list[float]) -> list[float]:
    """Return p-values corrected for their number, in the same order (Holm 1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected, most = [0.0] * len(ps), 0.0
    for rank, number in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        most = max(most, min(1.0, (len(ps) - rank) * ps[number]))
        corrected[number] = most
    return corrected


def verdict(pair: PairedTest) -> str:
    """Say which scores of the second classifier of a pair are better, worse, or no different but for noise."""
    words: dict[str, list[str]] = {"better": [], "worse": [], "within the noise": []}
    for score, difference, better in [
        ("accuracy", pair.accuracy, pair.accuracy.value > 0),
        ("macro-F1", pair.macro_f1, pair.macro_f1.value > 0),
        ("log loss", pair.log_loss, pair.log_loss.value < 0),
    ]:
        words["within the noise" if difference.is_noise else "better" if better else "worse"].append(score)
    return "; ".join(f"{listed(scores)} {word}" for word, scores in words.items() if scores)


def listed(words: list[str]) -> str:
    """Return words as a sentence lists them."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if words[1:] else words)


def _p_of_score(change: float, resampled: np.ndarray, images: int) -> float:
    error = resampled.std()
    if error == 0:
        return _p_without_spread(change, images)
    return float(2 * t.sf(abs(change) / error, images - 1))


def _p_of_mean(changes: np.ndarray) -> float:
    error = standard_error(changes)
    if error == 0:
        return _p_without_spread(float(changes.mean()), len(changes))
    # Where many images change by the same, many resamples are as far off, which rounding must not hide.
    as_great = np.abs(resampled_t(changes)) * error >= abs(changes.mean()) - ROUNDING * np.abs(changes).max()
    return (1 + int(as_great.sum())) / (1 + RESAMPLES)


def _p_without_spread(change: float, images: int) -> float:
    """Return the p where all images say the same, by the sign test."""
    return min(1.0, 2 * 0.5**images) if change else 1.0
