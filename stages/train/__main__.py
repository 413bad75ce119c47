"""Train what comes after the freeze boundary."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from thaw.engines.converting import keep_trained
from thaw.files.reading import sha256
from thaw.formats.history import write_history
from thaw.formats.model_file import ModelRecord, to_json
from thaw.formats.row_file import RowFile
from thaw.machine import processor
from thaw.networks.backend import device, keras
from thaw.networks.models import count_parameters, save
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
    computes = [np.__version__, keras.__version__, keras.backend.backend(), device(), processor()]
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
