"""Every Keras object that the check accepts runs right: trained, converted, the same as Keras's, the same twice."""

import functools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from commands.predict import main as predict
from stages.check import trial
from stages.check.keras_names import public_classes, signature
from stages.evaluate import main as score_stage
from stages.features.augmentation import Augmentation
from stages.train.__main__ import main as train_stage
from tests.conftest import Project
from tests.stages.check_cases import Tree, edited
from thaw.backbones.building import build_backbone
from thaw.engines.keras import KerasEngine
from thaw.engines.openvino import OpenVinoEngine
from thaw.engines.ready import engine
from thaw.errors import UserError
from thaw.formats.model_file import BackboneRecord
from thaw.images.normalization import Normalization
from thaw.networks import models
from thaw.networks.backend import keras
from thaw.networks.keras_objects import keras_object
from thaw.params.backbones import Backbone
from thaw.params.keras_spec import KerasSpec
from thaw.params.variants import MIXING, Training
from thaw.training.batches import Rows
from thaw.training.training import add_head, freeze, train

pytestmark = pytest.mark.slow

SIDE = 16
PIXELS = np.random.default_rng(0).integers(0, 256, (12, SIDE, SIDE, 3)).astype(np.uint8)
LABELS = np.arange(len(PIXELS)) % 3
FINAL: KerasSpec = {"Dense": {"units": "classes", "activation": "softmax"}}
REQUIRED: dict[str, Any] = {
    "activation": "swish", "factor": 0.2, "filters": 4, "height": 8, "height_factor": 0.2, "kernel_size": 3, "n": 3,
    "output_size": 2, "pool_size": 2, "rate": 0.3, "scale": 0.00392, "stddev": 0.1, "units": 5, "width": 8,
    "width_factor": 0.2,
}  # fmt: skip
"""Values of arguments that layers need, by the arguments' names."""
ARGUMENTS: dict[str, Any] = {
    "Bidirectional": {"layer": {"LSTM": {"units": 5}}},
    "Discretization": {"bin_boundaries": [0.2, 0.6]},
    "EinsumDense": {"equation": "abcd,de->abce", "output_shape": [SIDE, SIDE, 4]},
    "GroupNormalization": {"groups": 3},
    "Normalization": {"mean": [0.5, 0.5, 0.5], "variance": [2.0, 2.0, 2.0]},
    "Permute": {"dims": [2, 1, 3]},
    "RandomColorJitter": {"brightness_factor": 0.2, "contrast_factor": 0.2, "hue_factor": 0.2},
    "RandomGrayscale": {"factor": 0.5},
    "RandomInvert": {"factor": 0.5},
    "RandomPosterization": {"factor": 4},
    "RandomShear": {"x_factor": 0.2},
    "Reshape": {"target_shape": [8, 96]},
    "SpectralNormalization": {"layer": {"Conv2D": {"filters": 4, "kernel_size": 3}}},
    "TimeDistributed": {"layer": {"Dense": {"units": 5}}},
}
SEQUENCES = ("Bidirectional", "GRU", "LSTM", "SimpleRNN", "TimeDistributed")
BY_KERAS = {"Bidirectional", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "Discretization", "GRU", "LSTM", "SimpleRNN"}
"""OpenVINO has no rule for what these are made of."""


def spec(name: str) -> KerasSpec:
    """Return a layer with the arguments that it needs."""
    of_class = signature("layers", name)
    assert of_class is not None
    arguments = ARGUMENTS.get(name) or {argument: REQUIRED[argument] for argument in sorted(of_class.required)}
    return {name: arguments} if arguments else name


def head(name: str) -> list[KerasSpec]:
    """Return a head of images with a layer in it, and before it what makes of images what the layer takes."""
    shape = None
    if name in ("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"):
        shape = {"1": [4, 64, 3], "2": [4, 8, 8, 3], "3": [2, 4, 4, 8, 3]}[name[-2]]
    elif "1D" in name or name in SEQUENCES:
        shape = [32, 24]
    elif "3D" in name:
        shape = [8, 8, 4, 3]
    before: list[KerasSpec] = ["Flatten"] if name == "RepeatVector" else []
    if shape:
        before = [{"Reshape": {"target_shape": shape}}]
    return [*before, spec(name), "Flatten", FINAL]


@functools.cache
def body() -> keras.Model:
    nothing = build_backbone(Backbone(architecture="none", weights="none"))
    return models.assemble(nothing, SIDE, SIDE, Normalization.of("rescale"), None)


def trained(layers: list[KerasSpec], augmentation: list[KerasSpec] | None = None, **fit: Any) -> keras.Model:
    """Return a network of a head's layers after one epoch on a few images."""
    keras.utils.set_random_seed(0)
    model = add_head(body(), layers, 3)
    freeze(model, None, "frozen")
    everything = np.arange(len(PIXELS))
    rows = Rows(PIXELS, LABELS, everything, ("ash", "elm", "fir"), [everything], everything)
    train(model, None, rows, Training(**{"epochs": 1, "batch_size": 4, "optimizer": "SGD", **fit}), augmentation or [])
    return model


def weights(model: keras.Model) -> list[bytes]:
    return [weight.tobytes() for weight in model.get_weights()]


# Some classes have two names.
LAYERS = list({getattr(keras.layers, name): name for name in public_classes("layers")}.values())
RANDOM = [name for name in LAYERS if "seed" in signature("layers", name).arguments]  # type: ignore[union-attr]
MAPPED = [name for name in RANDOM if "1D" not in name and "3D" not in name and name not in (*SEQUENCES, *BY_KERAS)]
"""Random layers that take and give maps: trained twice together, the others each by itself."""


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_that_is_accepted_is_trained_and_gives_what_keras_gives(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random.seed(1)
    first = trained(head(name))
    if name in RANDOM and name not in MAPPED:
        random.seed(2)
        assert weights(trained(head(name))) == weights(first)
    models.save(first, tmp_path / "model.keras", BackboneRecord({}))
    model, _ = models.load(tmp_path / "model.keras")
    expected = np.asarray(model(PIXELS, training=False))
    np.testing.assert_allclose(expected.sum(axis=1), 1, rtol=1e-5)
    fastest = engine(model)
    np.testing.assert_allclose(fastest(PIXELS), expected, rtol=0, atol=1e-5)
    assert isinstance(fastest, KerasEngine if name in BY_KERAS else OpenVinoEngine)
    assert ("computed by Keras, since OpenVINO cannot have" in capsys.readouterr().out) == (name in BY_KERAS)


TINY = {"epochs": 1, "optimizer": "SGD"}


def with_variants(variants: dict[str, Tree]) -> Tree:
    """Return params with more variants, each of a network of its own for small images."""
    tree = edited(
        {
            "backbones.nothing": {"architecture": "none", "weights": "none"},
            "tensors.tiny": {"pixels": [SIDE, SIDE], "resize": "pad", "normalization": "lite"},
        }
    )
    shared = {"start": "backbones/nothing", "inputs": "tensors/tiny", "head": ["Flatten", FINAL], "fit": TINY}
    tree["variants"] |= {name: {**shared, **variant} for name, variant in variants.items()}
    return tree


@pytest.fixture
def check(
    errors: Callable[[Tree], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Tree], list[str]]:
    """The check, which has nothing to remember."""
    monkeypatch.setenv("THAW_CACHE", str(tmp_path / "cache"))
    return errors


def test_every_such_layer_is_accepted(check: Callable[[Tree], list[str]]) -> None:
    assert check(with_variants({f"of_{name}": {"head": head(name)} for name in public_classes("layers")})) == []


def test_every_other_layer_is_refused_by_its_key(check: Callable[[Tree], list[str]]) -> None:
    others = [name for name in dir(keras.layers) if name[0].isupper() and name not in public_classes("layers")]
    found = check(with_variants({f"of_{name}": {"head": [name, "Flatten", FINAL]} for name in others}))
    assert [line.partition(":")[0] for line in found] == [f"variants.of_{name}.head.0" for name in others]


SMALL = [one for _ in range(4) for one in ({"Conv2D": {"filters": 4, "kernel_size": 3}}, "MaxPooling2D")]
ORTHOGONAL = "OrthogonalRegularizer"
KEPT_ASPECT = {"pad_to_aspect_ratio": True, "crop_to_aspect_ratio": True}
MISFITS: dict[str, tuple[Tree, str]] = {
    "too many poolings": (
        {"head": [*SMALL, "Flatten", FINAL]},
        "head.4: Conv2D does not fit what it gets, (2, 2, 4): Computed output size would be zero or negative",
    ),
    "a map where a vector is": (
        {"head": ["GlobalAveragePooling2D", *SMALL[:1], "Flatten", FINAL]},
        "head.1: Conv2D does not fit what it gets, (3): ",
    ),
    "another number of values": (
        {"head": [{"Reshape": {"target_shape": [5, 5]}}, "Flatten", FINAL]},
        "head.0: Reshape does not fit what it gets, (16, 16, 3): The total size of the tensor must be unchanged",
    ),
    "a size that nobody knows": (
        {"head": [{"EinsumDense": {"equation": "abcd,de->abce", "output_shape": [None, None, 4]}}, "Flatten", FINAL]},
        "head.0: the size of what it gives is not known, (None, None, 4): ",
    ),
    "weights for which there is no memory": (
        {"head": ["Flatten", {"Dense": {"units": 10_000_000}}, FINAL]},
        "head.1: Dense does not fit what it gets, (768): 7,680,000,000 weights are more than memory holds: ",
    ),
    "maps for which there is no memory": (
        {"head": [{"ZeroPadding2D": {"padding": 10**5}}, "GlobalAveragePooling2D", FINAL]},
        "head.0: it gives (200016, 200016, 3) for each image, which is more than memory holds: ",
    ),
    "no vector at the end": (
        {"head": [{"Reshape": {"target_shape": [16, 48]}}, FINAL]},
        "head: it ends in (16, 2) for each image, not in one number for each class: ",
    ),
    "an argument that Keras refuses": (
        {"augmentation": [{"RandomPosterization": {"factor": 0.2}}]},
        "augmentation.0: {'RandomPosterization': {'factor': 0.2}}: Keras refuses it: The `factor` argument should be",
    ),
    "a regularizer of another shape": (
        {"head": [{"Conv2D": {"filters": 4, "kernel_size": 3, "kernel_regularizer": ORTHOGONAL}}, "Flatten", FINAL]},
        "head.0: Conv2D cannot be trained on what it gets, (16, 16, 3): ",
    ),
    "a regularizer that compares images": (
        {"head": ["Flatten", {"Dense": {"units": 4, "activity_regularizer": ORTHOGONAL}}, FINAL]},
        f"head.1: {ORTHOGONAL} compares the images of a batch, each of which is taken by itself: name another",
    ),
    "a constraint of an axis that there is not": (
        {"head": ["Flatten", {"Dense": {"units": 4, "kernel_constraint": {"MaxNorm": {"axis": 2}}}}, FINAL]},
        "head.1: Dense cannot be trained on what it gets, (768): ",
    ),
    "an activation that halves what it gets": (
        {"head": ["Flatten", {"Dense": {"units": 6, "activation": "glu"}}, FINAL]},
        "head.1: Dense gives (3), of which Keras reckons that it is (6)",
    ),
    "an activation that needs arguments": (
        {"head": ["Flatten", {"Dense": {"units": 6, "activation": "threshold"}}, FINAL]},
        "head.1: Dense cannot be trained on what it gets, (768): threshold() missing 2 required positional arguments",
    ),
    "numbers for fewer channels": (
        {"head": [{"Rescaling": {"scale": [1.0, 2.0]}}, "Flatten", FINAL]},
        "head.0: Rescaling cannot be trained on what it gets, (16, 16, 3): ",
    ),
    "noise of another shape": (
        {"head": [{"Dropout": {"rate": 0.5, "noise_shape": [None, 5, 1, 3]}}, "Flatten", FINAL]},
        "head.0: Dropout cannot be trained on what it gets, (16, 16, 3): ",
    ),
    "two ways to keep an aspect": (
        {"head": [{"Resizing": {"height": 8, "width": 8, **KEPT_ASPECT}}, "Flatten", FINAL]},
        "head.0: Resizing cannot be trained on what it gets, (16, 16, 3): Only one of `pad_to_aspect_ratio` & ",
    ),
    "nothing that is left": (
        {"head": [{"Resizing": {"height": 0, "width": 9}}, "Flatten", FINAL]},
        "head.0: Resizing leaves nothing of what it gets, (16, 16, 3): (0, 9, 3)",
    ),
    "numbers that are not finite": (
        {"head": [{"Normalization": {"mean": 0.5, "variance": -1.0}}, "Flatten", FINAL]},
        "head.0: Normalization computes numbers that are not finite",
    ),
    "behind a network": (
        {"start": "backbones/lite0", "head": ["GlobalAveragePooling2D", {"Reshape": {"target_shape": [1281]}}, FINAL]},
        "head.1: Reshape does not fit what it gets, (1280): The total size of the tensor must be unchanged",
    ),
}


@pytest.mark.parametrize(("units", "is_drawn"), [(10, True), (trial.DRAWN, False)])
def test_large_weights_are_not_drawn_as_they_are_tried(units: int, is_drawn: bool) -> None:
    """Orthogonal ones of 2,000 units, which LSTM begins with, would take a minute."""
    layer = keras.layers.Dense(units)
    with trial._shapes_alone(trial.DRAWN):
        layer.build((None, 2))
    assert np.any(layer.kernel) == is_drawn


@pytest.mark.parametrize("has_jax", [True, False])
def test_what_does_not_fit_is_named_before_anything_runs(
    check: Callable[[Tree], list[str]], monkeypatch: pytest.MonkeyPatch, has_jax: bool
) -> None:
    if not has_jax:
        monkeypatch.setattr("stages.check.trials.find_spec", lambda _: None)
    names = {name.replace(" ", "_"): name for name in MISFITS}
    right = {"head": [{"Softmax": {"axis": [1, 2]}}, "Flatten", FINAL]}
    found = check(with_variants({"right": right, **{key: MISFITS[name][0] for key, name in names.items()}}))
    for line, (key, name) in zip(found, names.items(), strict=True):
        assert line.startswith(f"variants.{key}.{MISFITS[name][1]}")


def test_what_fits_is_not_tried_again(
    check: Callable[[Tree], list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tree = with_variants({"new": {}})
    assert check(tree) == []
    monkeypatch.setattr("stages.check.trials.subprocess.run", pytest.fail)
    assert check(tree) == []


def test_that_nothing_could_be_tried_is_said(
    check: Callable[[Tree], list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("stages.check.trials.sys.executable", "false")
    assert check(with_variants({"new": {}})) == []
    assert "could not be tried before anything runs: status 1" in capsys.readouterr().out


AUGMENTING = public_classes("augmentation")
DARK, BRIGHT = np.zeros((SIDE, SIDE, 3), np.float32), np.full((SIDE, SIDE, 3), 255, np.float32)


@pytest.mark.parametrize("name", [name for name in AUGMENTING if name not in MIXING])
def test_an_augmentation_keeps_size_and_range_and_is_the_same_twice(name: str) -> None:
    photos = [*PIXELS[:3].astype(np.float32), DARK, BRIGHT]
    drawn = []
    for start in (1, 2):  # whatever was drawn before
        keras.utils.set_random_seed(start)
        augmentation = Augmentation([spec(name)], seed=5)
        views = {
            (number, view): augmentation(photos[number], b"%d" % number, view)
            for number in sorted(range(5), reverse=start == 2)
            for view in range(8)
        }
        drawn.append(np.stack([views[key] for key in sorted(views)]))
    assert drawn[0].tobytes() == drawn[1].tobytes()
    assert drawn[0].shape == (40, SIDE, SIDE, 3)
    assert drawn[0].min() >= 0
    assert drawn[0].max() <= 255.001
    assert len({view.tobytes() for view in drawn[0][:8]}) > 1


@pytest.mark.parametrize(
    "layer", [{"RandomSaturation": {"factor": [0.9, 1.0]}}, {"RandomColorJitter": {"saturation_factor": 1.0}}]
)
def test_colours_that_become_stronger_stay_within_the_range_of_pixels(layer: KerasSpec) -> None:
    keras.utils.set_random_seed(0)
    drawn = np.asarray(keras_object(layer, "layers")(PIXELS.astype(np.float32), training=True))
    assert drawn.min() >= 0
    assert drawn.max() <= 255.001


def test_a_training_with_random_layers_is_the_same_twice() -> None:
    for layers, augmentation in (
        (["Flatten", FINAL], [spec(one) for one in AUGMENTING]),
        ([*map(spec, MAPPED), "Flatten", FINAL], None),
    ):
        random.seed(1)
        first = trained(layers, augmentation, loss="CategoricalCrossentropy")
        random.seed(2)
        assert weights(trained(layers, augmentation, loss="CategoricalCrossentropy")) == weights(first)


def test_no_other_layer_augments(check: Callable[[Tree], list[str]]) -> None:
    others = [name for name in dir(keras.layers) if name[0].isupper() and name not in AUGMENTING]
    found = check(with_variants({f"of_{name}": {"augmentation": [name]} for name in others}))
    assert [line.partition(":")[0] for line in found] == [f"variants.of_{name}.augmentation.0" for name in others]


def test_an_augmentation_on_another_scale_is_refused(check: Callable[[Tree], list[str]]) -> None:
    scaled = [name for name in AUGMENTING if "value_range" in signature("layers", name).arguments]  # type: ignore[union-attr]
    specs = {name: spec(name) for name in scaled}
    layers = {
        name: {name: {**(one[name] if isinstance(one, dict) else {}), "value_range": [0.0, 1.0]}}
        for name, one in specs.items()
    }
    found = check(with_variants({f"of_{name}": {"augmentation": [layer]} for name, layer in layers.items()}))
    assert found == [
        f"variants.of_{name}.augmentation.0.{name}.value_range: expected [0, 255], as pixels are here, got [0.0, 1.0]"
        for name in scaled
    ]


SCHEDULES: dict[str, Tree] = {
    "CosineDecay": {"initial_learning_rate": 0.01},
    "CosineDecayRestarts": {"initial_learning_rate": 0.01, "first_decay_steps": 2},
    "ExponentialDecay": {"initial_learning_rate": 0.01, "decay_rate": 0.9},
    "InverseTimeDecay": {"initial_learning_rate": 0.01, "decay_rate": 0.9},
    "PiecewiseConstantDecay": {"boundaries": [2], "values": [0.01, 0.001]},
    "PolynomialDecay": {"initial_learning_rate": 0.01},
}
FITS: dict[str, Tree] = {
    **{f"optimizer {name}": {"optimizer": name} for name in public_classes("optimizers")},
    **{f"loss {name}": {"loss": name} for name in public_classes("losses")},
    **{
        f"schedule {name}": {"optimizer": {"SGD": {"learning_rate": {name: SCHEDULES[name]}}}}
        for name in public_classes("optimizers.schedules")
    },
    **{
        f"callback {name}": {"callbacks": [name], "optimizer": {"SGD": {"use_ema": True}}}
        for name in public_classes("callbacks")
    },
}
LOGITS = [
    name
    for name in public_classes("losses")
    if "from_logits" in signature("losses", name).arguments and not name.startswith("Binary")  # type: ignore[union-attr]
]
FITS |= {f"logits {name}": {"loss": {name: {"from_logits": True}}} for name in LOGITS}


def layers_of(fit: str) -> list[KerasSpec]:
    return ["Flatten", {"Dense": {"units": "classes"}} if fit.startswith("logits") else FINAL]


@pytest.mark.parametrize("fit", FITS)
def test_a_fit_that_is_accepted_trains(fit: str) -> None:
    keras.utils.set_random_seed(0)
    before = add_head(body(), layers_of(fit), 3).get_weights()
    model = trained(layers_of(fit), epochs=2, **FITS[fit])
    assert not any(np.array_equal(old, new) for old, new in zip(before, model.get_weights(), strict=True))
    probabilities = np.asarray(model(PIXELS, training=False))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert np.isfinite(probabilities).all()


def test_every_such_fit_is_accepted(check: Callable[[Tree], list[str]]) -> None:
    variants = {name.replace(" ", "_"): {"head": layers_of(name), "fit": {**TINY, **fit}} for name, fit in FITS.items()}
    assert check(with_variants(variants)) == []


def test_logits_of_classes_that_exclude_each_other_are_not_those_of_one(check: Callable[[Tree], list[str]]) -> None:
    losses = ("BinaryCrossentropy", "BinaryFocalCrossentropy")
    fits = {f"of_{name}": {**TINY, "loss": {name: {"from_logits": True}}} for name in losses}
    found = check(with_variants({name: {"head": layers_of("logits"), "fit": fit} for name, fit in fits.items()}))
    for line, name in zip(found, losses, strict=True):
        assert line.startswith(f"variants.of_{name}.fit.loss: {name} with from_logits takes each class by itself")


def test_arguments_that_are_left_out_have_the_constructors_defaults() -> None:
    layer = keras_object({"Rescaling": {"scale": 0.00392}}, "layers")
    assert layer.get_config() == {**keras.layers.Rescaling(0.00392).get_config(), "name": layer.name}
    nested = keras_object({"Bidirectional": {"layer": {"LSTM": {"units": 5}}, "merge_mode": "sum"}}, "layers")
    assert (nested.forward_layer.units, nested.merge_mode) == (5, "sum")


def test_what_xla_cannot_compile_is_named() -> None:
    cubic: KerasSpec = {"Resizing": {"height": 8, "width": 8, "interpolation": "bicubic"}}
    with pytest.raises(UserError, match=r"ResizeBicubic\w*; leave fit.jit_compile out"):
        trained([cubic, "Flatten", FINAL], jit_compile=True)


def test_names_are_whatever_their_owner_likes() -> None:
    for namespace, name in (("optimizers", "SGD"), ("losses", "Poisson"), ("layers", "RandomFlip")):
        assert keras_object({name: {"name": "my größe"}}, namespace).name.isidentifier()


def test_a_training_is_not_lost_to_what_only_saves_time(
    finished: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = tmp_path / "nothing.keras"
    models.save(build_backbone(Backbone(architecture="none", weights="none")), nothing, BackboneRecord({}))
    inputs = (finished.folder / "data" / "tensors" / "small.h5").resolve()
    thumbnails = (finished.folder / "data" / "thumbnails.zip").resolve()
    monkeypatch.chdir(tmp_path)
    layers = [{"Reshape": {"target_shape": [40, 120]}}, {"LSTM": {"units": 4}}, FINAL]
    variant = {"start": "backbones/nothing", "inputs": "tensors/small", "head": layers, "fit": TINY}
    params = tmp_path / "params.yaml"
    frozen = {**variant, "freeze": "head_3_dense"}
    with params.open("w", encoding="utf-8") as file:
        YAML().dump({"variants": {"rnn": variant, "frozen": frozen}, "evaluation": {"top_k": 2}}, file)
    model, out = tmp_path / "rnn.keras", tmp_path / "out"
    with pytest.raises(UserError, match=r"variants.frozen.freeze: behind head_3_dense there is nothing to train"):
        train_stage(params, "variants.frozen", nothing, inputs, model, out / "history.csv")
    train_stage(params, "variants.rnn", nothing, inputs, model, out / "history.csv")
    names = ("metrics.json", "validation.csv", "predictions.csv", "classes.csv", "calibration.csv", "mistakes.jpg")
    score_stage(params, "evaluation", "rnn", model, inputs, thumbnails, *(out / name for name in names))
    predict(model, [finished.folder / "data" / "raw" / "trees"], out / "table.csv", 1)
    assert {path.name for path in out.iterdir()} == {"history.csv", "table.csv", *names}
    said = capsys.readouterr()
    line = "computed by Keras, since OpenVINO cannot have this network: TensorList"
    assert (said.out.count(line), said.err.count(line)) == (2, 1)  # predictions have a table to print
    assert "test images, with Keras" in said.out
