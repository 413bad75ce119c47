"""What images show, by a trained model."""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path

import numpy as np
from tqdm import tqdm

from commands import whole_number
from commands.output import counted, path_cell, percent, printable, refuse_place, text_cell, writing_table
from thaw.images.reading import images_at
from thaw.images.reading.archives import Member

TOP = 5
Show = Callable[[Path | Member, list[tuple[str, float]]], object]
"""A function that takes an image's path and its most probable classes, each with its probability."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("model", type=Path, help="a variant's model, such as models/variants/full.keras")
    parser.add_argument("images", type=Path, nargs="+", help="files, or folders or archives of them")
    parser.add_argument("--out", type=Path, help="the CSV file to write; without it, a table is printed")
    parser.add_argument(
        "--top", type=whole_number, default=TOP, metavar="K", help=f"classes for each image; {TOP} by default"
    )
    parser.add_argument(
        "--unsure",
        type=_probability,
        metavar="P",
        help="leave the first class empty where its probability is less; the report shows how accurate the others are",
    )


def main(model: Path, images: list[Path], out: Path | None, top: int, unsure: float | None = None) -> None:
    """Say what images show: the most probable classes of each, by a trained model.

    Files that show no image are listed at the end, with exit status 1.
    """
    paths = images_at(images)
    refuse_place(out, [model, *paths])
    # Nobody waits for these to be imported to read --help or of a wrong path.
    from commands.classifier import Classifier, Unreadable, classified, refuse_unreadable
    from thaw.engines.ready import trained

    classifier = Classifier(model)
    with redirect_stdout(sys.stderr):  # what is said of the engine is no part of the table
        runner = trained(model)
    classifier.require_same_file()
    print(f"{counted(len(paths), 'file')}, {len(classifier.classes)} classes, with {runner.name}", file=sys.stderr)
    top = min(top, len(classifier.classes))
    unreadable: list[Unreadable] = []
    shown = left_open = 0
    with _csv_rows(out, top) if out else nullcontext(_printer(paths, classifier.classes)) as show:
        for path, probabilities in classified(classifier, runner, paths, unreadable):
            best = np.argsort(-probabilities, kind="stable")[:top]
            found = [(classifier.classes[number], float(probabilities[number])) for number in best]
            shown += 1
            if unsure is not None and found[0][1] < unsure:
                left_open += 1
                found[0] = ("", found[0][1])
            show(path, found)
    if unsure is not None:
        print(f"{left_open} of {shown} images left open, with a confidence below {unsure:g}", file=sys.stderr)
    refuse_unreadable(unreadable, len(paths))


def _probability(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"expected a probability above 0 and below 1, such as 0.8, got {text!r}")
    return value


@contextmanager
def _csv_rows(out: Path, top: int) -> Iterator[Show]:
    """Write a CSV file; probabilities with the nine digits that tell any two float32 apart."""
    columns = [f"{name}_{rank}" for rank in range(1, top + 1) for name in ("class", "probability")]
    with writing_table(out, ["path", *columns]) as write:
        yield lambda path, best: write(
            [
                path_cell(path),
                *(value for name, probability in best for value in (text_cell(name), f"{probability:.9g}")),
            ]
        )


def _printer(paths: list[Path | Member], classes: list[str]) -> Show:
    """Return what prints a line for an image."""
    write = tqdm.write if sys.stdout.isatty() else print  # above the progress bar, where that stands between
    longest, widest = max(len(printable(path)) for path in paths), max(map(len, classes))

    def show(path: Path | Member, best: list[tuple[str, float]]) -> None:
        shown = "  ".join(f"{name:{widest}} {percent(probability)}" for name, probability in best)
        write(f"{printable(path):{longest}}  {shown}")

    return show
