"""Mistakes in params.yaml, and the lines that the check has to say of them."""

import math
from datetime import date
from pathlib import Path
from typing import Any

from tests.stages.check_cases import (
    BACKBONE,
    DEFAULTS,
    DIGEST,
    FINAL,
    FIT,
    FRESH,
    GIVEN,
    GONE,
    HALF,
    HALF_AGAIN,
    HEAD,
    LITE,
    MIDDLE,
    NUMBERED,
    SHARES,
    SOLVED,
    TRAINED,
    VGG,
    WITH_FRESH,
    Tree,
)
from thaw.params.reading import shown

REPEATED = "whole number not below 1 and not above 100"

ELSEWHERE = {
    "tensors.other": {"pixels": [96, 96], "resize": "pad", "normalization": "lite"},
    "features.other": {"tensors": "other", "backbone": "lite0", "layer": "block_9"},
}
SCRATCH = {"architecture": "none", "weights": "none"}
FLOAT32 = "float32, in which heads, losses and augmentations compute"
LAST = "the last layer must be {Dense: {units: classes, activation: softmax}}"
LAYERS = "EfficientNetLite0 has no layer"
MAP = (
    "the backbone's end is a map, not one vector per image: begin the head with GlobalAveragePooling2D, "
    "or take features with layer: top and pooling: avg or max"
)
SEEN = (
    "variants.{0}.fit.validate_on: nothing can be chosen by validation: variants.{1}, which the variant descends from, "
    "has seen it; leave validation out of variants.{1}.fit.train_on, or start from another variant"
)
VECTOR = "a solver needs one vector per image: take features with layer: top and pooling: avg or max"
TEMPERATURE = (
    "a temperature is chosen by validation images that are neither trained on nor scored: set validate_on: validation, "
    "and train_on: [train], or leave calibrate out"
)
WEIGHTS = "expected balanced, or a mapping from classes to numbers not below 0, of 32 bits"

OF_A_VALUE: dict[str, list[tuple[Any, str]]] = {
    "variant": [({}, ": unknown section; did you mean 'variants'?")],
    "evaluation": [
        (GONE, ": this section is missing"),
        (None, ": expected a mapping of keys to values, got null"),
    ],
    "variants": [
        (None, ": expected a mapping from names to entries, got null"),
        ([1, 2], ": expected a mapping from names to entries, got [1, 2]"),
        ({}, ": there is nothing to train: name at least one variant"),
        ({"only": SOLVED | {"inputs": "tensors/lite64"}}, f".only.inputs: {VECTOR}"),
    ],
    # dataset
    "dataset.pth": [(1, ": unknown key; did you mean 'path'?")],
    "dataset.split.sed": [(1, ": unknown key; did you mean 'seed'?")],
    "dataset.split.val": [(0.2, ": unknown key; did you mean 'validation'?")],
    "dataset.split.test": [
        (GONE, ": this key is missing"),
        ("15%", ': expected a number, got "15%"'),
        (0, ": expected a number above 0, got 0"),
        (1, ": expected a number below 1, got 1"),
        (float("nan"), ": expected a finite number, got NaN"),
    ],
    "dataset.path": [
        (True, ": expected text, got true; if that is a name, put it between quotes"),
        *(
            (path, f': expected some text without " $ ` \\ and control characters, nor - at its start, got {got}')
            for path, got in (
                *(("$HOME/photos", '"$HOME/photos"'), ("-photos", '"-photos"')),
                *(("my\tphotos", '"my\\tphotos"'), ("", '""')),
            )
        ),
        ("~/photos", ": ~ is not replaced by your home folder: write that out"),
        ("s3://bucket/photos", ": expected a folder; `dvc import-url` fetches what is elsewhere"),
        *(
            (path, ": the pipeline writes there: give the images a folder of their own, such as data/raw/<name>")
            for path in (
                *(
                    ".",
                    "data",
                    "raw/../data/",
                    "..",
                    "/",
                    "data/raw",
                    "./data/raw/",
                    "data/tensors/x",
                    "metrics/photos",
                ),
                *("models", "exports", ".dvc/cache", str(Path.cwd()), f"{Path.cwd()}/data//tensors"),
            )
        ),
    ],
    "dataset.split": [
        ([], ": expected a mapping of keys to values, got []"),
        (["x" * 80], ': expected a mapping of keys to values, got ["' + "x" * 55 + "..."),
        (SHARES | {"folders": GIVEN["folders"]}, ".folders: folders go with method: given"),
        (GIVEN | {"test": 0.1, "validation": 0.1}, ".test: the test split is given: leave test out"),
        (GIVEN, ".validation: this key is missing"),
        (
            {**GIVEN, "folders": GIVEN["folders"] | {"validation": "c"}, "validation": 0.1},
            ".validation: folders.validation gives the validation split: leave one of them out",
        ),
        ({"method": "given", "validation": 0.1}, ": name the splits' folders: folders: {train: ..., test: ...}"),
        *(
            ({"method": "given", "folders": folders}, f".folders: {problem}")
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
        ),
    ],
    "dataset.split.seed": [(-1, ": expected a number not below 0, got -1")],
    "dataset": [({**DEFAULTS["dataset"], 3: 1}, ".3: a key is text, got 3; if it is a name, put it between quotes")],
    "dataset.classes": [(["a", "b"], ": the names come from the folders: leave it out")],
    "dataset.near_duplicates": [(33, ": expected a number not above 32, got 33")],
    # tensors
    "tensors.lite64.pixel": [(1, ": unknown key; did you mean 'pixels'?")],
    "tensors.lite64.resize": [
        (GONE, ": this key is missing"),
        ("padd", ": expected one of pad, stretch, crop, got \"padd\"; did you mean 'pad'?"),
    ],
    "tensors.lite64.pixels": [
        ([64], ": expected 2 or more values, got [64]"),
        ([64, 64, 3], ": expected 2 values and no more, got [64, 64, 3]"),
        (64, ": expected a list, got 64"),
        ([0, 64], ".0: expected a number not below 1, got 0"),
        ([64, 5000], ".1: expected a number not above 4096, got 5000"),
    ],
    "tensors.size": [
        (
            {"pixels": [64, 64], "resize": "pad", "normalization": "tf"},
            ": DVC does not notice when a parameter named 'size' changes; use another name",
        )
    ],
    "tensors": [
        *(
            (
                {**DEFAULTS["tensors"], name: DEFAULTS["tensors"]["lite64"]},
                f".{shown}: a name has letters a-z, digits, - and _, and begins with a letter",
            )
            for name, shown in [*((name, name) for name in ("a.b", "a/b", "a b", "2x", "", "é")), ("a\n", "a\\n")]
        ),
        *(
            (
                {**DEFAULTS["tensors"], name: DEFAULTS["tensors"]["lite64"]},
                f".{name}: a key is text, got {shown}; if it is a name, put it between quotes",
            )
            for name, shown in ((64, "64"), (True, "true"), (None, "null"), (1.5, "1.5"))
        ),
    ],
    # backbones
    f"{BACKBONE}.wights": [(1, ": unknown key; did you mean 'weights'?")],
    f"{BACKBONE}.weights": [
        (None, ": expected text, got null; if that is a name, put it between quotes"),
        ("imagenet", ": EfficientNetLite0 has no weights 'imagenet'; did you mean 'package'?"),
    ],
    f"{BACKBONE}.include_top": [(1, ": expected true or false, got 1")],
    f"{BACKBONE}.architecture": [
        ("EfficientNetLite00", ": unknown architecture 'EfficientNetLite00'; did you mean 'EfficientNetLite0'?"),
        ("EfficientNet-Lite0", ": unknown architecture 'EfficientNet-Lite0'; did you mean 'EfficientNetLite0'?"),
    ],
    "backbones.vgg": [
        (
            {"architecture": "vgg16", "weights": "imagenet"},
            ".architecture: unknown architecture 'vgg16'; did you mean 'VGG16'?",
        ),
        (
            {"architecture": "VGG16", "weights": "package"},
            ".weights: VGG16 has no weights 'package'; did you mean 'imagenet'?",
        ),
    ],
    "backbones.scratch": [
        (
            SCRATCH | {"weights": "imagenet"},
            ".architecture: there are no layers to load weights into: set weights: none, or name a network",
        )
    ],
    f"{BACKBONE}.sha256": [(DIGEST, ": sha256 goes with weights from a path or URL only: leave it out")],
    # features
    "features.midway.batchsize": [(1, ": unknown key; did you mean 'batch_size'?")],
    "features.midway.layer": [
        (9, ": expected text, got the number 9; put it between quotes"),
        ("blok_9", f": {LAYERS} 'blok_9' that every path goes through; did you mean 'block_9'?"),
        (
            "block_9_expand_conv",
            f": {LAYERS} 'block_9_expand_conv' that every path goes through; the nearest that are: block_8, block_9",
        ),
        ("block_8_expnd", f": {LAYERS} 'block_8_expnd' that every path goes through; did you mean 'block_8_expand'?"),
        ("avg_pool", f": {LAYERS} 'avg_pool' that every path goes through; it has one with include_top: true"),
        ("zzz", f": {LAYERS} 'zzz' that every path goes through"),
    ],
    "features.midway.batch_size": [(0, ": expected a number not below 1, got 0")],
    "features.midway.views": [
        (3, ": views differ by an augmentation: name its layers, or leave views out"),
        (10**30, f": expected a number not above 1000000, got {10**30}"),
    ],
    "features.midway": [
        (
            MIDDLE | {"augmentation": ["RandomFlop"], "views": 2},
            ".augmentation.0: unknown layer 'RandomFlop'; did you mean 'RandomFlip'?",
        )
    ],
    "features.midway.tensors": [("lite65", ": there is no tensors.lite65; did you mean 'lite64'?")],
    "features.midway.backbone": [("xyz", ": there is no backbones.xyz")],
    "features.midway.pooling": [
        ("avg", ": pooling goes with layer: top; after another layer comes the rest of the backbone")
    ],
    # variants
    "variants.full": [(None, ": expected a mapping of keys to values, got null")],
    f"{HALF}.stat": [(1, ": unknown key; did you mean 'start'?")],
    "variants.fresh": [
        (
            FRESH | {"fit": TRAINED | {"loss": {"SparseCategoricalCrossentropy": {"from_logits": True}}}},
            ".fit.loss: from_logits: the head's last layer has an activation: leave one of them out",
        )
    ],
    f"{HALF}.freeze": [
        ("", ': expected some text, got ""'),
        ("block_12", ": features/midway say where the frozen part ends: leave freeze out"),
    ],
    "variants.full.freeze": [
        (
            "block_9_expand",
            ": EfficientNetLite0 has no layer 'block_9_expand' that every path goes through; "
            "the nearest that are: block_8, block_9",
        )
    ],
    f"{HALF}.start": [
        ("variants/frozen_hed", ": there is no variants.frozen_hed; did you mean 'frozen_head'?"),
        (
            "frozen_head",
            ": expected backbones/<name> or variants/<name>, got 'frozen_head'; did you mean 'variants/frozen_head'?",
        ),
        ("features/midway", ": expected backbones/<name> or variants/<name>, got 'features/midway'"),
        ("variants/half", ": the starts form a circle: variants.half descends from itself"),
    ],
    "variants.frozen_head.start": [("backbones/lite", ": there is no backbones.lite; did you mean 'lite0'?")],
    f"{HALF}.inputs": [
        ("features/midwa", ": there is no features.midwa; did you mean 'midway'?"),
        ("variants/full", ": expected features/<name> or tensors/<name>, got 'variants/full'"),
        ("tensors/", ": expected features/<name> or tensors/<name>, got 'tensors/'; did you mean 'tensors/lite64'?"),
    ],
    "variants.frozen_head.inputs": [("features/midway", f": {VECTOR}")],
    # heads and augmentations
    HEAD: [
        (["Flaten", FINAL], ".0: unknown layer 'Flaten'; did you mean 'Flatten'?"),
        (["add", FINAL], ".0: unknown layer 'add'"),
        (
            [{"Dense": {"unit": 3, "units": 4}}, FINAL],
            ".0.Dense.unit: Dense has no argument 'unit'; did you mean 'units'?",
        ),
        (
            [{"Dense": {"units": 4, "activty_regularizer": "l2"}}, FINAL],
            ".0.Dense.activty_regularizer: "
            "Dense has no argument 'activty_regularizer'; did you mean 'activity_regularizer'?",
        ),
        (["Dropout", FINAL], ".0: Dropout needs rate"),
        ([{"Dropout": {"rate": 1.5}}, FINAL], ".0.Dropout.rate: expected a number from 0 to below 1, got 1.5"),
        (
            [{"Dense": {"units": 9, "activation": "rellu"}}, FINAL],
            ".0.Dense.activation: Keras knows no activation 'rellu' by its name alone; did you mean 'relu'?",
        ),
        (
            [{"Dense": {"units": 9, "kernel_initializer": "he_norml"}}, FINAL],
            ".0.Dense.kernel_initializer: Keras knows no initializer 'he_norml' by its name alone; "
            "did you mean 'he_normal'?",
        ),
        (
            [{"Dense": {"units": 9, "kernel_initializer": {"HeNorml": {"seed": 1}}}}, FINAL],
            ".0.Dense.kernel_initializer.HeNorml: unknown initializer 'HeNorml'; did you mean 'HeNormal'?",
        ),
        (
            [{"Dense": {"units": 9, "kernel_initializer": {"HeNormal": {"sed": 1}}}}, FINAL],
            ".0.Dense.kernel_initializer.HeNormal.sed: HeNormal has no argument 'sed'; did you mean 'seed'?",
        ),
        (
            [{"Dense": {"units": 9, "kernel_initializer": {"Flatten": None}}}, FINAL],
            ".0.Dense.kernel_initializer.Flatten: unknown initializer 'Flatten'",
        ),
        (
            [{"Dense": {"units": 9, "kernel_regularizer": {"l2": 0.1}}}, FINAL],
            '.0.Dense.kernel_regularizer: expected a name or {Name: {argument: value}}, got {"l2": 0.1}',
        ),
        (
            [{"Dense": {"units": 9, "activation": 3}}, FINAL],
            ".0.Dense.activation: expected a name or {Name: {argument: value}}, got 3",
        ),
        (
            [{"SpectralNormalization": {"layer": {"dense": {"units": 9}}}}, FINAL],
            ".0.SpectralNormalization.layer.dense: unknown layer 'dense'; did you mean 'Dense'?",
        ),
        (
            [{"SpectralNormalization": {"layer": {"Dense": {"units": 9}}, "power_iterations": 5000}}, FINAL],
            f".0.SpectralNormalization.power_iterations: expected a {REPEATED}, got 5000",
        ),
        (
            [{"SpectralNormalization": {"layer": "Flatten"}}, FINAL],
            '.0.SpectralNormalization.layer: expected {Name: {argument: value}}, got "Flatten"',
        ),
        (
            ["GlobalAveragePooling2D", FINAL],
            ".0: GlobalAveragePooling2D takes a map, but the backbone's end is one vector per image: leave it out",
        ),
        *(
            ([name, FINAL], f".0: {name} {why}")
            for name, why in {
                "Input": "does not go into a list of layers: the network has its input already",
                "InputLayer": "does not go into a list of layers: the network has its input already",
                "TFSMLayer": "holds code, which Keras refuses to load from a model's file",
                "Lambda": "holds code, which Keras refuses to load from a model's file",
                "Embedding": "is for text, categories or sound, not for images and their features",
                "Concatenate": "has several inputs, but each layer of a list has one",
                "Layer": "is only what others are derived from",
            }.items()
        ),
        *(
            (
                head,
                ": a variant that starts from a backbone needs a head, such as "
                "[{Dense: {units: classes, activation: softmax}}]",
            )
            for head in (None, [])
        ),
        ([{"Dense": {"units": "classes"}}], f": {LAST}, or have no activation and the loss from_logits: true"),
        ([{"Dense": {"units": 10, "activation": "softmax"}}], f": {LAST}"),
        (["Softmax"], f": {LAST}"),
        # Layers that Keras takes, but not as they are meant
        (["Normalization", FINAL], ".0: Normalization needs mean, variance"),
        (
            [{"Discretization": {"num_bins": 3}}, FINAL],
            ".0.Discretization: Discretization needs bin_boundaries",
        ),
        (
            [{"Dense": {"units": 3, "trainable": False}}, FINAL],
            ".0.Dense.trainable: expected true, since a variant's inputs and freeze say what is not trained, got false",
        ),
        *(
            (
                [FINAL | {"Dense": FINAL["Dense"] | {"dtype": dtype}}],
                f".0.Dense.dtype: expected {FLOAT32}, got {shown(dtype)}",
            )
            for dtype in ("float16", "bfloat16", "mixed_float16", "int8", {"DTypePolicy": {"name": "float16"}})
        ),
        *(
            (
                [layer, FINAL],
                f".0: axis {axis} is that of the images of a batch, each of which is taken by itself: name another",
            )
            for layer, axis in (
                ({"Softmax": {"axis": 0}}, 0),
                ({"UnitNormalization": {"axis": -2}}, -2),
                ({"BatchNormalization": {"axis": 0}}, 0),
                ({"Dense": {"units": 3, "activation": {"Softmax": {"axis": 0}}}}, 0),
            )
        ),
        *(
            (
                [{name: given | {argument: value}}, FINAL],
                f".0.{name}.{argument}: expected {said}, got {shown(value)}",
            )
            for name, given, argument, value, said in (
                ("LSTM", {"units": 3}, "use_cudnn", True, "auto, which takes cuDNN where it can, or false"),
                ("BatchNormalization", {}, "synchronized", True, "false, since devices share a training otherwise"),
                ("GaussianNoise", {"stddev": 1}, "seed", -1, "a whole number not below 0 and below 4294967296"),
            )
        ),
        *(
            (
                [{"Dense": {"units": 3, "kernel_constraint": {name: {argument: value}}}}, FINAL],
                f".0.Dense.kernel_constraint.{name}.{argument}: expected {said}, got {shown(value)}",
            )
            for name, argument, value, said in (
                ("MaxNorm", "axis", "0", "a whole number or a list of them"),
                ("MaxNorm", "max_value", 0, "a number above 0"),
                ("MinMaxNorm", "min_value", -1, "a number not below 0"),
                ("MinMaxNorm", "rate", 2, "a number from 0 to 1"),
            )
        ),
        (
            [{"Dense": {"units": 3}}, {"Discretization": {"bin_boundaries": [0.2]}}, FINAL],
            ".1: Discretization lets no gradient through, so that the layers before it would stay as they begin: put "
            "it before them, or leave it out",
        ),
        (
            [{"Discretization": {"bin_boundaries": [0.6, 0.2]}}, FINAL],
            ".0.Discretization: bin_boundaries are numbers, each of them above the one before it, got [0.6, 0.2]",
        ),
        (
            [{"Dropout": {"rate": 0.5, "noise_shape": [8, 1280]}}, FINAL],
            ".0: noise_shape begins with the number of images of a batch, which is not known: write null there",
        ),
        (
            ["RandomFlip", FINAL],
            ".0: RandomFlip takes maps, which it does not get: put it before the layer that ends them, or leave it out",
        ),
        (
            [{"Reshape": {"target_shape": [32, 40]}}, {"GRU": {"units": 3, "return_state": True}}, FINAL],
            ".1: GRU gives 2 outputs, of which the next layer takes one: leave return_state out",
        ),
        (
            [
                {"Reshape": {"target_shape": [32, 40]}},
                {"Bidirectional": {"layer": {"GRU": {"units": 3}}, "merge_mode": None}},
                FINAL,
            ],
            ".1: Bidirectional gives 2 outputs, of which the next layer takes one: leave merge_mode out",
        ),
        ([{"Dropout": {"rate": math.nan}}, FINAL], ".0.Dropout.rate: expected a finite number of 32 bits, got NaN"),
        (
            [{"Rescaling": {"scale": [1.0, math.inf]}}, FINAL],
            ".0.Rescaling.scale: expected a finite number of 32 bits, got Infinity",
        ),
        (
            [{"Rescaling": {"scale": -1e300}}, FINAL],
            ".0.Rescaling.scale: expected a finite number of 32 bits, got -1e+300",
        ),
    ],
    "variants.full.augmentation": [
        (["MaxNumBoundingBoxes"], ".0: MaxNumBoundingBoxes would have to change the labels as well"),
        ([{"RandomFlop": {}}], ".0.RandomFlop: unknown layer 'RandomFlop'; did you mean 'RandomFlip'?"),
        ([3], ".0: expected Name or {Name: {argument: value}}"),
        (
            [{"RandomFlip": {"mode": "diagonal"}}],
            '.0.RandomFlip.mode: expected one of horizontal, vertical, horizontal_and_vertical, got "diagonal"',
        ),
        (
            [{"RandomRotation": {"factor": 0.1, "fill_mode": "mirror"}}],
            ".0: {'RandomRotation': {'factor': 0.1, 'fill_mode': 'mirror'}}: Keras refuses it: Unknown `fill_mode` "
            "mirror. Expected of one ('reflect', 'wrap', 'constant', 'nearest').",
        ),
    ],
    f"{HALF}.augmentation": [
        (
            ["RandomFlip"],
            ": augmentation changes images, but features/midway are cached activations: "
            "give the features an augmentation and views, or take inputs from tensors/",
        )
    ],
    f"{HALF}.head": [([FINAL], ": the head comes from the variant that this one starts from: leave head out")],
    "variants.frozen_head.head": [([FINAL], ": a solver brings its own head, one Dense layer: leave head out")],
    # fits
    f"{FIT}.epoch": [(1, ": unknown key; did you mean 'epochs'?")],
    "variants.frozen_head.fit.class_weight": [
        ({"oak": 2.0}, ": unknown key here: a solver and a training by epochs each have keys of their own")
    ],
    f"{FIT}.C": [([1.0], ": unknown key here: a solver and a training by epochs each have keys of their own")],
    "variants.frozen_head.fit.c": [([1.0], ": unknown key; did you mean 'C'?")],
    f"{FIT}.optimizer": [
        (GONE, ": this key is missing"),
        ({"Adam": {1: 2}}, ".Adam.1: a key is text, got 1; if it is a name, put it between quotes"),
        ("adam", ": unknown optimizer 'adam'; did you mean 'Adam'?"),
        ({"Adamm": None}, ".Adamm: unknown optimizer 'Adamm'; did you mean 'Adam'?"),
        ("get", ": unknown optimizer 'get'"),
        ("", ": unknown optimizer ''"),
        (
            {"LossScaleOptimizer": {"inner_optimizer": "Adam"}},
            ".LossScaleOptimizer: LossScaleOptimizer takes other optimizers, "
            "which params.yaml cannot give it: name one optimizer",
        ),
        (
            {"Adam": {"learning_rat": 1e-3}},
            ".Adam.learning_rat: Adam has no argument 'learning_rat'; did you mean 'learning_rate'?",
        ),
        (
            {"Adam": {"learning_rate": 0.0}},
            ".Adam.learning_rate: expected a number above 0 with a point or an exponent, or {Schedule: {...}}, got 0.0",
        ),
        # Keras takes a float only
        (
            {"SGD": {"learning_rate": 1}},
            ".SGD.learning_rate: expected a number above 0 with a point or an exponent, or {Schedule: {...}}, got 1",
        ),
        (
            {"Adam": {"learning_rate": {"CosinDecay": {"initial_learning_rate": 1e-3}}}},
            ".Adam.learning_rate.CosinDecay: unknown learning-rate schedule 'CosinDecay'; did you mean 'CosineDecay'?",
        ),
        (
            {"Adam": {"learning_rate": {"CosineDecay": None}}},
            ".Adam.learning_rate.CosineDecay: CosineDecay needs initial_learning_rate",
        ),
        (
            {"Adam": None, "SGD": None},
            ": expected Name or {Name: {argument: value}} (an argument's line is indented deeper than the name)",
        ),
        ({"Adam": [1]}, ": expected Name or {Name: {argument: value}}"),
        *(
            (
                {"SGD": {given: value}},
                f".SGD: without {needed}, Keras does not heed {given}: name it, or leave {given} out",
            )
            for given, value, needed in (
                ("nesterov", True, "momentum"),
                ("ema_momentum", 0.9, "use_ema"),
                ("ema_overwrite_frequency", 9, "use_ema"),
            )
        ),
        *(
            ({"Muon": {"ns_steps": steps}}, f".Muon.ns_steps: expected a {REPEATED}, got {steps}")
            for steps in (0, 2000, 10**12)
        ),
        ({"Adafactor": {"beta_2_decay": 0.8}}, ".Adafactor.beta_2_decay: expected a number not above 0, got 0.8"),
        ({"Muon": {"adam_beta_1": 2.0}}, ".Muon.adam_beta_1: expected a number from 0 to below 1, got 2.0"),
        (
            {"Adam": {"learning_rate": {"CosineDecay": {"initial_learning_rate": -1}}}},
            ".Adam.learning_rate.CosineDecay.initial_learning_rate: expected a number not below 0, got -1",
        ),
    ],
    # Values that Keras takes, or refuses only when the training begins
    f"{FIT}.optimizer.Adam": [
        ({"use_ema": False, name: value}, f".{name}: expected {said}, got {shown(value)}")
        for name, value, said in (
            ("beta_1", 2.0, "a number from 0 to below 1"),
            ("beta_2", "0.9", "a number from 0 to below 1"),
            ("clipnorm", "1", "a number above 0"),
            ("clipvalue", -1.0, "a number above 0"),
            ("ema_momentum", 1.5, "a number from 0 to below 1"),
            ("ema_momentum", 1.0, "a number from 0 to below 1"),
            ("ema_overwrite_frequency", 0, "a whole number not below 1"),
            ("epsilon", 0, "a number above 0"),
            ("epsilon", math.inf, "a finite number of 32 bits"),
            ("epsilon", 1e-39, "a finite number of 32 bits"),
            ("loss_scale_factor", 1e39, "a finite number of 32 bits"),
            ("gradient_accumulation_steps", 1, "a whole number not below 2"),
            ("loss_scale_factor", 0, "a number above 0"),
            ("weight_decay", -1, "a number not below 0"),
            ("weight_decay", {"L2": None}, "a number not below 0"),
        )
    ]
    + [
        (
            {"clipnorm": 1.0, "clipvalue": None, "global_clipnorm": 1.0},
            ": Keras clips gradients in one way only: leave all but one of clipnorm, global_clipnorm out",
        ),
        ({"beta_2": 0.99999999}, ".beta_2: expected a number from 0 to below 1, got 0.99999999, which is 1 in 32 bits"),
    ],
    f"{FIT}.optimizer.Adam.learning_rate": [
        (
            {"CosineDecay": {"initial_learning_rate": 1e-3, "warmup_target": 0.1}},
            ".CosineDecay: without warmup_steps, Keras begins at warmup_target, and does not heed "
            "initial_learning_rate: name them, or leave warmup_target out",
        ),
        (
            {"CosineDecay": {"initial_learning_rate": 1e-3, "warmup_steps": 9}},
            ".CosineDecay: without warmup_target, Keras does not heed warmup_steps: name it, or leave warmup_steps out",
        ),
        (
            {"CosineDecay": {"initial_learning_rate": 0.1, "warmup_target": 0.01, "warmup_steps": 9}},
            ".CosineDecay: the warm-up would fall, from the initial_learning_rate 0.1 to the warmup_target 0.01, from "
            "which the decay begins: exchange them",
        ),
        (
            {"CosineDecay": {"initial_learning_rate": 0.1, "alpha": 2.0}},
            ".CosineDecay.alpha: expected a number from 0 to 1, got 2.0",
        ),
        (
            {"ExponentialDecay": {"initial_learning_rate": 1e-3, "decay_rate": 96}},
            ".ExponentialDecay.decay_rate: expected a number above 0 and not above 1, got 96",
        ),
        (
            {"CosineDecayRestarts": {"initial_learning_rate": 1e-3, "first_decay_steps": 9, "m_mul": 1.5}},
            ".CosineDecayRestarts.m_mul: expected a number above 0 and not above 1, got 1.5",
        ),
        (
            {"CosineDecay": {"initial_learning_rate": 0.0}},
            ".CosineDecay: the learning rate is 0 in each step: name an initial_learning_rate above 0, or a warm-up",
        ),
        (
            {"CosineDecay": {"initial_learning_rate": 1e-3, "decay_steps": 10**30}},
            ".CosineDecay.decay_steps: expected a finite number of 64 bits, got 1000000000000000000000000000000",
        ),
        (
            {"PolynomialDecay": {"initial_learning_rate": 1e-3, "end_learning_rate": -1.0}},
            ".PolynomialDecay.end_learning_rate: expected a number not below 0, got -1.0",
        ),
        (
            {"PolynomialDecay": {"initial_learning_rate": 1e-5}},
            ".PolynomialDecay: the learning rate would rise to the end_learning_rate 0.0001, which Keras takes where "
            "none is named: name one that is not above the initial_learning_rate 1e-05",
        ),
        (
            {"PolynomialDecay": {"initial_learning_rate": 1e-3, "end_learning_rate": 0.1}},
            ".PolynomialDecay: the learning rate would rise to the end_learning_rate 0.1: name one that is not above "
            "the initial_learning_rate 0.001",
        ),
        (
            {"CosineDecayRestarts": {"initial_learning_rate": 1e-3, "first_decay_steps": 9, "t_mul": 0.5}},
            ".CosineDecayRestarts.t_mul: expected a number not below 1, got 0.5",
        ),
        *(
            (
                {"PiecewiseConstantDecay": {"boundaries": boundaries, "values": values}},
                f".PiecewiseConstantDecay: {said}",
            )
            for boundaries, values, said in (
                (["a"], [0.1, 0.2], "boundaries and values are numbers"),
                ([], [0.1], "there is no boundary: name one, or write the learning rate as a number"),
                ([1], [0.1, -0.2], "boundaries and values are not below 0, and a value is above 0"),
                ([2, 1], [0.1, 0.2, 0.3], "each of boundaries is above the one before it, got [2, 1]"),
                ([1, 2], [0.1, 0.2], "there is one value more than boundaries, got 2 and 2"),
            )
        ),
    ],
    f"{FIT}.epochs": [
        (10**30, f": expected a number not above 1000000000, got {10**30}"),
        ("8", ': expected a whole number, got "8"'),
        (True, ": expected a whole number, got true"),
        (0, ": expected a number not below 1, got 0"),
    ],
    f"{FIT}.jit_compile": [("auto", ': expected true or false, got "auto"')],
    f"{FIT}.precision": [("float23", ": expected one of float32, bfloat16, got \"float23\"; did you mean 'float32'?")],
    f"{FIT}.seed": [
        (1.5, ": expected a whole number, got 1.5"),
        (2**32, ": expected a number below 4294967296, got 4294967296"),
    ],
    f"{FIT}.callbacks": [
        ({"EarlyStopping": {}}, ': expected a list, got {"EarlyStopping": {}}'),
        ([{"EarlyStoping": {}}], ".0.EarlyStoping: unknown callback 'EarlyStoping'; did you mean 'EarlyStopping'?"),
        (
            ["TerminateOnNaN", {"EarlyStopping": {"patient": 3}}],
            ".1.EarlyStopping.patient: EarlyStopping has no argument 'patient'; did you mean 'patience'?",
        ),
        # YAML 1.2 reads yes as text, which Python takes for true
        (
            [{"EarlyStopping": {"restore_best_weights": "no"}}],
            '.0.EarlyStopping.restore_best_weights: expected true or false, got "no"',
        ),
        (
            [{"EarlyStopping": {"patience": "3"}}],
            '.0.EarlyStopping.patience: expected a whole number not below 0, got "3"',
        ),
        (
            [{"EarlyStopping": {"patience": None}}],
            ".0.EarlyStopping.patience: expected a whole number not below 0, got null",
        ),
        ([{"EarlyStopping": {"mode": 1}}], ".0.EarlyStopping.mode: expected one of auto, min, max, got 1"),
        # Keras only warns, and never stops
        (
            [{"EarlyStopping": {"monitor": "val_acc"}}],
            ".0.EarlyStopping.monitor: expected one of loss, accuracy, val_loss, val_accuracy, "
            "got \"val_acc\"; did you mean 'val_accuracy'?",
        ),
        (
            ["ReduceLROnPlateau"],
            ".0: ReduceLROnPlateau cannot change a learning rate that follows a schedule: leave one of them out",
        ),
        (
            [{"LearningRateScheduler": {"schedule": "f"}}],
            ".0.LearningRateScheduler: LearningRateScheduler needs a function, which params.yaml "
            "cannot give; give the optimizer's learning_rate as a schedule instead",
        ),
        (["History"], ".0: History is always there: leave it out"),
        *(
            ([{"EarlyStopping": {name: value}}], f".0.EarlyStopping{said}, got {shown(value)}")
            for name, value, said in (
                ("mode", "minn", ".mode: expected one of auto, min, max"),
                ("patience", -1, ".patience: expected a whole number not below 0"),
                ("patience", 1.5, ".patience: expected a whole number not below 0"),
                ("min_delta", -0.1, ".min_delta: expected a number not below 0"),
                ("baseline", "0.5", ".baseline: expected a number"),
                ("baseline", math.nan, ".baseline: expected a finite number of 32 bits"),
            )
        ),
        (
            [{"EarlyStopping": {"mode": "max"}}],
            ".0.EarlyStopping: mode: max, but val_loss is better the less it is: leave mode out",
        ),
        (
            [{"EarlyStopping": {"mode": "min", "monitor": "val_accuracy"}}],
            ".0.EarlyStopping: mode: min, but val_accuracy is better the greater it is: leave mode out",
        ),
        *(
            (
                [{"EarlyStopping": {"monitor": "val_accuracy", argument: value}}],
                f".0.EarlyStopping: {argument}: {value}, but val_accuracy is a share, below 1: write 0.9 for 90 %",
            )
            for argument, value in (("baseline", 90), ("min_delta", 1.0))
        ),
        (["SwapEMAWeights"], ".0: SwapEMAWeights needs an optimizer with use_ema: true"),
        *(
            (
                [{name: arguments}],
                f".0.{name}: {name} writes files or sends data that dvc.yaml does not declare; "
                "to keep the best epoch's weights use {EarlyStopping: {monitor: val_loss, "
                "restore_best_weights: true}}; learning curves are written in any case",
            )
            for name, arguments in {
                "ModelCheckpoint": {"filepath": "best.keras"},
                "BackupAndRestore": {"backup_dir": "backup"},
                "CSVLogger": {"filename": "log.csv"},
                "TensorBoard": None,
                "RemoteMonitor": {},
                "OrbaxCheckpoint": {"directory": "checkpoints"},
            }.items()
        ),
    ],
    FIT: [
        ("Adam", ': expected a mapping of keys to values, got "Adam"'),
        (
            {"solver": "logistic_regression"},
            ": a solver starts from backbones/<name>: its optimum depends on no other start",
        ),
    ],
    "variants.frozen_head.fit.solver": [("svm", ': expected logistic_regression, got "svm"')],
    f"{FIT}.batch_size": [(-1, ": expected a number not below 1, got -1")],
    "variants.frozen_head.fit.C": [
        ([1.0, 0], ".1: expected a number above 0, got 0"),
        ([float("inf")], ".0: expected a finite number, got Infinity"),
        ([], ": expected 1 or more values, got []"),
    ],
    "variants.frozen_head.fit.train_on": [
        (["validation"], ": C is chosen inside train: name it, too"),
        (["train", "train"], ": a split is named twice"),
        (["train", "test"], '.1: expected one of train, validation, got "test"'),
    ],
    f"{FIT}.loss": [
        (
            "CategoricalCrossEntropy",
            ": unknown loss 'CategoricalCrossEntropy'; did you mean 'CategoricalCrossentropy'?",
        ),
        (
            "categorical_crossentropy",
            ": unknown loss 'categorical_crossentropy'; did you mean 'CategoricalCrossentropy'?",
        ),
        (
            {"CategoricalCrossentropy": {"from_logits": True}},
            ": from_logits: the head of variants/frozen_head ends in softmax: leave from_logits out",
        ),
        *(
            (name, f": {name} {why}")
            for name, why in {
                "Loss": "is only what others are derived from",
                "CTC": "is for sequences, not for classes",
                "Circle": "is for embeddings, not for classes",
                "CategoricalGeneralizedCrossEntropy": "takes labels as numbers, which only Sparse... losses get",
            }.items()
        ),
        (
            {"SparseCategoricalCrossentropy": {"label_smoothing": 0.1}},
            ".SparseCategoricalCrossentropy.label_smoothing: SparseCategoricalCrossentropy has no argument "
            "'label_smoothing': take CategoricalCrossentropy, which has it",
        ),
        (
            {"SparseCategoricalCrossentropy": {"from_logit": True}},
            ".SparseCategoricalCrossentropy.from_logit: SparseCategoricalCrossentropy has no argument 'from_logit'; "
            "did you mean 'from_logits'?",
        ),
        *(
            (
                {"CategoricalCrossentropy": {"label_smoothing": value}},
                f".CategoricalCrossentropy.label_smoothing: expected a number from 0 to below 1, got {said}",
            )
            for value, said in ((1.0, "1.0"), (-0.1, "-0.1"), (True, "true"))
        ),
        (
            {"BinaryFocalCrossentropy": {"alpha": 5, "apply_class_balancing": True}},
            ".BinaryFocalCrossentropy.alpha: expected a number from 0 to 1, got 5",
        ),
        (
            {"BinaryFocalCrossentropy": {"alpha": 0.5}},
            ".BinaryFocalCrossentropy: without apply_class_balancing, Keras does not heed alpha: name it, or leave "
            "alpha out",
        ),
        *(
            ({name: {argument: value}}, f".{name}.{argument}: expected {said}, got {shown(value)}")
            for name, argument, value, said in (
                ("CategoricalCrossentropy", "axis", 0, "-1, the axis of the classes"),
                ("SparseCategoricalCrossentropy", "axis", 1, "-1, the axis of the classes"),
                ("CategoricalFocalCrossentropy", "alpha", 0, "a number above 0"),
                ("CategoricalFocalCrossentropy", "gamma", -1, "a number not below 0"),
                ("Huber", "delta", -1, "a number above 0"),
                (
                    *("LogCosh", "reduction", "none"),
                    "one of sum_over_batch_size, sum, mean, mean_with_sample_weight",
                ),
                ("LogCosh", "dtype", "float16", FLOAT32),
            )
        ),
    ],
    "variants.frozen_head.fit": [
        (
            {"solver": "logistic_regression", "train_on": ["train", "validation"], "calibrate": "temperature"},
            ".calibrate: a temperature is chosen by validation images that are not fitted: set train_on: [train], or "
            "leave calibrate out",
        ),
    ],
    "variants.full.fit": [
        (
            TRAINED | {"train_on": ["train", "validation"]},
            ".validate_on: validation is trained on: nothing can be chosen by it",
        ),
        (TRAINED | {"train_on": ["train", "train"]}, ".train_on: a split is named twice"),
        (TRAINED | {"calibrate": "temperature", "validate_on": "test"}, f".calibrate: {TEMPERATURE}"),
        (
            TRAINED | {"calibrate": "temperature", "train_on": ["train", "validation"], "validate_on": "test"},
            f".calibrate: {TEMPERATURE}",
        ),
        (
            TRAINED | {"calibrate": "temperature", "train_on": ["train", "validation"]},
            ".validate_on: validation is trained on: nothing can be chosen by it",
        ),
        (
            TRAINED | {"calibrate": "temprature"},
            ".calibrate: expected temperature, got \"temprature\"; did you mean 'temperature'?",
        ),
    ],
    f"{FIT}.class_weight": [
        ([1.0], f": {WEIGHTS}"),
        ({1: 2.0}, ".1: a key is text, got 1; if it is a name, put it between quotes"),
        ({"1": -1}, f": {WEIGHTS}"),
        ({"1": math.inf}, f": {WEIGHTS}"),
        ({"1": 10**399}, f": {WEIGHTS}"),
        ({"1": 1e308}, f": {WEIGHTS}"),
    ],
    f"{FIT}.layer_decay": [
        (0, ": expected a number above 0, got 0"),
        (1.5, ": expected a number not above 1, got 1.5"),
    ],
    f"{FIT}.learning_rate_factors": [(0.1, ": expected a mapping from names to numbers, got 0.1")],
    # evaluation
    "evaluation.topk": [(1, ": unknown key; did you mean 'top_k'?")],
    "evaluation.cross_validation": [
        (
            {"folds": 5, "variants": ["half"]},
            ": is a section of its own now, with an entry for each variant: "
            "cross_validation: {NAME: {start: ..., inputs: ..., folds: ..., repeats: ..., seed: ...}}",
        ),
    ],
    # cross_validation
    "cross_validation.half": [
        (HALF_AGAIN | {"fold": 5}, ".fold: unknown key; did you mean 'folds'?"),
        (HALF_AGAIN | {"folds": 1}, ".folds: expected a number not below 2, got 1"),
        (HALF_AGAIN | {"repeats": 10**30}, f".repeats: expected a number not above 10000, got {10**30}"),
        (
            HALF_AGAIN | {"inputs": "tensors/lite64"},
            ".inputs: expected 'features/midway', as variants.half has it, got 'tensors/lite64'",
        ),
    ],
    # seeds
    "seeds.half": [
        (HALF_AGAIN, ".others: this key is missing"),
        (HALF_AGAIN | {"others": [1], "seeds": 3}, ".seeds: unknown key"),
        (HALF_AGAIN | {"others": 5}, ".others: expected a list, got 5"),
        (HALF_AGAIN | {"others": []}, ".others: expected 1 or more values, got []"),
        (HALF_AGAIN | {"others": [1, 2.5]}, ".others.1: expected a whole number, got 2.5"),
        (HALF_AGAIN | {"others": [-1]}, ".others.0: expected a number not below 0, got -1"),
        (
            HALF_AGAIN | {"others": [1, 2, 1]},
            ".others: the seed 1 is there twice, and would give the same model again: leave one out",
        ),
        (
            HALF_AGAIN | {"others": [1, 0]},
            ".others: 0 is the seed of variants.half itself, whose scores count in any case: leave it out",
        ),
        (
            HALF_AGAIN | {"others": [1], "start": "backbones/lite0"},
            ".start: expected 'variants/frozen_head', as variants.half has it, got 'backbones/lite0'",
        ),
    ],
    "seeds.hlf": [(HALF_AGAIN | {"others": [1]}, ": there is no variants.hlf; did you mean 'half'?")],
    "seeds.frozen_head": [
        (
            {"start": "backbones/lite0", "inputs": "features/bottleneck", "others": [1]},
            ": variants.frozen_head is solved: it has one optimum, the same whatever the seed, so there is no training "
            "noise to measure: leave seeds.frozen_head out",
        )
    ],
    # label_issues
    "label_issues.bottleneck": [
        ({"fold": 5}, ".fold: unknown key; did you mean 'folds'?"),
        ({"folds": 1}, ".folds: expected a number not below 2, got 1"),
        ({"C": [0.0]}, ".C.0: expected a number above 0, got 0.0"),
    ],
    "label_issues.botleneck": [({}, ": there is no features.botleneck; did you mean 'bottleneck'?")],
    "label_issues.midway": [
        (
            {},
            ": features.midway have no single vector per image, on which heads are solved: name features with "
            "layer: top and pooling: avg or max",
        )
    ],
    "cross_validation.hlf": [(HALF_AGAIN, ": there is no variants.hlf; did you mean 'half'?")],
    "tensors.lite64.normalization": [
        (
            "tf",
            ": EfficientNetLite0, of backbones.lite0, was pretrained with 'lite', got 'tf'; if that is meant, write "
            "unlike_pretraining: true beside it",
        )
    ],
    "tensors.lite64.keep": [("no", ': expected true or false, got "no"')],
    "evaluation.zzz": [(1, ": unknown key")],
    "evaluation.top_k": [(1, ": expected a number not below 2, got 1")],
}
"""By address: what is set there, and what the line says behind that address."""

OF_SEVERAL: dict[str, tuple[Tree, list[str]]] = {  # dataset
    "nothing for training": (
        {"dataset.split.test": 0.5, "dataset.split.validation": 0.5},
        ["dataset.split.validation: test and validation together must be below 1, to leave some for training"],
    ),
    "key nfiles": (
        {"dataset.nfiles": 3},
        [
            "dataset.nfiles: DVC does not notice when a parameter named 'nfiles' changes; use another name",
            "dataset.nfiles: unknown key",
        ],
    ),
    "folders for a table": (
        {"dataset.layout": "csv", "dataset.split": GIVEN | {"validation": 0.1}},
        ["dataset.split: the splits come from the table: leave folders out"],
    ),
    "devices that Keras on TensorFlow cannot share a training out to": (
        {f"{FIT}.devices": 2, "variants.full.fit.devices": 3},
        [
            "variants.full.fit.devices: 3 devices cannot share batches of 32: make batch_size a multiple of 3",
            "variants.half.fit.devices: devices share a training with Keras on JAX only: set KERAS_BACKEND=jax, or "
            "leave devices out",
        ],
    ),
    "variants that need pixels which are not kept": (
        {
            "tensors.lite64.keep": False,
            "cross_validation.full": {"start": "variants/frozen_head", "inputs": "tensors/lite64"},
        },
        [
            "variants.full.inputs: trains on the pixels of tensors.lite64, which has keep: false: leave that out, or "
            "take inputs from features/"
        ],
    ),
    "arrays that are split at random": (
        {"dataset.layout": "npy"},
        ["dataset.split: the arrays' names tell the splits: set method: given"],
    ),
    "numbers without names": (
        {"dataset.layout": "label_prefix"},
        ["dataset.classes: files tell the number of their class: list the names in the order of the numbers"],
    ),
    "a class's name twice": (
        NUMBERED | {"dataset.classes": ["a", "a"]},
        ["dataset.classes: a name is there twice"],
    ),
    "a class with a space at its end": (
        NUMBERED | {"dataset.classes": ["fig ", "kiwi"]},
        ["dataset.classes: 'fig ' begins or ends with a space: write it without"],
    ),
    "one class": (NUMBERED | {"dataset.classes": ["a"]}, ['dataset.classes: expected 2 or more values, got ["a"]']),
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
    **{
        f"classes that look the same, {classes}": (
            NUMBERED | {"dataset.classes": classes},
            [f"dataset.classes: {classes[0]!r} and {classes[1]!r} look the same: give each class a name of its own"],
        )
        for classes in (["fig", "Fig"], ["fig", "fig "], ["1", "01"], ["caf\u00e9", "cafe\u0301"])
    },
    # tensors
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
    "images too small for the network": (
        {
            "tensors.wide": {"pixels": [74, 200], "resize": "pad", "normalization": "tf"},
            "backbones.inception": {"architecture": "InceptionV3", "weights": "none"},
            "features.inception": {"tensors": "wide", "backbone": "inception", "layer": "top"},
        },
        ["features.inception.tensors: InceptionV3 needs tensors with pixels: [75, 75] or more"],
    ),
    # backbones
    "features of no layers": (
        {
            "backbones.scratch": SCRATCH,
            "features.more": {"tensors": "lite64", "backbone": "scratch", "layer": "top"},
        },
        ["features.more.backbone: backbones.scratch has no layers, so there is nothing to cache"],
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
    "digest too short": (
        {f"{BACKBONE}.weights": "params.yaml", f"{BACKBONE}.sha256": "ab12"},
        [f'{BACKBONE}.sha256: expected 64 hexadecimal digits, 0-9 and a-f, got "ab12"'],
    ),
    "digest without quotes": (
        {f"{BACKBONE}.weights": "params.yaml", f"{BACKBONE}.sha256": 12},
        [f"{BACKBONE}.sha256: expected text, got the number 12; put it between quotes"],
    ),
    # features
    "missing section": (
        {"features": GONE, "label_issues": {}, "variants": {"only": FRESH | {"inputs": "tensors/lite64"}}},
        [
            "features: this section is missing; without any entries, write features: {}",
            "variants.only.head: the backbone's end is a map, not one vector per image: begin the head with "
            "GlobalAveragePooling2D, or take features with layer: top and pooling: avg or max",
        ],
    ),
    "date": (
        {"features.midway.layer": date(2024, 5, 1)},
        [
            "features.midway.layer: expected text, a number, true, false, null, a list or a mapping; "
            "this is a date; put it between quotes",
            'features.midway.layer: expected text, got "2024-05-01"',
        ],
    ),
    "an augmentation without views": (
        {"features.midway.augmentation": ["RandomGrayscale"]},
        ["features.midway.views: the first view is the image itself: augmentation needs 2 views or more"],
    ),
    "mixed images in views": (
        {"features.midway": MIDDLE | {"augmentation": ["RandomFlip", {"MixUp": {"alpha": 0.2}}], "views": 2}},
        [
            "features.midway.augmentation.1: MixUp mixes the images of a batch and their labels, but a cached view is "
            "of one image: put it into the augmentation of a variant with inputs from tensors/"
        ],
    ),
    "a seed that draws no view": (
        {"features.midway": MIDDLE | {"augmentation": [{"RandomFlip": {"seed": 1}}], "views": 2, "seed": 2}},
        [
            "features.midway.augmentation.0.RandomFlip.seed: is not heeded: a cached view is drawn by its image and "
            "the seed beside augmentation; set that, and leave this one out"
        ],
    ),
    "mixed images for a loss of one class": (
        {"variants.full.augmentation": [{"CutMix": None}]},
        [
            "variants.full.fit.loss: CutMix gives an image parts of several classes, of which "
            "SparseCategoricalCrossentropy takes one: write loss: CategoricalCrossentropy, with the same arguments, or "
            "leave CutMix out"
        ],
    ),
    "mixed images for what takes none": (
        {
            "variants.full.augmentation": ["MixUp", "CutMix"],
            "variants.full.fit": TRAINED | {"loss": "SquaredHinge", "class_weight": "balanced", "jit_compile": True},
        },
        [
            "variants.full.fit.loss: MixUp gives an image parts of several classes, but SquaredHinge takes labels of 0 "
            "and 1 only: write loss: CategoricalCrossentropy, or leave MixUp out",
            "variants.full.fit.class_weight: weights an image by its one class, but MixUp gives it parts of several: "
            "leave one of them out",
            "variants.full.fit.jit_compile: XLA has none of the random numbers by which MixUp draws with TensorFlow, "
            "and JAX compiles in any case: leave jit_compile out",
        ],
    ),
    "images that are mixed by nothing": (
        {
            "variants.full.augmentation": [{"MixUp": {"alpha": 0.0}}],
            "variants.full.fit.loss": "CategoricalCrossentropy",
        },
        ["variants.full.augmentation.0.MixUp.alpha: expected a number above 0, got 0.0"],
    ),
    "a rate that decays in what is frozen": (
        {
            "variants.fresh": FRESH | {"fit": TRAINED | {"layer_decay": 0.5}},
            "variants.full.freeze": "top",
            "variants.full.fit.layer_decay": 0.5,
        },
        [
            "variants.full.fit.layer_decay: the learning rate decays within the backbone, which is frozen up to its "
            "top: leave layer_decay out",
            "variants.fresh.fit.layer_decay: the learning rate decays within the backbone, which is frozen up to its "
            "top: leave layer_decay out",
        ],
    ),
    "all of a network that is nothing but a head frozen": (
        {
            "backbones.scratch": SCRATCH,
            "variants.fresh": FRESH
            | {
                "start": "backbones/scratch",
                "inputs": "tensors/lite64",
                "freeze": "head_3_dense",
                "head": [{"Conv2D": {"filters": 4, "kernel_size": 3}}, "GlobalMaxPooling2D", FINAL],
            },
            "variants.more": {
                "start": "variants/fresh",
                "inputs": "tensors/lite64",
                "freeze": "head_1_conv2d",
                "fit": TRAINED,
            },
            "variants.linear": FRESH
            | {"start": "backbones/scratch", "inputs": "tensors/lite64", "freeze": "conv", "head": ["Flatten", FINAL]},
            "variants.short": FRESH
            | {
                "start": "backbones/scratch",
                "inputs": "tensors/lite64",
                "freeze": "head_1_convolution2d",
                "head": [{"Convolution2D": {"filters": 4, "kernel_size": 3}}, "GlobalMaxPool2D", FINAL],
            },
        },
        [
            "variants.fresh.freeze: 'head_3_dense' is no layer of the head behind which there is one to train: name "
            "head_1_conv2d or head_2_globalmaxpooling2d, or leave freeze out",
            "variants.linear.freeze: 'conv' is no layer of the head behind which there is one to train: name "
            "head_1_flatten, or leave freeze out",
            "variants.short.freeze: 'head_1_convolution2d' is no layer of the head behind which there is one to train: "
            "name head_1_conv2d or head_2_globalmaxpooling2d, or leave freeze out",
        ],
    ),
    "a rate that decays in nothing": (
        {
            "backbones.scratch": SCRATCH,
            "variants.fresh": FRESH
            | {"start": "backbones/scratch", "inputs": "tensors/lite64", "head": ["Flatten", FINAL]}
            | {"fit": TRAINED | {"layer_decay": 0.5}},
        },
        [
            "variants.fresh.fit.layer_decay: the learning rate decays within the backbone, which has no layers: leave "
            "layer_decay out"
        ],
    ),
    "a temperature for a kernel in parts": (
        {
            "variants.fresh": FRESH
            | {"head": [{"Dense": FINAL["Dense"] | {"lora_rank": 2}}], "fit": TRAINED | {"calibrate": "temperature"}}
        },
        [
            "variants.fresh.fit.calibrate: a temperature divides the last layer's kernel, which lora_rank keeps in "
            "parts: leave one of them out"
        ],
    ),
    "other pooling": (
        {
            "features.other": MIDDLE | {"layer": "top", "pooling": "max"},
            f"{HALF}.inputs": "features/other",
        },
        [f"{HALF}.inputs: features/other have pooling: max, but the start's head expects: avg"],
    ),
    "start trained from an earlier layer": (
        {
            "features.later": MIDDLE | {"layer": "block_10"},
            "variants.third": DEFAULTS["variants"]["half"] | {"start": "variants/half", "inputs": "features/later"},
        },
        [
            "variants.third.inputs: variants/half has trained layers before block_10, so features/later are not its "
            "activations: take inputs from an earlier layer or from tensors/"
        ],
    ),
    "solver on unpooled features": (
        {"label_issues": {}, "features.bottleneck.pooling": None, "variants": {"only": SOLVED}},
        [f"variants.only.inputs: {VECTOR}"],
    ),
    "start that was solved on the validation split": (
        {"variants.frozen_head.fit.train_on": ["train", "validation"]},
        [SEEN.format("half", "frozen_head"), SEEN.format("full", "frozen_head")],
    ),
    "start that was trained on the validation split, before the last": (
        {
            f"{FIT}.train_on": ["train", "validation"],
            f"{FIT}.validate_on": "test",
            "variants.between": {**HALF_AGAIN, "start": "variants/half", "fit": TRAINED | {"validate_on": "test"}},
            "variants.third": {**HALF_AGAIN, "start": "variants/between", "fit": TRAINED},
        },
        [SEEN.format("third", "half")],
    ),
    # variants
    "mistyped solver": (
        {"variants.frozen_head.fit": {"solvr": "logistic_regression"}},
        [
            "variants.frozen_head.fit.epochs: this key is missing",
            "variants.frozen_head.fit.optimizer: this key is missing",
            "variants.frozen_head.fit.solvr: unknown key; did you mean 'solver'?",
        ],
    ),
    "Keras argument size": (
        {
            "variants.fresh": FRESH
            | {"inputs": "features/midway", "head": [{"UpSampling2D": {"size": 2}}, "Flatten", FINAL]}
        },
        [
            f"{HEAD}.0.UpSampling2D.size: DVC does not notice when a parameter named 'size' changes; leave it out, for "
            "it is 2 then, or take Resizing"
        ],
    ),
    "filters": (
        {
            "variants.fresh": FRESH
            | {
                "inputs": "features/midway",
                "head": [{"Conv2D": {"filters": "classes", "kernel_size": 1}}, "GlobalAveragePooling2D", FINAL],
            }
        },
        [f'{HEAD}.0.Conv2D.filters: expected a whole number not below 1, got "classes"'],
    ),
    "units": (
        {**WITH_FRESH, HEAD: [{"Dense": {"units": "class"}}, {"Dense": {"units": 0}}, FINAL]},
        [
            f'{HEAD}.0.Dense.units: expected a whole number above 0 or classes, got "class"',
            f"{HEAD}.1.Dense.units: expected a whole number above 0 or classes, got 0",
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
    "inputs behind the layer from which the start of the start was trained": (
        {
            "variants.full.freeze": "block_3",
            "variants.late": {
                "start": "variants/full",
                "inputs": "tensors/lite64",
                "freeze": "block_12",
                "fit": TRAINED,
            },
            "variants.more": {"start": "variants/late", "inputs": "features/midway", "fit": TRAINED},
        },
        [
            "variants.more.inputs: variants/full has trained layers before block_9, so features/midway are not its "
            "activations: take inputs from an earlier layer or from tensors/"
        ],
    ),
    "cross-validation after training": (
        {
            "variants.more": {"start": "variants/half", "inputs": "tensors/lite64", "fit": TRAINED},
            "cross_validation.half": HALF_AGAIN,
            "cross_validation.more": {"start": "variants/half", "inputs": "tensors/lite64"},
        },
        [
            "cross_validation.more: variants.more starts from variants.half, whose training has seen the images that a "
            "fold leaves out: take a variant that starts from a backbone or from a solved head"
        ],
    ),
    "start trained from the pixels": (
        {f"{HALF}.start": "variants/full"},
        [
            f"{HALF}.inputs: variants/full has trained layers before block_9, so features/midway are not its "
            "activations: take inputs from an earlier layer or from tensors/"
        ],
    ),
    "averages without which the best epoch is restored": (
        {
            f"{FIT}.optimizer": {"SGD": {"use_ema": True}},
            f"{FIT}.callbacks": [
                {"EarlyStopping": {"restore_best_weights": True}},
                {"SwapEMAWeights": {"swap_on_epoch": True}},
            ],
        },
        [
            f"{FIT}.callbacks.0: EarlyStopping would restore the best epoch's weights without their averages, by which "
            "it is the best: write {SwapEMAWeights: {swap_on_epoch: true}} before it"
        ],
    ),
    "averages that are lost where the best epoch is restored": (
        {
            f"{FIT}.optimizer": {"SGD": {"use_ema": True}},
            f"{FIT}.callbacks": [{"EarlyStopping": {"restore_best_weights": True}}],
        },
        [
            f"{FIT}.callbacks.0: EarlyStopping would restore the best epoch's weights, and the averages of use_ema "
            "would be lost: write {SwapEMAWeights: {swap_on_epoch: true}} before it, or leave use_ema out"
        ],
    ),
    **{
        f"averages that are lost where a training is stopped {when}": (
            {f"{FIT}.optimizer": {"SGD": {"use_ema": True}}, f"{FIT}.callbacks": callbacks},
            [
                f"{FIT}.callbacks.{place}: where EarlyStopping ends the training, SwapEMAWeights with swap_on_epoch "
                "would leave the weights without their averages: write restore_best_weights: true here, or leave "
                "swap_on_epoch out"
            ],
        )
        for when, place, callbacks in (
            ("behind them", 1, [{"SwapEMAWeights": {"swap_on_epoch": True}}, "EarlyStopping"]),
            ("before them", 0, [{"EarlyStopping": {"patience": 3}}, {"SwapEMAWeights": {"swap_on_epoch": True}}]),
        )
    },
    **{
        f"a batch normalization of single images behind {before or 'features'}": (
            {
                "variants.fresh": FRESH
                | {
                    "inputs": "features/midway" if before else "features/bottleneck",
                    "head": [*before, "BatchNormalization", FINAL],
                    "fit": TRAINED | {"batch_size": 1},
                }
            },
            [
                f"variants.fresh.fit.batch_size: head.{len(before)}, BatchNormalization, takes the mean of a batch "
                "from each image, and of a batch of one leaves nothing: set a batch_size above 1, or take "
                "LayerNormalization"
            ],
        )
        for before in ([], ["Flatten", {"Dense": {"units": 9}}])
    },
    "a momentum at which statistics stay what they begin with": (
        {**WITH_FRESH, HEAD: [{"BatchNormalization": {"momentum": 1.0}}, FINAL]},
        [f"{HEAD}.0.BatchNormalization.momentum: expected a number from 0 to below 1, got 1.0"],
    ),
    "a learning rate that is the least already": (
        {
            f"{FIT}.optimizer": {"SGD": {"learning_rate": 1e-4}},
            f"{FIT}.callbacks": [{"ReduceLROnPlateau": {"min_lr": 1e-4}}],
        },
        [
            f"{FIT}.callbacks.0: min_lr: 0.0001 is not below the learning_rate 0.0001, so that nothing would ever be "
            "reduced: make it smaller, or leave it out"
        ],
    ),
    "no epoch that is looked at": (
        {f"{FIT}.callbacks": ["TerminateOnNaN", {"EarlyStopping": {"start_from_epoch": 5}}], f"{FIT}.epochs": 5},
        [
            f"{FIT}.callbacks.1: start_from_epoch: 5, counted from 0, is after the last of 5 epochs, so that no epoch "
            "is looked at, and none restored: make it smaller, or add epochs"
        ],
    ),
    "averages that are swapped twice": (
        {
            f"{FIT}.optimizer": {"SGD": {"use_ema": True}},
            f"{FIT}.callbacks": ["SwapEMAWeights", {"SwapEMAWeights": {"swap_on_epoch": True}}],
        },
        [f"{FIT}.callbacks.1: SwapEMAWeights is there twice, and one undoes the other: leave one out"],
    ),
    "weights of images for a number of all of them": (
        {f"{FIT}.loss": "Tversky", f"{FIT}.class_weight": "balanced"},
        [
            f"{FIT}.class_weight: weights each image by its class, but Tversky is one number of all images of a batch: "
            "write loss: {Tversky: {axis: -1}}, which takes each by itself, or leave one of them out"
        ],
    ),
    "what XLA cannot compile with its arguments": (
        {
            "variants.fresh": FRESH
            | {
                "inputs": "features/midway",
                "head": [
                    {"Conv2D": {"filters": 4, "kernel_size": 1}},
                    {"Resizing": {"height": 3, "width": 3}},
                    {"UpSampling2D": {"interpolation": "bicubic"}},
                    "Flatten",
                    FINAL,
                ],
                "fit": TRAINED | {"jit_compile": True},
            }
        },
        [
            'variants.fresh.fit.jit_compile: XLA cannot compile UpSampling2D with interpolation: "bicubic" for '
            "TensorFlow, and JAX compiles in any case: leave jit_compile out"
        ],
    ),
    "what XLA cannot compile": (
        {"variants.full.augmentation": ["RandomFlip", "RandomElasticTransform"], "variants.full.fit.jit_compile": True},
        [
            "variants.full.fit.jit_compile: XLA cannot compile RandomElasticTransform for TensorFlow, and JAX compiles "
            "in any case: leave jit_compile out"
        ],
    ),
    "what only Keras knows of a training": (
        {
            f"{FIT}.optimizer": {"Ftrl": {"l1_regularization_strength": -1.0}},
            f"{FIT}.callbacks": [{"EarlyStopping": {"verbose": 1}}],
            "variants.full.fit.optimizer": {"Muon": {"exclude_layers": 3}},
        },
        [
            f"{FIT}.optimizer: {{'Ftrl': {{'l1_regularization_strength': -1.0}}}}: Keras refuses it: "
            "`l1_regularization_strength` needs to be positive or zero. Received: l1_regularization_strength=-1.0.",
            "variants.full.fit.optimizer: {'Muon': {'exclude_layers': 3}}: Keras refuses it: "
            "'int' object is not iterable",
        ],
    ),
    "numbers that only Keras can tell not to be finite": (
        {f"{FIT}.optimizer": {"Ftrl": {"initial_accumulator_value": 0.0}}},
        [f"{FIT}.optimizer: {{'Ftrl': {{'initial_accumulator_value': 0.0}}}}: computes numbers that are not finite"],
    ),
    "names that are one file on some disks": (
        {"variants.Half": DEFAULTS["variants"]["half"], "tensors.LITE64": DEFAULTS["tensors"]["lite64"]},
        [
            "tensors.LITE64: on some disks LITE64 and lite64 are one file: use another name",
            "variants.Half: on some disks Half and half are one file: use another name",
        ],
    ),
    "a name that is too long for a file": (
        {f"tensors.{'a' * 101}": DEFAULTS["tensors"]["lite64"]},
        [f"tensors.{'a' * 101}: a name has no more than 100 letters, since files bear it, got 101"],
    ),
    "circle": (
        {f"{HALF}.start": "variants/full", "variants.full.start": "variants/half"},
        [
            f"{HALF}.start: the starts form a circle: variants.half descends from itself",
            "variants.full.start: the starts form a circle: variants.full descends from itself",
        ],
    ),
    "augmentation for a solver": (
        {"variants.frozen_head.inputs": "tensors/lite64", "variants.frozen_head.augmentation": ["RandomFlip"]},
        ["variants.frozen_head.augmentation: a solver takes no augmented images: leave augmentation out"],
    ),
    "head on a map": ({**WITH_FRESH, "variants.fresh.inputs": "features/midway"}, [f"{HEAD}: {MAP}"]),
}
"""By name: what is set, by address, and all lines."""

MISTAKES: dict[str, tuple[Tree, list[str]]] = {
    f"{number}: {address}{said}": ({**(WITH_FRESH if address == HEAD else {}), address: value}, [address + said])
    for address, cases in OF_A_VALUE.items()
    for number, (value, said) in enumerate(cases)
} | OF_SEVERAL
