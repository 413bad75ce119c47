"""Look for images whose labels may be wrong. No label is changed."""

from pathlib import Path

import numpy as np
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores

from thaw.errors import UserError
from thaw.formats.label_issues import LabelIssue, write_label_issues
from thaw.formats.row_file import RowFile, units_of
from thaw.formats.thumbnails import draw_grid, drawable, reading_thumbnails
from thaw.params.label_issues import LabelIssues
from thaw.params.reading import read_entry
from thaw.progress import progress
from thaw.scoring.scoring import losses
from thaw.stage import announce, run
from thaw.training.logistic import folds_of, out_of_fold

PICTURES = 8
"""In a row."""
MOST_ROWS = 6


def main(params: Path, entry: str, features: Path, thumbnails: Path, issues: Path, pictures: Path) -> None:
    """List the images that seem to show another class than their own, by heads that have not seen them.

    All splits count, since a wrong label does harm in each. Images of a group, and all views of an image, are in one
    fold; of the views, the image itself is judged.
    """
    wanted, file = read_entry(params, entry, LabelIssues), RowFile(features)
    labels, count = file.index.labels, len(file.index.classes)
    images = images_of(file)
    folds = folds_of(labels, units_of(file.index.groups)[images], wanted.folds, wanted.seed)
    itself = images == np.arange(len(images))
    judged = np.flatnonzero(itself & (folds >= 0))
    if len(np.unique(labels[judged])) < 2:
        raise UserError(
            f"{entry}: fewer than two classes have images in two folds, so that one can be judged by the others: add "
            f"images, or leave {entry} out"
        )
    announce(f"{entry}: {len(judged)} images of {count} classes, {folds.max() + 1} folds")
    if left := int(itself.sum()) - len(judged):
        few = sorted(set(file.index.labels[itself & (folds < 0)].tolist()))
        names = ", ".join(file.index.classes[label] for label in few)
        are = "1 image is" if left == 1 else f"{left} images are"
        announce(f"warning: {are} not judged, since there are too few others of: {names}")
    probabilities = _likeliest(file.read(0, len(file)), labels, folds, judged, wanted.C)
    found, order = issues_of(file, judged, probabilities)
    suspected = [(one, file.index.keys[row].decode()) for one, row in zip(found, order, strict=True) if one.suspected]
    are = "is" if len(suspected) == 1 else "are"
    title = f"{len(suspected)} of {len(judged)} labels {are} suspected; the worst first"
    _draw(pictures, title, suspected, file.index.classes, thumbnails)
    write_label_issues(issues, found, file.digest)
    announce(f"{len(suspected)} of {len(judged)} labels {are} suspected to be wrong")


def images_of(file: RowFile) -> np.ndarray:
    """Return for each row of features which image it shows, ints (rows,): the number of the row of its first view."""
    images = np.arange(len(file))
    part = file.index.splits["train"]
    images[part] = part.start + (images[part] - part.start) % ((part.stop - part.start) // file.origin.views)
    return images


def _likeliest(
    features: np.ndarray, labels: np.ndarray, folds: np.ndarray, judged: np.ndarray, strengths: list[float]
) -> np.ndarray:
    """Return class probabilities of the judged rows, float64 (judged, classes): those of C with the least log loss."""
    best: np.ndarray = np.empty(0)
    least = np.inf
    for found in progress(out_of_fold(features, labels, folds, strengths), len(strengths), "solving", "values of C"):
        probabilities = found[judged].astype(np.float64)
        loss = losses(labels[judged], probabilities).mean()
        if loss > least:
            break  # what is regularized still less fits still more of what is wrong, and takes the longest
        best, least = probabilities, loss
    best /= best.sum(axis=1, keepdims=True)
    return best


def issues_of(file: RowFile, rows: np.ndarray, probabilities: np.ndarray) -> tuple[list[LabelIssue], np.ndarray]:
    """Return images that seem to show another class than their own, those whose labels are the likeliest wrong first.

    How many labels are wrong is estimated by confident learning (Northcutt et al. 2021, arXiv 1911.00068); these are
    the images whose own class is the least probable (Kuan and Mueller 2022, Model-agnostic label quality scoring), and
    which are taken for another. Behind them come the others that are taken for another class.

    Args:
        file: has the rows.
        rows: numbers of those that are judged, ints (rows,).
        probabilities: of their classes, by heads that have not seen them, floats (rows, classes).

    Returns:
        The images, and the numbers of their rows.
    """
    labels, classes = file.index.labels[rows].astype(int), file.index.classes
    quality = get_label_quality_scores(labels, probabilities)
    suspected = find_label_issues(labels, probabilities, filter_by="low_self_confidence", n_jobs=1)
    likeliest = probabilities.argmax(axis=1)
    order = [one for one in np.lexsort((rows, quality)) if likeliest[one] != labels[one]]
    found = [
        LabelIssue(
            file.index.paths[rows[one]].decode(),
            classes[labels[one]],
            classes[likeliest[one]],
            float(quality[one]),
            bool(suspected[one]),
        )
        for one in order
    ]
    return found, rows[order]


def _draw(
    path: Path, title: str, suspected: list[tuple[LabelIssue, str]], classes: tuple[str, ...], thumbnails: Path
) -> None:
    """Draw images, each with its digest, and what their labels are and may better be."""
    names = dict(zip(classes, drawable(classes), strict=True))
    with reading_thumbnails(thumbnails) as pictures:
        drawn = [
            (pictures[digest], f"{names[one.suggested]}?\nlabel: {names[one.given]}")
            for one, digest in suspected[: PICTURES * MOST_ROWS]
        ]
    starts = range(0, max(len(drawn), 1), PICTURES)
    rows = [(title if start == 0 else "", drawn[start : start + PICTURES]) for start in starts]
    draw_grid(path, rows, classes)


if __name__ == "__main__":
    run(main)
