"""Keras on TensorFlow and on JAX: one module speaks to either, and both train the same."""

import copy
import os
import subprocess
import sys
from pathlib import Path

import grimp
import numpy as np
import pytest
import tensorflow as tf
from ruamel.yaml import YAML

from tests.conftest import PARAMS, ROOT, Project, named
from thaw.errors import UserError
from thaw.formats.history import read_history
from thaw.machine import unused_gpu
from thaw.networks import models
from thaw.networks.backend import device, inference, keras, same_bits

UNIMPLEMENTED = "A deterministic GPU implementation of DepthwiseConvBackpropFilter is not currently available."


def test_one_module_alone_speaks_to_tensorflow_and_jax() -> None:
    graph = grimp.build_graph("stages", "thaw", include_external_packages=True, cache_dir=None)
    for library in ("tensorflow", "jax"):
        assert graph.find_modules_that_directly_import(library) == {"thaw.networks.backend"}


def test_a_variant_is_trained_on_jax_as_on_tensorflow(finished: Project, tmp_path: Path) -> None:
    params = copy.deepcopy(PARAMS)
    # Updates that are in proportion to gradients, and small: Adam's first ones have the gradients' signs alone.
    optimizer = {"SGD": {"learning_rate": 1e-5, "momentum": 0.9}}
    params["variants"]["half"]["fit"] = {"epochs": 3, "batch_size": 3, "optimizer": optimizer, "layer_decay": 0.9}
    with (tmp_path / "params.yaml").open("w", encoding="utf-8") as file:
        YAML().dump(params, file)
    for code in ("stages", "thaw"):
        (tmp_path / code).symlink_to(ROOT / code)
    start = finished.folder / "models" / "variants" / "frozen_head.keras"
    inputs = finished.folder / "data" / "features" / "midway.h5"

    without_tensorflow = tmp_path / "without TensorFlow"
    without_tensorflow.mkdir()
    (without_tensorflow / "tensorflow.py").write_text("raise ImportError\n")
    on_jax = {"KERAS_BACKEND": "jax", "PYTHONPATH": str(without_tensorflow)}
    for backend, python, environment in (
        ("tensorflow", finished.python / "python", {}),
        ("jax", sys.executable, on_jax),
    ):
        outputs = [f"{backend}/half.keras", f"{backend}/half.csv"]
        command = [
            python,
            "-m",
            "stages.train",
            *named("train", "params.yaml", "variants.half", start, inputs, *outputs),
        ]
        subprocess.run(command, cwd=tmp_path, env=os.environ | environment, check=True)

    curve, of_jax = (read_history(tmp_path / backend / "half.csv") for backend in ("tensorflow", "jax"))
    assert of_jax.keys() == curve.keys()
    assert curve["loss"][-1] < 0.95 * curve["loss"][0]
    for name, values in curve.items():
        assert of_jax[name] == pytest.approx(values, rel=1e-4), name
    before, after, after_jax = (
        models.load(path)[0].get_weights()
        for path in (start, tmp_path / "tensorflow" / "half.keras", tmp_path / "jax" / "half.keras")
    )
    moved = [number for number, weights in enumerate(after) if (weights != before[number]).any()]
    assert len(moved) >= 6
    for number in moved:
        update = after[number] - before[number]
        # A weight's last digit is a part of so small an update that can be seen.
        atol = 1e-3 * np.abs(update).max() + np.spacing(np.abs(before[number]).max())
        np.testing.assert_allclose(after_jax[number] - before[number], update, rtol=0, atol=atol)


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
    assert device() == f"the CPU, {os.cpu_count()} cores"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert "make repro GPU=1" in device()


def test_an_operation_without_deterministic_form_is_named() -> None:
    with pytest.raises(UserError, match=r"DepthwiseConvBackpropFilter .*jit_compile: true"), same_bits():
        raise tf.errors.UnimplementedError(None, None, UNIMPLEMENTED)
    with pytest.raises(tf.errors.UnimplementedError, match="of strings"), same_bits():
        raise tf.errors.UnimplementedError(None, None, "Cast of strings is not supported")


def test_python_collects_no_garbage_among_what_is_imported() -> None:
    program = (
        "import gc; from thaw.networks import backend; assert gc.isenabled(); assert gc.get_freeze_count() > 100_000; "
        "kept = [[] for _ in range(1000)]; import atexit; atexit._run_exitfuncs(); print(len(gc.get_objects()))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1000


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
