"""Score a variant on the test split, once."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from thaw import models
from thaw.backend import device
from thaw.boundary import tail
from thaw.cross_validation import cross_validate
from thaw.errors import UserError
from thaw.extraction import batched_predict
from thaw.files import write_csv, write_text
from thaw.params import read_entry
from thaw.params.evaluation import Evaluation
from thaw.params.variants import Variant
from thaw.predictions import Predictions, write_predictions
from thaw.row_file import RowFile
from thaw.scoring import per_class, score, top_k_accuracy
from thaw.stage import announce, run

BATCH = 32
DIGITS = 6


def main(
    params: Path,
    entry: str,
    name: str,
    start: Path,
    model: Path,
    inputs: Path,
    metrics: Path,
    predictions: Path,
    classes: Path,
) -> None:
    """Write the scores of the variant `name`, its predictions image by image, and its scores class by class."""
    wanted = read_entry(params, entry, Evaluation)
    network, about = models.load(model)
    rows = RowFile(inputs)
    if about["inputs_digest"] != rows.digest:
        raise UserError(f"{model}: was trained on other rows than {inputs} has; run `dvc repro`")
    test, labels = rows.read_split("test")
    announce(f"evaluate {name}: {len(labels)} test images, on {device()}")
    scored = network if about["boundary"] is None else tail(network, about["boundary"])
    batches = (test[start : start + BATCH] for start in range(0, len(test), BATCH))
    probabilities = np.concatenate(list(batched_predict(scored, batches, len(test), BATCH, "scoring")))

    scores: dict[str, Any] = {
        "chosen_on": about["variant"]["fit"].get("validate_on", "validation"),
        "test": {
            **asdict(score(labels, probabilities)),
            f"top_{wanted.top_k}_accuracy": top_k_accuracy(labels, probabilities, wanted.top_k),
        },
        "parameters": {
            "total": network.count_params(),
            "trainable": sum(int(np.prod(weight.shape)) for weight in network.trainable_weights),
        },
    }
    folds = wanted.cross_validation
    if folds and name in folds.variants:
        variant = Variant.model_validate(about["variant"])
        scores["cross_validation"] = asdict(cross_validate(f"variants.{name}", variant, start, rows, folds))
    write_text(metrics, json.dumps(_rounded(scores), indent=2) + "\n")
    paths = [path.decode() for path in rows.index.paths[rows.index.splits["test"]]]
    write_predictions(predictions, Predictions(paths, labels, probabilities, about["classes"]))
    write_csv(
        classes,
        ["class", "images", "precision", "recall", "f1"],
        [
            [label, str(images), *(f"{value:.{DIGITS}f}" for value in values)]
            for label, (images, *values) in zip(about["classes"], per_class(labels, probabilities), strict=True)
        ],
    )
    announce(f"accuracy {scores['test']['accuracy']:.4f}, {scores['test']['correct']} of {len(labels)}")


def _rounded(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _rounded(value) for key, value in tree.items()}
    return round(tree, DIGITS) if isinstance(tree, float) else tree


if __name__ == "__main__":
    run(main)
