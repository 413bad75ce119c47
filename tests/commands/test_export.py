"""`thaw export`: every format gives what Keras gives, or is not written."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
from PIL import Image

from commands import export
from commands.export import exporting
from tests.conftest import CLASSES, record
from thaw.backbones import lite
from thaw.errors import UserError
from thaw.images.normalization import Normalization
from thaw.networks import models
from thaw.networks.backend import keras
from thaw.networks.boundary import prefix
from thaw.training.training import add_head

pytestmark = pytest.mark.slow

ABOUT = {"classes": list(CLASSES), "pixels": [48, 40], "resize": "crop", "interpolation": "bilinear"}
FORMATS = list(export.ENDINGS)
FINAL = {"Dense": {"units": "classes", "activation": "softmax"}}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A variant's file: the first blocks of EfficientNet-Lite0, with its weights, and a head."""
    network = lite.build_lite("EfficientNetLite0", include_top=True)
    lite.load_package_weights(network)
    body = models.assemble(prefix(network, "block_2"), 48, 40, Normalization.of("lite"), "avg")
    keras.utils.set_random_seed(1)
    head = keras.layers.Dense(len(CLASSES), activation="softmax", name="head_1_dense")
    path = tmp_path_factory.mktemp("models") / "small.keras"
    tensors = {key: value for key, value in ABOUT.items() if key != "classes"}
    models.save(keras.Model(body.input, head(body.output)), path, record(ABOUT["classes"], tensors))
    return path


def name(format: str) -> str:
    return "small" + (export.ENDINGS[format] or f"_{format}")


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_written_gives_the_probabilities_of_keras(
    format: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2 if format == "saved_model" else 1):  # a folder that is there is replaced
        export.main(model, format, None, [])
        said = capsys.readouterr().out
        assert f"exports/{name(format)}: differs from {model} by up to " in said
        assert ("INFERENCE_PRECISION_HINT" in said) == (format == "openvino")
    written = tmp_path / "exports" / name(format)
    pixels = np.random.default_rng(0).integers(0, 256, (7, 48, 40, 3)).astype(np.float32)
    expected = models.load(model)[0].predict(pixels, verbose=0)
    assert np.ptp(expected, axis=0).max() > 0.01
    np.testing.assert_allclose(exporting.run_exported(format, written, pixels), expected, rtol=0, atol=1e-5)
    assert json.loads(written.with_name(f"{name(format)}.json").read_text()) == ABOUT
    with_weights = {"small.bin"} if format == "openvino" else set()
    assert {one.name for one in written.parent.iterdir()} == {name(format), f"{name(format)}.json", *with_weights}


RANDOM: dict[str, dict[str, Any]] = {
    "AlphaDropout": {"rate": 0.3},
    "Dropout": {"rate": 0.3},
    "GaussianDropout": {"rate": 0.3},
    "GaussianNoise": {"stddev": 0.3},
    "RandomFlip": {},
    "RandomPerspective": {},
    "RandomRotation": {"factor": 0.2},
    "RandomTranslation": {"height_factor": 0.2, "width_factor": 0.2},
    "RandomZoom": {"height_factor": 0.2},
    "SpatialDropout2D": {"rate": 0.3},
}
"""What a head can have of them that takes a map; they do nothing in inference."""


@pytest.mark.parametrize("format", FORMATS)
def test_layers_that_converters_do_not_know_do_not_hinder_it(
    format: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = lite.build_lite("EfficientNetLite0", include_top=True)
    body = models.assemble(prefix(network, "block_0"), 48, 40, Normalization.of("lite"), None)
    odd = [{"Activation": {"activation": name}} for name in ("celu", "gelu")]
    odd.append({"Activation": {"activation": "swish"}})  # whose custom gradient leaves behind what no output needs
    odd.append({"Conv2D": {"filters": 32, "kernel_size": 3, "groups": 16, "activation": "relu"}})
    head = [*({name: arguments} for name, arguments in RANDOM.items()), *odd, "GlobalAveragePooling2D", FINAL]
    tensors = {key: value for key, value in ABOUT.items() if key != "classes"}
    path = tmp_path / "random.keras"
    models.save(add_head(body, head, len(CLASSES)), path, record(ABOUT["classes"], tensors))
    out = tmp_path / f"out{export.ENDINGS[format]}"
    export.main(path, format, out, [])
    assert "differs from" in capsys.readouterr().out
    if format == "openvino":
        assert len(openvino.Core().read_model(out).outputs) == 1


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Check failed\n-- No conversion rule found for operations: A, B\nTo", ", which does not have A, B"),
        ('INVALID_GRAPH : In Node, ("head/Erfc", Erfc, "", -1) : (', ", which does not have Erfc"),
        ("Select op(s)\nNode number 5 (FlexResizeBicubic) failed", ", which does not have ResizeBicubic"),
        ("some reason\nmore of it", ": some reason"),
    ],
)
def test_what_a_format_does_not_have_is_named(said: str, told: str) -> None:
    assert export._reason(RuntimeError(said)) == told


def test_what_differs_is_not_written_and_what_was_there_stays(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = exporting.export_model

    def write_another(network: Any, source: Path, format: str, path: Path) -> None:
        weights, bias = network.layers[-1].get_weights()
        network.layers[-1].set_weights([weights, np.add(bias, [0, 0.01, 0])])
        write(network, source, format, path)

    monkeypatch.setattr(exporting, "export_model", write_another)
    out = tmp_path / "exports" / "small.xml"
    out.parent.mkdir()
    for path in (out, out.with_name("small.xml.json")):
        path.write_text(json.dumps(ABOUT))
    with pytest.raises(UserError, match=r"small\.xml: not written.*differ by up to .*e-03 on 10 images"):
        export.main(model, "openvino", out, [])
    assert [json.loads(one.read_text()) for one in out.parent.iterdir()] == [ABOUT, ABOUT]


def test_it_is_checked_on_the_images_that_are_given(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        Image.new("RGB", (50 + number, 40), (number * 100, 20, 30)).save(tmp_path / f"{number}.png")
    export.main(model, "keras", tmp_path / "out.keras", [tmp_path])
    assert "on 3 images" in capsys.readouterr().out


def test_a_graph_never_stands_beside_the_weights_of_another(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(path: Path, target: Path) -> None:
        if path.suffix == ".xml":
            raise KeyboardInterrupt
        path.rename(target)

    def write(network: Any, source: Path, format: str, path: Path) -> None:
        for ending in (".xml", ".bin"):
            path.with_suffix(ending).write_text("new")

    monkeypatch.setattr(exporting, "export_model", write)
    monkeypatch.setattr(exporting, "run_exported", lambda *arguments: models.load(model)[0].predict(arguments[2]))
    monkeypatch.setattr(Path, "replace", killed)
    for ending in ("xml", "bin", "xml.json"):
        (tmp_path / f"m.{ending}").write_text(json.dumps(ABOUT))
    with pytest.raises(KeyboardInterrupt):
        export.main(model, "openvino", tmp_path / "m.xml", [])
    assert (tmp_path / "m.bin").read_text() == "new"
    assert not (tmp_path / "m.xml").exists()


@pytest.mark.parametrize("place", ["exports", "{}/tmp123"])
def test_a_full_disk_is_not_said_to_be_the_models_fault(
    place: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = place.format(tempfile.gettempdir())

    def fail(*arguments: object) -> None:
        raise RuntimeError(f"{{{{function_node}}}} {place}/part-0.tempstate; No space left on device [Op:SaveV2]")

    monkeypatch.setattr(exporting, "export_model", fail)
    note = f"in {tempfile.gettempdir()}, the folder for temporary files; TMPDIR can name another one; "
    told = f"cannot be written: No space left on device; {note * ('tmp' in place)}make room there, then run it again"
    assert wrong(model, "tflite", tmp_path / "m.tflite") == f"{tmp_path / 'm.tflite'}: {told}"


def wrong(model: Path, format: str, out: Path, *images: Path) -> str:
    with pytest.raises(UserError) as caught:
        export.main(model, format, out, list(images))
    return str(caught.value)


def test_what_cannot_be_used_is_named(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note = tmp_path / "note.txt"
    note.write_text("no image")
    folder = tmp_path / "folder"
    folder.mkdir()
    assert wrong(model, "onnx", tmp_path / "m.keras").endswith(
        "m.keras: the name of a file of the format onnx ends in .onnx"
    )
    assert "there is something else of that name" in wrong(model, "saved_model", folder)
    assert "there is something else of that name" in wrong(model, "saved_model", note)
    for name, content in (
        *(("m.json", '{"mine": 1}'), ("m.xml.json", "[]"), ("n.json/", ""), ("m.bin/", "")),
        *(("m.xml", "mine"), ("m.bin", "mine")),
    ):
        theirs = tmp_path / name
        theirs.mkdir() if name.endswith("/") else theirs.write_text(content)
        out = tmp_path / name.replace(".json", "").replace(".bin", ".xml").rstrip("/")
        told = wrong(model, "openvino" if out.suffix else "saved_model", out)
        assert told == f"{theirs}: there is something else of that name; give --out another one"
        theirs.rmdir() if name.endswith("/") else theirs.unlink()
    assert wrong(model, "keras", model) == f"{model}: there is something else of that name; give --out another one"
    assert wrong(model, "saved_model", Path()) == ".: a folder; give --out the name of what to write"
    assert wrong(model, "keras", note / "m.keras").endswith("m.keras: cannot be written: File exists")
    assert f"{note}: not an image" in wrong(model, "keras", tmp_path / "m.keras", note)
    assert "none.keras: no such file" in wrong(tmp_path / "none.keras", "keras", tmp_path / "m.keras")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "tf2onnx" else object())
    missing = wrong(model, "onnx", tmp_path / "m.onnx")
    assert missing == (
        "the format onnx needs tf2onnx: python -m pip install --constraint constraints.txt --editable '.[export]'"
    )
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert wrong(model, "saved_model", tmp_path / "m") == (
        "the format saved_model is written by TensorFlow: set KERAS_BACKEND=tensorflow where that is"
    )
    shutil.rmtree(folder)
    assert {one.name for one in tmp_path.iterdir()} == {"note.txt"}
