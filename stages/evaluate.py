"""Score a variant on the test split, once."""

from dataclasses import asdict, astuple, fields
from pathlib import Path
from typing import Any

import numpy as np

from thaw.engines.openvino import finite
from thaw.engines.ready import trained
from thaw.errors import UserError
from thaw.files import write_csv
from thaw.formats import model_file
from thaw.formats.metrics import DIGITS, write_metrics
from thaw.formats.predictions import Predictions, write_predictions
from thaw.formats.row_file import RowFile, units_of
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
    predictions: Path,
    by_class: Path,
    by_confidence: Path,
    mistakes: Path,
) -> None:
    """Write the scores of a variant: its predictions, scores by class and by confidence, worst mistakes."""
    wanted = read_entry(params, entry, Evaluation)
    record = model_file.variant_of(model, model_file.verify(model))
    rows = RowFile(inputs)
    if record.inputs_digest != rows.digest:
        raise UserError(f"{model}: was trained on other rows than {inputs} has; run `dvc repro`")
    part = rows.index.splits["test"]
    labels = rows.index.labels[part]
    scorer = trained(model, record.boundary)
    announce(f"evaluate {variant}: {len(labels)} test images, with {scorer.name}")
    predicted = progress_by_rows(scorer.stream(ahead(rows.batches(BATCH, part))), len(labels), "scoring")
    probabilities = np.concatenate(list(finite(predicted, model)))

    scores: dict[str, Any] = {
        "chosen_on": record.variant["fit"].get("validate_on", "validation"),
        "test": {
            **asdict(score(labels, probabilities)),
            f"top_{wanted.top_k}_accuracy": top_k_accuracy(labels, probabilities, wanted.top_k),
        },
        "parameters": record.parameters,
    }
    groups = len(np.unique(units_of(rows.index.groups[part])))
    if groups < len(labels):
        scores["test"]["groups"] = groups
        announce(
            f"warning: the {len(labels)} test images are of {groups} groups: intervals and p-values, which take images "
            "for independent, are too narrow and too small; cross_validation heeds groups"
        )
    write_metrics(metrics, scores)
    paths = [path.decode() for path in rows.index.paths[part]]
    scored = Predictions(paths, labels, probabilities, record.classes)
    write_predictions(predictions, scored)
    draw_mistakes(mistakes, scored, [key.decode() for key in rows.index.keys[part]], thumbnails)
    write_csv(
        by_class,
        ["class", "images", "precision", "recall", "f1"],
        [
            [label, *map(_shown, values)]
            for label, values in zip(record.classes, per_class(labels, probabilities), strict=True)
        ],
    )
    bins = reliability_bins(labels, probabilities)
    write_csv(by_confidence, [field.name for field in fields(Bin)], [map(_shown, astuple(one)) for one in bins])
    announce(f"accuracy {scores['test']['accuracy']:.4f}, {scores['test']['correct']} of {len(labels)}")


def draw_mistakes(mistakes: Path, predicted: Predictions, digests: list[str], thumbnails: Path) -> None:
    """Draw the test images that are taken for another class, those with the least probability of their own first."""
    wrong = np.flatnonzero(predicted.probabilities.argmax(axis=1) != predicted.labels)
    of_own_class = predicted.probabilities[wrong, predicted.labels[wrong]]
    worst = wrong[np.argsort(of_own_class, kind="stable")][: PICTURES * 3]
    title = f"{len(wrong)} of {len(digests)} test images are taken for another class; the worst first"
    names = drawable(predicted.classes)
    with reading_thumbnails(thumbnails) as pictures:
        drawn = []
        for image in worst:
            guess = int(predicted.probabilities[image].argmax())
            caption = f"{names[guess]} ({predicted.probabilities[image, guess]:.0%})"
            drawn.append((pictures[digests[image]], f"{caption}\nis {names[predicted.labels[image]]}"))
    starts = range(0, max(len(drawn), 1), PICTURES)
    rows = [(title if start == 0 else "", drawn[start : start + PICTURES]) for start in starts]
    draw_grid(mistakes, rows, predicted.classes)


def _shown(value: float) -> str:
    return f"{value:.{DIGITS}f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    run(main)
