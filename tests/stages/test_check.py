"""The check of params.yaml: every mistake is found before anything runs, and said in words."""

import copy
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from stages.check import __main__ as check_stage
from stages.check.checking import SECTIONS, SINGLE, check_params
from thaw.errors import UserError
from thaw.formats.manifest import SPLITS, Row, write_manifest
from thaw.params.dataset import Split
from thaw.params.evaluation import CrossValidation
from thaw.params.reading import read_entry, read_yaml
from thaw.params.variants import Solver, Training, Variant
from thaw.suggestions import did_you_mean

ROOT = Path(__file__).parents[2]
DEFAULT = ROOT / "params.yaml"
FRESH = {
    "start": "backbones/lite0",
    "inputs": "features/bottleneck",
    "head": [{"Dense": {"units": "classes", "activation": "softmax"}}],
    "fit": {"epochs": 1, "optimizer": "Adam"},
}
"""A variant with a head of its own, trained by gradient descent."""
TRAINED: dict[str, Any] = {"epochs": 1, "optimizer": "Adam"}
FINAL: dict[str, Any] = {"Dense": {"units": "classes", "activation": "softmax"}}
SOLVED = {"start": "backbones/lite0", "inputs": "features/bottleneck", "fit": {"solver": "logistic_regression"}}
DIGEST = "0" * 64
LITE = {"architecture": "EfficientNetLite0", "weights": "package"}
MIDDLE = {"tensors": "lite64", "backbone": "lite0", "layer": "block_9"}
GONE = object()
Tree = dict[str, Any]


def edited(edits: dict[str, Any]) -> Tree:
    """Return the default params with values set by their address; `GONE` removes the key."""
    tree = copy.deepcopy(read_yaml(DEFAULT))
    for address, value in edits.items():
        *path, last = address.split(".")
        node: Any = tree
        for step in path:
            node = node[int(step)] if isinstance(node, list) else node[step]
        if value is GONE:
            del node[last]
        else:
            node[int(last) if isinstance(node, list) else last] = copy.deepcopy(value)
    return tree


@pytest.fixture
def errors(tmp_path: Path) -> Callable[[Tree], list[str]]:
    """A function that writes params to a file, checks them, and returns the lines of the message."""

    def lines(tree: Tree) -> list[str]:
        path = tmp_path / "params.yaml"
        yaml = YAML(typ="safe", pure=True)
        yaml.sort_base_mapping_type_on_output = False
        yaml.dump(tree, path)
        return of_file(path)

    return lines


def of_file(path: Path) -> list[str]:
    try:
        check_params(path)
    except UserError as error:
        head, *lines = str(error).split("\n")
        count = "1 error" if len(lines) == 1 else f"{len(lines)} errors"
        assert head == f"{path}: {count}, nothing was run"
        return [line.removeprefix("  ") for line in lines]
    return []


@pytest.mark.parametrize("path", [DEFAULT, *sorted((ROOT / "recipes").glob("*.yaml"))], ids=lambda path: path.name)
def test_what_the_repository_offers_passes(path: Path) -> None:
    assert of_file(path) == []


HEAD = "variants.fresh.head"
HALF = "variants.half"
FIT = "variants.half.fit"
WITH_FRESH = {"variants.fresh": FRESH}
BACKBONE = "backbones.lite0"

SCHEMA = {
    # edits, then the expected lines
    "unknown section": ({"variant": {}}, ["variant: unknown section; did you mean 'variants'?"]),
    "missing section": (
        {"features": GONE, "variants": {"only": FRESH | {"inputs": "tensors/lite64"}}},
        [
            "features: this section is missing; without any entries, write features: {}",
            "variants.only.head: the backbone's end is a map, not one vector per image: begin the head with "
            "GlobalAveragePooling2D, or take features with layer: top and pooling: avg or max",
        ],
    ),
    "missing single section": ({"evaluation": GONE}, ["evaluation: this section is missing"]),
    "section null": ({"evaluation": None}, ["evaluation: expected a mapping of keys to values, got null"]),
    "section with entries null": (
        {"variants": None},
        ["variants: expected a mapping from names to entries, got null"],
    ),
    "section list": ({"variants": [1, 2]}, ["variants: expected a mapping from names to entries, got [1, 2]"]),
    "no variants": ({"variants": {}}, ["variants: there is nothing to train: name at least one variant"]),
    "entry null": ({"variants.full": None}, ["variants.full: expected a mapping of keys to values, got null"]),
    "unknown key, dataset": ({"dataset.pth": 1}, ["dataset.pth: unknown key; did you mean 'path'?"]),
    "unknown key, split": ({"dataset.split.sed": 1}, ["dataset.split.sed: unknown key; did you mean 'seed'?"]),
    "unknown key, tensors": (
        {"tensors.lite64.pixel": 1},
        ["tensors.lite64.pixel: unknown key; did you mean 'pixels'?"],
    ),
    "unknown key, backbones": ({f"{BACKBONE}.wights": 1}, [f"{BACKBONE}.wights: unknown key; did you mean 'weights'?"]),
    "unknown key, features": (
        {"features.midway.batchsize": 1},
        ["features.midway.batchsize: unknown key; did you mean 'batch_size'?"],
    ),
    "unknown key, variants": ({f"{HALF}.stat": 1}, [f"{HALF}.stat: unknown key; did you mean 'start'?"]),
    "unknown key, training": ({f"{FIT}.epoch": 1}, [f"{FIT}.epoch: unknown key; did you mean 'epochs'?"]),
    "unknown key, solver": (
        {"variants.frozen_head.fit.c": [1.0]},
        ["variants.frozen_head.fit.c: unknown key; did you mean 'C'?"],
    ),
    "unknown key, evaluation": ({"evaluation.topk": 1}, ["evaluation.topk: unknown key; did you mean 'top_k'?"]),
    "unknown key, cross-validation": (
        {"evaluation.cross_validation": {"fold": 5, "variants": ["half"]}},
        ["evaluation.cross_validation.fold: unknown key; did you mean 'folds'?"],
    ),
    "unknown key like no other": ({"evaluation.zzz": 1}, ["evaluation.zzz: unknown key"]),
    "missing key": ({"tensors.lite64.resize": GONE}, ["tensors.lite64.resize: this key is missing"]),
    "missing nested key": ({"dataset.split.test": GONE}, ["dataset.split.test: this key is missing"]),
    "missing key of training": ({f"{FIT}.optimizer": GONE}, [f"{FIT}.optimizer: this key is missing"]),
    "mistyped solver": (
        {"variants.frozen_head.fit": {"solvr": "logistic_regression"}},
        [
            "variants.frozen_head.fit.epochs: this key is missing",
            "variants.frozen_head.fit.optimizer: this key is missing",
            "variants.frozen_head.fit.solvr: unknown key; did you mean 'solver'?",
        ],
    ),
    "text for a whole number": ({f"{FIT}.epochs": "8"}, [f'{FIT}.epochs: expected a whole number, got "8"']),
    "true for a whole number": ({f"{FIT}.epochs": True}, [f"{FIT}.epochs: expected a whole number, got true"]),
    "text for true or false": (
        {f"{FIT}.jit_compile": "auto"},
        [f'{FIT}.jit_compile: expected true or false, got "auto"'],
    ),
    "a precision there is not": (
        {f"{FIT}.precision": "float23"},
        [f"{FIT}.precision: expected one of float32, bfloat16, got \"float23\"; did you mean 'float32'?"],
    ),
    "half for a whole number": ({f"{FIT}.seed": 1.5}, [f"{FIT}.seed: expected a whole number, got 1.5"]),
    "text for a number": (
        {"dataset.split.test": "15%"},
        ['dataset.split.test: expected a number, got "15%"'],
    ),
    "number for text": (
        {"features.midway.layer": 9},
        ["features.midway.layer: expected text, got the number 9; put it between quotes"],
    ),
    "true for text": ({"dataset.path": True}, ["dataset.path: expected text, got true"]),
    "null for text": ({f"{BACKBONE}.weights": None}, [f"{BACKBONE}.weights: expected text, got null"]),
    "one for true": ({f"{BACKBONE}.include_top": 1}, [f"{BACKBONE}.include_top: expected true or false, got 1"]),
    "mapping for a list": (
        {f"{FIT}.callbacks": {"EarlyStopping": {}}},
        [f'{FIT}.callbacks: expected a list, got {{"EarlyStopping": {{}}}}'],
    ),
    "text for a mapping": ({FIT: "Adam"}, [f'{FIT}: expected a mapping of keys to values, got "Adam"']),
    "list for a mapping": ({"dataset.split": []}, ["dataset.split: expected a mapping of keys to values, got []"]),
    "one of three words": (
        {"tensors.lite64.resize": "padd"},
        ["tensors.lite64.resize: expected one of pad, stretch, crop, got \"padd\"; did you mean 'pad'?"],
    ),
    "only one word": (
        {"variants.frozen_head.fit.solver": "svm"},
        ['variants.frozen_head.fit.solver: expected logistic_regression, got "svm"'],
    ),
    "long value": (
        {"dataset.split": ["x" * 80]},
        ['dataset.split: expected a mapping of keys to values, got ["' + "x" * 55 + "..."],
    ),
    "one pixel number": (
        {"tensors.lite64.pixels": [64]},
        ["tensors.lite64.pixels: expected 2 or more values, got [64]"],
    ),
    "three pixel numbers": (
        {"tensors.lite64.pixels": [64, 64, 3]},
        ["tensors.lite64.pixels: expected 2 values and no more, got [64, 64, 3]"],
    ),
    "pixels not in a list": ({"tensors.lite64.pixels": 64}, ["tensors.lite64.pixels: expected a list, got 64"]),
    "zero pixels": (
        {"tensors.lite64.pixels": [0, 64]},
        ["tensors.lite64.pixels.0: expected a number not below 1, got 0"],
    ),
    "too many pixels": (
        {"tensors.lite64.pixels": [64, 5000]},
        ["tensors.lite64.pixels.1: expected a number not above 4096, got 5000"],
    ),
    "zero epochs": ({f"{FIT}.epochs": 0}, [f"{FIT}.epochs: expected a number not below 1, got 0"]),
    "negative batch": ({f"{FIT}.batch_size": -1}, [f"{FIT}.batch_size: expected a number not below 1, got -1"]),
    "zero batch of features": (
        {"features.midway.batch_size": 0},
        ["features.midway.batch_size: expected a number not below 1, got 0"],
    ),
    "negative seed": ({"dataset.split.seed": -1}, ["dataset.split.seed: expected a number not below 0, got -1"]),
    "seed too large for NumPy": (
        {f"{FIT}.seed": 2**32},
        [f"{FIT}.seed: expected a number below 4294967296, got 4294967296"],
    ),
    "zero test share": ({"dataset.split.test": 0}, ["dataset.split.test: expected a number above 0, got 0"]),
    "whole test share": ({"dataset.split.test": 1}, ["dataset.split.test: expected a number below 1, got 1"]),
    "share not a number": (
        {"dataset.split.test": float("nan")},
        ["dataset.split.test: expected a finite number, got NaN"],
    ),
    "nothing for training": (
        {"dataset.split.test": 0.5, "dataset.split.validation": 0.5},
        ["dataset.split.validation: test and validation together must be below 1, to leave some for training"],
    ),
    "top 1": ({"evaluation.top_k": 1}, ["evaluation.top_k: expected a number not below 2, got 1"]),
    "one fold": (
        {"evaluation.cross_validation": {"folds": 1, "variants": ["half"]}},
        ["evaluation.cross_validation.folds: expected a number not below 2, got 1"],
    ),
    "C zero": (
        {"variants.frozen_head.fit.C": [1.0, 0]},
        ["variants.frozen_head.fit.C.1: expected a number above 0, got 0"],
    ),
    "C infinite": (
        {"variants.frozen_head.fit.C": [float("inf")]},
        ["variants.frozen_head.fit.C.0: expected a finite number, got Infinity"],
    ),
    "no C": (
        {"variants.frozen_head.fit.C": []},
        ["variants.frozen_head.fit.C: expected 1 or more values, got []"],
    ),
    "path that a shell reads": (
        {"dataset.path": "$HOME/photos"},
        ['dataset.path: expected text without " $ ` \\ and line breaks, nor - at its start, got "$HOME/photos"'],
    ),
    "path like an option": (
        {"dataset.path": "-photos"},
        ['dataset.path: expected text without " $ ` \\ and line breaks, nor - at its start, got "-photos"'],
    ),
    **{
        f"path of the pipeline's own files, {path}": (
            {"dataset.path": path},
            ["dataset.path: the pipeline writes there: give the images a folder of their own, such as data/raw/<name>"],
        )
        for path in (
            *(".", "data", "raw/../data/", "..", "/", "data/raw", "./data/raw/", "data/tensors/x", "metrics/photos"),
            *("models", "exports", ".dvc/cache", str(Path.cwd()), f"{Path.cwd()}/data//tensors"),
        )
    },
    "home": ({"dataset.path": "~/photos"}, ["dataset.path: ~ is not replaced by your home folder: write that out"]),
    "remote path": (
        {"dataset.path": "s3://bucket/photos"},
        ["dataset.path: expected a folder; `dvc import-url` fetches what is elsewhere"],
    ),
    "date": (
        {"features.midway.layer": date(2024, 5, 1)},
        [
            "features.midway.layer: expected text, a number, true, false, null, a list or a mapping; "
            "this is a date; put it between quotes",
            'features.midway.layer: expected text, got "2024-05-01"',
        ],
    ),
}

NAMES = {
    "key size": (
        {"tensors.size": {"pixels": [64, 64], "resize": "pad", "normalization": "tf"}},
        ["tensors.size: DVC does not notice when a parameter named 'size' changes; use another name"],
    ),
    "Keras argument size": (
        {
            "variants.fresh": FRESH
            | {"inputs": "features/midway", "head": [{"UpSampling2D": {"size": 2}}, "Flatten", FINAL]}
        },
        [f"{HEAD}.0.UpSampling2D.size: DVC does not notice when a parameter named 'size' changes; use another name"],
    ),
    "key nfiles": (
        {"dataset.nfiles": 3},
        [
            "dataset.nfiles: DVC does not notice when a parameter named 'nfiles' changes; use another name",
            "dataset.nfiles: unknown key",
        ],
    ),
    **{
        f"entry named {name!r}": (
            {"tensors": {**read_yaml(DEFAULT)["tensors"], name: read_yaml(DEFAULT)["tensors"]["lite64"]}},
            [f"tensors.{said}: a name has letters a-z, digits, - and _, and begins with a letter"],
        )
        for name, said in [*((name, name) for name in ("a.b", "a/b", "a b", "2x", "", "é")), ("a\n", "a\\n")]
    },
    **{
        f"entry named {shown} without quotes": (
            {"tensors": {**read_yaml(DEFAULT)["tensors"], name: read_yaml(DEFAULT)["tensors"]["lite64"]}},
            [f"tensors.{name}: a key is text, got {shown}"],
        )
        for name, shown in ((64, "64"), (True, "true"), (None, "null"), (1.5, "1.5"))
    },
    "a section's name is a number": (
        {"dataset": {**read_yaml(DEFAULT)["dataset"], 3: 1}},
        ["dataset.3: a key is text, got 3"],
    ),
    "an argument's name is a number": (
        {f"{FIT}.optimizer": {"Adam": {1: 2}}},
        [f"{FIT}.optimizer.Adam.1: a key is text, got 1"],
    ),
}

KERAS = {
    "unknown architecture": (
        {f"{BACKBONE}.architecture": "EfficientNetLite"},
        [f"{BACKBONE}.architecture: unknown architecture 'EfficientNetLite'; did you mean 'EfficientNetLite0'?"],
    ),
    "lower-case architecture": (
        {"backbones.vgg": {"architecture": "vgg16", "weights": "imagenet"}},
        ["backbones.vgg.architecture: unknown architecture 'vgg16'; did you mean 'VGG16'?"],
    ),
    "lower-case optimizer": (
        {f"{FIT}.optimizer": "adam"},
        [f"{FIT}.optimizer: unknown optimizer 'adam'; did you mean 'Adam'?"],
    ),
    "unknown optimizer": (
        {f"{FIT}.optimizer": {"Adamm": None}},
        [f"{FIT}.optimizer.Adamm: unknown optimizer 'Adamm'; did you mean 'Adam'?"],
    ),
    "function for an optimizer": ({f"{FIT}.optimizer": "get"}, [f"{FIT}.optimizer: unknown optimizer 'get'"]),
    "optimizer without a name": ({f"{FIT}.optimizer": ""}, [f"{FIT}.optimizer: unknown optimizer ''"]),
    "optimizer of optimizers": (
        {f"{FIT}.optimizer": {"LossScaleOptimizer": {"inner_optimizer": "Adam"}}},
        [
            f"{FIT}.optimizer.LossScaleOptimizer: LossScaleOptimizer takes other optimizers, "
            "which params.yaml cannot give it: name one optimizer"
        ],
    ),
    "unknown argument of an optimizer": (
        {f"{FIT}.optimizer": {"Adam": {"learning_rat": 1e-3}}},
        [f"{FIT}.optimizer.Adam.learning_rat: Adam has no argument 'learning_rat'; did you mean 'learning_rate'?"],
    ),
    "learning rate 0": (
        {f"{FIT}.optimizer": {"Adam": {"learning_rate": 0.0}}},
        [
            f"{FIT}.optimizer.Adam.learning_rate: expected a number above 0 with a point or an exponent, "
            "or {Schedule: {...}}, got 0.0"
        ],
    ),
    "learning rate 1": (  # Keras takes a float only
        {f"{FIT}.optimizer": {"SGD": {"learning_rate": 1}}},
        [
            f"{FIT}.optimizer.SGD.learning_rate: expected a number above 0 with a point or an exponent, "
            "or {Schedule: {...}}, got 1"
        ],
    ),
    "unknown schedule": (
        {f"{FIT}.optimizer": {"Adam": {"learning_rate": {"CosinDecay": {"initial_learning_rate": 1e-3}}}}},
        [
            f"{FIT}.optimizer.Adam.learning_rate.CosinDecay: "
            "unknown learning-rate schedule 'CosinDecay'; did you mean 'CosineDecay'?"
        ],
    ),
    "required argument of a schedule": (
        {f"{FIT}.optimizer": {"Adam": {"learning_rate": {"CosineDecay": None}}}},
        [f"{FIT}.optimizer.Adam.learning_rate.CosineDecay: CosineDecay needs initial_learning_rate"],
    ),
    "two optimizers": (
        {f"{FIT}.optimizer": {"Adam": None, "SGD": None}},
        [
            f"{FIT}.optimizer: expected Name or {{Name: {{argument: value}}}} "
            "(an argument's line is indented deeper than the name)"
        ],
    ),
    "arguments in a list": (
        {f"{FIT}.optimizer": {"Adam": [1]}},
        [f"{FIT}.optimizer: expected Name or {{Name: {{argument: value}}}}"],
    ),
    "unknown loss": (
        {f"{FIT}.loss": "CategoricalCrossEntropy"},
        [f"{FIT}.loss: unknown loss 'CategoricalCrossEntropy'; did you mean 'CategoricalCrossentropy'?"],
    ),
    "lower-case loss": (
        {f"{FIT}.loss": "categorical_crossentropy"},
        [f"{FIT}.loss: unknown loss 'categorical_crossentropy'; did you mean 'CategoricalCrossentropy'?"],
    ),
    "loss from logits": (
        {f"{FIT}.loss": {"CategoricalCrossentropy": {"from_logits": True}}},
        [f"{FIT}.loss: from_logits: the head of variants/frozen_head ends in softmax: leave from_logits out"],
    ),
    "loss from logits, of a head of its own": (
        {
            "variants.fresh": FRESH
            | {"fit": TRAINED | {"loss": {"SparseCategoricalCrossentropy": {"from_logits": True}}}}
        },
        ["variants.fresh.fit.loss: from_logits: the head's last layer has an activation: leave one of them out"],
    ),
    "unknown callback": (
        {f"{FIT}.callbacks": [{"EarlyStoping": {}}]},
        [f"{FIT}.callbacks.0.EarlyStoping: unknown callback 'EarlyStoping'; did you mean 'EarlyStopping'?"],
    ),
    "argument of a callback": (
        {f"{FIT}.callbacks": ["TerminateOnNaN", {"EarlyStopping": {"patient": 3}}]},
        [f"{FIT}.callbacks.1.EarlyStopping.patient: EarlyStopping has no argument 'patient'; did you mean 'patience'?"],
    ),
    "text for yes or no": (  # YAML 1.2 reads yes as text, which Python takes for true
        {f"{FIT}.callbacks": [{"EarlyStopping": {"restore_best_weights": "no"}}]},
        [f'{FIT}.callbacks.0.EarlyStopping.restore_best_weights: expected true or false, got "no"'],
    ),
    "text for a number": (
        {f"{FIT}.callbacks": [{"EarlyStopping": {"patience": "3"}}]},
        [f'{FIT}.callbacks.0.EarlyStopping.patience: expected a number, got "3"'],
    ),
    "nothing for a number": (
        {f"{FIT}.callbacks": [{"EarlyStopping": {"patience": None}}]},
        [f"{FIT}.callbacks.0.EarlyStopping.patience: expected a number, got null"],
    ),
    "number of a schedule": (
        {f"{FIT}.optimizer": {"Adam": {"learning_rate": {"CosineDecay": {"initial_learning_rate": -1}}}}},
        [
            f"{FIT}.optimizer.Adam.learning_rate.CosineDecay.initial_learning_rate: "
            "expected a number not below 0, got -1"
        ],
    ),
    "number for a name": (
        {f"{FIT}.callbacks": [{"EarlyStopping": {"mode": 1}}]},
        [f"{FIT}.callbacks.0.EarlyStopping.mode: expected a name, got 1"],
    ),
    "what is monitored": (  # Keras only warns, and never stops
        {f"{FIT}.callbacks": [{"EarlyStopping": {"monitor": "val_acc"}}]},
        [
            f"{FIT}.callbacks.0.EarlyStopping.monitor: expected one of loss, accuracy, val_loss, val_accuracy, "
            "got \"val_acc\"; did you mean 'val_accuracy'?"
        ],
    ),
    "two learning rates": (
        {f"{FIT}.callbacks": ["ReduceLROnPlateau"]},
        [
            f"{FIT}.callbacks.0: ReduceLROnPlateau cannot change a learning rate that follows a schedule: "
            "leave one of them out"
        ],
    ),
    **{
        f"callback {name}": (
            {f"{FIT}.callbacks": [{name: arguments}]},
            [
                f"{FIT}.callbacks.0.{name}: {name} writes files or sends data that dvc.yaml does not declare; "
                "to keep the best epoch's weights use {EarlyStopping: {monitor: val_loss, "
                "restore_best_weights: true}}; learning curves are written in any case"
            ],
        )
        for name, arguments in {
            "ModelCheckpoint": {"filepath": "best.keras"},
            "BackupAndRestore": {"backup_dir": "backup"},
            "CSVLogger": {"filename": "log.csv"},
            "TensorBoard": None,
            "RemoteMonitor": {},
            "OrbaxCheckpoint": {"directory": "checkpoints"},
        }.items()
    },
    "callback with a function": (
        {f"{FIT}.callbacks": [{"LearningRateScheduler": {"schedule": "f"}}]},
        [
            f"{FIT}.callbacks.0.LearningRateScheduler: LearningRateScheduler needs a function, which params.yaml "
            "cannot give; give the optimizer's learning_rate as a schedule instead"
        ],
    ),
    "callback that is there": (
        {f"{FIT}.callbacks": ["History"]},
        [f"{FIT}.callbacks.0: History is always there: leave it out"],
    ),
    "unknown layer": (
        {**WITH_FRESH, HEAD: ["Flaten", FINAL]},
        [f"{HEAD}.0: unknown layer 'Flaten'; did you mean 'Flatten'?"],
    ),
    "function for a layer": (
        {**WITH_FRESH, HEAD: ["add", FINAL]},
        [f"{HEAD}.0: unknown layer 'add'"],
    ),
    "argument of a layer": (
        {**WITH_FRESH, HEAD: [{"Dense": {"unit": 3, "units": 4}}, FINAL]},
        [f"{HEAD}.0.Dense.unit: Dense has no argument 'unit'; did you mean 'units'?"],
    ),
    "argument of a layer's base": (
        {**WITH_FRESH, HEAD: [{"Dense": {"units": 4, "activty_regularizer": "l2"}}, FINAL]},
        [
            f"{HEAD}.0.Dense.activty_regularizer: "
            "Dense has no argument 'activty_regularizer'; did you mean 'activity_regularizer'?"
        ],
    ),
    "required argument of a layer": ({**WITH_FRESH, HEAD: ["Dropout", FINAL]}, [f"{HEAD}.0: Dropout needs rate"]),
    "units": (
        {**WITH_FRESH, HEAD: [{"Dense": {"units": "class"}}, {"Dense": {"units": 0}}, FINAL]},
        [
            f'{HEAD}.0.Dense.units: expected a whole number above 0 or classes, got "class"',
            f"{HEAD}.1.Dense.units: expected a whole number above 0 or classes, got 0",
        ],
    ),
    "rate": (
        {**WITH_FRESH, HEAD: [{"Dropout": {"rate": 1.5}}, FINAL]},
        [f"{HEAD}.0.Dropout.rate: expected a number from 0 to below 1, got 1.5"],
    ),
    "activation": (
        {**WITH_FRESH, HEAD: [{"Dense": {"units": 9, "activation": "rellu"}}, FINAL]},
        [f"{HEAD}.0.Dense.activation: Keras knows no activation 'rellu' by its name alone; did you mean 'relu'?"],
    ),
    "initializer": (
        {**WITH_FRESH, HEAD: [{"Dense": {"units": 9, "kernel_initializer": "he_norml"}}, FINAL]},
        [
            f"{HEAD}.0.Dense.kernel_initializer: Keras knows no initializer 'he_norml' by its name alone; "
            "did you mean 'he_normal'?"
        ],
    ),
    "nested object": (
        {**WITH_FRESH, HEAD: [{"Dense": {"units": 9, "kernel_initializer": {"HeNorml": {"seed": 1}}}}, FINAL]},
        [f"{HEAD}.0.Dense.kernel_initializer.HeNorml: unknown initializer 'HeNorml'; did you mean 'HeNormal'?"],
    ),
    "nested argument": (
        {**WITH_FRESH, HEAD: [{"Dense": {"units": 9, "kernel_initializer": {"HeNormal": {"sed": 1}}}}, FINAL]},
        [f"{HEAD}.0.Dense.kernel_initializer.HeNormal.sed: HeNormal has no argument 'sed'; did you mean 'seed'?"],
    ),
    "initializer that is a layer": (
        {**WITH_FRESH, HEAD: [{"Dense": {"units": 9, "kernel_initializer": {"Flatten": None}}}, FINAL]},
        [f"{HEAD}.0.Dense.kernel_initializer.Flatten: unknown initializer 'Flatten'"],
    ),
    "lower-case regularizer with arguments": (
        {**WITH_FRESH, HEAD: [{"Dense": {"units": 9, "kernel_regularizer": {"l2": 0.1}}}, FINAL]},
        [f'{HEAD}.0.Dense.kernel_regularizer: expected a name or {{Name: {{argument: value}}}}, got {{"l2": 0.1}}'],
    ),
    "number for an activation": (
        {**WITH_FRESH, HEAD: [{"Dense": {"units": 9, "activation": 3}}, FINAL]},
        [f"{HEAD}.0.Dense.activation: expected a name or {{Name: {{argument: value}}}}, got 3"],
    ),
    **{
        f"loss {name}": ({f"{FIT}.loss": name}, [f"{FIT}.loss: {name} {why}"])
        for name, why in {
            "Loss": "is only what others are derived from",
            "CTC": "is for sequences, not for classes",
            "Circle": "is for embeddings, not for classes",
            "CategoricalGeneralizedCrossEntropy": "takes labels as numbers, which only Sparse... losses get",
        }.items()
    },
    "averages that no optimizer keeps": (
        {f"{FIT}.callbacks": ["SwapEMAWeights"]},
        [f"{FIT}.callbacks.0: SwapEMAWeights needs an optimizer with use_ema: true"],
    ),
    "layer in a layer": (
        {**WITH_FRESH, HEAD: [{"SpectralNormalization": {"layer": {"dense": {"units": 9}}}}, FINAL]},
        [f"{HEAD}.0.SpectralNormalization.layer.dense: unknown layer 'dense'; did you mean 'Dense'?"],
    ),
    "layer in a layer by its name alone": (
        {**WITH_FRESH, HEAD: [{"SpectralNormalization": {"layer": "Flatten"}}, FINAL]},
        [f'{HEAD}.0.SpectralNormalization.layer: expected {{Name: {{argument: value}}}}, got "Flatten"'],
    ),
    **{
        f"layer {name}": ({**WITH_FRESH, HEAD: [name, FINAL]}, [f"{HEAD}.0: {name} {why}"])
        for name, why in {
            "Input": "does not go into a list of layers: the network has its input already",
            "InputLayer": "does not go into a list of layers: the network has its input already",
            "TFSMLayer": "holds code, which Keras refuses to load from a model's file",
            "Lambda": "holds code, which Keras refuses to load from a model's file",
            "Embedding": "is for text, categories or sound, not for images and their features",
            "Concatenate": "has several inputs, but each layer of a list has one",
            "Layer": "is only what others are derived from",
        }.items()
    },
    "augmentation of labels": (
        {"variants.full.augmentation": ["MixUp"]},
        ["variants.full.augmentation.0: MixUp would have to change the labels as well"],
    ),
    "unknown augmentation": (
        {"variants.full.augmentation": [{"RandomFlop": {}}]},
        ["variants.full.augmentation.0.RandomFlop: unknown layer 'RandomFlop'; did you mean 'RandomFlip'?"],
    ),
    "no layer at all": (
        {"variants.full.augmentation": [3]},
        ["variants.full.augmentation.0: expected Name or {Name: {argument: value}}"],
    ),
}

LAYERS = "EfficientNetLite0 has no layer"
ELSEWHERE = {
    "tensors.other": {"pixels": [96, 96], "resize": "pad", "normalization": "lite"},
    "features.other": {"tensors": "other", "backbone": "lite0", "layer": "block_9"},
}
MAP = (
    "the backbone's end is a map, not one vector per image: begin the head with GlobalAveragePooling2D, "
    "or take features with layer: top and pooling: avg or max"
)
VECTOR = "a solver needs one vector per image: take features with layer: top and pooling: avg or max"
VGG = {"architecture": "VGG16", "weights": "none", "include_top": True}

WEIGHTS = "expected balanced, or a mapping from classes to numbers not below 0"
GIVEN = {"method": "given", "folders": {"train": "a", "test": "b"}}
NUMBERED = {"dataset.layout": "label_prefix", "dataset.classes": ["a", "b"]}
SHARES = {"method": "stratified", "test": 0.2, "validation": 0.2}
SCRATCH = {"architecture": "none", "weights": "none"}

RELATIONS = {
    "folders of splits that are not given": (
        {"dataset.split": SHARES | {"folders": GIVEN["folders"]}},
        ["dataset.split.folders: folders go with method: given"],
    ),
    "a share for tests that are given": (
        {"dataset.split": GIVEN | {"test": 0.1, "validation": 0.1}},
        ["dataset.split.test: the test split is given: leave test out"],
    ),
    "no share for validation": ({"dataset.split": GIVEN}, ["dataset.split.validation: this key is missing"]),
    "two validation splits": (
        {"dataset.split": {**GIVEN, "folders": GIVEN["folders"] | {"validation": "c"}, "validation": 0.1}},
        ["dataset.split.validation: folders.validation gives the validation split: leave one of them out"],
    ),
    "splits that are given nowhere": (
        {"dataset.split": {"method": "given", "validation": 0.1}},
        ["dataset.split: name the splits' folders: folders: {train: ..., test: ...}"],
    ),
    "folders for a table": (
        {"dataset.layout": "csv", "dataset.split": GIVEN | {"validation": 0.1}},
        ["dataset.split: the splits come from the table: leave folders out"],
    ),
    "arrays that are split at random": (
        {"dataset.layout": "npy"},
        ["dataset.split: the arrays' names tell the splits: set method: given"],
    ),
    "numbers without names": (
        {"dataset.layout": "label_prefix"},
        ["dataset.classes: files tell the number of their class: list the names in the order of the numbers"],
    ),
    "names of classes that folders name": (
        {"dataset.classes": ["a", "b"]},
        ["dataset.classes: the names come from the folders: leave it out"],
    ),
    "a class's name twice": (
        NUMBERED | {"dataset.classes": ["a", "a"]},
        ["dataset.classes: a name is there twice"],
    ),
    **{
        f"classes that look the same, {classes}": (
            NUMBERED | {"dataset.classes": classes},
            [f"dataset.classes: {classes[0]!r} and {classes[1]!r} look the same: give each class a name of its own"],
        )
        for classes in (["fig", "Fig"], ["fig", "fig "], ["1", "01"], ["caf\u00e9", "cafe\u0301"])
    },
    "a class with a space at its end": (
        NUMBERED | {"dataset.classes": ["fig ", "kiwi"]},
        ["dataset.classes: 'fig ' begins or ends with a space: write it without"],
    ),
    **{
        f"folders of splits, {folders}": (
            {"dataset.split": {"method": "given", "folders": folders}},
            [f"dataset.split.folders: {problem}"],
        )
        for folders, problem in (
            (
                {"train": "train", "validation": "test", "test": "test"},
                "validation and test are the same folder, 'test': give each split one of its own",
            ),
            (
                {"train": "train", "validation": "./test/", "test": "test"},
                "validation and test are the same folder, './test/': give each split one of its own",
            ),
            (
                {"train": "images", "test": "images/test"},
                "test ('images/test') lies in train ('images'): give each split one of its own",
            ),
            ({"train": ".", "test": "test"}, "test ('test') lies in train ('.'): give each split one of its own"),
            (
                {"train": "/mnt/train", "test": "test"},
                "train: '/mnt/train' is not below dataset.path; expected a path relative to that folder",
            ),
            (
                {"train": "train", "test": "../test"},
                "test: '../test' is not below dataset.path; expected a path relative to that folder",
            ),
            ({"train": "a\\b", "test": "test"}, "train: write 'a/b', with / between folders"),
        )
    },
    "one class": (NUMBERED | {"dataset.classes": ["a"]}, ['dataset.classes: expected 2 or more values, got ["a"]']),
    "too many bits": (
        {"dataset.near_duplicates": 33},
        ["dataset.near_duplicates: expected a number not above 32, got 33"],
    ),
    "views without an augmentation": (
        {"features.midway.views": 3},
        ["features.midway.views: views differ by an augmentation: name its layers, or leave views out"],
    ),
    "an augmentation without views": (
        {"features.midway.augmentation": ["RandomGrayscale"]},
        ["features.midway.views: the first view is the image itself: augmentation needs 2 views or more"],
    ),
    "unknown layer of an augmentation": (
        {"features.midway": MIDDLE | {"augmentation": ["RandomFlop"], "views": 2}},
        ["features.midway.augmentation.0: unknown layer 'RandomFlop'; did you mean 'RandomFlip'?"],
    ),
    "frozen behind features": (
        {f"{HALF}.freeze": "block_12"},
        [f"{HALF}.freeze: features/midway say where the frozen part ends: leave freeze out"],
    ),
    "frozen at a layer that paths go around": (
        {"variants.full.freeze": "block_9_expand"},
        [
            "variants.full.freeze: EfficientNetLite0 has no layer 'block_9_expand' that every path goes through; "
            "the nearest that are: block_8, block_9"
        ],
    ),
    "inputs behind the layer from which the start was trained": (
        {
            "variants.full.freeze": "block_3",
            "variants.more": {"start": "variants/full", "inputs": "features/midway", "fit": TRAINED},
        },
        [
            "variants.more.inputs: variants/full has trained layers before block_9, so features/midway are not its "
            "activations: take inputs from an earlier layer or from tensors/"
        ],
    ),
    "validation images that are trained on": (
        {"variants.full.fit": TRAINED | {"train_on": ["train", "validation"]}},
        ["variants.full.fit.validate_on: validation is trained on: nothing can be chosen by it"],
    ),
    "a split that is trained on twice": (
        {"variants.full.fit": TRAINED | {"train_on": ["train", "train"]}},
        ["variants.full.fit.train_on: a split is named twice"],
    ),
    "weights of classes as a list": ({f"{FIT}.class_weight": [1.0]}, [f"{FIT}.class_weight: {WEIGHTS}"]),
    "a class's weight below 0": ({f"{FIT}.class_weight": {"1": -1}}, [f"{FIT}.class_weight: {WEIGHTS}"]),
    "factors of learning rates as a number": (
        {f"{FIT}.learning_rate_factors": 0.1},
        [f"{FIT}.learning_rate_factors: expected a mapping from names to numbers, got 0.1"],
    ),
    "weights for no layers": (
        {"backbones.scratch": SCRATCH | {"weights": "imagenet"}},
        [
            "backbones.scratch.architecture: there are no layers to load weights into: set weights: none, "
            "or name a network"
        ],
    ),
    "features of no layers": (
        {
            "backbones.scratch": SCRATCH,
            "features.more": {"tensors": "lite64", "backbone": "scratch", "layer": "top"},
        },
        ["features.more.backbone: backbones.scratch has no layers, so there is nothing to cache"],
    ),
    "cross-validation of an unknown variant": (
        {"evaluation.cross_validation": {"variants": ["hlf"]}},
        ["evaluation.cross_validation.variants.0: there is no variants.hlf; did you mean 'half'?"],
    ),
    "cross-validation after training": (
        {
            "variants.more": {"start": "variants/half", "inputs": "tensors/lite64", "fit": TRAINED},
            "evaluation.cross_validation": {"variants": ["half", "more"]},
        },
        [
            "evaluation.cross_validation.variants.1: more starts from variants.half, whose training has seen the "
            "images that a fold leaves out: take a variant that starts from a backbone or from a solved head"
        ],
    ),
    "features of unknown tensors": (
        {"features.midway.tensors": "lite65"},
        ["features.midway.tensors: there is no tensors.lite65; did you mean 'lite64'?"],
    ),
    "features of an unknown backbone": (
        {"features.midway.backbone": "xyz"},
        ["features.midway.backbone: there is no backbones.xyz"],
    ),
    "unknown start": (
        {f"{HALF}.start": "variants/frozen_hed"},
        [f"{HALF}.start: there is no variants.frozen_hed; did you mean 'frozen_head'?"],
    ),
    "unknown backbone to start from": (
        {"variants.frozen_head.start": "backbones/lite"},
        ["variants.frozen_head.start: there is no backbones.lite; did you mean 'lite0'?"],
    ),
    "unknown inputs": (
        {f"{HALF}.inputs": "features/midwa"},
        [f"{HALF}.inputs: there is no features.midwa; did you mean 'midway'?"],
    ),
    "start without a section": (
        {f"{HALF}.start": "frozen_head"},
        [
            f"{HALF}.start: expected backbones/<name> or variants/<name>, got 'frozen_head'; "
            "did you mean 'variants/frozen_head'?"
        ],
    ),
    "start from features": (
        {f"{HALF}.start": "features/midway"},
        [f"{HALF}.start: expected backbones/<name> or variants/<name>, got 'features/midway'"],
    ),
    "inputs from a variant": (
        {f"{HALF}.inputs": "variants/full"},
        [f"{HALF}.inputs: expected features/<name> or tensors/<name>, got 'variants/full'"],
    ),
    "inputs without a name": (
        {f"{HALF}.inputs": "tensors/"},
        [f"{HALF}.inputs: expected features/<name> or tensors/<name>, got 'tensors/'; did you mean 'tensors/lite64'?"],
    ),
    "another backbone": (
        {
            "backbones.second": LITE,
            "features.other": MIDDLE | {"backbone": "second"},
            f"{HALF}.inputs": "features/other",
        },
        [
            f"{HALF}.inputs: features/other come from backbones.second, "
            "but the variant starts from backbones.lite0: make them the same"
        ],
    ),
    "other tensors": (
        {**ELSEWHERE, f"{HALF}.inputs": "features/other"},
        [
            f"{HALF}.inputs: features/other are made of tensors.other, "
            "but the variant's start was trained on tensors.lite64: make them the same"
        ],
    ),
    "other tensors without features": (
        {**ELSEWHERE, "variants.full.inputs": "tensors/other"},
        [
            "variants.full.inputs: tensors/other are made of tensors.other, "
            "but the variant's start was trained on tensors.lite64: make them the same"
        ],
    ),
    "other pooling": (
        {
            "features.other": MIDDLE | {"layer": "top", "pooling": "max"},
            f"{HALF}.inputs": "features/other",
        },
        [f"{HALF}.inputs: features/other have pooling: max, but the start's head expects: avg"],
    ),
    "start trained from the pixels": (
        {f"{HALF}.start": "variants/full"},
        [
            f"{HALF}.inputs: variants/full has trained layers before block_9, so features/midway are not its "
            "activations: take inputs from an earlier layer or from tensors/"
        ],
    ),
    "start trained from an earlier layer": (
        {
            "features.later": MIDDLE | {"layer": "block_10"},
            "variants.third": read_yaml(DEFAULT)["variants"]["half"]
            | {"start": "variants/half", "inputs": "features/later"},
        },
        [
            "variants.third.inputs: variants/half has trained layers before block_10, so features/later are not its "
            "activations: take inputs from an earlier layer or from tensors/"
        ],
    ),
    "start from itself": (
        {f"{HALF}.start": "variants/half"},
        [f"{HALF}.start: the starts form a circle: variants.half descends from itself"],
    ),
    "circle": (
        {f"{HALF}.start": "variants/full", "variants.full.start": "variants/half"},
        [
            f"{HALF}.start: the starts form a circle: variants.half descends from itself",
            "variants.full.start: the starts form a circle: variants.full descends from itself",
        ],
    ),
    "mistyped layer": (
        {"features.midway.layer": "blok_9"},
        [f"features.midway.layer: {LAYERS} 'blok_9' that every path goes through; did you mean 'block_9'?"],
    ),
    "layer inside a residual block": (
        {"features.midway.layer": "block_9_expand_conv"},
        [
            f"features.midway.layer: {LAYERS} 'block_9_expand_conv' that every path goes through; "
            "the nearest that are: block_8, block_9"
        ],
    ),
    "mistyped layer of a block": (
        {"features.midway.layer": "block_8_expnd"},
        [
            f"features.midway.layer: {LAYERS} 'block_8_expnd' that every path goes through; "
            "did you mean 'block_8_expand'?"
        ],
    ),
    "layer of the top, without it": (
        {"features.midway.layer": "avg_pool"},
        [f"features.midway.layer: {LAYERS} 'avg_pool' that every path goes through; it has one with include_top: true"],
    ),
    "layer unlike any": (
        {"features.midway.layer": "zzz"},
        [f"features.midway.layer: {LAYERS} 'zzz' that every path goes through"],
    ),
    "pooling in the middle": (
        {"features.midway.pooling": "avg"},
        ["features.midway.pooling: pooling goes with layer: top; after another layer comes the rest of the backbone"],
    ),
    "pooling of vectors": (
        {f"{BACKBONE}.include_top": True},
        [
            "features.bottleneck.pooling: backbones.lite0 ends in one vector per image, with include_top: "
            "leave pooling out"
        ],
    ),
    "size for fully connected layers": (
        {
            "backbones.vgg": VGG,
            "features.vgg": {"tensors": "lite64", "backbone": "vgg", "layer": "top"},
            "variants.fresh": FRESH | {"start": "backbones/vgg", "inputs": "tensors/lite64"},
        },
        [
            "features.vgg.tensors: VGG16 with include_top needs tensors with pixels: [224, 224]",
            "variants.fresh.inputs: VGG16 with include_top needs tensors with pixels: [224, 224]",
        ],
    ),
    "images too small for the network": (
        {
            "tensors.wide": {"pixels": [74, 200], "resize": "pad", "normalization": "tf"},
            "backbones.inception": {"architecture": "InceptionV3", "weights": "none"},
            "features.inception": {"tensors": "wide", "backbone": "inception", "layer": "top"},
        },
        ["features.inception.tensors: InceptionV3 needs tensors with pixels: [75, 75] or more"],
    ),
    "augmentation of features": (
        {f"{HALF}.augmentation": ["RandomFlip"]},
        [
            f"{HALF}.augmentation: augmentation changes images, but features/midway are cached activations: "
            "give the features an augmentation and views, or take inputs from tensors/"
        ],
    ),
    "augmentation for a solver": (
        {"variants.frozen_head.inputs": "tensors/lite64", "variants.frozen_head.augmentation": ["RandomFlip"]},
        ["variants.frozen_head.augmentation: a solver takes no augmented images: leave augmentation out"],
    ),
    "second head": (
        {f"{HALF}.head": [FINAL]},
        [f"{HALF}.head: the head comes from the variant that this one starts from: leave head out"],
    ),
    **{
        f"head: {head}": (
            {**WITH_FRESH, HEAD: head},
            [
                f"{HEAD}: a variant that starts from a backbone needs a head, such as "
                "[{Dense: {units: classes, activation: softmax}}]"
            ],
        )
        for head in (None, [])
    },
    "head for a solver": (
        {"variants.frozen_head.head": [FINAL]},
        ["variants.frozen_head.head: a solver brings its own head, one Dense layer: leave head out"],
    ),
    "solver from a variant": (
        {f"{HALF}.fit": {"solver": "logistic_regression"}},
        [f"{HALF}.fit: a solver starts from backbones/<name>: its optimum depends on no other start"],
    ),
    "solver on unpooled features": (
        {"features.bottleneck.pooling": None, "variants": {"only": SOLVED}},
        [f"variants.only.inputs: {VECTOR}"],
    ),
    "solver on features of the middle": (
        {"variants.frozen_head.inputs": "features/midway"},
        [
            f"variants.frozen_head.inputs: {VECTOR}",
        ],
    ),
    "solver on tensors": (
        {"variants": {"only": SOLVED | {"inputs": "tensors/lite64"}}},
        [f"variants.only.inputs: {VECTOR}"],
    ),
    "map's layer on a vector": (
        {**WITH_FRESH, HEAD: ["GlobalAveragePooling2D", FINAL]},
        [f"{HEAD}.0: GlobalAveragePooling2D takes a map, but the backbone's end is one vector per image: leave it out"],
    ),
    "head on a map": ({**WITH_FRESH, "variants.fresh.inputs": "features/midway"}, [f"{HEAD}: {MAP}"]),
    **{
        f"head ends in {shown}": (
            {**WITH_FRESH, HEAD: [last]},
            [
                f"{HEAD}: the last layer must be {{Dense: {{units: classes, activation: softmax}}}}"
                + (", or have no activation and the loss from_logits: true" if shown == "no softmax" else "")
            ],
        )
        for shown, last in {
            "no softmax": {"Dense": {"units": "classes"}},
            "a number of units": {"Dense": {"units": 10, "activation": "softmax"}},
            "another layer": "Softmax",
        }.items()
    },
    "weights without a digest": (
        {f"{BACKBONE}.weights": "params.yaml"},
        [
            f"{BACKBONE}.sha256: weights from 'params.yaml' need the file's sha256 "
            "(other choices: package, imagenet, none)"
        ],
    ),
    "weights that are not there": (
        {f"{BACKBONE}.weights": "imagnet.h5", f"{BACKBONE}.sha256": DIGEST},
        [f"{BACKBONE}.weights: no such file: imagnet.h5 (or one of package, imagenet, none)"],
    ),
    "digest without a file": (
        {f"{BACKBONE}.sha256": DIGEST},
        [f"{BACKBONE}.sha256: sha256 goes with weights from a path or URL only: leave it out"],
    ),
    "digest too short": (
        {f"{BACKBONE}.weights": "params.yaml", f"{BACKBONE}.sha256": "ab12"},
        [f'{BACKBONE}.sha256: expected 64 hexadecimal digits, 0-9 and a-f, got "ab12"'],
    ),
    "digest without quotes": (
        {f"{BACKBONE}.weights": "params.yaml", f"{BACKBONE}.sha256": 12},
        [f"{BACKBONE}.sha256: expected text, got the number 12; put it between quotes"],
    ),
    "package for another network": (
        {"backbones.vgg": {"architecture": "VGG16", "weights": "package"}},
        ["backbones.vgg.weights: VGG16 has no weights 'package'; did you mean 'imagenet'?"],
    ),
    "imagenet for Lite0": (
        {f"{BACKBONE}.weights": "imagenet"},
        [f"{BACKBONE}.weights: EfficientNetLite0 has no weights 'imagenet'; did you mean 'package'?"],
    ),
    "several at once": (
        {
            "dataset.pth": 1,
            "tensors.lite64.pixels": [64],
            "features.midway.layer": "blok_9",
            f"{FIT}.epochs": 0,
            f"{FIT}.optimizer": "adam",
            f"{FIT}.callbacks": [{"EarlyStoping": {}}],
        },
        [
            "dataset.pth: unknown key; did you mean 'path'?",
            "tensors.lite64.pixels: expected 2 or more values, got [64]",
            f"{FIT}.epochs: expected a number not below 1, got 0",
            f"features.midway.layer: {LAYERS} 'blok_9' that every path goes through; did you mean 'block_9'?",
            f"{FIT}.optimizer: unknown optimizer 'adam'; did you mean 'Adam'?",
            f"{FIT}.callbacks.0.EarlyStoping: unknown callback 'EarlyStoping'; did you mean 'EarlyStopping'?",
        ],
    ),
}
MISTAKES = {
    f"{table}: {what}": case
    for table, cases in {"schema": SCHEMA, "names": NAMES, "Keras": KERAS, "relations": RELATIONS}.items()
    for what, case in cases.items()
}


@pytest.mark.parametrize(("edits", "expected"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_found(edits: Tree, expected: list[str], errors: Callable[[Tree], list[str]]) -> None:
    assert errors(edited(edits)) == expected


RIGHT = {
    "a head of several layers": {
        **WITH_FRESH,
        HEAD: [
            {"Dropout": {"rate": 0.2, "seed": 3}},
            {
                "Dense": {
                    "units": 9,
                    "activation": "relu",
                    "kernel_initializer": "uniform",
                    "kernel_regularizer": {"L2": {"l2": 1e-4}},
                    "bias_initializer": {"Constant": {"value": 2.0}},
                    "bias_regularizer": None,
                    "dtype": "float32",
                }
            },
            "BatchNormalization",
            FINAL,
        ],
    },
    "a head on a map": {
        **WITH_FRESH,
        "variants.fresh.inputs": "features/midway",
        HEAD: ["GlobalAveragePooling2D", FINAL],
    },
    "augmented images": {
        "variants.full.augmentation": [{"RandomFlip": {"mode": "horizontal"}}, {"RandomRotation": {"factor": 0.1}}]
    },
    "a plateau without a schedule": {
        f"{FIT}.optimizer": {"SGD": {"learning_rate": 1e-2, "momentum": 0.9, "nesterov": True, "clipnorm": 1.0}},
        f"{FIT}.callbacks": ["TerminateOnNaN", {"ReduceLROnPlateau": {"monitor": "val_accuracy", "patience": 2}}],
        f"{FIT}.loss": {"CategoricalCrossentropy": {"label_smoothing": 0.1}},
    },
    "averages that the optimizer keeps": {
        f"{FIT}.optimizer": {"SGD": {"use_ema": True}},
        f"{FIT}.callbacks": ["SwapEMAWeights"],
    },
    "small images for a network that takes them": {"tensors.lite64.pixels": [16, 16]},
    "a schedule with its steps": {
        f"{FIT}.optimizer": {
            "Adam": {"learning_rate": {"CosineDecay": {"initial_learning_rate": 1e-3, "decay_steps": 9}}}
        }
    },
    "weights from a file": {f"{BACKBONE}.weights": str(DEFAULT), f"{BACKBONE}.sha256": DIGEST},
    "weights from a URL": {f"{BACKBONE}.weights": "https://example.org/w.h5", f"{BACKBONE}.sha256": DIGEST},
    "a later fine-tune of an earlier layer": {
        "features.earlier": MIDDLE | {"layer": "block_3"},
        "variants.third": {
            "start": "variants/half",
            "inputs": "features/earlier",
            "fit": {"epochs": 1, "optimizer": "Adam"},
        },
    },
    "a network with its fully connected layers": {
        "tensors.vgg": {"pixels": [224, 224], "resize": "crop", "normalization": "caffe"},
        "backbones.vgg": VGG,
        "features.vgg": {"tensors": "vgg", "backbone": "vgg", "layer": "top"},
        "variants.solved": {
            "start": "backbones/vgg",
            "inputs": "features/vgg",
            "fit": {"solver": "logistic_regression", "C": [1, 0.5]},
        },
    },
    "cross-validation": {"evaluation.cross_validation": {"folds": 3, "variants": ["frozen_head", "full"]}},
    "files with numbers of classes": NUMBERED,
    "folders for splits": {"dataset.split": GIVEN | {"validation": 0.1}},
    "three folders for splits": {
        "dataset.split": {"method": "given", "folders": GIVEN["folders"] | {"validation": "c"}}
    },
    "a table with splits": {"dataset.layout": "csv", "dataset.split": {"method": "given"}},
    "arrays": {"dataset.layout": "npy", "dataset.split": {"method": "given", "validation": 0.1}},
    "augmented views": {"features.midway": MIDDLE | {"augmentation": ["RandomGrayscale"], "views": 4}},
    "frozen behind the images": {"variants.full.freeze": "block_9"},
    "frozen behind the images, then less": {
        "variants.full.freeze": "top",
        "variants.more": {
            "start": "variants/full",
            "inputs": "features/midway",
            "fit": {"epochs": 1, "optimizer": "Adam"},
        },
    },
    "logits": {
        "variants.fresh": FRESH
        | {
            "head": [{"Dense": {"units": "classes"}}],
            "fit": TRAINED | {"loss": {"SparseCategoricalCrossentropy": {"from_logits": True}}},
        },
    },
    "from scratch": {
        "backbones.scratch": {"architecture": "none", "weights": "none"},
        "variants.fresh": FRESH
        | {"start": "backbones/scratch", "inputs": "tensors/lite64", "head": ["Flatten", FINAL]},
    },
    "the test split for validation": {
        "variants.full.fit": TRAINED | {"train_on": ["train", "validation"], "validate_on": "test"}
    },
    **{
        f"a path that is spelled {path}": {"dataset.path": path}
        for path in (
            "data/raw/x/",
            "./data/raw/x",
            "data//raw/x",
            "data/raw/../raw/x",
            "../x",
            f"{Path.cwd()}/data/raw/x",
        )
    },
    "a path with spaces": {"dataset.path": "data/raw/my photos (2024)"},
}


@pytest.mark.parametrize("edits", RIGHT.values(), ids=RIGHT)
def test_what_is_right_passes(edits: Tree, errors: Callable[[Tree], list[str]]) -> None:
    assert errors(edited(edits)) == []


FILES = {
    "syntax": (b"dataset:\n  path: [a\nlayout: b\n", ":3: not valid YAML: expected ',' or ']', but got ':'"),
    "tab": (b"dataset:\n\tpath: a\n", ":2: not valid YAML: found character '\\t' that cannot start any token"),
    "duplicate key": (
        b"dataset:\n  path: a\n  path: b\n",
        ':3: not valid YAML: found duplicate key "path" with value "b" (original value: "a")',
    ),
    "empty": (b"", ": the file is empty; copy one from recipes/ or restore it with git"),
    "comment only": (b"# nothing\n", ": the file is empty; copy one from recipes/ or restore it with git"),
    "endless list": (
        b"- &a [*a]\n",
        ": expected sections such as dataset: and variants:, got a list that does not fit into a message",
    ),
    "list": (b"- 1\n", ": expected sections such as dataset: and variants:, got [1]"),
    "word": (b"x\n", ': expected sections such as dataset: and variants:, got "x"'),
    "encoding": ("a: 1\nb: é\n".encode("latin-1"), ":2: not UTF-8; save the file with that encoding"),
    "control character": (b"a: \x00\n", ": not valid YAML: "),
    "impossible date": (b"a: 2020-99-99\n", ": not valid YAML: month must be in 1..12"),
    "unknown tag": (b"a: !new 1\n", ":1: not valid YAML: could not determine a constructor for the tag '!new'"),
    "two documents": (b"a: 1\n---\nb: 2\n", ":2: not valid YAML: but found another document"),
    "unknown alias": (b"a: *b\n", ":1: not valid YAML: found undefined alias 'b'"),
    "too deep": (b"a: " + b"[" * 1000, ": not valid YAML: nested too deeply"),
    "alias of itself": (
        b"a: &a {b: [*a]}\n",
        ": an alias (*name) makes it contain itself, or more than 100000 values;",
    ),
    "aliases of aliases": (
        b"a: &a [x, x, x, x, x, x, x, x, x, x]\n"
        + b"".join(b"%c: &%c [%s]\n" % (key, key, b", ".join([b"*%c" % (key - 1)] * 10)) for key in b"bcdefghij"),
        ": an alias (*name) makes it contain itself, or more than 100000 values;",
    ),
    "half a character": (b'a: "\\ud800"\n', ': "?" has an escape (\\u) that is half of a character'),
    "endless number": (b"a: 0x" + b"f" * 5000, ": a whole number has more than 400 digits; "),
    "endless number for a key": (b"? 0x" + b"f" * 5000 + b"\n: 1\n", ": a whole number has more than 400 digits; "),
}


@pytest.mark.parametrize(("content", "message"), FILES.values(), ids=FILES)
def test_a_file_that_cannot_be_read_is_said(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError) as raised:
        check_params(path)
    assert str(raised.value).startswith(f"{path}{message}")
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.yaml: no such file; copy one from recipes/ or restore it with git$"):
        check_params(tmp_path / "gone.yaml")


def test_a_directory_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r": cannot be read: Is a directory; give the path of a params file$"):
        check_params(tmp_path)


def test_an_exponent_makes_a_number(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("a: 1e-4\nb: 5E3\nc: yes\n", encoding="utf-8")
    assert read_yaml(path) == {"a": 0.0001, "b": 5000.0, "c": "yes"}


def test_an_entry_is_read_alone(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(DEFAULT.read_text(encoding="utf-8").replace("top_k: 3", "top_k: none"), encoding="utf-8")
    assert read_entry(path, "variants.half", Variant).start == "variants/frozen_head"


@pytest.mark.parametrize(
    ("address", "message"),
    [("variants.hal", "variants.hal: there is no such entry"), ("variants.half.fit", "variants.half.fit.start: ")],
)
def test_an_entry_that_cannot_be_read_is_said(address: str, message: str) -> None:
    with pytest.raises(UserError) as raised:
        read_entry(DEFAULT, address, Variant)
    assert str(raised.value).startswith(f"{DEFAULT}: {message}")


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of everything in a tree."""
    if path:
        yield path
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield from places(value, (*path, key))


EVERYTHING = edited(
    {
        "dataset.layout": "label_prefix",
        "dataset.classes": ["0", "1"],
        "dataset.near_duplicates": 3,
        "dataset.split": GIVEN | {"validation": 0.1, "seed": 1},
        f"{BACKBONE}": LITE | {"include_top": False, "seed": 1},
        "backbones.file": {"architecture": "VGG16", "weights": str(DEFAULT), "sha256": DIGEST},
        "features.midway": MIDDLE
        | {"pooling": None, "batch_size": 8, "augmentation": ["RandomGrayscale"], "views": 2, "seed": 1}
        | {"precision": "bfloat16"},
        "variants.frozen_head.fit.C": [1.0, 2.0],
        f"{FIT}": {
            "epochs": 1,
            "batch_size": 8,
            "optimizer": {"Adam": {"learning_rate": {"CosineDecay": {"initial_learning_rate": 1e-3}}}},
            "loss": {"CategoricalCrossentropy": {"label_smoothing": 0.1}},
            "callbacks": [{"EarlyStopping": {"monitor": "val_loss"}}, "TerminateOnNaN"],
            "precision": "bfloat16",
            "jit_compile": True,
            "batch_norm": "trained",
            "steps_per_epoch": 3,
            "learning_rate_factors": {"block_1": 0.1},
            "class_weight": {"1": 2.0},
            "train_on": ["train", "validation"],
            "validate_on": "test",
            "seed": 1,
        },
        "variants.full.freeze": "block_3",
        "tensors.lite64.interpolation": "nearest",
        "variants.full.augmentation": [{"RandomFlip": {"mode": "horizontal"}}],
        "variants.fresh": FRESH
        | {
            "inputs": "features/midway",
            "head": [
                "Flatten",
                {"SpectralNormalization": {"layer": {"Dense": {"units": 9, "kernel_regularizer": {"L2": None}}}}},
                FINAL,
            ],
        },
        "evaluation.cross_validation": {"folds": 3, "repeats": 2, "seed": 1, "variants": ["half"]},
    }
)


def around(tree: Tree, path: tuple[Any, ...]) -> Any:
    """Return the mapping or list in which the end of a path stands."""
    node: Any = tree
    for step in path[:-1]:
        node = node[step]
    return node


def test_a_path_is_one_folder_to_dvc_and_the_system(
    errors: Callable[[Tree], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk" / "inner").mkdir(parents=True)
    (tmp_path / "data" / "raw").mkdir(parents=True)
    (tmp_path / "data" / "raw" / "linked").symlink_to(tmp_path / "disk" / "inner")
    (tmp_path / "shortcut").symlink_to("data")
    monkeypatch.chdir(tmp_path)
    assert errors(edited({"dataset.path": "data/raw/linked"})) == []
    (problem,) = errors(edited({"dataset.path": "data/raw/linked/../photos"}))
    assert problem.endswith("another folder to DVC than to the system: write 'data/raw/photos'")
    (problem,) = errors(edited({"dataset.path": "shortcut/tensors"}))
    assert "the pipeline writes there" in problem


def test_every_key_of_every_schema_is_among_what_is_varied(errors: Callable[[Tree], list[str]]) -> None:
    assert errors(EVERYTHING) == []
    waiting: list[tuple[Any, list[Any]]] = [
        (schema, [EVERYTHING[section]] if section in SINGLE else list(EVERYTHING[section].values()))
        for section, schema in SECTIONS.items()
    ]
    fits = [variant["fit"] for variant in EVERYTHING["variants"].values()]
    waiting += [
        (Solver, [fit for fit in fits if "solver" in fit]),
        (Training, [fit for fit in fits if "epochs" in fit]),
    ]
    waiting += [(Split, [EVERYTHING["dataset"]["split"], SHARES])]
    waiting += [(CrossValidation, [EVERYTHING["evaluation"]["cross_validation"]])]
    for schema, entries in waiting:
        assert {key for entry in entries for key in entry} == set(schema.model_fields)


def test_whatever_a_key_is_it_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    for path in places(EVERYTHING):
        original = around(EVERYTHING, path)
        if isinstance(original, list):
            continue
        for key in (None, 3, True, 1.5, date(2024, 5, 1), (1, 2), "", "size", "a.b", "a\nb"):
            if path[-2:-1] in (("class_weight",), ("learning_rate_factors",)) and key in ("", "a.b", "a\nb"):
                continue  # a class's or a layer's name
            tree = copy.deepcopy(EVERYTHING)
            node = around(tree, path)
            node[key] = node.pop(path[-1])
            monkeypatch.setattr("stages.check.checking.read_yaml", lambda path, tree=tree: tree)
            with pytest.raises(UserError):
                check_params(DEFAULT)


def test_whatever_stands_anywhere_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    tree = copy.deepcopy(EVERYTHING)
    monkeypatch.setattr("stages.check.checking.read_yaml", lambda path: tree)
    # Trying takes seconds, and gets only what is right.
    monkeypatch.setattr("stages.check.checking.tried", lambda valid: ())
    refused = passed = 0
    for path in list(places(tree)):
        node = around(tree, path)
        original = node[path[-1]]
        for value in (None, 3, -1, 1.5, True, "x", "", [], {}, [1], {"a": 1}, {"A": {}}, {3: 4}, [[]], float("nan")):
            node[path[-1]] = value
            try:
                check_params(DEFAULT)
                passed += 1
            except UserError:
                refused += 1
            node[path[-1]] = original
    check_params(DEFAULT)
    assert refused > 5 * passed > 0


def run_check(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stages.check", str(path)], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_the_stage_fails_without_a_traceback(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(DEFAULT.read_text(encoding="utf-8").replace("top_k: 3", "top_k: 0"), encoding="utf-8")
    done = run_check(path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: {path}: 1 error, nothing was run\n  evaluation.top_k: expected a number not below 2, got 0\n"
    )


@pytest.mark.parametrize("grouped", [False, True], ids=["alone", "grouped"])
def test_folds_are_checked_against_the_manifest(tmp_path: Path, grouped: bool) -> None:
    rows = [
        Row(f"{label}/{number}.png", label, split, "0" * 64, f"{label} {number // 6}" if grouped else "")
        for label, count in (("fig", 4), ("kiwi", 9))
        for number in range(count * (6 if grouped else 1))
        for split in [SPLITS[number % 3]]
    ]
    write_manifest(tmp_path / "manifest.csv", rows)
    for folds in (2, 4, 5, 9):
        params = edited({"evaluation.cross_validation": {"folds": folds, "variants": ["frozen_head"]}})
        with (tmp_path / "params.yaml").open("w", encoding="utf-8") as file:
            YAML().dump(params, file)
        check_stage.main(tmp_path / "params.yaml")
        if folds <= 4:
            check_stage.main(tmp_path / "params.yaml", tmp_path / "manifest.csv")
            continue
        apart, has = ("groups of images", "24 images in 4 groups") if grouped else ("images", "4 images")
        with pytest.raises(UserError) as caught:
            check_stage.main(tmp_path / "params.yaml", tmp_path / "manifest.csv")
        assert str(caught.value) == (
            f"evaluation.cross_validation.folds: {folds} folds need {folds} {apart} of each class, and class 'fig' has "
            f"{has}: at most 4 folds are possible; or add images, or leave cross_validation out"
        )


def test_checking_imports_nothing_that_takes_long() -> None:
    program = (
        "import sys; from pathlib import Path; from stages.check import main; main(Path('params.yaml')); "
        "print(sorted({'keras', 'tensorflow', 'numpy', 'scipy', 'sklearn'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_each_section_of_the_default_is_known() -> None:
    assert list(read_yaml(DEFAULT)) == list(SECTIONS)


@pytest.mark.parametrize(
    ("word", "known", "said"),
    [
        ("ADAM", ["Adam", "Adamax"], "; did you mean 'Adam'?"),
        ("adam", ["adam", "Adam"], "; did you mean 'adam'?"),
        ("zzz", ["Adam"], ""),
        (3, [True, None, "3"], "; did you mean '3'?"),
    ],
)
def test_the_nearest_word_is_suggested(word: object, known: list[object], said: str) -> None:
    assert did_you_mean(word, known) == said
