"""The variants side by side: tables and sentences, as Markdown and for the page."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from thaw.scoring.scoring import Scores
from thaw.scoring.significance import paired_tests, verdict

MARK = " *"
"""Behind the name of a variant that was validated on the test split."""


@dataclass(frozen=True)
class Table:
    title: str
    header: list[str]
    sides: str
    """Where a column's text stands, a character for each: `l`eft, `c`entre, `r`ight."""
    rows: list[list[str]]
    is_titled: bool = True
    """Whether the title stands in Markdown too."""


@dataclass(frozen=True)
class Points:
    """A list."""

    lines: list[str]


Block = Table | Points | str
"""A string is a paragraph."""


def ranking(scores: dict[str, Scores]) -> list[str]:
    """Return the variants' names, the best accuracy first; of equal ones, the least log loss."""
    return sorted(scores, key=lambda name: (-scores[name].accuracy, scores[name].log_loss, name))


def compare(
    labels: np.ndarray, probabilities: dict[str, np.ndarray], scores: dict[str, Scores], optimistic: set[str]
) -> list[Block]:
    """Return how good the variants are, how each differs from the best, and what of it is noise.

    Args:
        labels: true classes of the test images, ints (images,).
        probabilities: each variant's, (images, classes).
        scores: each variant's.
        optimistic: variants whose training made its choices by the test split; they are marked.
    """
    ranked = ranking(scores)
    blocks: list[Block] = [_scores(ranked, scores, optimistic)]
    if optimistic:
        blocks.append(
            "* validated on the test split while it was trained: its score is optimistic, "
            "and so is what it is ahead by."
        )
    return blocks + (_against_best(labels, probabilities, ranked, optimistic) if len(ranked) > 1 else [])


def _scores(ranked: list[str], scores: dict[str, Scores], optimistic: set[str]) -> Table:
    header = ["variant", "accuracy", "95 % interval", "balanced accuracy", "macro-F1", "95 % interval"]
    header += ["log loss", "95 % interval", "calibration error", "correct"]
    rows = []
    for name in ranked:
        one = scores[name]
        rows.append(
            [
                marked(name, optimistic),
                f"{one.accuracy:.1%}",
                f"{one.accuracy_low:.1%} – {one.accuracy_high:.1%}",
                f"{one.balanced_accuracy:.1%}",
                f"{one.macro_f1:.3f}",
                f"{one.macro_f1_low:.3f} – {one.macro_f1_high:.3f}",
                f"{one.log_loss:.3f}",
                f"{one.log_loss_low:.3f} – {one.log_loss_high:.3f}",
                f"{one.calibration_error:.3f}",
                f"{one.correct} of {one.images}",
            ]
        )
    return Table("Scores on the test split", header, "lrcrrcrcrr", rows, is_titled=False)


def _against_best(
    labels: np.ndarray, probabilities: dict[str, np.ndarray], ranked: list[str], optimistic: set[str]
) -> list[Block]:
    best, *others = ranked
    # Which one is the best was seen on these images, so the correction has to be for all pairs.
    pairs = list(combinations(ranked, 2))
    tests = dict(zip(pairs, paired_tests(labels, probabilities, pairs), strict=True))
    rows, verdicts = [], []
    for name in others:
        pair = tests[best, name]
        rows.append(
            [
                marked(name, optimistic),
                str(pair.only_first_right),
                str(pair.only_second_right),
                f"{pair.accuracy.value * 100:+.1f} points, p = {pair.accuracy.p:.3f}",
                f"{pair.macro_f1.value:+.3f}, p = {pair.macro_f1.p:.3f}",
                f"{pair.log_loss.value:+.3f}, p = {pair.log_loss.p:.3f}",
            ]
        )
        verdicts.append(f"{marked(name, optimistic)}: {verdict(pair)}.")
    title = f"Against {marked(best, optimistic)}, on the same {len(labels)} images"
    header = ["variant", f"only {best} is right", "only it is right", "accuracy", "macro-F1", "log loss"]
    paired = "1 pair" if len(pairs) == 1 else f"{len(pairs)} pairs"
    note = (
        "Paired tests: McNemar's exact one for accuracy, the bootstrap for macro-F1 and log loss; "
        f"p corrected for {paired} of variants (Holm). A difference with p > 0.05 is within the noise."
    )
    return [Table(title, header, "lrrrrr", rows), Points(verdicts), note]


def marked(name: str, optimistic: set[str]) -> str:
    return f"{name}{MARK}" if name in optimistic else name


def as_markdown(blocks: Sequence[Block]) -> str:
    """Return tables, lists and paragraphs as Markdown."""
    sides = {"l": "---", "c": ":---:", "r": "---:"}
    parts = []
    for block in blocks:
        if isinstance(block, str):
            parts.append(block)
        elif isinstance(block, Points):
            parts.append("\n".join(f"- {line}" for line in block.lines))
        else:
            if block.is_titled:
                parts.append(f"{block.title}:")
            rows = [block.header, [sides[side] for side in block.sides], *block.rows]
            parts.append("\n".join(f"| {' | '.join(row)} |" for row in rows))
    return "\n\n".join(parts).replace("*", "\\*") + "\n"
