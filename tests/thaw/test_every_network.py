"""Every network that the check accepts has the boundaries that it knows, and runs on a CPU, and right."""

import gc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from stages.check.architectures import known_architectures, known_boundaries, pretrained_with, smallest_pixels
from thaw.backbones.building import build_backbone
from thaw.engines import converting
from thaw.engines.ready import engine
from thaw.images.normalization import Normalization
from thaw.networks.backend import inference, keras
from thaw.networks.boundary import boundaries, prefix, tail
from thaw.networks.models import assemble
from thaw.params.backbones import Backbone
from thaw.training.training import add_head

pytestmark = pytest.mark.slow

NETWORKS = [name for name in known_architectures() if name not in ("hub", "none")]


@pytest.fixture(autouse=True)
def quickly_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let NumPy draw the weights, of which large ones repeat themselves: it takes a third of the time otherwise."""
    uniform = np.random.default_rng(0).random(999_983, np.float32) - np.float32(0.5)  # of a prime number

    def drawn(self: Any, shape: tuple[int, ...], dtype: Any = None) -> np.ndarray:
        return np.resize(uniform * np.float32(np.sqrt(12 / max(1, np.prod(shape[:-1])))), shape)

    for kind in (keras.initializers.VarianceScaling, keras.initializers.TruncatedNormal):
        monkeypatch.setattr(kind, "__call__", drawn)


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch, memory_back: None) -> Iterator[list[Any]]:
    """What Keras makes of each model that is converted, as TensorFlow runs it."""
    functions: list[Any] = []

    def kept(model: keras.Model) -> Any:
        functions.append(inference(model))
        return functions[-1]

    monkeypatch.setattr(converting, "inference", kept)
    gc.disable()  # to look for garbage among so many objects takes some of the time
    yield functions
    gc.enable()


def same(found: np.ndarray, expected: np.ndarray) -> None:
    assert np.isfinite(expected).all()
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_gives_what_keras_gives(name: str, traced: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    side = max(32, smallest_pixels(name))
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (2, side, side, 3)).astype(np.uint8)
    network = build_backbone(Backbone(architecture=name, weights="none"))
    known = known_boundaries(name, include_top=False)
    assert boundaries(network) == known
    if name == "EfficientNetV2L":  # at random, it makes a difference of 1e-6 one of 1
        network.set_weights([weight / 2 if weight.ndim == 4 else weight for weight in network.get_weights()])
    for layer in network.layers:
        if isinstance(layer, keras.layers.Normalization) and layer.weights:
            layer.set_weights([np.array([0.5, 0.4, 0.3]), np.array([0.2, 0.3, 0.4]), np.array(1)])
            layer.finalize_state()
    normalization = Normalization.of(pretrained_with(name) or "none")
    body = assemble(network, side, side, normalization, "avg")

    # Called past the check of its inputs, since NASNet names one size, though it takes others.
    features = network.call(keras.ops.convert_to_tensor(normalization(pixels))).numpy().mean(axis=(1, 2))
    same(engine(body)(pixels), features)

    model = add_head(body, [{"Dense": {"units": "classes", "activation": "softmax"}}], 3)
    kernel, bias = model.layers[-1].get_weights()  # which make probabilities differ, but not by rounding alone
    model.layers[-1].set_weights([kernel / np.abs(features).max(), bias])
    # To predict is to compute features at the top, and the head of them.
    scored = engine(tail(model, body.layers[-1].name))(features)
    np.testing.assert_allclose(scored, model.layers[-1](features).numpy(), rtol=0, atol=1e-5)

    # The whole network was converted above: of a prefix and a tail, short ones are enough, which take less time.
    activations = engine(prefix(model, known[len(known) // 8]))(pixels)
    same(activations, traced[-1](pixels.astype(np.float32)).numpy())
    behind = tail(model, known[-1 - len(known) // 8])
    rows = random.random((2, *behind.input.shape[1:]), np.float32)
    same(engine(behind)(rows), traced[-1](rows).numpy())
    assert "computed by Keras" not in capsys.readouterr().out
