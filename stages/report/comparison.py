"""The variants side by side, in tables."""

from itertools import combinations

import numpy as np

from thaw.scoring.scoring import Scores
from thaw.scoring.significance import paired_tests, verdict


def ranking(scores: dict[str, Scores]) -> list[str]:
    """Return the variants' names, the best accuracy first; of equal ones, the least log loss."""
    return sorted(scores, key=lambda name: (-scores[name].accuracy, scores[name].log_loss, name))


def table(scores: dict[str, Scores], optimistic: set[str]) -> str:
    """Return a Markdown table, one row per variant, the best first.

    Variants whose training made its choices by the test split are `optimistic`; they are marked.
    """
    lines = [
        "| variant | accuracy | 95 % interval | balanced accuracy | macro-F1 | 95 % interval "
        "| log loss | 95 % interval | calibration error | correct |",
        "| --- | ---: | :---: | ---: | ---: | :---: | ---: | :---: | ---: | ---: |",
    ]
    for name in ranking(scores):
        one = scores[name]
        lines.append(
            f"| {_marked(name, optimistic)} | {one.accuracy:.1%} | {one.accuracy_low:.1%} – {one.accuracy_high:.1%} "
            f"| {one.balanced_accuracy:.1%} | {one.macro_f1:.3f} | {one.macro_f1_low:.3f} – {one.macro_f1_high:.3f} "
            f"| {one.log_loss:.3f} | {one.log_loss_low:.3f} – {one.log_loss_high:.3f} "
            f"| {one.calibration_error:.3f} | {one.correct} of {one.images} |"
        )
    if optimistic:
        lines += [
            "",
            "\\* validated on the test split while it was trained: its score is optimistic, "
            "and so is what it is ahead by.",
        ]
    return "\n".join(lines) + "\n"


def against_best(
    labels: np.ndarray, probabilities: dict[str, np.ndarray], ranked: list[str], optimistic: set[str]
) -> str:
    """Return Markdown that says how each variant differs from the best, and what of it is noise.

    Args:
        labels: true classes of the test images, ints (images,).
        probabilities: each variant's, (images, classes).
        ranked: names of two variants or more, the best first.
        optimistic: those that are marked.
    """
    best, *others = ranked
    # Which one is the best was seen on these images, so the correction has to be for all pairs.
    pairs = list(combinations(ranked, 2))
    tests = dict(zip(pairs, paired_tests(labels, probabilities, pairs), strict=True))
    lines = [
        f"Against {_marked(best, optimistic)}, on the same {len(labels)} images:",
        "",
        f"| variant | only {best} is right | only it is right | accuracy | macro-F1 | log loss |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    verdicts = []
    for name in others:
        pair, marked = tests[best, name], _marked(name, optimistic)
        lines.append(
            f"| {marked} | {pair.only_first_right} | {pair.only_second_right} "
            f"| {pair.accuracy.value * 100:+.1f} points, p = {pair.accuracy.p:.3f} "
            f"| {pair.macro_f1.value:+.3f}, p = {pair.macro_f1.p:.3f} "
            f"| {pair.log_loss.value:+.3f}, p = {pair.log_loss.p:.3f} |"
        )
        verdicts.append(f"- {marked}: {verdict(pair)}.")
    paired = "1 pair" if len(pairs) == 1 else f"{len(pairs)} pairs"
    note = (
        "Paired tests: McNemar's exact one for accuracy, the bootstrap for macro-F1 and log loss; "
        f"p corrected for {paired} of variants (Holm). A difference with p > 0.05 is within the noise."
    )
    return "\n".join([*lines, "", *verdicts, "", note]) + "\n"


def _marked(name: str, optimistic: set[str]) -> str:
    return f"{name} \\*" if name in optimistic else name
