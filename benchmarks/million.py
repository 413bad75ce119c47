"""What a million images cost beside their pixels and the network: every stage, on made-up rows, by their number.

Images of 8x8 pixels in NumPy arrays are decoded, hashed and drawn as any others are, and a network of one layer runs
over them; so nearly all that is measured is what Thaw does with rows.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from ruamel.yaml import YAML

from benchmarks.measuring import Measured, most_memory
from thaw.formats.row_file import RowFile

COUNTS = (1_000, 10_000, 100_000, 1_000_000)
FILES = 100_000
WIDE, TRAINED = 1280, 0.6
"""Features of EfficientNet-Lite0, and the share of the images that are trained on."""
CLASSES = 10
SIDE = 8
"""Of the images, in pixels."""
FEATURES = 64
SIGNAL = 20
"""Grey levels by which the classes differ, in noise of all levels: a head tells most of the images apart."""
VARIANTS = {"weak": 1e-5, "strong": 1.0}
"""By name, C of the head."""
BACKBONE = {"architecture": "EfficientNetLite0", "weights": "none"}
"""What its file says; it holds a smaller network."""
PARAMS = {
    "dataset": {
        "path": "images",
        "layout": "npy",
        "near_duplicates": 4,
        "split": {"method": "given", "validation": 0.25},
    },
    "tensors": {"tiny": {"pixels": [SIDE, SIDE], "resize": "stretch", "normalization": "torch"}},
    "backbones": {"tiny": BACKBONE},
    "features": {"tiny": {"tensors": "tiny", "backbone": "tiny", "layer": "top", "pooling": "avg"}},
    "variants": {
        name: {
            "start": "backbones/tiny",
            "inputs": "features/tiny",
            "fit": {"solver": "logistic_regression", "C": [strength]},
        }
        for name, strength in VARIANTS.items()
    },
    "evaluation": {"top_k": 3},
    "cross_validation": {},
    "seeds": {},
    "label_issues": {"tiny": {"C": [1.0]}},
}


def make(folder: Path, count: int) -> None:
    """Write what the stages begin with: images, the network, params.yaml."""
    random = np.random.default_rng(0)
    looks = random.integers(-SIGNAL, SIGNAL, (CLASSES, SIDE, SIDE))
    (folder / "images").mkdir()
    for split, images in (("train", count * 4 // 5), ("test", count // 5)):
        labels = np.arange(images) % CLASSES
        pixels = np.lib.format.open_memmap(
            folder / "images" / f"{split}_images.npy", "w+", np.uint8, (images, SIDE, SIDE)
        )
        for start in range(0, images, 2**16):
            some = labels[start : start + 2**16]
            noise = random.integers(SIGNAL, 256 - SIGNAL, (len(some), SIDE, SIDE))
            pixels[start : start + 2**16] = noise + looks[some]
        np.save(folder / "images" / f"{split}_labels.npy", labels)
    with (folder / "params.yaml").open("w", encoding="utf-8") as file:
        YAML().dump(PARAMS, file)
    from thaw.formats.model_file import BackboneRecord
    from thaw.networks import models
    from thaw.networks.backend import keras

    keras.utils.set_random_seed(0)
    pixels = keras.Input((None, None, 3))
    network = keras.Model(pixels, keras.layers.Conv2D(FEATURES, SIDE)(pixels), name="tiny")
    models.save(network, folder / "tiny.keras", BackboneRecord(BACKBONE))


def _listed() -> None:
    beside = ("skipped.csv", "near.csv", "distribution.csv", "samples.jpg", "thumbnails.zip")
    import_module("stages.manifest.__main__").main(
        Path("params.yaml"), "dataset", Path("images"), Path("manifest.csv"), *map(Path, beside)
    )


def _checked() -> None:
    import_module("stages.check.__main__").main(Path("params.yaml"), Path("manifest.csv"))


def _decoded() -> None:
    import_module("stages.tensors").main(
        Path("params.yaml"), "tensors.tiny", Path("images"), Path("manifest.csv"), Path("tensors.h5")
    )


def _extracted() -> None:
    import_module("stages.features.__main__").main(
        Path("params.yaml"), "features.tiny", Path("tensors.h5"), Path("tiny.keras"), Path("features.h5")
    )


def _opened() -> None:
    file = RowFile("features.h5")
    for _ in file.batches(256, slice(0, len(file))):
        pass


def _solved() -> None:
    for name in VARIANTS:
        import_module("stages.train.__main__").main(
            Path("params.yaml"),
            f"variants.{name}",
            Path("tiny.keras"),
            Path("features.h5"),
            Path(f"{name}.keras"),
            Path("history", f"{name}.csv"),
        )


def _evaluated() -> None:
    for name in VARIANTS:
        import_module("stages.evaluate").main(
            Path("params.yaml"),
            "evaluation",
            name,
            Path(f"{name}.keras"),
            Path("features.h5"),
            Path("thumbnails.zip"),
            Path(f"{name}.json"),
            *(Path(kind, f"{name}.csv") for kind in ("validation", "predictions", "per_class", "reliability")),
            Path(f"{name}.jpg"),
        )


def _scored() -> None:
    from thaw.formats.predictions import Predictions, read_predictions, write_predictions
    from thaw.scoring.scoring import score

    labels = np.load("images/train_labels.npy")
    labels = np.concatenate([labels, np.load("images/test_labels.npy")])
    logits = np.random.default_rng(0).normal(size=(len(labels), CLASSES))
    logits[np.arange(len(labels)), labels] += 2
    values = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    paths = [f"images/{number:07}.jpg" for number in range(len(labels))]
    said = Predictions(paths, labels, values, [str(number) for number in range(CLASSES)])
    write_predictions(Path("scored.csv"), said)
    read = read_predictions(Path("scored.csv"))
    score(read.labels, read.probabilities)


def _folded() -> None:
    from stages.cross_validate.folding import parts_of
    from stages.cross_validate.solved import Images
    from thaw.params.cross_validation import CrossValidation

    wanted = CrossValidation(start="backbones/tiny", inputs="features/tiny", repeats=1)
    for _ in parts_of("cross_validation.weak", wanted, Images.of(RowFile("features.h5"))):
        pass


def _doubted() -> None:
    import_module("stages.label_issues.__main__").main(
        Path("params.yaml"),
        "label_issues.tiny",
        Path("features.h5"),
        Path("thumbnails.zip"),
        Path("label_issues/tiny.csv"),
        Path("suspected.jpg"),
    )


def _reported() -> None:
    sections = ("backbones", "features", "variants", "seeds", "label_issues")
    tables = ("validation", "predictions", "history", "seed_scores", "label_issues")
    outs = ("comparison.md", "curves.svg", "report.html")
    import_module("stages.report.__main__").main(
        Path("params.yaml"),
        *sections,
        Path("manifest.csv"),
        Path("thumbnails.zip"),
        *map(Path, tables),
        Path(__file__).parents[1] / "constraints.txt",
        *map(Path, outs),
    )


STEPS: dict[str, tuple[str, Callable[[], None]]] = {
    "manifest: images listed, decoded, hashed, compared, split; thumbnails": ("stages.manifest.__main__", _listed),
    "check of params.yaml against the manifest": ("stages.check.__main__", _checked),
    "tensors: decoded, into the store of rows and a file": ("stages.tensors", _decoded),
    "tensors again: all rows from the store": ("stages.tensors", _decoded),
    "features: through a network, into the store and a file": ("stages.features.__main__", _extracted),
    "features again: all rows from the store": ("stages.features.__main__", _extracted),
    "a row file opened, and all rows read and verified": ("thaw.formats.row_file", _opened),
    f"train: two heads solved on {FEATURES} features": ("stages.train.__main__", _solved),
    "evaluate: two variants' scores with intervals, predictions, mistakes": ("stages.evaluate", _evaluated),
    "predictions of as many images written, read, and scored": ("thaw.scoring.scoring", _scored),
    "cross-validation: 5 folds": ("stages.cross_validate.folding", _folded),
    "label issues: 5 folds, heads solved on each": ("stages.label_issues.__main__", _doubted),
    "report: two variants and label issues": ("stages.report.__main__", _reported),
}
"""By what is done, in their order: the module whose imports are no part of what it takes, and what does it."""


DRIVER = [step for step in STEPS if step.startswith(("tensors", "features"))]
"""Those in which nodes of a cluster may compute the rows: what this process holds is then the driver's memory."""


def measure_step(name: str) -> dict[str, float]:
    """Run one step in the working directory, and return what it took.

    Returns:
        Seconds of a processor (cpu) and of a clock (wall); megabytes before it began (imports) and at most (peak).
    """
    module, step = STEPS[name]
    import_module(module)
    imports = most_memory()
    wall, cpu = time.perf_counter(), time.process_time()
    step()
    return {
        "cpu": time.process_time() - cpu,
        "wall": time.perf_counter() - wall,
        "imports": imports,
        "peak": most_memory(),
    }


def measure_files(count: int) -> dict[str, float]:
    """Make a folder of small files in the working directory, and return what it costs beside its images' bytes.

    Returns:
        Seconds of a processor that it takes to list the images (listing), and to look whether a file has changed
        (look), as each stage that reads them does before and after; megabytes that the listing takes (peak).
    """
    from stages.manifest.listing import listing
    from thaw.files.watching import unchanged
    from thaw.params.dataset import Dataset, Split

    for number in range(count):
        file = Path("files", f"class {number % CLASSES}", f"{number // CLASSES}.jpg")
        if number < CLASSES:
            file.parent.mkdir(parents=True)
        file.write_bytes(b"%d" % number)
    dataset = Dataset(path="files", layout="class_folders", split=Split(method="stratified", test=0.2, validation=0.2))
    before, began = most_memory(), time.process_time()
    listing(Path("files"), dataset)
    listed, peak = time.process_time(), most_memory() - before
    with unchanged([Path("files")]):
        pass
    return {"listing": listed - began, "look": (time.process_time() - listed) / 2, "peak": peak}


def in_a_process(folder: Path, name: str, count: int) -> dict[str, float]:
    """Measure in a folder, by a process of its own; see `main`."""
    root = Path(__file__).parents[1]
    paths = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths, "THAW_CACHE": str(folder / "cache")}
    command = [sys.executable, "-m", "benchmarks.million", name, str(count)]
    done = subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(f"{count:,}: {name}: {found}", flush=True)
    return found


def main(name: str, count: int) -> None:
    """Do in the working directory what `in_a_process` wants: a step, `make` or `files`; print what it took as JSON."""
    if name == "make":
        make(Path(), count)
    print(json.dumps({} if name == "make" else measure_files(count) if name == "files" else measure_step(name)))


def measure(counts: tuple[int, ...] = COUNTS, files: int = FILES) -> Measured:
    """Measure all steps with ever more images, each in a process of its own, and a folder of many files."""
    found: dict[int, dict[str, dict[str, float]]] = {}
    for count in counts:
        with TemporaryDirectory() as name:
            folder = Path(name)
            in_a_process(folder, "make", count)
            found[count] = {step: in_a_process(folder, step, count) for step in STEPS}
    with TemporaryDirectory() as name:
        of_files = in_a_process(Path(name), "files", files)
    return Measured([], words(found, files, of_files))


def words(found: dict[int, dict[str, dict[str, float]]], files: int, of_files: dict[str, float]) -> str:
    """Return a table of what steps took by the number of images, and what follows from it."""
    *_, fewer, most = counts = sorted(found)
    lines = [
        f"| seconds of a core, by images | {' | '.join(f'{count:,}' for count in counts)} | growth | clock | peak |",
        f"| --- |{' ---: |' * (len(counts) + 3)}",
    ]
    for step in STEPS:
        by_count = {count: found[count][step] for count in counts}
        first, before, last = (by_count[count]["cpu"] for count in (counts[0], fewer, most))
        growth = f"{(last - first) / (before - first):.1f}" if before > first else "–"
        seconds = " | ".join(f"{one['cpu']:,.{2 if one['cpu'] < 10 else 0}f}" for one in by_count.values())
        peak, imports = by_count[most]["peak"], by_count[most]["imports"]
        clock = f"{by_count[most]['wall']:,.0f} s"
        lines.append(f"| {step} | {seconds} | {growth} | {clock} | {peak:,.0f} MiB, {peak - imports:,.0f} of its own |")
    of_driver = [
        f"{step.partition(':')[0]} {found[fewer][step]['peak'] / found[counts[0]][step]['peak']:.2f}" for step in DRIVER
    ]
    minutes = sum(one["cpu"] for one in found[most].values()) / 60
    return f"""{chr(10).join(lines)}

Growth is from {fewer:,} to {most:,} images, without what {counts[0]:,} take: {most / fewer:g} is linear. Clock and peak
are those of {most:,}, for which all of this takes {minutes:.0f} minutes of a core. Peak memory at {fewer:,} images, in
times of that at {counts[0]:,}: {", ".join(of_driver)}.

The first limit is the memory of a solved head, which holds the training images' features twice, and of label issues,
which hold those of all images once: of a million images, with {WIDE:,} numbers each,
{2 * TRAINED * 4 * WIDE / 1000:.1f} and {4 * WIDE / 1000:.1f} GB. What is trained by epochs reads rows from the disk.
The next one is time: where any images are in groups, as those that look alike are, folds are dealt out group by group,
each other image being one. So the folds of cross-validation and of label issues grow more than the images do here, of
which only the most have such pairs.

A folder of {files:,} files, in place of arrays or archives, takes {of_files["listing"]:.1f} s to list, in
{of_files["peak"]:,.0f} MiB, and {of_files["look"]:.1f} s each time that a stage looks whether one has changed."""


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
