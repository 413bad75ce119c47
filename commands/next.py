"""`thaw next`: which images are the most worth labelling next."""

import argparse
import hashlib
import heapq
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from commands import whole_number
from commands.output import counted, first_names, path_cell, percent, printable, refuse_place, text_cell, writing_table
from thaw.errors import UserError
from thaw.files.reading import read_bytes, sha256
from thaw.formats.manifest import read_manifest
from thaw.images.decoding import UnreadableImageError
from thaw.images.reading import images_at
from thaw.images.reading.archives import Member
from thaw.threads import on_all_cores

if TYPE_CHECKING:
    from thaw.engines.engine import Engine
    from thaw.engines.ready import Known
    from thaw.networks.backend import keras

COUNT = 100
POOL = 10
"""Uncertain images for each that is chosen: the factor of Zhdanov 2019."""
AT_A_TIME = 128
"""Rows whose differences fit into a core's cache: with all at once, it takes four times as long."""
MANIFEST = Path("data/manifest.csv")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("images", type=Path, nargs="+", help="files without labels, or folders or archives of them")
    parser.add_argument(
        "--model", type=Path, required=True, help="a variant's model, such as models/variants/frozen_head.keras"
    )
    parser.add_argument("--count", type=whole_number, default=COUNT, help=f"how many to name; {COUNT} by default")
    parser.add_argument("--out", type=Path, help="the CSV file to write; without it, a table is printed")


def main(images: list[Path], model: Path, count: int, out: Path | None) -> None:
    """Say which images are the most worth labelling next: of those that a model is the least sure of, the most diverse.

    Each comes with the class that the model suggests, and how sure it is. Images that data/manifest.csv has are left
    out, and so are further copies of a file. Files that show no image are listed at the end, with exit status 1.
    """
    paths = images_at(images)
    refuse_place(out, [model, MANIFEST, *paths])
    new = _new(paths)
    # Nobody waits for these to be imported to read --help or of a wrong path.
    from commands.classifier import Classifier, Unreadable, classified, refuse_unreadable

    classifier = Classifier(model)
    classes = classifier.classes
    with redirect_stdout(sys.stderr):  # what is said of the engine is no part of the table
        runner = with_embedding(model)
    classifier.require_same_file()
    print(f"{counted(len(new), 'file')}, {len(classes)} classes, with {runner.name}", file=sys.stderr)
    unreadable: list[Unreadable] = []
    rows = classified(classifier, runner, new, unreadable)
    pool = heapq.nsmallest(POOL * count, rows, key=lambda one: margin(one[1][-len(classes) :]))
    chosen = []
    for number in spread_out(np.stack([row[: -len(classes)] for _, row in pool]), count) if pool else ():
        path, row = pool[number]
        probabilities = row[-len(classes) :]
        chosen.append((path, classes[int(probabilities.argmax())], float(probabilities.max())))
    _show(chosen, out)
    if len(chosen) < count:
        print(f"{counted(len(chosen), 'image')}; there are no more", file=sys.stderr)
    refuse_unreadable(unreadable, len(new))


def margin(probabilities: np.ndarray) -> float:
    """Return by how much the likeliest class is likelier than the next: the less, the less sure a model is.

    (Scheffer et al. 2001, Active hidden Markov models for information extraction.)

    >>> round(margin(np.array([0.2, 0.5, 0.3])), 6)
    0.2
    """
    second, first = np.sort(probabilities)[-2:]
    return float(first - second)


def spread_out(embeddings: np.ndarray, count: int) -> list[int]:
    """Choose images that leave none of the others far from all that are chosen.

    Greedy k-centre (Sener and Savarese 2018, arXiv 1708.00489): each is the one that is the farthest from those before
    it. Among the most uncertain only, as in Zhdanov 2019 (arXiv 1901.05954): what is far from all others is often of
    no class.

    Args:
        embeddings: floats (images, features), the most uncertain image first, with which it begins.
        count: how many to choose, if there are so many.

    Returns:
        Numbers of rows, in the order in which they were chosen; of two that are equally far, the first.

    >>> spread_out(np.array([[0.0], [1.0], [5.0], [9.0]]), count=3)
    [0, 3, 2]
    """
    chosen = [0]
    distances = np.full(len(embeddings), np.inf)
    while len(chosen) < min(count, len(embeddings)):
        last = embeddings[chosen[-1]]
        for start in range(0, len(embeddings), AT_A_TIME):
            part = slice(start, start + AT_A_TIME)
            away = embeddings[part] - last
            distances[part] = np.minimum(distances[part], np.einsum("ij,ij->i", away, away))
        distances[chosen] = -1  # copies of what is chosen are as near, but can still be chosen
        chosen.append(int(distances.argmax()))
    return chosen


def with_embedding(path: Path) -> "Engine":
    """Return an engine for a trained model that gives what its last Dense layer takes, and behind it its probabilities.

    Raises:
        UserError: the file is missing, truncated or altered.
    """
    from thaw.engines import kept
    from thaw.engines.ready import ready

    def build() -> tuple["keras.Model", "Known"]:
        from thaw.networks import models
        from thaw.networks.backend import keras

        model, _ = models.load(path)
        *_, last = (layer for layer in model.layers if isinstance(layer, keras.layers.Dense))
        return keras.Model(model.input, keras.layers.Concatenate()([last.input, model.output])), {}

    return ready(kept.place("thaw.engines.converting", sha256(path), "with embedding"), build)[0]


def _new(paths: list[Path | Member]) -> list[Path | Member]:
    """Return files that the manifest does not have, of copies the first; say how many were left out."""
    known = {row.sha256 for row in read_manifest(MANIFEST)} if MANIFEST.exists() else set()
    if not MANIFEST.exists():
        print(f"warning: {MANIFEST} is not here, so that images which have a label are not left out", file=sys.stderr)
    first: dict[str, Path | Member] = {}
    has = 0
    for path, digest in on_all_cores(lambda path: (path, _digest(path)), paths):
        if digest in known:
            has += 1
        else:
            first.setdefault(digest, path)
    copies = len(paths) - has - len(first)
    print(f"left out: {has} that {MANIFEST} has, {copies} that are copies of others", file=sys.stderr)
    if not first:
        raise UserError(f"{first_names(list(map(printable, paths)))}: all are in {MANIFEST} already")
    return list(first.values())


def _digest(path: Path | Member) -> str:
    """Return the SHA-256 of a file; of one that cannot be read, which the reader of images will tell, its path."""
    try:
        # A named pipe is refused, for whose bytes Path.read_bytes would wait.
        content = read_bytes(path) if isinstance(path, Path) else path.read_bytes()
        return hashlib.sha256(content).hexdigest()
    except (OSError, UnreadableImageError):
        return str(path)


def _show(chosen: list[tuple[Path | Member, str, float]], out: Path | None) -> None:
    if out:
        with writing_table(out, ["path", "class", "confidence"]) as write:
            for path, name, confidence in chosen:
                write([path_cell(path), text_cell(name), f"{confidence:.9g}"])
        return
    longest = max((len(printable(path)) for path, _, _ in chosen), default=0)
    widest = max((len(name) for _, name, _ in chosen), default=0)
    for path, name, confidence in chosen:
        print(f"{printable(path):{longest}}  {name:{widest}}  {percent(confidence)}")
