"""Score a variant on the validation split, by which one is chosen, and once on the test split."""

from dataclasses import asdict, astuple, fields
from pathlib import Path
from typing import Any

import numpy as np

from thaw.engines.engine import Engine, finite
from thaw.engines.ready import trained
from thaw.errors import UserError
from thaw.files.reading import sha256
from thaw.formats import model_file
from thaw.formats.metrics import write_metrics
from thaw.formats.model_file import ModelRecord
from thaw.formats.predictions import Predictions, write_predictions
from thaw.formats.row_file import RowFile, units_of
from thaw.formats.sealed_csv import DIGITS, write_csv
from thaw.formats.thumbnails import draw_grid, drawable, reading_thumbnails
from thaw.params.evaluation import Evaluation
from thaw.params.reading import read_entry
from thaw.progress import progress_by_rows
from thaw.scoring.scoring import Bin, per_class, reliability_bins, score, top_k_accuracy
from thaw.stage import announce, run
from thaw.threads import ahead

BATCH = 32
PICTURES = 8
"""In a row."""


def main(
    params: Path,
    entry: str,
    variant: str,
    model: Path,
    inputs: Path,
    thumbnails: Path,
    metrics: Path,
    validation: Path,
    predictions: Path,
    by_class: Path,
    by_confidence: Path,
    mistakes: Path,
) -> None:
    """Write a variant's scores and predictions: of the validation split, to choose by, and of the test split.

    Of the latter, also scores by class and by confidence, and the worst mistakes. Where there are no validation images,
    or the variant was trained on them, there are no scores of them, and their predictions are a table without rows.
    """
    wanted = read_entry(params, entry, Evaluation)
    record = model_file.variant_of(model, model_file.verify(model))
    rows = RowFile(inputs)
    if record.inputs_digest != rows.digest:
        raise UserError(f"{model}: was trained on other rows than {inputs} has; run `dvc repro`")
    scorer = trained(model, record.boundary)
    splits = _scored_splits(record, rows)
    counted = " and ".join(f"{_count(rows, split)} {split}" for split in splits)
    announce(f"evaluate {variant}: {counted} images, with {scorer.name}")
    digest = sha256(model)
    said = {split: _predicted(scorer, rows, split, record.classes, model, digest) for split in splits}
    scores = {split: _scores(one, rows, split, wanted.top_k) for split, one in said.items()}
    scored, keys = said["test"], rows.index.keys[rows.index.splits["test"]]
    draw_mistakes(mistakes, scored, keys, thumbnails)
    # By the split that says most of how optimistic the scores are.
    chosen_on = next((split for split in ("test", "validation", "train") if split in record.chosen_on), "train")
    write_metrics(metrics, {"chosen_on": chosen_on, **scores, "parameters": record.parameters})
    nothing = Predictions([], np.empty(0, int), np.empty((0, len(record.classes))), record.classes, digest)
    write_predictions(validation, said.get("validation", nothing))
    write_predictions(predictions, scored)
    write_csv(
        by_class,
        ["class", "images", "precision", "recall", "f1"],
        [
            [label, *map(_shown, values)]
            for label, values in zip(record.classes, per_class(scored.labels, scored.probabilities), strict=True)
        ],
        digest,
    )
    bins = reliability_bins(scored.labels, scored.probabilities)
    write_csv(by_confidence, [field.name for field in fields(Bin)], [map(_shown, astuple(one)) for one in bins], digest)
    for split, one in scores.items():
        announce(f"{split}: accuracy {one['accuracy']:.4f}, {one['correct']} of {one['images']}")


def _scored_splits(record: ModelRecord, rows: RowFile) -> list[str]:
    """Return the splits that say how good a variant is; of validation images, only if it was not trained on them."""
    if "validation" in record.trained_on:
        announce("no validation scores: validation images are among those that it was trained on")
    elif not _count(rows, "validation"):
        announce("no validation scores: there are no validation images")
    else:
        return ["validation", "test"]
    return ["test"]


def _count(rows: RowFile, split: str) -> int:
    return len(rows.index.labels[rows.index.splits[split]])


def _predicted(scorer: Engine, rows: RowFile, split: str, classes: list[str], model: Path, digest: str) -> Predictions:
    """Return what a model, and its file's digest, says of the images of a split."""
    part = rows.index.splits[split]
    batches = scorer.stream(ahead(rows.batches(BATCH, part)))
    probabilities = np.concatenate(list(finite(progress_by_rows(batches, _count(rows, split), "scoring"), model)))
    paths = [path.decode() for path in rows.index.paths[part]]
    return Predictions(paths, rows.index.labels[part], probabilities, classes, digest)


def _scores(said: Predictions, rows: RowFile, split: str, k: int) -> dict[str, Any]:
    """Return a split's scores by their names."""
    scores = {
        **asdict(score(said.labels, said.probabilities)),
        f"top_{k}_accuracy": top_k_accuracy(said.labels, said.probabilities, k),
    }
    groups = len(np.unique(units_of(rows.index.groups[rows.index.splits[split]])))
    if groups < len(said.labels):
        scores["groups"] = groups
        announce(
            f"warning: the {len(said.labels)} {split} images are of {groups} group{'s' * (groups != 1)}: intervals and "
            "p-values, which take images for independent, are too narrow and too small; cross_validation heeds groups"
        )
    return scores


def draw_mistakes(mistakes: Path, predicted: Predictions, keys: np.ndarray, thumbnails: Path) -> None:
    """Draw the test images that are taken for another class, those with the least probability of their own first.

    Args:
        mistakes: where to.
        predicted: of the test images.
        keys: their digests, as `Index.keys` has them.
        thumbnails: of all images.
    """
    wrong = np.flatnonzero(predicted.probabilities.argmax(axis=1) != predicted.labels)
    of_own_class = predicted.probabilities[wrong, predicted.labels[wrong]]
    worst = wrong[np.argsort(of_own_class, kind="stable")][: PICTURES * 3]
    are = "is" if len(wrong) == 1 else "are"
    title = f"{len(wrong)} of {len(keys)} test images {are} taken for another class; the worst first"
    names = drawable(predicted.classes)
    with reading_thumbnails(thumbnails) as pictures:
        drawn = []
        for image in worst:
            guess = int(predicted.probabilities[image].argmax())
            caption = f"{names[guess]} ({predicted.probabilities[image, guess]:.1%})"
            drawn.append((pictures[keys[image].decode()], f"{caption}\nis {names[predicted.labels[image]]}"))
    starts = range(0, max(len(drawn), 1), PICTURES)
    rows = [(title if start == 0 else "", drawn[start : start + PICTURES]) for start in starts]
    draw_grid(mistakes, rows, predicted.classes)


def _shown(value: float) -> str:
    return f"{value:.{DIGITS}f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    run(main)
