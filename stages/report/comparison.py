"""The variants side by side: tables and sentences, as Markdown and for the page."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from thaw.formats.manifest import Row
from thaw.formats.sealed_csv import DIGITS
from thaw.scoring.scoring import Scores
from thaw.scoring.significance import listed, paired_tests, verdict

MARK = " *"
"""Behind the name of a variant that is not ranked."""
CHOSEN_ON_TEST = (
    "the training was validated on the test split: the test score is optimistic, and so is what it is ahead by"
)
TRAINED_ON_VALIDATION = "validation images were trained on"
NO_VALIDATION = "there are no validation images"
"""Why a variant is not ranked."""


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


@dataclass(frozen=True)
class Standing:
    """How good the variants are, and which of them can be chosen."""

    validation: dict[str, Scores]
    """By variant; without those that have none."""
    test: dict[str, Scores]
    """By variant, in the order of params.yaml."""
    unranked: dict[str, str]
    """Variants that cannot be chosen by their validation scores, and why."""

    @property
    def ranked(self) -> list[str]:
        """Those that can be, the best validation accuracy first; of equal ones, the least log loss."""
        scores = self.validation
        names = [name for name in self.test if name not in self.unranked]
        return sorted(names, key=lambda name: (-scores[name].accuracy, scores[name].log_loss, name))

    @property
    def order(self) -> list[str]:
        """All of them: those that are ranked, and below them the others, in the order of params.yaml."""
        return [*self.ranked, *(name for name in self.test if name in self.unranked)]

    def marked(self, name: str) -> str:
        return f"{name}{MARK}" if name in self.unranked else name


def compare(labels: np.ndarray, probabilities: dict[str, np.ndarray], standing: Standing) -> list[Block]:
    """Return how good the variants are, how each differs from the best, and what of it is noise.

    Args:
        labels: true classes of the test images, ints (images,).
        probabilities: each variant's of them, (images, classes).
        standing: their scores.
    """
    blocks: list[Block] = [_scores(standing), _how_ranked(standing)]
    for reason in dict.fromkeys(standing.unranked.values()):
        names = [name for name in standing.order if standing.unranked.get(name) == reason]
        blocks.append(f"* {listed(names)}: not ranked, since {reason}.")
    return blocks + (_against_first(labels, probabilities, standing) if len(standing.test) > 1 else [])


def of_groups(images: Sequence[Row]) -> list[Block]:
    """Return what intervals and p-values are worth where images of a split that is scored belong together."""
    found = []
    for split in ("validation", "test"):
        scored = [row for row in images if row.split == split]
        groups = len({(row.group, "" if row.group else row.path) for row in scored})
        if groups < len(scored):
            found.append(f"the {len(scored)} {split} images are of {groups} group{'s' * (groups != 1)}")
    if not found:
        return []
    return [
        f"Warning: {listed(found)}: intervals and p-values, which take images for independent, are too narrow and too "
        "small; cross_validation heeds groups."
    ]


def _how_ranked(standing: Standing) -> str:
    if not standing.ranked:
        how = "No variant can be ranked by the validation split: they stand in the order of params.yaml."
    else:
        how = (
            "Ranked by validation accuracy, of equal ones by validation log loss: that is what to choose by. The test "
            "split is scored once, and says how good the chosen one is."
        )
    return f"{how} In brackets: 95 % intervals."


def _scores(standing: Standing) -> Table:
    header = ["variant", "validation accuracy", "validation log loss", "test accuracy", "test balanced accuracy"]
    header += ["test macro-F1", "test log loss", "test calibration error", "test correct"]
    rows = []
    for name in standing.order:
        chosen_by, one = standing.validation.get(name), standing.test[name]
        rows.append(
            [
                standing.marked(name),
                _accuracy(chosen_by) if chosen_by else "–",
                f"{chosen_by.log_loss:.3f}" if chosen_by else "–",
                _accuracy(one),
                percent(one.balanced_accuracy),
                f"{decimal(one.macro_f1)} ({decimal(one.macro_f1_low)} – {decimal(one.macro_f1_high)})",
                f"{one.log_loss:.3f} ({one.log_loss_low:.3f} – {one.log_loss_high:.3f})",
                f"{one.calibration_error:.3f}",
                f"{one.correct} of {one.images}",
            ]
        )
    return Table("Scores, with 95 % intervals", header, "lrrrrrrrr", rows, is_titled=False)


def _accuracy(one: Scores) -> str:
    return f"{percent(one.accuracy)} ({percent(one.accuracy_low)} – {percent(one.accuracy_high)})"


def percent(share: float) -> str:
    """Return a share as text, with more decimal places where it would seem to be none or all, and is not.

    >>> percent(0.97), percent(0.9996), percent(1.0)
    ('97.0%', '99.96%', '100.0%')
    """
    return _with_places(share, 1, "%")


def decimal(share: float, sign: str = "") -> str:
    """Return a share, or with `+` a change of one, as `percent` does, but not in percent."""
    return _with_places(share, 3, "f", sign)


def points(change: float) -> str:
    """Return a change of a share as text; see `percent`.

    >>> points(0.1), points(-0.0001), points(0.0)
    ('+10.0 points', '-0.01 points', '+0.0 points')
    """
    return f"{_with_places(change, 1, '%', '+').removesuffix('%')} points"


def _with_places(share: float, least: int, kind: str, sign: str = "") -> str:
    is_end = round(share, DIGITS) in (-1, 0, 1)  # as it is in the files of scores
    texts = (f"{share:{sign}.{places}{kind}}" for places in range(least, DIGITS + 1))
    ends = (0, 100) if kind == "%" else (0, 1)
    return next(text for text in texts if is_end or abs(float(text.removesuffix("%"))) not in ends)


def _against_first(labels: np.ndarray, probabilities: dict[str, np.ndarray], standing: Standing) -> list[Block]:
    """Return how the others differ, on the test images, from the one that validation says is the best."""
    first, *others = standing.order
    # Which one comes first was not seen on these images, so its own pairs are all that there are.
    pairs = [(first, name) for name in others]
    rows, verdicts = [], []
    for name, pair in zip(others, paired_tests(labels, probabilities, pairs), strict=True):
        rows.append(
            [
                standing.marked(name),
                str(pair.only_first_right),
                str(pair.only_second_right),
                f"{points(pair.accuracy.value)}, p {pair.accuracy.shown_p}",
                f"{decimal(pair.macro_f1.value, '+')}, p {pair.macro_f1.shown_p}",
                f"{pair.log_loss.value:+.3f}, p {pair.log_loss.shown_p}",
            ]
        )
        verdicts.append(f"{standing.marked(name)}: {verdict(pair)}.")
    which = "the best by validation" if standing.ranked else "the first in params.yaml"
    title = f"Against {standing.marked(first)}, {which}, on the same {len(labels)} test images"
    header = ["variant", f"only {first} is right", "only it is right", "accuracy", "macro-F1", "log loss"]
    paired = "1 pair" if len(pairs) == 1 else f"{len(pairs)} pairs"
    note = (
        "Paired tests: McNemar's exact one for accuracy, the bootstrap for macro-F1 and log loss; "
        f"p corrected for {paired} of variants (Holm). A difference with p > 0.05 is within the noise."
    )
    return [Table(title, header, "lrrrrr", rows), Points(verdicts), note]


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
