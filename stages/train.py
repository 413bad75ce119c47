"""Train what comes after the freeze boundary."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from thaw.engines.converting import keep_trained, runs_on_openvino
from thaw.engines.kept import place_of_trained
from thaw.formats.history import write_history
from thaw.formats.row_file import RowFile
from thaw.machine import processor
from thaw.networks.backend import device, keras
from thaw.networks.models import count_parameters, save
from thaw.params.reading import read_entry
from thaw.params.variants import Solver, Training, Variant
from thaw.reuse.fingerprint import fingerprint
from thaw.reuse.folder import cache_folder
from thaw.stage import announce, run
from thaw.training.batches import rows_of
from thaw.training.checkpoint import Checkpoint
from thaw.training.start import begin
from thaw.training.training import freeze, solve, train


def main(params: Path, entry: str, start: Path, inputs: Path, model: Path, history: Path) -> None:
    """Write the model that training the variant `entry` gives, and its learning curve."""
    variant = read_entry(params, entry, Variant)
    fit, file = variant.fit, RowFile(inputs)
    if isinstance(fit, Training):
        keras.utils.set_random_seed(fit.seed)
    network, about = begin(entry, variant, start, file)
    splits = (fit.train_on, fit.validate_on) if isinstance(fit, Training) else (["train"], "validation")
    rows = rows_of(file, *splits)
    images, views = len(rows.train[0]), len(rows.train)
    announce(
        f"{entry}: from {variant.start} on {images} {variant.inputs}{f', {views} views each' if views > 1 else ''}, "
        f"frozen up to: {about['frozen'] or 'nothing'}, on {device()}"
    )
    if isinstance(fit, Solver):
        freeze(network, about["frozen"], "frozen")
        curve = solve(network, rows, fit)
        _save(network, model, about)
        write_history(history, curve)
        return
    if fit.validate_on == "test":
        announce("warning: the test split is used for validation: its scores will be optimistic")
    freeze(network, about["frozen"], fit.batch_norm)
    computes = [np.__version__, keras.__version__, keras.backend.backend(), device(), processor()]
    checkpoint = Checkpoint(cache_folder() / "training" / entry, fingerprint("stages.train", about, computes))
    if checkpoint.epochs:
        announce(f"{entry}: an interrupted training goes on after epoch {checkpoint.epochs}")
    # Whoever plots the curve while training lasts sees it grow.
    watch = partial(write_history, history)
    curve = train(network, about["boundary"], rows, fit, variant.augmentation, checkpoint, watch)
    write_history(history, curve)
    _save(network, model, about)
    checkpoint.discard()


def _save(network: keras.Model, model: Path, about: dict[str, Any]) -> None:
    save(network, model, {**about, "parameters": count_parameters(network)})
    if runs_on_openvino() and place_of_trained(model, about["boundary"]):  # so that scoring need not load Keras again
        keep_trained(model, network, about["boundary"])


if __name__ == "__main__":
    run(main)
