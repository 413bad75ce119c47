"""Train what comes after the freeze boundary."""

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from thaw.engines.converting import keep_trained
from thaw.files.reading import sha256
from thaw.formats.history import write_history
from thaw.formats.model_file import ModelRecord, to_json
from thaw.formats.row_file import RowFile
from thaw.machine import processor, versions
from thaw.networks.backend import device, keras
from thaw.networks.models import HEAD, count_parameters, save
from thaw.params.reading import read_entry
from thaw.params.variants import Solver, Training, Variant
from thaw.reuse.fingerprint import fingerprint
from thaw.reuse.folder import project_folder
from thaw.stage import announce, run
from thaw.training.batches import Rows, rows_of
from thaw.training.calibration import calibrate
from thaw.training.checkpoint import Checkpoint
from thaw.training.start import begin
from thaw.training.training import freeze, solve, train

PACKAGES = ("keras", "keras-hub", "tensorflow", "jax", "numpy")
"""Those that decide on a training: what was interrupted with another version does not go on."""
UNSETTLED = 0.1
"""The most that may be left, at a training's end, of what a moving average begins with."""
EMA_MOMENTUM = 0.99
"""Keras's default."""


def main(params: Path, entry: str, start: Path, inputs: Path, model: Path, history: Path) -> None:
    """Write the model that training the variant `entry` gives, and its learning curve."""
    variant = read_entry(params, entry, Variant)
    fit, file = variant.fit, RowFile(inputs)
    if isinstance(fit, Training):
        keras.utils.set_random_seed(fit.seed)
    network, record = begin(entry, variant, start, file)
    splits = (fit.train_on, fit.validate_on) if isinstance(fit, Training) else (["train"], "validation")
    rows = rows_of(file, *splits)
    images, views = len(rows.train[0]), len(rows.train)
    announce(
        f"{entry}: from {variant.start} on {images} {variant.inputs}{f', {views} views each' if views > 1 else ''}, "
        f"frozen up to: {record.frozen or 'nothing'}, on {device()}"
    )
    if isinstance(fit, Solver):
        freeze(network, record.frozen, "frozen")
        curve = solve(entry, network, rows, fit)
        _save(network, model, _calibrated(network, rows, fit, record, entry))
        write_history(history, curve, sha256(model))
        return
    if fit.validate_on == "test":
        announce("warning: the test split is used for validation: its scores will be optimistic")
    freeze(network, record.frozen, fit.batch_norm)
    for doubt in doubts(network, record.frozen, images, fit):
        announce(f"warning: {doubt}")
    computes = [versions(*PACKAGES), keras.backend.backend(), device(), processor()]
    checkpoint = Checkpoint(
        project_folder() / "training" / entry, fingerprint("stages.train", to_json(record), computes)
    )
    if checkpoint.epochs:
        announce(f"{entry}: an interrupted training goes on after epoch {checkpoint.epochs}")
    # Whoever plots the curve while training lasts sees it grow.
    watch = partial(write_history, history)
    curve = train(network, record.boundary, rows, fit, variant.augmentation, checkpoint, watch)
    _save(network, model, _calibrated(network, rows, fit, record, entry))
    write_history(history, curve, sha256(model))
    checkpoint.discard()


def doubts(network: keras.Model, frozen: str | None, images: int, fit: Training) -> Iterator[str]:
    """Yield what is doubtful of moving averages: of the batch normalization that is trained, and of weights.

    Args:
        network: `freeze` has been called.
        frozen: its last layer that is not trained; None if all are.
        images: how many are trained on.
        fit: how.
    """
    first = 0 if frozen is None else [layer.name for layer in network.layers].index(frozen) + 1
    norms = [one for one in network.layers[first:] if isinstance(one, keras.layers.BatchNormalization)]
    new = [one for one in norms if not np.any(one.moving_mean) and np.all(np.equal(one.moving_variance, 1))]
    if kept := [one.name for one in new if not one.trainable]:
        yield (
            f"{_first(kept)} would stay at mean 0 and variance 1, as random weights have it, for which there is no "
            "reason: set batch_norm: trained"
        )
    steps = fit.steps(images)
    optimizer = next(iter(fit.optimizer.values())) if isinstance(fit.optimizer, dict) else None
    if optimizer and optimizer.get("use_ema"):
        share = optimizer.get("ema_momentum", EMA_MOMENTUM) ** steps
        if share > UNSETTLED:
            yield (
                f"the averages of use_ema are, after {steps} steps, {share:.0%} still the weights after the first one: "
                f"set ema_momentum: {_settling(steps):g}, or add epochs"
            )
    slow = [one for one in new if one.trainable and one.momentum**steps > UNSETTLED]
    if slow:
        share = slow[0].momentum ** steps
        mend = f"give it momentum: {_settling(steps):g}, or " * slow[0].name.startswith(HEAD) + "add epochs"
        yield (
            f"{_first([one.name for one in slow])} scores images by a mean and a variance of which, after {steps} "
            f"steps, {share:.0%} are still the 0 and 1 that it begins with: {mend}"
        )
    alone = [one.name for one in norms if one.trainable and math.prod(one.input.shape[1:-1]) == 1]
    if alone and fit.batch_size > 1 and images % fit.batch_size == 1:
        yield (
            f"{_first(alone)} takes the mean of a batch from each image, which leaves nothing of the one image in the "
            f"last of each {-(-images // fit.batch_size)} batches: set another batch_size than {fit.batch_size}"
        )


def _settling(steps: int) -> float:
    """Return a momentum that is small enough for so many steps.

    >>> _settling(10)
    0.79
    """
    return math.floor(100 * float(UNSETTLED ** (1 / steps))) / 100


def _first(names: list[str]) -> str:
    return f"{names[0]}{f', and {len(names) - 1} more,' if len(names) > 1 else ''}"


def _calibrated(
    network: keras.Model, rows: Rows, fit: Solver | Training, record: ModelRecord, entry: str
) -> ModelRecord:
    """Calibrate a network if that is wanted; return its record with what came of it."""
    return replace(record, temperature=calibrate(network, record.boundary, rows, entry)) if fit.calibrate else record


def _save(network: keras.Model, model: Path, record: ModelRecord) -> None:
    save(network, model, replace(record, parameters=count_parameters(network)))
    keep_trained(model, network, record.boundary)  # so that scoring need not load Keras again


if __name__ == "__main__":
    run(main)
