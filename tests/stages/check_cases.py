"""What params.yaml may hold, and what cannot be read as params.yaml at all."""

import copy
from pathlib import Path
from typing import Any

from thaw.params.reading import read_yaml

ROOT = Path(__file__).parents[2]
DEFAULT = ROOT / "params.yaml"
DEFAULTS = read_yaml(DEFAULT)
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
    tree = copy.deepcopy(DEFAULTS)
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


HEAD = "variants.fresh.head"
HALF = "variants.half"
FIT = "variants.half.fit"
WITH_FRESH = {"variants.fresh": FRESH}
BACKBONE = "backbones.lite0"
VGG = {"architecture": "VGG16", "weights": "none", "include_top": True}
GIVEN = {"method": "given", "folders": {"train": "a", "test": "b"}}
NUMBERED = {"dataset.layout": "label_prefix", "dataset.classes": ["a", "b"]}
SHARES = {"method": "stratified", "test": 0.2, "validation": 0.2}

HALF_AGAIN = {"start": "variants/frozen_head", "inputs": "features/midway"}

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
                    "kernel_constraint": {"MaxNorm": {"axis": [0]}},
                    "bias_constraint": {"MinMaxNorm": {"rate": 1.0}},
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
    "mixed images": {
        "variants.full.augmentation": ["RandomFlip", {"MixUp": {"alpha": 0.3}}, {"CutMix": {"factor": 0.5, "seed": 1}}],
        "variants.full.fit.loss": {"CategoricalCrossentropy": {"label_smoothing": 0.1}},
    },
    "a temperature": {
        "variants.frozen_head.fit.calibrate": "temperature",
        f"{FIT}.calibrate": "temperature",
        f"{FIT}.train_on": ["train"],
    },
    "a rate that decays": {f"{FIT}.layer_decay": 0.75, "variants.full.fit.layer_decay": 1},
    "batches of one whose maps are normalized": {
        "variants.fresh": FRESH
        | {
            "inputs": "features/midway",
            "head": ["BatchNormalization", "GlobalAveragePooling2D", "LayerNormalization", FINAL],
            "fit": TRAINED | {"batch_size": 1},
        }
    },
    "the best accuracy": {
        f"{FIT}.callbacks": [{"EarlyStopping": {"monitor": "val_accuracy", "baseline": 0.9, "min_delta": 0.01}}]
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
    "averages that become the weights now and then": {
        f"{FIT}.optimizer": {
            "SGD": {
                "use_ema": True,
                "ema_overwrite_frequency": 9,
                "learning_rate": {"PolynomialDecay": {"initial_learning_rate": 1e-5, "end_learning_rate": 0.0}},
            }
        },
        f"{FIT}.callbacks": [{"EarlyStopping": {"restore_best_weights": True, "start_from_epoch": 4}}],
        f"{FIT}.epochs": 5,
    },
    "the best of averages that the optimizer keeps": {
        f"{FIT}.optimizer": {"ScheduleFreeAdamW": {"use_ema": True, "warmup_steps": 5, "weight_decay": None}},
        f"{FIT}.callbacks": [
            {"SwapEMAWeights": {"swap_on_epoch": True}},
            {"EarlyStopping": {"monitor": "val_accuracy", "mode": "max", "restore_best_weights": True}},
        ],
        f"{FIT}.loss": {"Dice": {"axis": -1}},
        f"{FIT}.class_weight": "balanced",
    },
    "a schedule in pieces": {
        f"{FIT}.optimizer": {
            "SGD": {"learning_rate": {"PiecewiseConstantDecay": {"boundaries": [9, 20], "values": [0.1, 0.01, 0]}}}
        }
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
    "a chosen C that is solved once more": {
        "variants.frozen_head.fit.train_on": ["train", "validation"],
        "variants.half.fit.validate_on": "test",
        "variants.full.fit.validate_on": "test",
    },
    "cross-validation": {
        "cross_validation.frozen_head": {"start": "backbones/lite0", "inputs": "features/bottleneck", "folds": 3},
        "cross_validation.full": {"start": "variants/frozen_head", "inputs": "tensors/lite64"},
    },
    "a normalization that is meant": {
        "tensors.lite64.normalization": "tf",
        "tensors.lite64.unlike_pretraining": True,
    },
    "any normalization of random weights": {
        "tensors.lite64.normalization": "tf",
        "backbones.lite0.weights": "none",
    },
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
    "control character": (b"a: 1\nb: \x00\n", ":2: not valid YAML: it has the character '\\x00'; remove it, or save"),
    "UTF-16": (
        "a: 1\n".encode("utf-16-le"),
        ":1: not valid YAML: it has the character '\\x00'; remove it, or save the f",
    ),
    "impossible date": (
        b"a: 2020-99-99\n",
        ": not valid YAML: month must be in 1..12; put what is no number or date be",
    ),
    "too many digits": (
        b"a: " + b"9" * 5000,
        ": not valid YAML: Exceeds the limit (4300 digits) for integer string conversion: value has 5000 digits; put",
    ),
    "too large": (
        b"a: 1\n" + b"#\n" * 500_000,
        ": cannot be read: more than 1,000,000 bytes; give the path of a params",
    ),
    "another version": (b"# mine\n%YAML 1.1\n---\na: 017\n", ":2: DVC reads it by YAML 1.2, whatever %YAML says; remo"),
    "half a merge": (b"a: 1\n=======\nb: 2\n", ":2: a merge left conflicts; "),
    "the end of a merge": (b"a: 1\nb: 2\n>>>>>>> main\n", ":3: a merge left conflicts; "),
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
        "variants.frozen_head.fit.train_on": ["train", "validation"],
        "variants.frozen_head.fit.calibrate": None,
        "variants.full.fit.validate_on": "test",
        f"{FIT}": {
            "epochs": 1,
            "batch_size": 8,
            "optimizer": {"Adam": {"learning_rate": {"CosineDecay": {"initial_learning_rate": 1e-3}}}},
            "loss": {"CategoricalCrossentropy": {"label_smoothing": 0.1}},
            "callbacks": [{"EarlyStopping": {"monitor": "val_loss"}}, "TerminateOnNaN"],
            "precision": "bfloat16",
            "jit_compile": True,
            "batch_norm": "trained",
            "devices": 1,
            "steps_per_epoch": 3,
            "learning_rate_factors": {"block_1": 0.1},
            "layer_decay": 0.75,
            "class_weight": {"1": 2.0},
            "train_on": ["train", "validation"],
            "validate_on": "test",
            "calibrate": None,
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
        "tensors.lite64.keep": True,
        "tensors.lite64.unlike_pretraining": True,
        "cross_validation.half": HALF_AGAIN | {"folds": 3, "repeats": 2, "seed": 1},
        "seeds.half": HALF_AGAIN | {"others": [0, 2**32 - 1]},
        "label_issues.bottleneck": {"folds": 3, "seed": 1, "C": [0.1]},
    }
)
