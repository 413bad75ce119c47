"""Engines give what Keras gives, and the same bits for a row whatever comes with it."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, get_args

import numpy as np
import pytest

from tests.conftest import Project
from thaw.backbones import lite
from thaw.engines.converting import graph_of
from thaw.engines.engine import Engine
from thaw.engines.keras import KerasEngine
from thaw.engines.openvino import OpenVinoEngine
from thaw.engines.ready import engine
from thaw.formats.row_file import RowFile
from thaw.images.normalization import Mode, Normalization
from thaw.networks import models
from thaw.networks.backend import keras
from thaw.networks.boundary import prefix, tail

ROWS = 11
PIXELS = np.random.default_rng(0).integers(0, 256, (ROWS, 48, 40, 3), np.uint8)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """The first blocks of EfficientNet-Lite0, with its weights, from pixels to pooled features."""
    network = lite.build_lite("EfficientNetLite0", include_top=True)
    lite.load_package_weights(network)
    return models.assemble(prefix(network, "block_4"), 48, 40, Normalization.of("lite"), "avg")


MAKE: dict[str, Callable[..., Engine]] = {
    "OpenVINO": lambda model, *precision: OpenVinoEngine(graph_of(model), *precision),
    "Keras": lambda model, *precision: KerasEngine(model, *precision, batch_size=4),
}


@pytest.fixture(scope="module", params=["OpenVINO float32", "OpenVINO bfloat16", "Keras float32", "Keras bfloat16"])
def any_engine(request: pytest.FixtureRequest, model: keras.Model) -> Engine:
    kind, precision = request.param.split()
    return MAKE[kind](model, precision)


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("kind", MAKE)
def test_float32_agrees_with_keras(kind: str, model: keras.Model) -> None:
    expected = model.predict(PIXELS, verbose=0)
    assert relative(MAKE[kind](model)(PIXELS), expected) < 1e-5


@pytest.mark.parametrize("kind", MAKE)
def test_bfloat16_is_near_and_no_float32_unless_the_machine_has_none(kind: str, model: keras.Model) -> None:
    expected = model.predict(PIXELS, verbose=0)
    one = MAKE[kind](model, "bfloat16")
    found = one(PIXELS)
    assert found.dtype == np.float32
    assert np.abs(found - expected).mean() < 0.1 * np.abs(expected).mean()
    assert relative(found, expected) > 1e-4 or "bfloat16" not in one.name


@pytest.mark.parametrize("mode", get_args(Mode))
def test_every_normalization_goes_before_a_network_in_bfloat16(mode: Mode) -> None:
    image = keras.Input((None, None, 3))
    network = keras.Model(image, keras.layers.Conv2D(4, 3)(image))
    model = models.assemble(network, 48, 40, Normalization.of(mode), "avg")
    expected = model.predict(PIXELS, verbose=0)
    found = KerasEngine(model, "bfloat16", batch_size=4)(PIXELS)
    assert 1e-5 < relative(found, expected) < 0.02


def test_a_row_has_the_same_bits_whatever_comes_with_it(any_engine: Engine) -> None:
    together = any_engine(PIXELS)
    assert np.array_equal(np.concatenate([any_engine(PIXELS[row : row + 1]) for row in range(ROWS)]), together)
    assert np.array_equal(any_engine(PIXELS[::-1])[::-1], together)
    assert np.array_equal(any_engine(PIXELS.astype(np.float32)), together)


def test_a_stream_gives_one_array_for_each_batch_in_order(any_engine: Engine) -> None:
    many = np.concatenate([PIXELS] * 9)
    lengths = [1, 3, 4, 5, 50, 2, 34]
    edges = np.cumsum([0, *lengths])
    batches = [many[first:stop] for first, stop in pairwise(edges)]
    results = list(any_engine.stream(iter(batches)))
    assert [len(result) for result in results] == lengths
    assert np.array_equal(np.concatenate(results), np.concatenate([any_engine(PIXELS)] * 9))


def test_a_stream_reads_only_a_bounded_way_ahead(any_engine: Engine) -> None:
    taken = 0

    def batches() -> Iterator[np.ndarray]:
        nonlocal taken
        for _ in range(10_000):
            taken += 1
            yield PIXELS[:4]

    results = any_engine.stream(batches())
    for done in range(1, 4):
        next(results)
        assert taken <= done + 8 * 64
    results.close()  # type: ignore[attr-defined]


def test_an_error_while_reading_passes_through_and_the_engine_goes_on(any_engine: Engine) -> None:
    def batches() -> Iterator[np.ndarray]:
        yield PIXELS
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(any_engine.stream(batches()))
    assert len(any_engine(PIXELS)) == ROWS


@pytest.mark.parametrize("activation", ["gelu", "hard_silu", "relu", "relu6", "silu"])  # those of the known networks
def test_a_network_may_end_in_an_activation(activation: str) -> None:
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, activation="silu")(image)
    model = keras.Model(image, keras.layers.Activation(activation)(keras.layers.Conv2D(4, 3)(x)))
    rows = PIXELS[:, :8, :8]
    assert relative(engine(model)(rows), model.predict(rows, verbose=0)) < 1e-5


def test_openvino_looks_for_no_variable_among_all(monkeypatch: pytest.MonkeyPatch) -> None:
    sought: list[str] = []

    def find(operation: Any) -> None:
        sought.append(operation.name)

    monkeypatch.setattr("openvino.frontend.tensorflow.node_decoder.TFGraphNodeDecoder.get_variable", find)
    inputs = keras.Input((200,), name="rows")
    wide = keras.Model(inputs, keras.layers.Dense(200)(keras.layers.Dense(200)(inputs)))
    rows = np.random.default_rng(0).random((ROWS, 200), np.float32)
    found = MAKE["OpenVINO"](wide)(rows)
    assert sought == ["rows"]  # which is none
    assert relative(found, wide.predict(rows, verbose=0)) < 1e-5


def test_openvino_does_not_ask_for_a_version_as_python_3_13_forbids(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(_: str) -> None:
        raise NameError("name 'tensorflow' is not defined")

    monkeypatch.setattr("openvino.frontend.tensorflow.utils.get_environment_setup", ask)
    inputs = keras.Input((3,), name="rows")
    rows = np.random.default_rng(0).random((ROWS, 3), np.float32)
    small = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    assert relative(MAKE["OpenVINO"](small)(rows), small.predict(rows, verbose=0)) < 1e-5


def test_the_part_behind_a_boundary_takes_its_activations(model: keras.Model) -> None:
    before, behind = engine(prefix(model, "block_2")), engine(tail(model, "block_2"))
    assert relative(behind(before(PIXELS)), model.predict(PIXELS, verbose=0)) < 1e-5


def test_the_bits_do_not_depend_on_the_number_of_cores(model: keras.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for cores in (1, 2, 5):
        monkeypatch.setattr("thaw.threads.cores", lambda cores=cores: cores)
        results.append(MAKE["OpenVINO"](model)(PIXELS))
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


@pytest.mark.slow
@pytest.mark.parametrize("entry", ["stages.train.__main__", "commands.export"])
def test_nothing_is_reported_to_openvinos_makers(entry: str) -> None:
    code = f"import {entry}; from openvino.tools.ovc import telemetry_utils; print(telemetry_utils.tm.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["openvino.tools.ovc.telemetry_stub"]


def test_a_feature_file_says_what_made_it(finished: Project) -> None:
    origin = RowFile(finished.folder / "data" / "features" / "bottleneck.h5").origin
    assert origin.engine is not None
    assert origin.engine.endswith(", float32")
    assert origin.features is not None
    assert origin.features["precision"] == "float32"
