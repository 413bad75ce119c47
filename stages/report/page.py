"""The report: one page without scripts that fetches nothing, about all variants."""

import base64
import io
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from stages.report import charts
from stages.report.answered import answered, at, by_percent
from stages.report.comparison import Block, Points, Standing, Table, percent
from stages.report.markup import Markup, joined, tag
from thaw.formats.history import best_step
from thaw.formats.label_issues import LabelIssue
from thaw.formats.manifest import SPLITS, Row, class_names
from thaw.formats.predictions import Predictions
from thaw.formats.thumbnails import Thumbnails
from thaw.scoring.scoring import calibration_error, reliability_bins

STYLE = Path(__file__).with_suffix(".css")
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""By which browsers fetch nothing, whatever the page says."""
SIDE = 96
"""Most pixels of a picture's longest side."""
MISTAKES = 12
SAMPLES = 4
SAMPLED_CLASSES = 24
MATRIX_CLASSES = 20
"""More do not fit on a page."""
CONFUSED = 5
SUSPECTED = 24
FEWEST_ANSWERED = 0.1
"""Share of the images from which on accuracy is drawn: of fewer, it jumps."""
MOST_ANSWERED = 0.9
"""Share of the images of which the page says how accurate their answers are."""
LONGEST_LABEL = 40


@dataclass(frozen=True)
class Contents:
    """What a report is about."""

    comparison: list[Block]
    standing: Standing
    predictions: dict[str, Predictions]
    """By variant, in the order of their standing, of the manifest's test images."""
    histories: dict[str, dict[str, list[float]]]
    """By variant, in the same order."""
    manifest: list[Row]
    manifest_digest: str
    params: str
    """YAML of what the variants were made with."""
    versions: dict[str, str]
    """By package."""
    label_issues: dict[str, list[LabelIssue]]
    """Images of the manifest whose labels may be wrong, by features."""


def page(contents: Contents, pictures: Thumbnails) -> str:
    """Return the report as HTML."""
    test = {row.path: row for row in contents.manifest if row.split == "test"}
    sections = {
        "Results": _results(contents),
        "Learning curves": _learning_curves(contents),
        "Mistakes": joined(*_mistakes(contents, test, pictures)),
        **_suspected_labels(contents, pictures),
        "Images": _images(contents.manifest, pictures),
        "What ran": _what_ran(contents),
    }
    anchors = {title: title.lower().replace(" ", "-") for title in sections}
    links = (tag("li", tag("a", title, href=f"#{anchor}")) for title, anchor in anchors.items())
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", "Thaw report"),
        tag("style", Markup(STYLE.read_text(encoding="utf-8"))),
    )
    body = tag(
        "body",
        tag(
            "header",
            tag("h1", "Thaw report"),
            *_summary(contents),
            tag("nav", tag("ul", *links), aria_label="Sections"),
        ),
        tag(
            "main",
            *(
                tag("section", tag("h2", title, id=anchors[title]), section, aria_labelledby=anchors[title])
                for title, section in sections.items()
            ),
        ),
    )
    # In lines, so that Git shows what changed.
    return re.sub("(?<=>)<(?!/)", "\n<", f"<!doctype html>{tag('html', head, body, lang='en')}\n")


def _summary(contents: Contents) -> Iterator[Markup]:
    standing = contents.standing
    first, classes = standing.order[0], len(class_names(contents.manifest))
    score, chosen_by = standing.test[first], standing.validation.get(first)
    chosen = ", chosen by validation"
    if chosen_by:
        chosen += f" ({chosen_by.correct} of {chosen_by.images} images)"
    yield tag(
        "p",
        tag("strong", first),
        f"{chosen if standing.ranked else ''}, is right on {score.correct} of {score.images} test images: accuracy "
        f"{percent(score.accuracy)}, 95 % interval {percent(score.accuracy_low)} – {percent(score.accuracy_high)}. "
        f"{_count(len(standing.test), 'variant')}, {_count(classes, 'class', 'classes')}, "
        f"{_count(len(contents.manifest), 'image')}.",
        class_="lead",
    )
    if first in standing.unranked:
        reason = standing.unranked[first]
        yield tag("p", f"{reason[0].upper()}{reason[1:]}. No variant can be ranked; it is the first in params.yaml.")


def _results(contents: Contents) -> Markup:
    standing = contents.standing
    rows = [
        (standing.marked(name), one.accuracy, one.accuracy_low, one.accuracy_high)
        for name in standing.order
        for one in [standing.test[name]]
    ]
    said = "; ".join(f"{name} {percent(value)} ({percent(low)} – {percent(high)})" for name, value, low, high in rows)
    caption = "Test accuracy, with 95 % intervals"
    chart = _figure(charts.intervals(rows, f"Test accuracy with 95 % interval: {said}"), caption)
    return joined(chart, *map(_block, contents.comparison))


def _block(block: Block) -> Markup:
    match block:
        case Table(title, header, sides, rows):
            return _table(title, header, rows, [None if side == "l" else "number" for side in sides])
        case Points(lines):
            return tag("ul", *(tag("li", line) for line in lines))
        case _:
            return tag("p", block, class_="note")


def _learning_curves(contents: Contents) -> Markup:
    accuracies = _finite(contents.histories, "accuracy")
    losses = _finite(contents.histories, "loss")
    if min(losses, default=0) >= 0:
        losses = [loss for loss in losses if loss > 0]  # of which there are logarithms
    ranges = {
        "accuracy": (min(math.floor(min(accuracies, default=0) * 10) / 10, 0.9), 1.0),
        "loss": (min(losses, default=0.1), max(losses, default=1.0)),
    }
    key = tag(
        "p",
        tag("span", "validation", class_="validation"),
        ", ",
        tag("span", "training", class_="training"),
        "; dotted: where the validation loss is least, or the C that was chosen. All variants have the same scales.",
        class_="note",
    )
    drawn = []
    for name, history in contents.histories.items():
        best, told = _chosen(history)
        pair = (_curves(name, history, metric, ranges[metric], best) for metric in ("accuracy", "loss"))
        title = tag("h3", contents.standing.marked(name))
        drawn.append(tag("article", title, tag("div", *pair, class_="pair"), tag("p", told)))
    return joined(key, *drawn)


def _curves(
    name: str, history: dict[str, list[float]], metric: str, room: tuple[float, float], best: int | None
) -> Markup:
    is_solved, is_loss = "C" in history, metric == "loss"
    is_log = is_loss and room[0] > 0
    x_label = "C" if is_solved else "epoch"
    return charts.curves(
        "loss, logarithmic" if is_log else metric,
        history["C" if is_solved else "step"],
        {"training": history[metric], "validation": history[f"val_{metric}"]},
        room,
        f"{name}: {metric} of training and validation by {x_label}",
        x_label=x_label,
        log_x=is_solved,
        log_y=is_log,
        written=charts.plain if is_loss else charts.share,
        marked=best,
    )


def _chosen(history: dict[str, list[float]]) -> tuple[int | None, str]:
    """Return which row of a history is the best, and why, in words."""
    best = best_step(history)
    if best is None:
        return None, "The validation loss is not finite anywhere."
    epochs = f"in epoch {history['step'][best]:g} of {history['step'][-1]:g}"
    where = f"at C = {history['C'][best]:g}" if "C" in history else epochs
    validation = f"{history['val_loss'][best]:.3f}, with accuracy {percent(history['val_accuracy'][best])}"
    if "cv_loss" not in history:
        return best, f"Least validation loss {where}: {validation}."
    crossed = f"{history['cv_loss'][best]:.3f}, with accuracy {percent(history['cv_accuracy'][best])}"
    return best, f"Least loss in cross-validation {where}: {crossed}; validation loss {validation}."


def _mistakes(contents: Contents, test: dict[str, Row], pictures: Thumbnails) -> Iterator[Markup]:
    for name, one in contents.predictions.items():
        classes = [_name(label) for label in one.classes]
        matrix = [_confusion(name, one, classes)] if len(classes) <= MATRIX_CLASSES else []
        yield tag(
            "article",
            tag("h3", contents.standing.marked(name)),
            *_worst(one, classes, test, pictures),
            *_most_confused(one, classes),
            tag("div", *matrix, _reliability(name, one), _answered(name, one), class_="cards"),
        )


def _worst(one: Predictions, classes: list[str], test: dict[str, Row], pictures: Thumbnails) -> Iterator[Markup]:
    """Yield the images that are taken for another class, those with the least probability of their own first."""
    predicted = one.probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != one.labels)
    worst = wrong[np.argsort(one.probabilities[wrong, one.labels[wrong]], kind="stable")][:MISTAKES]
    which = "" if not len(wrong) else ", the worst first" if len(wrong) == len(worst) else f"; the worst {len(worst)}"
    are = "is" if len(wrong) == 1 else "are"
    yield tag("p", f"{len(wrong)} of {len(predicted)} test images {are} taken for another class{which}.")
    shown = []
    for image in worst:
        label, guess = one.labels[image], predicted[image]
        told = f", taken for {classes[guess]} ({percent(one.probabilities[image, guess])})"
        shown.append(_figure(_image(test[one.paths[image]], pictures), tag("b", classes[label]), told))
    if shown:
        yield tag("div", *shown, class_="pictures")


def _reliability(name: str, one: Predictions) -> Markup:
    bins, error = reliability_bins(one.labels, one.probabilities), calibration_error(one.labels, one.probabilities)
    said = "; ".join(f"{bin.accuracy:.0%} of {bin.images} at confidence {bin.confidence:.0%}" for bin in bins)
    chart = charts.reliability(bins, f"{name}: accuracy by confidence: {said}")
    return _figure(chart, f"Accuracy by confidence; calibration error {error:.3f}. Dotted: perfectly calibrated")


def _answered(name: str, one: Predictions) -> Markup:
    """Return how accurate a variant is where it answers only the images that it is surest of."""
    points = answered(one.labels, one.probabilities)
    drawn = by_percent(points, FEWEST_ANSWERED)
    most = at(points, MOST_ANSWERED)
    confidence = math.floor(most.confidence * 10_000) / 10_000  # whoever takes that answers no fewer
    told = f"At {most.share:.0%} answered, confidence {confidence:g} or more: accuracy {percent(most.accuracy)}"
    chart = charts.curves(
        "accuracy",
        [100 * point.share for point in drawn],
        {"answered": [point.accuracy for point in drawn]},
        (min(math.floor(20 * min(point.accuracy for point in drawn)) / 20, 0.95), 1.0),
        f"{name}: accuracy by the share of images that is answered, the surest first. {told}",
        x_label="% of test images answered, the surest first",
        written=charts.share,
    )
    return _figure(chart, told)


def _most_confused(one: Predictions, classes: list[str]) -> Iterator[Markup]:
    """Yield a line on the pairs of classes that are taken for each other more than once, the most frequent first."""
    both = np.stack([one.labels, one.probabilities.argmax(axis=1)], axis=1)
    pairs, times = np.unique(both[both[:, 0] != both[:, 1]], axis=0, return_counts=True)
    order = np.argsort(-times, kind="stable")[:CONFUSED]
    told = [
        f"{classes[actual]} taken for {classes[guess]}, {count} times"
        for (actual, guess), count in zip(pairs[order], times[order], strict=True)
        if count > 1
    ]
    if told:
        yield tag("p", f"Most often: {'; '.join(told)}.")


def _confusion(name: str, one: Predictions, classes: list[str]) -> Markup:
    counts = np.zeros((len(classes), len(classes)), int)
    np.add.at(counts, (one.labels, one.probabilities.argmax(axis=1)), 1)
    rows = []
    for actual, row in enumerate(counts):
        cells = [
            tag(
                "td",
                str(count) if count else "",
                class_="right" if guess == actual else "wrong",
                style=f"--share: {100 * count / row.sum():.0f}%" if count else None,
            )
            for guess, count in enumerate(row)
        ]
        rows.append(tag("tr", tag("th", classes[actual], scope="row"), *cells))
    head = (tag("th", tag("span", label), scope="col") for label in classes)
    table = tag(
        "table",
        tag("caption", "Confusion: rows are true classes, columns are predicted ones"),
        tag("thead", tag("tr", tag("td"), *head)),
        tag("tbody", *rows),
        class_="confusion" if max(map(len, classes)) <= 3 else "confusion upright",
    )
    return _scrolling(f"Confusion matrix of {name}", table)


def _suspected_labels(contents: Contents, pictures: Thumbnails) -> dict[str, Markup]:
    """Return a section on the images whose labels are suspected to be wrong; none where nobody has looked for them."""
    paths = {one.path for issues in contents.label_issues.values() for one in issues}
    rows = {row.path: row for row in contents.manifest if row.path in paths}
    parts = [
        tag(
            "p",
            "What classifiers say that were trained without the image, and its label. Some labels are right, and the "
            "image is a hard one: nothing was changed.",
            class_="note",
        )
    ]
    for name, issues in contents.label_issues.items():
        suspected = [one for one in issues if one.suspected]
        which = f"; the worst {SUSPECTED}" if len(suspected) > SUSPECTED else ""
        shown = (
            _figure(
                _image(rows[one.path], pictures),
                f"{_name(one.given)} → ",
                tag("b", _name(one.suggested)),
            )
            for one in suspected[:SUSPECTED]
        )
        told = f"{_count(len(suspected), 'label')} of {_count(len(contents.manifest), 'image')} suspected{which}."
        parts.append(tag("article", tag("h3", name), tag("p", told), tag("div", *shown, class_="pictures")))
    return {"Suspected labels": joined(*parts)} if contents.label_issues else {}


def _images(manifest: list[Row], pictures: Thumbnails) -> Markup:
    classes = class_names(manifest)
    counts = Counter((row.label, row.split) for row in manifest)
    splits = [split for split in SPLITS if any(row.split == split for row in manifest)]
    rows = [["all classes", *(str(sum(counts[label, split] for label in classes)) for split in splits)]]
    samples = []
    for label in classes[:SAMPLED_CLASSES]:
        rows.append([label, *(str(counts[label, split]) for split in splits)])
        mine = (row for row in manifest if row.label == label and row.split == "train")
        shown = (_image(row, pictures) for row in sorted(mine, key=lambda row: row.sha256)[:SAMPLES])
        samples.append(_figure(tag("div", *shown, class_="strip"), _name(label)))
    more = len(classes) - SAMPLED_CLASSES
    note = [tag("p", f"{_count(more, 'more class', 'more classes')} not shown.", class_="note")] if more > 0 else []
    distribution = _table("Images by class and split", ["class", *splits], rows, [None, *("number" for _ in splits)])
    return joined(tag("div", *samples, class_="samples"), distribution, *note)


def _what_ran(contents: Contents) -> Markup:
    versions = [[name, version] for name, version in contents.versions.items()]
    return joined(
        tag("p", "Images, classes and splits: SHA-256 of the manifest ", tag("code", contents.manifest_digest), "."),
        tag("h3", "Backbones, features and variants"),
        tag("pre", contents.params),
        tag("h3", "Versions"),
        _table("Packages that are pinned", ["package", "version"], versions, [None, None]),
        tag("p", "DVC runs no stage again because a pinned version changed.", class_="note"),
    )


def _table(title: str, header: list[str], rows: list[list[str]], aligned: Sequence[str | None]) -> Markup:
    def cells(row: list[str]) -> Iterator[Markup]:
        for number, (text, side) in enumerate(zip(row, aligned, strict=True)):
            yield tag("td", text, class_=side) if number else tag("th", text, scope="row")

    head = (tag("th", text, scope="col", class_=side) for text, side in zip(header, aligned, strict=True))
    return _scrolling(
        title,
        tag(
            "table",
            tag("caption", title),
            tag("thead", tag("tr", *head)),
            tag("tbody", *(tag("tr", *cells(row)) for row in rows)),
        ),
    )


def _scrolling(title: str, table: Markup) -> Markup:
    """Return a table in a box of its own, which scrolls where the page is too narrow for it, by keyboard too."""
    return tag("div", table, class_="scroll", role="region", aria_label=title, tabindex=0)


def _figure(content: Markup, *caption: str) -> Markup:
    return tag("figure", content, tag("figcaption", *caption))


def _image(row: Row, pictures: Thumbnails) -> Markup:
    """Return a picture that is part of the page."""
    image: Image.Image = pictures[row.sha256].convert("RGB")
    image.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    image.save(file, "WEBP", quality=75, method=6)
    source = f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
    tiny = "tiny" if max(image.size) <= SIDE // 3 else None
    return tag("img", src=source, alt=row.path, width=image.width, height=image.height, class_=tiny)


def _name(label: str) -> str:
    """Return a class's name, cut off when long, as a sentence has it, also where it is read from right to left."""
    name = charts.shortened(label, LONGEST_LABEL)
    if any(unicodedata.bidirectional(one) in ("R", "AL") for one in name):
        return f"\N{FIRST STRONG ISOLATE}{name}\N{POP DIRECTIONAL ISOLATE}"  # else 'a → b' would be shown as 'b → a'
    return name


def _finite(histories: dict[str, dict[str, list[float]]], metric: str) -> list[float]:
    values = (value for one in histories.values() for column in (metric, f"val_{metric}") for value in one[column])
    return [value for value in values if math.isfinite(value)]


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"
