"""`thaw review`: say what changed since a commit, for a pull request."""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from commands import git, pipeline
from commands.output import counted
from commands.plan.steps import outdated, plan
from commands.review.compared import MANIFEST, THUMBNAILS, Compared, Flip, Review, review
from commands.tables import escaped, table_lines
from thaw.errors import printable
from thaw.formats.manifest import class_names, read_manifest
from thaw.formats.metrics import is_within
from thaw.formats.thumbnails import draw_grid, drawable, reading_thumbnails
from thaw.scoring.significance import Difference, listed, verdict

SHEET = Path("dvc_plots", "flipped.jpg")
FLIPS_IN_A_ROW = 8
"""Pictures of flipped images in a row."""
MOST_ROWS = 2
SUSPECTED = 5
"""New suspected labels that are named."""
BOUNDS = {"_low": "", "_high": "", "_min": "_mean", "_max": "_mean"}
"""Ends of the names of scores that are bounds, and of those that they are bounds of."""
DECIMALS = 5
"""Decimals of a score, as many as `dvc metrics diff` shows."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("--base", metavar="REV", required=True, help="the commit to compare with, such as main")
    parser.add_argument("--md", action="store_true", help="print Markdown, for a pull request")


def main(base: str, md: bool = False) -> None:
    """Say what changed since a commit: parameters, stages that ran, scores and whether that is noise, flipped images.

    Predictions of then and now come from DVC's cache, or else from the remote.
    """
    pipeline.require_valid_params()
    with pipeline.opened() as repo:
        found = review(repo, base)
        stale = outdated(plan(repo, obtainable=True))
    sheet = draw_flips(found.compared)
    print(printable("\n".join(review_as_text(found, base, stale, sheet, md))))


def review_as_text(found: Review, base: str, stale: list[str], sheet: Path | None, markdown: bool) -> Iterator[str]:
    """Yield the lines of a review.

    Args:
        found: what changed.
        base: since which commit.
        stale: stages of which dvc.lock does not have the results of the code and parameters that are here.
        sheet: a picture of the flipped images.
        markdown: for GitHub; otherwise, for a terminal.
    """
    named = escaped(base) if markdown else base
    yield f"{'## ' if markdown else ''}Changes since {named} ({git.require_commit(base)[:7]})"
    yield ""
    if stale:
        yield f"dvc.lock is not up to date for {', '.join(stale)}: its results are others; see `thaw plan`."
        yield ""
    for one in found.unread:
        yield f"Could not be read, and is not compared: {escaped(one) if markdown else one}."
        yield ""
    if found.params:
        rows = [[address, _as_json(old), _as_json(new)] for address, old, new in found.params]
        yield from [*table_lines(["parameter", base, "here"], rows, markdown), ""]
    if found.stages or found.gone:
        rows = [[stage, "\n".join(changed) or "the same results"] for stage, changed in found.stages]
        rows += [[stage, "is no more"] for stage in found.gone]
        yield from [*table_lines(["stage that ran", "what changed"], rows, markdown), ""]
    rows = list(scores(found))
    if rows:
        yield from [*table_lines(["file", "score", base, "here", "change", "p"], rows, markdown), ""]
    yield from seeds(found)
    yield from predictions(found, named, markdown)
    yield from suspected_labels(found, named, markdown)
    if sheet:
        yield f"![Images that flipped]({sheet.as_posix()})" if markdown else f"Images that flipped: {sheet}"
    if not (found.params or found.stages or found.gone or rows or found.suspected or found.unread):
        yield "Nothing changed."


def scores(found: Review) -> Iterator[list[str]]:
    """Yield a row for each score that changed, with its interval or range and the p of its test, where it has them."""
    values = {(file, score): (old, new) for file, score, old, new, _ in found.metrics}
    tests = {one.variant: one.pair for one in found.compared}
    for file, score, old, new, change in found.metrics:
        is_bound = any(
            score.endswith(end) and (file, score.removesuffix(end) + of) in values for end, of in BOUNDS.items()
        )
        if old == new or is_bound:
            continue
        bounds = [
            values.get((file, score.removesuffix(of) + end), (None, None))
            for end, of in BOUNDS.items()
            if score.endswith("_mean") == bool(of)
        ]
        section, _, name = score.rpartition(".")
        test = getattr(tests.get(Path(file).stem), name, None) if section == "test" else None
        sides = [_with_interval(value, *(bound[side] for bound in bounds)) for side, value in enumerate((old, new))]
        yield [
            file,
            score,
            *sides,
            _in_cell(change),
            test.shown_p.removeprefix("= ") if isinstance(test, Difference) else "",
        ]


def seeds(found: Review) -> Iterator[str]:
    """Yield, for each variant that was trained with several seeds, a warning of changes that are within their range."""
    values = {(file, score): (old, new) for file, score, old, new, _ in found.metrics}
    within = defaultdict(list)
    for file, score, old, new, change in found.metrics:
        path = Path(file)
        of_seeds = (path.parent / "seeds" / path.name).as_posix()
        ends = zip(*(values.get((of_seeds, f"{score}{end}"), ()) for end in ("_min", "_max")), strict=False)
        ranges = [most - least for least, most in ends if least is not None and most is not None]
        if old != new and change is not None and ranges and is_within(change, max(ranges)):
            within[path.stem].append(f"{score} (range {round(max(ranges), DECIMALS)})")
    for variant, told in within.items():
        yield (
            f"- {variant}: warning: the change of {listed(told)} is no larger than the range over its seeds: it may be "
            "the seed's."
        )
    if within:
        yield ""


def predictions(found: Review, base: str, markdown: bool) -> Iterator[str]:
    """Yield, for each variant whose predictions changed, what of it is noise, and which images flipped."""
    if found.not_compared:
        reason = escaped(found.not_compared) if markdown else found.not_compared
        yield f"The predictions were not compared: {reason}."
        yield ""
    for one in found.compared:
        yield f"- {one.variant}: {verdict(one.pair)}. {_flipped(one, base)}"
    if found.compared:
        yield ""
        yield (
            f"Paired tests on the {found.images} test images of both: McNemar's exact one for accuracy, the bootstrap "
            f"for macro-F1 and log loss; p corrected for the number of variants, {len(found.compared)} (Holm). "
            "A difference with p > 0.05 is within the noise."
        )
        yield from _of_groups(found)
        yield ""


def _of_groups(found: Review) -> Iterator[str]:
    """Yield what the p-values are worth where test images belong together."""
    groups = {new for _, score, _, new, _ in found.metrics if score == "test.groups" and new is not None}
    if groups:
        yield (
            f"Warning: the test images are of {counted(min(groups), 'group')}: intervals and p-values, "
            "which take images for independent, are too narrow and too small; cross_validation heeds groups."
        )


def suspected_labels(found: Review, base: str, markdown: bool) -> Iterator[str]:
    """Yield, by features, how many labels are suspected to be wrong, and which of them are new."""
    for one in found.suspected:
        named = "; ".join(f"{new.path} ({new.given} → {new.suggested})" for new in one.new[:SUSPECTED])
        named = escaped(named) if markdown else named
        more = f" and {len(one.new) - SUSPECTED} more" if len(one.new) > SUSPECTED else ""
        which = f": {named}{more}" if named else ""
        gone = f"{one.no_more} of then {'is' if one.no_more == 1 else 'are'} no more suspected; " if one.no_more else ""
        now = counted(len(one.now), "label is", "labels are")
        told = f"{now} suspected, {len(one.new)} of them new since {base}{which}."
        yield f"- label_issues.{one.features}: {gone}{told}"
    if found.suspected:
        yield ""


def draw_flips(compared: list[Compared]) -> Path | None:
    """Draw the images that flipped, where thumbnails are at hand; return the picture's path."""
    rows = [row for one in compared for row in _rows(one)]
    manifest, thumbnails = Path(MANIFEST), Path(THUMBNAILS)
    if not rows or not manifest.exists() or not thumbnails.exists():
        return None
    images = read_manifest(manifest)
    digests = {row.path: row.sha256 for row in images}
    classes = class_names(images)
    names = dict(zip(classes, drawable(classes), strict=True))
    flipped = [flip for _, flips in rows for flip in flips]
    if any(flip.path not in digests or not {flip.old, flip.new} <= names.keys() for flip in flipped):
        return None  # it is of other images than dvc.lock
    with reading_thumbnails(thumbnails) as pictures:
        draw_grid(
            SHEET,
            [
                (
                    title,
                    [(pictures[digests[flip.path]], f"was {names[flip.old]}\nnow {names[flip.new]}") for flip in flips],
                )
                for title, flips in rows
            ],
            classes,
        )
    return SHEET


def _rows(one: Compared) -> Iterator[tuple[str, list[Flip]]]:
    """Yield the rows of a variant's flipped images, each with its title."""
    by_kind = defaultdict(list)
    for flip in one.flips:
        by_kind["wrong now" if flip.old == flip.label else "right now"].append(flip)
    for kind, flips in sorted(by_kind.items(), reverse=True):
        for start in range(0, min(len(flips), MOST_ROWS * FLIPS_IN_A_ROW), FLIPS_IN_A_ROW):
            images = counted(len(flips), "test image is", "test images are")
            title = f"{one.variant}: {images} {kind}" if start == 0 else ""
            yield title, flips[start : start + FLIPS_IN_A_ROW]


def _flipped(one: Compared, base: str) -> str:
    return f"Only right at {base}: {one.pair.only_first_right}; only right here: {one.pair.only_second_right}."


def _with_interval(value: Any, low: Any, high: Any) -> str:
    return _in_cell(value) if low is None or high is None else f"{_in_cell(value)} ({_in_cell(low)} – {_in_cell(high)})"


def _as_json(value: Any) -> str:
    """Return a parameter's value, with all of its digits; nothing where there is none."""
    return "" if value is None else json.dumps(value, ensure_ascii=False, default=str)


def _in_cell(value: Any) -> str:
    """Return a score as a table has it."""
    if value is None:
        return ""
    return str(round(value, DECIMALS) if isinstance(value, float) else value)
