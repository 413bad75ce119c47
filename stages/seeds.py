"""Train a variant with other seeds than its own, and score what comes of each as the variant itself is scored."""

import json
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from thaw.engines.engine import Engine, finite
from thaw.engines.ready import engine, trained
from thaw.errors import UserError
from thaw.files.reading import DAMAGE, require_regular, sha256
from thaw.files.writing import replacing
from thaw.formats import model_file
from thaw.formats.metrics import SeedScores, write_metrics, write_seed_scores
from thaw.formats.model_file import to_json
from thaw.formats.row_file import RowFile
from thaw.machine import processor, versions
from thaw.networks.backend import device, keras
from thaw.networks.boundary import tail
from thaw.params.reading import read_entry
from thaw.params.seeds import Seeds
from thaw.params.variants import Training, Variant
from thaw.progress import progress_by_rows
from thaw.reuse.fingerprint import fingerprint
from thaw.reuse.folder import limit, project_folder, rows_folder
from thaw.scoring.scoring import estimates
from thaw.stage import announce, run
from thaw.threads import ahead
from thaw.training.batches import rows_of
from thaw.training.calibration import calibrate
from thaw.training.checkpoint import Checkpoint
from thaw.training.start import begin
from thaw.training.training import freeze, train

BATCH = 32
PACKAGES = ("keras", "keras-hub", "tensorflow", "jax", "openvino", "numpy", "scipy", "scikit-learn")
"""Those that decide on scores: what was kept with another version is not used."""
SCORES = "scores.json"
BySplit = dict[str, dict[str, float]]
"""Scores by their names, by split."""


def main(
    params: Path, entry: str, variant: str, start: Path, inputs: Path, model: Path, scores: Path, metrics: Path
) -> None:
    """Write the scores of a variant's model and of those of other seeds, and their mean, least and greatest.

    Nothing is chosen by them. Of a seed that was trained before, from the same start on the same rows, only its scores
    are looked up.
    """
    wanted, named, rows = read_entry(params, entry, Seeds), read_entry(params, variant, Variant), RowFile(inputs)
    record = model_file.variant_of(model, model_file.verify(model))
    if record.inputs_digest != rows.digest:
        raise UserError(f"{model}: was trained on other rows than {inputs} has; run `dvc repro`")
    splits = [one for one in ("validation", "test") if one not in record.trained_on and len(_numbers(rows, one))]
    assert isinstance(named.fit, Training)  # says the check
    announce(f"{entry}: {variant} with its own seed, {named.fit.seed}, and {len(wanted.others)} more")
    by_seed = {named.fit.seed: _scores(trained(model, record.boundary), rows, splits, str(model))}
    for seed in wanted.others:
        fit = named.fit.model_copy(update={"seed": seed})
        seeded = named.model_copy(update={"fit": fit})
        by_seed[seed] = _kept_or_new(entry, seeded, fit, start, rows, splits)
        announce(
            ", ".join([f"seed {seed}", *(f"{one} accuracy {by_seed[seed][one]['accuracy']:.4f}" for one in splits)])
        )
    found = {split: {seed: one[split] for seed, one in by_seed.items()} for split in splits}
    write_seed_scores(scores, found)
    write_metrics(metrics, {"seeds": len(by_seed), **dict(_ranges(found))})


def _ranges(found: SeedScores) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield for each split the mean of each score over the seeds, and its least and greatest."""
    for split, by_seed in found.items():
        named = dict[str, float]()
        for name in next(iter(by_seed.values())):
            values = [of_seed[name] for of_seed in by_seed.values()]
            named |= {f"{name}_mean": float(np.mean(values)), f"{name}_min": min(values), f"{name}_max": max(values)}
        yield split, named


def _kept_or_new(entry: str, variant: Variant, fit: Training, start: Path, rows: RowFile, splits: list[str]) -> BySplit:
    """Return the scores of one seed, from a training before this one if there was the same."""
    computes = [versions(*PACKAGES), keras.backend.backend(), device(), processor()]
    made_of = [variant.model_dump(), sha256(start), rows.digest, computes]
    place = rows_folder() / fingerprint("stages.seeds", made_of) / "seed.zip"
    if known := kept(place):
        announce(f"{entry}: seed {fit.seed} was trained before")
        return known
    new = _new(entry, variant, fit, start, rows, splits, computes)
    if limit() > 0:
        keep(place, new)
    return new


def keep(place: Path, scores: BySplit) -> None:
    """Keep the scores of a training, unless the disk does not take them."""
    with suppress(OSError), replacing(place) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        archive.writestr(SCORES, json.dumps([place.parent.name, scores]))


def kept(place: Path) -> BySplit | None:
    """Return the scores of an earlier training; None if there are none, or they are damaged, or another's."""
    with suppress(OSError, *DAMAGE):
        require_regular(place)
        with zipfile.ZipFile(place) as archive:
            made_of, scores = json.loads(archive.read(SCORES))  # a zip file has checksums
        if made_of == place.parent.name:
            return dict(scores)
    return None


def _new(
    entry: str, variant: Variant, fit: Training, start: Path, rows: RowFile, splits: list[str], computes: list[Any]
) -> BySplit:
    """Train a variant as the stage `train` does it, and return its scores."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(fit.seed)
    network, record = begin(entry, variant, start, rows)
    freeze(network, record.frozen, fit.batch_norm)
    checkpoint = Checkpoint(
        project_folder() / "training" / entry, fingerprint("stages.seeds", to_json(record), computes)
    )
    resumed = f", which was interrupted, from epoch {checkpoint.epochs + 1}" if checkpoint.epochs else ""
    announce(f"{entry}: seed {fit.seed}{resumed}, on {device()}")
    parts = rows_of(rows, fit.train_on, fit.validate_on)
    train(network, record.boundary, parts, fit, variant.augmentation, checkpoint)
    source = f"{entry}, seed {fit.seed}"
    if fit.calibrate:
        calibrate(network, record.boundary, parts, source)
    scorer = engine(network if record.boundary is None else tail(network, record.boundary))
    scores = _scores(scorer, rows, splits, source)
    checkpoint.discard()
    return scores


def _scores(scorer: Engine, rows: RowFile, splits: list[str], source: str) -> BySplit:
    """Return a model's scores on the images of splits."""
    found = {}
    for split in splits:
        labels = _numbers(rows, split)
        batches = scorer.stream(ahead(rows.batches(BATCH, rows.index.splits[split])))
        computed = list(finite(progress_by_rows(batches, len(labels), "scoring"), source))
        found[split] = estimates(labels, np.concatenate(computed))
    return found


def _numbers(rows: RowFile, split: str) -> np.ndarray:
    """Return the classes of a split's images, ints (images,)."""
    labels: np.ndarray = rows.index.labels[rows.index.splits[split]]
    return labels


if __name__ == "__main__":
    run(main)
