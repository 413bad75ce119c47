"""Labels of the digits: whether flipped ones are found, and whether `thaw next` chooses better than chance does."""

import csv
import os
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from scipy.stats import t

from benchmarks.measuring import Measured
from benchmarks.recipe import ROOT
from stages import backbone, digits, tensors
from stages.features import __main__ as features
from stages.label_issues import __main__ as label_issues
from stages.manifest import __main__ as manifest
from stages.train import __main__ as train
from thaw.engines.ready import trained
from thaw.formats import model_file
from thaw.formats.label_issues import read_label_issues
from thaw.formats.manifest import SPLITS
from thaw.formats.row_file import Index, RowFile
from thaw.formats.row_writer import writing

PARAMS = ROOT / "params.yaml"
SEEDS = range(5)
FLIPPED = 0.05
FIRST, MORE = 100, 200
"""Labels that are there, chosen at random, and those that are chosen then."""


def measure() -> Measured:
    """Measure both on the features of the default project's frozen head."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        file = _features(folder)
        return Measured([], f"{_flipped(folder, file)}\n\n{_next(folder, file)}")


def _features(folder: Path) -> RowFile:
    images, table, pixels, network = (folder / one for one in ("images", "manifest.csv", "tensors.h5", "lite0.keras"))
    digits.main(images)
    beside = ("skipped.csv", "near.csv", "distribution.csv", "samples.jpg", "thumbnails.zip")
    manifest.main(PARAMS, "dataset", images, table, *(folder / one for one in beside))
    tensors.main(PARAMS, "tensors.lite64", images, table, pixels)
    backbone.main(PARAMS, "backbones.lite0", network)
    features.main(PARAMS, "features.bottleneck", pixels, network, folder / "features.h5")
    return RowFile(folder / "features.h5")


def _flipped(folder: Path, file: RowFile) -> str:
    """Flip labels by a seed, and count which of them are among as many of the worst."""
    values, labels, classes = file.read(0, len(file)), file.index.labels, len(file.index.classes)
    count = round(FLIPPED * len(labels))
    found, suspected, seconds = [], [], []
    for seed in SEEDS:
        random = np.random.default_rng(seed)
        wrong = random.choice(len(labels), count, replace=False)
        noisy = labels.copy()
        noisy[wrong] = (labels[wrong] + random.integers(1, classes, count)) % classes
        index, rows = replace(file.index, labels=noisy), folder / "flipped.h5"
        with writing(rows, index, file.row_shape, values.dtype, file.origin) as written:
            written.write([values])
        began = time.process_time()
        outs = folder / "issues.csv", folder / "issues.jpg"
        label_issues.main(PARAMS, "label_issues.bottleneck", rows, folder / "thumbnails.zip", *outs)
        seconds.append(time.process_time() - began)
        issues = read_label_issues(outs[0])
        paths = {path.decode() for path in file.index.paths[wrong]}
        found.append(len(paths & {one.path for one in issues[:count]}) / count)
        of_them = [one.path in paths for one in issues if one.suspected]
        suspected.append((len(of_them), sum(of_them)))
    return (
        f"Of {count} of the {len(labels):,} digits' labels, flipped by one of {len(SEEDS)} seeds, "
        f"{statistics.mean(found):.0%} are among the {count} worst ({min(found):.0%} – {max(found):.0%}). Of the "
        f"{statistics.mean(one for one, _ in suspected):.0f} that are suspected, "
        f"{statistics.mean(one for _, one in suspected):.0f} were flipped. One search takes "
        f"{statistics.median(seconds):.1f} s of a core."
    )


def _next(folder: Path, file: RowFile) -> str:
    """Train frozen heads on labels that chance and `thaw next` have chosen, and compare them on the test images."""
    part, images = file.index.splits["train"], folder / "images"
    paths = [path.decode() for path in file.index.paths[part]]
    accuracies: list[tuple[float, float]] = []
    for seed in SEEDS:
        order = np.random.default_rng(seed).permutation(len(paths))
        first, rest = order[:FIRST], order[FIRST:]
        _train(folder, file, first)
        unlabelled = [str(images / paths[number]) for number in np.sort(rest)]
        command = ["next", *unlabelled, "--model", "model.keras", "--count", str(MORE), "--out", "next.csv"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-m", "commands", *command], cwd=folder, env=environment, check=True)
        with (folder / "next.csv").open(encoding="utf-8", newline="") as table:
            chosen = [paths.index(str(Path(row["path"]).relative_to(images))) for row in csv.DictReader(table)]
        by_chance, by_next = (_train(folder, file, np.concatenate([first, one])) for one in (rest[:MORE], chosen))
        accuracies.append((by_chance, by_next))
    changes = [by_next - by_chance for by_chance, by_next in accuracies]
    mean = statistics.mean(changes)
    half = float(t.ppf(0.975, len(changes) - 1)) * statistics.stdev(changes) / len(changes) ** 0.5
    pairs = "; ".join(f"{by_chance:.1%} and {by_next:.1%}" for by_chance, by_next in accuracies)
    tested = file.index.splits["test"]
    return (
        f"{FIRST} labels of digits chosen at random, {MORE} more of {len(paths) - FIRST:,} images, at random and "
        f"by `thaw next`: frozen heads on both are right on {pairs} of {tested.stop - tested.start} test images. The "
        f"mean change is {mean * 100:+.1f} points (95 % interval of the paired changes {(mean - half) * 100:+.1f} – "
        f"{(mean + half) * 100:+.1f})."
    )


def _train(folder: Path, file: RowFile, numbers: np.ndarray) -> float:
    """Train a frozen head on some of the training images; return its accuracy on the test images."""
    index, splits = file.index, file.index.splits
    others = [np.arange(splits[name].start, splits[name].stop) for name in ("validation", "test")]
    kept = np.concatenate([splits["train"].start + np.sort(numbers), *others])
    ends = np.cumsum([len(numbers), *map(len, others)]).tolist()
    parts = {name: slice(start, end) for name, start, end in zip(SPLITS, [0, *ends], ends, strict=False)}
    columns = {name: getattr(index, name)[kept] for name in ("keys", "paths", "labels", "groups")}
    rows, model = folder / "some.h5", folder / "model.keras"
    some = Index(**columns, classes=index.classes, splits=parts)
    with writing(rows, some, file.row_shape, np.dtype(np.float32), file.origin) as written:
        written.write([file[kept]])
    train.main(PARAMS, "variants.frozen_head", folder / "lite0.keras", rows, model, folder / "history.csv")
    record = model_file.variant_of(model, model_file.read_record(model))
    test, labels = file.read_split("test")
    return float((trained(model, record.boundary)(test).argmax(axis=1) == labels).mean())
