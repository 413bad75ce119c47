"""What images show, by a trained model."""

import argparse
import csv
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path

import numpy as np
from tqdm import tqdm

from thaw.errors import UserError
from thaw.files import files_at, replacing
from thaw.progress import progress

TOP = 5
Show = Callable[[Path, list[tuple[str, float]]], None]
"""A function that takes an image's path and its most probable classes, each with its probability."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("model", type=Path, help="a variant's model, such as models/variants/full.keras")
    parser.add_argument("images", type=Path, nargs="+", help="files, or folders of them")
    parser.add_argument("--out", type=Path, help="the CSV file to write; without it, a table is printed")
    parser.add_argument("--top", type=_top, default=TOP, metavar="K", help=f"classes for each image; {TOP} by default")


def main(model: Path, images: list[Path], out: Path | None, top: int) -> None:
    """Say what images show: the most probable classes of each, by a trained model.

    Files that show no image are listed at the end, with exit status 1.
    """
    paths = files_at(images)
    if out and out.is_dir():
        raise UserError(f"{out}: a folder; give --out the name of a file")
    # Nobody waits for these to be imported to read --help or of a wrong path.
    from commands.classifier import Classifier, Unreadable
    from thaw.engines.ready import trained

    classifier = Classifier(model)
    with redirect_stdout(sys.stderr):  # what is said of the engine is no part of the table
        runner = trained(model)
    print(f"{len(paths)} files, {len(classifier.classes)} classes, with {runner.name}", file=sys.stderr)
    top = min(top, len(classifier.classes))
    unreadable = []
    none: list[int] = []
    showing = _csv_rows(out, top) if out else nullcontext(_printer(paths, classifier.classes))
    with showing as show, progress(none, len(paths), "predicting") as bar:
        for one in classifier.classify(runner, paths):
            bar.update()
            if isinstance(one, Unreadable):
                unreadable.append(one)
                continue
            path, probabilities = one
            best = np.argsort(-probabilities, kind="stable")[:top]
            show(path, [(classifier.classes[number], float(probabilities[number])) for number in best])
    if unreadable:
        reasons = "".join(f"\n  {_escaped(one.path)}: {one.reason}" for one in unreadable)
        raise UserError(f"{len(unreadable)} of {len(paths)} files show no image:{reasons}")


def _top(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return int(text)


@contextmanager
def _csv_rows(out: Path, top: int) -> Iterator[Show]:
    """Write a CSV file, whole or not at all; probabilities with the nine digits that tell any two float32 apart."""
    columns = [f"{name}_{rank}" for rank in range(1, top + 1) for name in ("class", "probability")]
    try:
        # Names that are not UTF-8 are written byte for byte.
        with replacing(out) as temporary, temporary.open("w", encoding="utf-8", errors="surrogateescape") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["path", *columns])
            yield lambda path, best: writer.writerow(
                [path, *(value for name, probability in best for value in (name, f"{probability:.9g}"))]
            )
    except OSError as error:
        raise UserError(f"{out}: cannot be written: {error.strerror}") from None


def _printer(paths: list[Path], classes: list[str]) -> Show:
    """Return what prints a line for an image."""
    write = tqdm.write if sys.stdout.isatty() else print  # above the progress bar, where that stands between
    longest, widest = max(len(str(path)) for path in paths), max(map(len, classes))

    def show(path: Path, best: list[tuple[str, float]]) -> None:
        shown = "  ".join(f"{name:{widest}} {probability:6.1%}" for name, probability in best)
        write(f"{_escaped(path):{longest}}  {shown}")

    return show


def _escaped(path: Path) -> str:
    return str(path).encode(errors="backslashreplace").decode()
