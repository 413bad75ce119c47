"""The report: what it says, that no text of the data becomes markup, and how Chromium shows it."""

import io
import math
import re
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import confusion_matrix, precision_recall_curve

from stages.report import learning_curves
from stages.report.__main__ import _read_issues
from stages.report.answered import answered, at, by_percent
from stages.report.charts import Axis
from stages.report.comparison import CHOSEN_ON_TEST, Standing, as_markdown, compare, decimal, of_groups, percent, points
from stages.report.markup import EMPTY, Markup, tag
from stages.report.page import MATRIX_CLASSES, MISTAKES, POLICY, SUSPECTED, Contents, _most_confused, page
from tests import chromium
from thaw.errors import UserError
from thaw.formats.label_issues import LabelIssue, write_label_issues
from thaw.formats.manifest import Row
from thaw.formats.predictions import Predictions
from thaw.formats.thumbnails import reading_thumbnails, thumbnail, writing_thumbnails
from thaw.scoring.scoring import score

CLASSES = sorted(
    ['<b>oak</b> & "pine"', "白樺 / žluťoučký", "</style><script>alert(1)</script>", "x" * 200, "silver birch"]
)
VARIANTS = ("frozen_head", "a-name-that-is-much-longer-than-any-label-has-room-for", "half")
SOLVED, DIVERGED, TESTED = VARIANTS
TEST_IMAGES = 60


def contents(classes: list[str], noise: float = 0.8, variants: tuple[str, ...] = VARIANTS) -> Contents:
    """Make a report's contents: one variant is solved, one diverges after its first epoch, one is marked."""
    labels = np.arange(TEST_IMAGES) % len(classes)
    paths = [f"{classes[label]}/{number}.png" for number, label in enumerate(labels)]
    manifest = [Row(path, classes[label], "test", digest(path)) for path, label in zip(paths, labels, strict=True)]
    manifest += [Row(f"train/{name}", name, "train", digest(name)) for name in classes]
    predictions, validation = {}, {}
    for number, name in enumerate(variants):
        logits = np.random.default_rng(number).normal(0, noise * (number + 1), (TEST_IMAGES, len(classes)))
        logits[np.arange(TEST_IMAGES), labels] += 2
        rows = np.exp(logits)
        predictions[name] = Predictions(paths, labels, rows / rows.sum(axis=1, keepdims=True), classes)
        validation[name] = score(labels[::2], rows[::2] / rows[::2].sum(axis=1, keepdims=True))
    scores = {name: score(one.labels, one.probabilities) for name, one in predictions.items()}
    standing = Standing(validation, scores, {name: CHOSEN_ON_TEST for name in variants if name == TESTED})
    blocks = compare(labels, {name: one.probabilities for name, one in predictions.items()}, standing)
    histories: dict[str, dict[str, list[float]]] = {
        SOLVED: {
            "step": [1, 2, 3],
            "C": [1e-6, 1e-3, 1.0],
            "loss": [1.2, 0.4, 0.001],
            "accuracy": [0.4, 0.8, 1.0],
            "cv_loss": [1.1, 0.6, 0.55],
            "cv_accuracy": [0.4, 0.7, 0.8],
            "val_loss": [1.3, 0.5, 0.7],
            "val_accuracy": [0.35, 0.75, 0.7],
        },
        DIVERGED: {
            "step": [1, 2],
            "loss": [0.9, math.nan],
            "accuracy": [0.6, 0.2],
            "val_loss": [1.0, math.inf],
            "val_accuracy": [0.55, 0.2],
        },
        TESTED: {"step": [1], "loss": [0.0], "accuracy": [1.0], "val_loss": [0.3], "val_accuracy": [0.9]},
    }
    return Contents(
        comparison=blocks,
        standing=standing,
        predictions={name: predictions[name] for name in standing.order},
        histories={name: histories[name] for name in standing.order},
        manifest=manifest,
        manifest_digest="ab" * 32,
        params="variants:\n  <half>: &\n",
        versions={"keras": "3.15.1"},
        label_issues={
            "bottleneck": [
                LabelIssue(path, classes[label], classes[label - 1], number / TEST_IMAGES, number < SUSPECTED + 2)
                for number, (path, label) in enumerate(zip(paths, labels, strict=True))
            ],
            "clean": [],
        },
    )


def digest(path: str) -> str:
    return f"{abs(sum(ord(char) * 31**place for place, char in enumerate(path[:50]))):x}"


def written(found: Contents, folder: Path) -> str:
    """Write pictures of all images, and return the report."""
    with writing_thumbnails(folder / "thumbnails.zip") as pictures:
        for number, row in enumerate(found.manifest):
            pictures.add(
                row.sha256, thumbnail(Image.new("RGB", (8 if number % 2 else 200, 8 + number), (number, 99, 50)))
            )
    with reading_thumbnails(folder / "thumbnails.zip") as pictures:
        return page(found, pictures)


@dataclass
class Element:
    name: str
    attributes: dict[str, str | None]
    parent: "Element | None" = None
    children: list["Element"] = field(default_factory=list)
    text: str = ""

    def __iter__(self) -> Iterator["Element"]:
        for child in self.children:
            yield child
            yield from child

    def all(self, *names: str) -> list["Element"]:
        return [one for one in self if one.name in names]


class Tree(HTMLParser):
    """A page's elements; that each is closed where it should be is asserted."""

    def __init__(self, html: str):
        super().__init__()
        self.root = self._at = Element("", {})
        self.feed(html)
        self.close()
        assert self._at is self.root

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        element = Element(name, dict(attributes), self._at)
        self._at.children.append(element)
        if name not in EMPTY:
            self._at = element

    def handle_endtag(self, name: str) -> None:
        assert self._at.name == name
        assert self._at.parent is not None
        self._at = self._at.parent

    def handle_data(self, text: str) -> None:
        element: Element | None = self._at
        while element:
            element.text += text
            element = element.parent


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(contents(CLASSES), tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def tree(html: str) -> Element:
    return Tree(html).root


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (percent, 0.9996, "99.96%"),
        (percent, 0.999996, "99.9996%"),
        (percent, 1 - 1e-16, "100.0%"),
        (percent, 0.0004, "0.04%"),
        (percent, 0.0, "0.0%"),
        (percent, 0.01, "1.0%"),
        (percent, 0.97449, "97.4%"),
        (decimal, 0.9998, "0.9998"),
        (decimal, 1.0, "1.000"),
        (decimal, 0.45649963, "0.456"),
        (points, -0.0001, "-0.01 points"),
        (points, 0.0074, "+0.7 points"),
        (points, 0.01, "+1.0 points"),
        (points, 0.0, "+0.0 points"),
        (points, -1.0, "-100.0 points"),
    ],
)
def test_only_none_and_all_are_written_as_that(write: Callable[[float], str], value: float, text: str) -> None:
    assert write(value) == text


@pytest.mark.slow
def test_one_mistake_of_many_is_no_full_score() -> None:
    labels = np.arange(2500) % 2
    right = np.where(np.eye(2)[labels] == 1, 0.9, 0.1)
    one_wrong, all_wrong = right.copy(), 1 - right
    one_wrong[7] = one_wrong[7, ::-1]
    said = {"a": one_wrong, "b": right, "c": all_wrong}
    scores = {name: score(labels, rows) for name, rows in said.items()}
    text = as_markdown(compare(labels, said, Standing(scores, scores, {})))
    (row,) = [line for line in text.splitlines() if line.startswith("| a | 99.96% (99.8% – 99.99%)")]
    assert " | 0.9996 (0.998 – 0.9999) | " in row
    assert " | -0.04 points, p = 1.000 | -0.0004, p = " in text
    assert " | -100.0 points, p < 0.001 | -1.000, p < 0.001 | " in text


@pytest.mark.parametrize(
    ("validation", "test", "told"),
    [
        (["", ""], ["", ""], []),
        (["", ""], ["g", "g"], ["the 2 test images are of 1 group:"]),
        (
            ["h", "h", ""],
            ["g", "", "g", ""],
            ["the 3 validation images are of 2 groups and the 4 test images are of 3"],
        ),
        (["g"], ["", "h"], []),
    ],
    ids=str,
)
def test_images_of_groups_are_told_beside_intervals(validation: list[str], test: list[str], told: list[str]) -> None:
    images = [
        Row(f"{split}/{place}", "oak", split, "", group)
        for split, groups in (("train", ["t", "t"]), ("validation", validation), ("test", test))
        for place, group in enumerate(groups)
    ]
    found = of_groups(images)
    assert len(found) == len(told)
    assert all(one in str(block) for one, block in zip(told, found, strict=True))


def test_what_is_not_markup_is_escaped() -> None:
    assert tag("p", "a < b & c", tag("b", "d"), class_='"x"', data_y=None) == (
        '<p class="&quot;x&quot;">a &lt; b &amp; c<b>d</b></p>'
    )
    assert tag("p", Markup("<i>")) == "<p><i></p>"
    assert tag("img", aria_label="'") == '<img aria-label="&#x27;">'


def test_no_name_becomes_markup(html: str, tree: Element) -> None:
    assert not tree.all("script")
    bold = {one.text.removesuffix("…") for one in tree.all("b")}  # the report's own, of a mistake's class
    assert all(any(name.startswith(text) for name in CLASSES) for text in bold)
    for name in CLASSES:
        assert name in tree.text
    assert tree.all("pre")[0].text == "variants:\n  <half>: &\n"
    assert html.count("<style>") == html.count("</style>") == 1


def test_a_page_is_whole_without_a_network_or_scripts(tree: Element) -> None:
    policy = [one.attributes["content"] for one in tree.all("meta") if "http-equiv" in one.attributes]
    assert policy == [POLICY]
    addresses = [value or "" for one in tree for key, value in one.attributes.items() if key in ("src", "href")]
    assert addresses
    assert all(address.startswith(("data:image/webp;base64,", "#")) for address in addresses)
    assert not [key for one in tree for key in one.attributes if key.startswith("on")]
    (style,) = tree.all("style")
    assert "url(" not in style.text
    assert "@import" not in style.text


def test_a_page_can_be_read_without_seeing_it(tree: Element) -> None:
    (root,) = tree.all("html")
    assert root.attributes["lang"] == "en"
    assert all(one.attributes["alt"] for one in tree.all("img"))
    assert all(one.attributes["role"] == "img" and one.attributes["aria-label"] for one in tree.all("svg"))
    assert all(one.attributes["scope"] in ("row", "col") for one in tree.all("th"))
    assert all(one.all("caption") for one in tree.all("table"))
    levels = [int(one.name[1]) for one in tree.all("h1", "h2", "h3")]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    names = [one.attributes["id"] for one in tree if "id" in one.attributes]
    assert len(set(names)) == len(names)
    assert {one.attributes["href"] for one in tree.all("a")} == {f"#{name}" for name in names}


def section(tree: Element, title: str) -> Element:
    return next(one for one in tree.all("section") if one.all("h2")[0].text == title)


def test_the_tables_of_the_comparison_are_there_as_they_are(tree: Element) -> None:
    found = contents(CLASSES)
    lines = [line for line in as_markdown(found.comparison).replace("\\*", "*").splitlines() if line.startswith("|")]
    expected = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if not line.startswith("| ---")]
    results = section(tree, "Results")
    assert [[cell.text for cell in row.all("th", "td")] for row in results.all("tr")] == expected
    assert f"{TESTED} *" in results.text
    assert f"* {TESTED}: not ranked, since the training was validated on the test split" in results.text


def test_mistakes_are_counted_by_class_and_shown_the_worst_first(tree: Element) -> None:
    found = contents(CLASSES)
    articles = section(tree, "Mistakes").all("article")
    assert len(articles) == len(VARIANTS)
    for article, (name, one) in zip(articles, found.predictions.items(), strict=True):
        assert article.all("h3")[0].text == (f"{name} *" if name == TESTED else name)
        predicted = one.probabilities.argmax(axis=1)
        rows = [[int(cell.text or 0) for cell in row.all("td")] for row in article.all("tbody")[0].all("tr")]
        assert rows == confusion_matrix(one.labels, predicted).tolist()
        wrong = [image for image in range(TEST_IMAGES) if predicted[image] != one.labels[image]]
        wrong.sort(key=lambda image: one.probabilities[image, one.labels[image]])
        pictures = [picture.attributes["alt"] for picture in article.all("img")]
        assert pictures == [one.paths[image] for image in wrong[:MISTAKES]]
        assert f"{len(wrong)} of {TEST_IMAGES} test images are taken for another class" in article.text


def test_a_curve_goes_through_what_was_measured(tree: Element) -> None:
    found = contents(CLASSES)
    articles = section(tree, "Learning curves").all("article")
    (article,) = [one for one in articles if one.all("h3")[0].text == SOLVED]
    history = found.histories[SOLVED]
    for chart, metric in zip(article.all("svg"), ("accuracy", "loss"), strict=True):
        texts = [one for one in chart.all("text") if re.fullmatch(r"[\d.e-]+%?", one.text)]
        # A chart is read by its ticks: where two of them are says where every value is.
        down = [one for one in texts if one.attributes["text-anchor"] == "end"]
        across = [one for one in texts if one.attributes["text-anchor"] == "middle"]
        for kind, column in (("training", metric), ("validation", f"val_{metric}")):
            (line,) = [one for one in chart.all("polyline") if one.attributes["class"] == kind]
            points = [tuple(map(float, point.split(","))) for point in (line.attributes["points"] or "").split()]
            steps = [10 ** read(x, across, "x") for x, _ in points]
            np.testing.assert_allclose(steps, history["C"], rtol=0.05)
            values = [read(y, down, "y", 4) for _, y in points]
            values = [10**value if metric == "loss" else value for value in values]
            np.testing.assert_allclose(values, history[column], rtol=0.05)
    assert "Least loss in cross-validation at C = 1: 0.550, with accuracy 80.0%; validation loss 0.700" in article.text


def read(place: float, ticks: list[Element], side: str, below: float = 0) -> float:
    """Read a chart at a place, between its outermost ticks and beyond; of a logarithmic one, return the exponent."""
    first, last = ticks[0], ticks[-1]
    start, end = (float(one.attributes[side] or 0) - below for one in (first, last))
    if first.text.endswith("%"):
        low, high = (float(one.text.rstrip("%")) / 100 for one in (first, last))
    else:
        low, high = (math.log10(float(one.text)) for one in (first, last))
    return low + (place - start) / (end - start) * (high - low)


def test_suspected_labels_are_shown_the_worst_first(tree: Element) -> None:
    found = contents(CLASSES)
    judged, clean = section(tree, "Suspected labels").all("article")
    issues = found.label_issues["bottleneck"]
    assert [one.attributes["alt"] for one in judged.all("img")] == [one.path for one in issues[:SUSPECTED]]
    for figure, one in zip(judged.all("figure"), issues, strict=False):
        given, suggested = figure.text.strip().split(" → ")
        assert one.given.startswith(given.removesuffix("…"))
        assert one.suggested.startswith(suggested.removesuffix("…"))
    assert f"{SUSPECTED + 2} labels of {len(found.manifest)} images suspected; the worst {SUSPECTED}." in judged.text
    assert "0 labels of" in clean.text


def test_names_that_are_read_from_right_to_left_turn_no_sentence(tmp_path: Path) -> None:
    names = ["\u05ea\u05d0\u05e0\u05d4", "\u062a\u0641\u0627\u062d", "oak"]
    tree = Tree(written(contents(names, variants=(SOLVED,)), tmp_path)).root
    first, second, other = f"\u2068{names[0]}\u2069", f"\u2068{names[1]}\u2069", "oak"
    suspected = {one.text for one in section(tree, "Suspected labels").all("figcaption")}
    assert suspected == {f"{first} → {other}", f"{second} → {first}", f"{other} → {second}"}
    told = " ".join(one.text for one in section(tree, "Mistakes").all("figcaption", "p"))
    assert set(re.findall(r"taken for ([^ ,]+)[ ,]", told)) <= {first, second, other, "another"}


def test_where_no_labels_are_judged_nothing_is_said_of_them(tmp_path: Path) -> None:
    tree = Tree(written(replace(contents(["a", "b"]), label_issues={}), tmp_path)).root
    assert "Suspected labels" not in tree.text


def test_accuracy_by_the_share_that_is_answered_is_scikit_learns() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 200)
    probabilities = random.dirichlet((1, 1, 1), 200).round(2)  # many images are as sure as others
    points = answered(labels, probabilities)
    right, confidence = probabilities.argmax(axis=1) == labels, probabilities.max(axis=1)
    precision, _, thresholds = precision_recall_curve(right, confidence)
    expected = precision[:-1][::-1]  # its last point is of no image
    np.testing.assert_allclose([one.accuracy for one in points], expected)
    np.testing.assert_allclose([one.confidence for one in points], thresholds[::-1])
    np.testing.assert_allclose([one.share for one in points], [(confidence >= one.confidence).mean() for one in points])
    assert points[-1].share == 1
    drawn = by_percent(points, 0.1)
    assert len(drawn) <= 91
    assert drawn[-1] == points[-1]
    assert all(one in points and one.share >= 0.1 for one in drawn)


def test_the_accuracy_of_the_surest_answers_is_said(tree: Element) -> None:
    found = contents(CLASSES)
    for article, one in zip(section(tree, "Mistakes").all("article"), found.predictions.values(), strict=True):
        confidence = one.probabilities.max(axis=1)
        surest = np.argsort(-confidence)[: round(0.9 * TEST_IMAGES)]
        accuracy = (one.probabilities.argmax(axis=1) == one.labels)[surest].mean()
        assert "At 90% answered, confidence " in article.text
        assert f" or more: accuracy {accuracy:.1%}" in article.text
        told = float(re.search(r"confidence ([\d.e-]+) or more", article.text)[1])  # type: ignore[index]
        assert (confidence >= told).sum() == len(surest)
        (line,) = [one for one in article.all("polyline") if one.attributes["class"] == "answered"]
        assert len((line.attributes["points"] or "").split()) > 40


def test_where_all_answers_are_as_sure_all_are_given() -> None:
    points = answered(np.array([0, 1, 1]), np.full((3, 2), 0.5))
    assert points == by_percent(points, 0.1)
    assert at(points, 0.9) == points[0]
    assert (points[0].share, points[0].accuracy) == (1.0, pytest.approx(1 / 3))


def test_what_is_not_finite_is_left_out(tree: Element) -> None:
    articles = section(tree, "Learning curves").all("article")
    (article,) = [one for one in articles if one.all("h3")[0].text == DIVERGED]
    assert "Least validation loss in epoch 1 of 2: 1.000, with accuracy 55.0%." in article.text
    assert "nan" not in " ".join(one.attributes["points"] or "" for one in article.all("polyline"))


@pytest.mark.parametrize("least", [-1.0, -0.3])
def test_a_loss_below_0_has_its_place(least: float, tmp_path: Path) -> None:
    history = {"step": [1.0, 2.0, 3.0], "loss": [0.5, -0.1, least], "accuracy": [0.2, 0.3, 0.4]}
    history |= {f"val_{name}": history[name] for name in ("loss", "accuracy")}
    found = replace(contents(["a", "b"], variants=(DIVERGED,)), histories={DIVERGED: history})
    chart = section(Tree(written(found, tmp_path)).root, "Learning curves").all("svg")[1]
    assert chart.all("text")[-2].text == "loss"
    ticks = [one for one in chart.all("text") if one.attributes.get("text-anchor") == "end"]
    (low, low_at), (high, high_at) = (
        (float(one.text), float(one.attributes["y"] or 0) - 4) for one in ticks[:: len(ticks) - 1]
    )
    for line in chart.all("polyline"):
        heights = [float(point.split(",")[1]) for point in (line.attributes["points"] or "").split()]
        values = [low + (at - low_at) / (high_at - low_at) * (high - low) for at in heights]
        np.testing.assert_allclose(values, history["loss"], atol=0.01)


@pytest.mark.parametrize(
    "history",
    [
        {"step": [1.0], "loss": [math.nan], "val_loss": [math.nan], "accuracy": [0.2], "val_accuracy": [0.3]},
        {
            "step": [1.0, 2.0],
            "loss": [0.0, 0.0],
            "val_loss": [0.0, 0.0],
            "accuracy": [1.0, 1.0],
            "val_accuracy": [1.0, 1.0],
        },
        {"C": [0.1], "loss": [0.5], "val_loss": [0.5], "accuracy": [0.0], "val_accuracy": [0.0], "step": [1.0]},
        {"C": [1e-300], "loss": [0.7], "val_loss": [0.7], "accuracy": [0.0], "val_accuracy": [0.0], "step": [1.0]},
    ],
    ids=["not finite", "nothing to lose", "one value", "one small value"],
)
def test_curves_without_any_room_are_drawn(history: dict[str, list[float]], tmp_path: Path) -> None:
    found = contents(["a", "b"], variants=(SOLVED,))
    tree = Tree(written(replace(found, histories={SOLVED: history}), tmp_path)).root
    numbers = [value or "" for svg in tree.all("svg") for one in svg for value in one.attributes.values()]
    assert not [value for value in numbers if re.search(r"\b(nan|inf)\b", value)]


def test_no_two_of_many_learning_curves_look_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Any] = []
    monkeypatch.setattr(learning_curves.pyplot, "close", figures.append)
    curve = {name: [0.5, 0.6] for name in ("step", "loss", "val_loss", "accuracy", "val_accuracy")}
    histories = {f"variant_{number}": curve for number in range(25)}
    learning_curves.draw_learning_curves(tmp_path / "curves.svg", histories)
    looks = [(line.get_color(), line.get_marker()) for line in figures[0].axes[0].get_legend().get_lines()]
    assert len({*looks}) == len(histories)


def test_a_variant_without_mistakes(tmp_path: Path) -> None:
    found = contents(["a", "b"], noise=0.0, variants=(SOLVED,))
    tree = Tree(written(found, tmp_path)).root
    mistakes = section(tree, "Mistakes")
    assert f"0 of {TEST_IMAGES} test images are taken for another class." in mistakes.text
    assert not mistakes.all("img")


def test_a_matrix_that_would_not_fit_is_left_out(tmp_path: Path) -> None:
    found = contents([f"class {number:02}" for number in range(MATRIX_CLASSES + 10)], variants=(SOLVED,))
    mistakes = section(Tree(written(found, tmp_path)).root, "Mistakes")
    assert not mistakes.all("table")


def test_of_many_classes_the_most_confused_are_found_without_a_table_of_all_pairs() -> None:
    names = [f"class {number}" for number in range(5000)]
    guesses = np.array([7, 7, 4999, 4999, 4999, 3, 0])
    probabilities = np.zeros((len(guesses), len(names)), np.float32)
    probabilities[np.arange(len(guesses)), guesses] = 1
    tracemalloc.start()
    try:
        (told,) = _most_confused(Predictions([], np.array([1, 1, 0, 0, 0, 3, 2]), probabilities, names), names)
        assert tracemalloc.get_traced_memory()[1] < 10**6
    finally:
        tracemalloc.stop()
    assert told == "<p>Most often: class 0 taken for class 4999, 3 times; class 1 taken for class 7, 2 times.</p>"


@pytest.mark.parametrize("other", [Row("other.png", "a", "train", ""), Row("1.png", "b", "train", "")])
def test_label_issues_of_other_images_are_an_error(tmp_path: Path, other: Row) -> None:
    path, issues = tmp_path / "f.csv", [LabelIssue("1.png", "a", "b", 0.1, True)]
    write_label_issues(path, issues)
    assert _read_issues(path, tmp_path, [Row("1.png", "a", "train", "")]) == issues
    with pytest.raises(UserError, match=r"f\.csv: of other images than .*; run `dvc repro`"):
        _read_issues(path, tmp_path, [other])


@pytest.mark.parametrize(
    ("axis", "expected"),
    [
        (Axis(0.85, 1.0, 0, 1), [0.85, 0.9, 0.95, 1.0]),
        (Axis(0, 1, 0, 1), [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (Axis(1, 8, 0, 1), [2, 4, 6, 8]),
        (Axis(1, 1, 0, 1), [1]),
        (Axis(1e-300, 1e-300, 0, 1, log=True), [1e-300]),
        (Axis(1e-300, 5e-300, 0, 1, log=True), [1e-300, 2e-300, 3e-300, 4e-300, 5e-300]),
        (Axis(5e-324, 1e300, 0, 1, log=True), [1e-323, 1e-198, 1e-73, 1e52, 1e177]),
        (Axis(1e-6, 10, 0, 1, log=True), [1e-6, 1e-4, 1e-2, 1]),
        (Axis(0.11, 9.9, 0, 1, log=True), [0.2, 0.5, 1, 2, 5]),
        (Axis(0.3, 3.0, 0, 1, log=True), [0.5, 1, 2]),
        (Axis(0.2, 0.9, 0, 1, log=True), [0.2, 0.4, 0.6, 0.8]),
    ],
)
def test_ticks_are_round(axis: Axis, expected: list[float]) -> None:
    np.testing.assert_allclose(axis.ticks(), expected)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[chromium.Page]:
    found = chromium.find()
    if not found:
        pytest.skip("no Chromium is installed; Debian's package chromium-headless-shell has one")
    with chromium.opened(found, tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def shown(browser: chromium.Page, html: str, tmp_path: Path) -> chromium.Page:
    (tmp_path / "report.html").write_text(html, encoding="utf-8")
    browser.open(tmp_path / "report.html")
    return browser


def complaints(page: chromium.Page) -> list[dict[str, Any]]:
    return page.named("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")


def test_chromium_has_nothing_to_fetch_and_nothing_to_complain_of(
    shown: chromium.Page, html: str, tmp_path: Path
) -> None:
    addresses = {request["request"]["url"] for request in shown.named("Network.requestWillBeSent")}
    assert {address for address in addresses if not address.startswith("data:")} == {
        (tmp_path / "report.html").as_uri()
    }
    assert complaints(shown) == []
    assert shown.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    # It would not fetch what has got into a page all the same.
    (tmp_path / "altered.html").write_text(
        html.replace("<main>", '<main><img src="http://127.0.0.1:9/">'), encoding="utf-8"
    )
    shown.open(tmp_path / "altered.html")
    assert "Content Security Policy" in complaints(shown)[0]["entry"]["text"]


VIEWS = {
    "phone": {"width": 320},
    "desktop": {"width": 1280},
    "dark": {"width": 360, "scheme": "dark"},
    "print": {"width": 680, "media": "print"},  # A4 without its margins
}
# Colours are read off a canvas, which knows all of their notations.
CONTRAST = """
(() => {
  const context = Object.assign(document.createElement("canvas"), {width: 1, height: 1})
    .getContext("2d", {willReadFrequently: true});
  const over = (colors) => {
    for (const color of colors) { context.fillStyle = color; context.fillRect(0, 0, 1, 1); }
    const [r, g, b] = [...context.getImageData(0, 0, 1, 1).data]
      .map(one => one / 255).map(one => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement, style = getComputedStyle(element);
    if (!texts.currentNode.data.trim() || !element.getClientRects().length) continue;
    const behind = ["white"];
    for (let one = element; one; one = one.parentElement) behind.splice(1, 0, getComputedStyle(one).backgroundColor);
    const ground = over(behind);
    const ink = over([...behind, element instanceof SVGElement ? style.fill : style.color]);
    const contrast = (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
    found.push([contrast, texts.currentNode.data.slice(0, 40)]);
  }
  return found;
})()
"""


@pytest.mark.parametrize("view", VIEWS)
def test_a_page_fits_and_can_be_read_in_chromium(view: str, shown: chromium.Page) -> None:
    shown.show(**VIEWS[view])
    assert shown.evaluate("document.documentElement.scrollWidth") <= VIEWS[view]["width"]
    found = shown.evaluate(CONTRAST)
    assert len(found) > 100
    assert [(contrast, text) for contrast, text in found if contrast < 4.5] == []  # WCAG 2.2, 1.4.3, level AA
    sizes = "[...document.querySelectorAll('svg text')].map(one => one.getBoundingClientRect().height)"
    assert min(shown.evaluate(sizes)) > 9
    image = Image.open(io.BytesIO(shown.screenshot())).convert("RGB")
    assert image.width == VIEWS[view]["width"]
    colors = image.getcolors(image.width * image.height)
    assert colors is not None
    assert len(colors) > 100
    (count, (red, *_)) = max(colors)
    assert count < 0.98 * image.width * image.height
    assert (red < 64) == (view == "dark")


def test_chromium_prints_it(shown: chromium.Page) -> None:
    shown.show(width=680, media="print", scheme="dark")
    pdf = shown.pdf()
    assert pdf.startswith(b"%PDF-")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 12


def test_what_is_too_wide_scrolls_in_a_box_of_its_own(shown: chromium.Page) -> None:
    shown.show(width=320)
    boxes = shown.evaluate(
        "[...document.querySelectorAll('.scroll')].filter(one => one.scrollWidth > one.clientWidth)"
        ".map(one => [getComputedStyle(one).overflowX, one.tabIndex])"
    )
    assert boxes
    assert all(box == ["auto", 0] for box in boxes)
