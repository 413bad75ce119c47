"""Keras on TensorFlow and on JAX: one module speaks to either, and both train the same."""

import contextlib
import csv
import ctypes
import json
import os
import platform
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grimp
import numpy as np
import pytest
import tensorflow as tf
from ruamel.yaml import YAML
from tensorflow.python import pywrap_tfe

from stages.train import __main__ as train_stage
from tests.conftest import PARAMS, ROOT, draw_trees, named, without
from thaw.errors import UserError
from thaw.formats.history import read_history
from thaw.formats.model_file import BackboneRecord
from thaw.formats.row_file import RowFile
from thaw.machine import processor, unused_gpu
from thaw.networks import backend, models
from thaw.networks.backend import device, inference, keras, same_bits, share_out
from thaw.params.keras_spec import KerasSpec

UNIMPLEMENTED = "A deterministic GPU implementation of DepthwiseConvBackpropFilter is not currently available."


def test_one_module_alone_speaks_to_tensorflow_and_jax() -> None:
    graph = grimp.build_graph("stages", "thaw", include_external_packages=True, cache_dir=None)
    for library in ("tensorflow", "jax"):
        assert graph.find_modules_that_directly_import(library) == {"thaw.networks.backend"}


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="GNU's C library alone keeps memory")
def test_memory_that_is_freed_is_taken_again() -> None:
    library, size = ctypes.CDLL(None), 2**26
    library.malloc.restype = ctypes.c_void_p

    def page_faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        place = ctypes.c_void_p(library.malloc(ctypes.c_size_t(size)))
        library.memset(place, 1, ctypes.c_size_t(size))
        library.free(place)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    page_faults()
    assert sum(page_faults() for _ in range(10)) < size / resource.getpagesize() / 2


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (2 * "processor\t: 0\nmodel name\t: Intel(R) Xeon(R) CPU @ 2.20GHz\n\n", "Intel(R) Xeon(R) CPU @ 2.20GHz"),
        (2 * "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\nCPU revision\t: 1\n\n", "0x41 0xd0c"),
        ("processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n", "0x41 0xd40"),
        ("", platform.processor()),
    ],
    ids=["Intel", "Graviton 2", "Graviton 3", "unknown"],
)
def test_processors_of_other_kinds_are_told_apart(said: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda path: said)
    assert processor() == f"{platform.machine()} {kind}"


@pytest.mark.parametrize("home", [None, "~/nowhere", "~"], ids=str)
def test_keras_keeps_weights_where_it_does_also_where_there_is_no_home(
    home: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def unknown(number: int) -> None:
        raise KeyError

    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.setattr(keras.src.backend.config, "_KERAS_DIR", "")
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.delenv("HOME")
    if home:
        monkeypatch.setenv("HOME", home.replace("~", str(tmp_path)))
    with backend._without_configuration():
        assert os.environ["KERAS_HOME"] != str(tmp_path)
    assert str((tmp_path if home == "~" else Path("/tmp")) / ".keras") == keras.src.backend.config._KERAS_DIR


IN_TURN = """
import contextlib, io, json, runpy, sys

from thaw.networks.backend import _keep_compiled, keras
from thaw.training.checkpoint import Checkpoint

on_epoch_end, outcomes = Checkpoint.on_epoch_end, {}
_keep_compiled()

def killed(self, epoch, logs=None):
    on_epoch_end(self, epoch, logs)
    sys.exit("killed")

for name, module, *arguments in json.load(open("commands.json")):
    keras.utils.clear_session()
    keras.distribution.set_distribution(None)
    Checkpoint.on_epoch_end = killed if name.endswith("killed") else on_epoch_end
    sys.argv, code, text = [module, *arguments], 0, io.StringIO()
    try:
        with contextlib.redirect_stdout(text):
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as leaving:
        code = leaving.code
    outcomes[name] = [code, text.getvalue()]
json.dump(outcomes, open("outcomes.json", "w"))
"""
"""Runs commands in one process, since JAX and Keras take long to load."""
SOFTMAX: KerasSpec = {"Dense": {"units": "classes", "activation": "softmax"}}
# Updates that are in proportion to gradients: Adam's first ones have the gradients' signs alone.
FIT = {"epochs": 3, "batch_size": 4, "optimizer": {"SGD": {"learning_rate": 0.01, "momentum": 0.9}}}
SHARED = {
    "start": "backbones/own",
    "inputs": "tensors/small",
    "head": ["GlobalAveragePooling2D", "BatchNormalization", {"Dropout": {"rate": 0.2}}, SOFTMAX],
    "fit": {**FIT, "batch_norm": "trained"},
}
VARIANTS: dict[str, Any] = {
    "frozen_head": PARAMS["variants"]["frozen_head"] | {"start": "backbones/own"},
    "half": {"start": "variants/frozen_head", "inputs": "features/midway", "fit": {**FIT, "layer_decay": 0.9}},
    "full": {"start": "variants/frozen_head", "inputs": "tensors/small", "augmentation": ["RandomFlip"], "fit": FIT},
    "alone": SHARED,
    "shared": {**SHARED, "fit": {**SHARED["fit"], "devices": 2}},
    "too_many": {**SHARED, "fit": {**FIT, "devices": 4}},
}
FEATURES = {
    "bottleneck": {"tensors": "small", "backbone": "own", "layer": "top", "pooling": "avg"},
    "midway": {"tensors": "small", "backbone": "own", "layer": "cut"},
}


@dataclass(frozen=True)
class OnJax:
    """What commands did in an environment without TensorFlow, in which JAX has two devices."""

    folder: Path
    outcomes: dict[str, tuple[int | str, str]]


@pytest.fixture(scope="module")
def on_jax(tmp_path_factory: pytest.TempPathFactory) -> OnJax:
    """A small project, run from end to end."""
    folder = tmp_path_factory.mktemp("on JAX")
    for code in ("commands", "stages", "thaw"):
        (folder / code).symlink_to(ROOT / code)
    draw_trees(folder / "trees")
    pixels = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu", name="cut")(pixels)
    x = keras.layers.BatchNormalization(name="norm")(x)
    backbone = keras.Model(pixels, keras.layers.Conv2D(6, 3, name="deep")(x))
    with contextlib.chdir(folder):
        models.save(backbone, Path("models/backbones/own.keras"), BackboneRecord({"architecture": "own"}))
    params = {**PARAMS, "features": FEATURES, "variants": VARIANTS}
    params["tensors"] = {"small": {**PARAMS["tensors"]["small"], "pixels": [12, 12]}}
    with (folder / "params.yaml").open("w", encoding="utf-8") as file:
        YAML().dump(params, file)
    (folder / "commands.json").write_text(json.dumps(list(commands_in_turn())))
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"} | {
        # Keras looks whether TensorFlow is among the loaded modules.
        "PYTHONPATH": f"{without({'tensorflow'}, folder / 'without')}{os.pathsep}{ROOT}",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "PYTHONWARNINGS": "error:Explicitly requested dtype",  # JAX's, of numbers of 64 bits
        "THAW_CACHE": ".thaw",
    }
    subprocess.run([sys.executable, "-c", IN_TURN], cwd=folder, env=environment, check=True)
    return OnJax(folder, json.loads((folder / "outcomes.json").read_text()))


def commands_in_turn() -> Iterator[list[str]]:
    """Yield commands, each as a name, a module and its arguments."""

    def stage(name: str, module: str, *arguments: object) -> list[str]:
        return [name, f"stages.{module}", *named(module, "params.yaml", *arguments)]

    def train(name: str, to: str) -> list[str]:
        start, inputs = VARIANTS[name]["start"], VARIANTS[name]["inputs"]
        written = [f"models/variants/{to}.keras", f"data/history/{to}.csv"]
        if VARIANTS[name]["start"] == "backbones/own" and name != "frozen_head":  # to compare bytes, in which names are
            written = [f"trained/{to}.keras", f"trained/{to}.csv"]
        return stage(f"train {to}", "train", f"variants.{name}", f"models/{start}.keras", f"data/{inputs}.h5", *written)

    yield ["check", "stages.check", "--params", str(ROOT / "params.yaml")]
    names = ("manifest.csv", "skipped.csv", "near_duplicates.csv", "classes.csv", "samples.jpg", "thumbnails.zip")
    yield stage("manifest", "manifest", "dataset", "trees", *(f"data/{name}" for name in names))
    yield stage("tensors", "tensors", "tensors.small", "trees", "data/manifest.csv", "data/tensors/small.h5")
    for name in FEATURES:
        read = ("data/tensors/small.h5", "models/backbones/own.keras")
        yield stage(name, "features", f"features.{name}", *read, f"data/features/{name}.h5")
    for name in ("frozen_head", "half", "full"):
        yield train(name, name)
        read = (f"models/variants/{name}.keras", f"data/{VARIANTS[name]['inputs']}.h5", "data/thumbnails.zip")
        written = [f"{name}.{kind}" for kind in ("json", "validation", "predictions", "classes", "confidence", "jpg")]
        yield stage(f"evaluate {name}", "evaluate", "evaluation", name, *read, *written)
    yield ["predict", "commands", "predict", "models/variants/full.keras", "trees", "--out", "predicted.csv"]
    yield train("shared", "shared")
    yield ["train killed", *train("shared", "resumed")[1:]]
    yield train("shared", "resumed")
    yield train("alone", "alone")
    yield train("too_many", "too_many")


def weights(path: Path) -> list[np.ndarray]:
    of_model: list[np.ndarray] = models.load(path)[0].get_weights()
    return of_model


@pytest.mark.slow
def test_without_tensorflow_all_runs_on_jax(on_jax: OnJax) -> None:
    failed = {name: outcome for name, outcome in on_jax.outcomes.items() if outcome[0] != 0}
    assert failed.keys() == {"train killed", "train too_many"}
    for name in ("frozen_head", "half", "full"):
        assert json.loads((on_jax.folder / f"{name}.json").read_text())["validation"]["accuracy"] > 0.5
    assert "with jax on the CPU" in on_jax.outcomes["bottleneck"][1]


@pytest.mark.slow
def test_what_jax_compiles_is_kept_beside_the_rows(on_jax: OnJax) -> None:
    kept = [path for path in (on_jax.folder / ".thaw" / "rows" / "compiled").iterdir() if path.stat().st_size]
    assert len(kept) > 10
    for step in ("train_step", "test_step"):
        assert any(path.name.startswith(f"jit_{step}") for path in kept)


@pytest.mark.slow
def test_what_jax_trained_and_said_tensorflow_says_too(on_jax: OnJax) -> None:
    with (on_jax.folder / "predicted.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    images = RowFile(on_jax.folder / "data" / "tensors" / "small.h5")
    model, record = models.load(on_jax.folder / "models" / "variants" / "full.keras")
    expected = {
        Path(path.decode()): probabilities
        for path, probabilities in zip(images.index.paths, model.predict(images.read(0, len(images))), strict=True)
    }
    assert len(rows) == len(expected) == 21
    for row in rows:
        probabilities = expected[Path(row["path"]).relative_to("trees")]
        assert row["class_1"] == record.classes[probabilities.argmax()]
        assert float(row["probability_1"]) == pytest.approx(probabilities.max(), abs=1e-5)


@pytest.mark.slow
def test_a_variant_is_trained_on_tensorflow_as_on_jax(on_jax: OnJax) -> None:
    with contextlib.chdir(on_jax.folder):
        start, inputs = Path("models/variants/frozen_head.keras"), Path("data/features/midway.h5")
        train_stage.main(Path("params.yaml"), "variants.half", start, inputs, Path("tf.keras"), Path("tf.csv"))
    curve, of_jax = (read_history(on_jax.folder / path) for path in ("tf.csv", "data/history/half.csv"))
    assert of_jax.keys() == curve.keys()
    assert curve["loss"][-1] < 0.95 * curve["loss"][0]
    for name, values in curve.items():
        assert of_jax[name] == pytest.approx(values, rel=1e-4), name
    before, after, after_jax = (
        weights(on_jax.folder / path) for path in (start, "tf.keras", "models/variants/half.keras")
    )
    moved = [number for number, one in enumerate(after) if (one != before[number]).any()]
    assert len(moved) >= 4
    for number in moved:
        update = after[number] - before[number]
        # A weight's last digit is a part of so small an update that can be seen.
        atol = 1e-3 * np.abs(update).max() + np.spacing(np.abs(before[number]).max())
        np.testing.assert_allclose(after_jax[number] - before[number], update, rtol=0, atol=atol)


@pytest.mark.slow
def test_two_devices_write_the_same_bytes_again_even_if_killed_and_nearly_the_weights_of_one(on_jax: OnJax) -> None:
    shared = on_jax.folder / "trained" / "shared.keras"
    assert on_jax.outcomes["train killed"][0] == "killed"
    assert "an interrupted training goes on after epoch 1" in on_jax.outcomes["train resumed"][1]
    assert shared.with_stem("resumed").read_bytes() == shared.read_bytes()
    of_two, of_one, start = (
        weights(path)
        for path in (shared, shared.with_stem("alone"), on_jax.folder / "models" / "backbones" / "own.keras")
    )
    assert np.abs(of_two[0] - start[0]).max() > 1e-3
    for two, one in zip(of_two, of_one, strict=True):
        np.testing.assert_allclose(two, one, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_more_devices_than_there_are_are_refused(on_jax: OnJax) -> None:
    where = "variants.too_many.fit.devices"
    expected = f"error: {where}: expected at most 2, as JAX has no more devices here, got 4"
    assert on_jax.outcomes["train too_many"][0] == expected
    with pytest.raises(UserError, match=f"{where}: devices share a training with Keras on JAX only: set KERAS_BACKEND"):
        share_out(where, 2)


@pytest.mark.parametrize(
    ("is_there", "has_libraries", "message"),
    [
        (True, False, "CUDA's libraries are not: `make repro GPU=1` installs them"),
        (False, True, "no NVIDIA GPU is in sight: see what `nvidia-smi` says"),
        (True, True, "it cannot be used: compare the driver"),
    ],
)
def test_a_gpu_that_is_expected_and_not_used_is_explained(is_there: bool, has_libraries: bool, message: str) -> None:
    assert message in (unused_gpu(is_there, has_libraries) or "")


def test_where_no_gpu_is_expected_nothing_is_said_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert unused_gpu(False, False) is None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    monkeypatch.setattr("thaw.machine.HAS_NVIDIA", True)
    monkeypatch.setattr("thaw.networks.backend._GPUS", [])
    assert re.fullmatch(r"the CPU, \d+ cores?", device())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert "make repro GPU=1" in device()


def test_an_operation_without_deterministic_form_is_named() -> None:
    with pytest.raises(UserError, match=r"DepthwiseConvBackpropFilter .*jit_compile: true"), same_bits():
        raise tf.errors.UnimplementedError(None, None, UNIMPLEMENTED)
    with pytest.raises(tf.errors.UnimplementedError, match="of strings"), same_bits():
        raise tf.errors.UnimplementedError(None, None, "Cast of strings is not supported")


@pytest.mark.slow
def test_python_collects_no_garbage_among_what_is_imported() -> None:
    program = (
        "import gc; from thaw.networks import backend; assert gc.isenabled(); assert gc.get_freeze_count() > 100_000; "
        "kept = [[] for _ in range(1000)]; import atexit; atexit._run_exitfuncs(); print(len(gc.get_objects()))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1000


def test_variables_share_kernels_whatever_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    execute, attributes = pywrap_tfe.TFE_Py_FastPathExecute, []

    def noted(context: Any, operation: str, name: str | None, *arguments: Any) -> Any:
        if operation == "VarHandleOp":
            attributes.append(dict(zip(arguments[::2], map(str, arguments[1::2]), strict=True)))
        return execute(context, operation, name, *arguments)

    monkeypatch.setattr(pywrap_tfe, "TFE_Py_FastPathExecute", noted)
    variables = [keras.Variable([1.0, 2.0], name=f"kernel_{number}") for number in range(3)]
    assert [variable.path for variable in variables] == ["kernel_0", "kernel_1", "kernel_2"]
    assert len(attributes) == 3
    assert all(one == attributes[0] for one in attributes)


def test_no_layers_are_made_beside_those_of_a_model_that_is_saved_or_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = x = keras.Input((3,))
    for _ in range(20):
        x = keras.layers.Dense(3)(x)
    model, record = keras.Model(inputs, x), BackboneRecord({})
    models.save(model, tmp_path / "first.keras", record)  # which looks for attributes
    made: list[type] = []
    initialize = keras.layers.Layer.__init__

    def counted(layer: Any, **options: Any) -> None:
        made.append(type(layer))
        initialize(layer, **options)

    monkeypatch.setattr(keras.layers.Layer, "__init__", counted)
    models.save(model, tmp_path / "again.keras", record)
    assert made == []
    models.load(tmp_path / "again.keras")
    assert made.count(keras.layers.Dense) == 20
    assert keras.layers.Layer not in made


def test_to_normalize_the_last_axis_takes_the_same_operations_however_it_is_told() -> None:
    rows = np.random.default_rng(0).random((2, 4, 4, 3)).astype(np.float32)
    weights = [np.array(one, np.float32) for one in ([1, 2, 3], [4, 5, 6], [0.1, 0.2, 0.3], [7, 8, 9])]
    operations, results = [], []
    for axis in (-1, 3):
        inputs = keras.Input(rows.shape[1:])
        model = keras.Model(inputs, keras.layers.BatchNormalization(axis=axis)(inputs))
        model.set_weights(weights)
        function = inference(model)
        operations.append([one.type for one in function.graph.get_operations()])
        results.append(function(tf.constant(rows)).numpy())
    assert operations[0] == operations[1]
    np.testing.assert_array_equal(results[0], results[1])
    first = keras.layers.BatchNormalization(axis=1)
    first.build(rows.shape)
    first.set_weights([np.arange(4, dtype=np.float32)] * 2 + [np.zeros(4, np.float32), np.ones(4, np.float32)])
    expected = np.arange(4)[:, None, None] * (1 + rows / np.sqrt(1.001))
    np.testing.assert_allclose(first(rows), expected, rtol=1e-5)


def test_a_function_for_inference_holds_no_copy_of_large_weights() -> None:
    inputs = keras.Input((200,))
    hidden = keras.layers.Dropout(0.5)(keras.layers.BatchNormalization()(keras.layers.Dense(300)(inputs)))
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(hidden))
    function = inference(model)
    (large,) = function.graph.variables
    assert large.shape == (200, 300)
    rows = np.random.default_rng(0).random((3, 200)).astype(np.float32)
    result = function(tf.constant(rows))
    np.testing.assert_allclose(result, model(rows, training=False), rtol=1e-6)


@pytest.mark.slow
def test_a_platform_that_jax_does_not_have_is_said_without_a_traceback() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stages.backbone"],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "nonsense"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: KERAS_BACKEND=jax: Unable to initialize backend 'nonsense': ")
    assert "set JAX_PLATFORMS=''" in done.stderr
