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
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from benchmarks.measuring import Measured
from thaw.formats.row_file import RowFile

COUNTS = (1_000, 10_000, 100_000, 1_000_000)
CLASSES = 10
SIDE = 8
"""Of the images, in pixels."""
FEATURES = 64
SIGNAL = 20
"""Grey levels by which the classes differ, in noise of all levels: a head tells most of the images apart."""
VARIANTS = {"weak": 1e-5, "strong": 1.0}
"""By name, C of the head."""
PARAMS = {
    "dataset": {
        "path": "images",
        "layout": "npy",
        "near_duplicates": 4,
        "split": {"method": "given", "validation": 0.25},
    },
    "tensors": {"tiny": {"pixels": [SIDE, SIDE], "resize": "stretch", "normalization": "torch"}},
    "backbones": {"tiny": {"architecture": "EfficientNetLite0", "weights": "none"}},
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
    models.save(network, folder / "tiny.keras", BackboneRecord({**PARAMS["backbones"]["tiny"]}))


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
"""By what is done: the module whose imports are no part of what it takes, and what does it."""


def measure_step(name: str) -> dict[str, float]:
    """Run one step in the working directory, and return what it took.

    Returns:
        Seconds of a processor (cpu) and of a clock (wall); megabytes before it began (imports) and at most (peak).
    """
    module, step = STEPS[name]
    import_module(module)
    imports = _most_memory()
    wall, cpu = time.perf_counter(), time.process_time()
    step()
    return {
        "cpu": time.process_time() - cpu,
        "wall": time.perf_counter() - wall,
        "imports": imports,
        "peak": _most_memory(),
    }


def _most_memory() -> float:
    """Return the most megabytes that this process has had; the system's `ru_maxrss` has those of its parent, too."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def measure_count(folder: Path, count: int) -> dict[str, dict[str, float]]:
    """Run all steps on so many images, each in a process of its own, and return what each took; see `measure_step`."""
    paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "THAW_CACHE": str(folder / "cache")}
    found = {}
    for name in ("make", *STEPS):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.million", name, str(count)],
            cwd=folder,
            env=environment,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        if name != "make":
            found[name] = json.loads(done.stdout.splitlines()[-1])
            print(f"{count:,}: {name}: {found[name]}", flush=True)
    return found


def measure(counts: tuple[int, ...] = COUNTS) -> Measured:
    """Measure all steps with ever more images."""
    found = {}
    for count in counts:
        with TemporaryDirectory() as folder:
            found[count] = measure_count(Path(folder), count)
    return Measured([], table(found))


def table(found: dict[int, dict[str, dict[str, float]]]) -> str:
    raise NotImplementedError


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(Path(), int(sys.argv[2]))
    else:
        print(json.dumps(measure_step(sys.argv[1])))
