"""Hostile files: no code of theirs runs, none takes more than it holds, and each is refused in a line."""

import base64
import csv
import io
import json
import os
import pickle
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from commands.classifier import Classifier
from commands.predict import path_cell, printable, text_cell
from commands.review import suspected_labels
from commands.review.compared import Review, Suspected
from commands.tables import table_lines
from tests.conftest import record
from tests.faults.conftest import Tried
from thaw.backbones.presets import digest, read_config
from thaw.backbones.torch_file import MAGIC_NUMBER, PROTOCOL_VERSION, read_state_dict
from thaw.errors import UserError
from thaw.formats import model_file
from thaw.formats.label_issues import LabelIssue
from thaw.formats.row_file import RowFile
from thaw.images.reading import open_array
from thaw.params.labels import unreadable
from thaw.params.reading import read_yaml

TOUCH = "touch {}"


class Calls:
    """Pickled as a call of `os.system`."""

    def __init__(self, command: str):
        self.command = command

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self.command,)


def torch_file(*pickles: bytes) -> bytes:
    head = b"".join(pickle.dumps(one, 2) for one in (MAGIC_NUMBER, PROTOCOL_VERSION, {}))
    return head + b"".join(pickles)


def nested(depth: int) -> bytes:
    """Return a pickle whose reference is lists in lists."""
    return b"\x80\x02" + b"]" * depth + b"a" * (depth - 1) + b"Q."


def laughs(depth: int, end: bytes) -> bytes:
    """Return a pickle of a tuple that has another twice, and that one another: small, but endless to go through."""
    return b"\x80\x02)" + b"".join(b"q%c" % n + b"h%c" % n + b"\x86" for n in range(depth)) + end


TORCH: dict[str, bytes] = {
    "a call": torch_file(pickle.dumps(Calls(TOUCH.format("ran")), 2)),
    "a call in the first": pickle.dumps(Calls(TOUCH.format("ran")), 2),
    "a nested reference": torch_file(nested(50_000)),
    "a reference without end": torch_file(laughs(60, b"Q.")),
    "a key without end": torch_file(b"\x80\x02}(" + laughs(60, b"K\x01u.")[2:]),
    "one key without end": torch_file(b"\x80\x02}" + laughs(60, b"K\x01s.")[2:]),
    "a place of many": torch_file(b"\x80\x02]r\xff\xff\xff\x7f."),
    "bytes of many": torch_file(b"\x80\x05\x96" + struct.pack("<Q", 2**34) + b"."),
    "text of many": torch_file(b"\x80\x04\x8d" + struct.pack("<Q", 2**60) + b"."),
    "a number of many": torch_file(b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"."),
    "nothing": b"",
    "no pickle": b"PK\3\4" + bytes(99),
}


class TestWeights:
    @pytest.mark.parametrize("name", TORCH)
    def test_a_hostile_torch_file_is_refused(
        self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tried: Tried
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Path("weights.pth").write_bytes(TORCH[name])
        with pytest.raises(UserError, match=r"weights\.pth: not a state dict") as caught:
            read_state_dict(Path("weights.pth"))
        assert len(str(caught.value)) < 1000
        assert not Path("ran").exists()
        tried("weights: .pth", name, "named")

    def test_a_pipe_is_refused(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "weights.pth")
        with pytest.raises(OSError, match="a named pipe"):
            read_state_dict(tmp_path / "weights.pth")


def npy(header: str, content: bytes = b"") -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + content


ARRAYS: dict[str, bytes] = {
    "objects": npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", pickle.dumps(Calls("touch ran"))),
    "more than it has": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}"),
    "a negative shape": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}"),
    "too many": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (9999999999999999999999,)}"),
    "code": npy("__import__('os').system('touch ran')"),
    "no end": npy("{'descr': ("),
    "nested": npy("(" * 9000),
    "a long header": b"\x93NUMPY\2\0" + struct.pack("<I", 2**32 - 1) + b"{}",
    "nothing": b"",
}


@pytest.mark.parametrize("name", ARRAYS)
def test_a_hostile_array_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tried: Tried) -> None:
    monkeypatch.chdir(tmp_path)
    Path("train_images.npy").write_bytes(ARRAYS[name])
    with pytest.raises(UserError, match="no array of numbers"):
        open_array(Path(), "train_images.npy")
    assert not Path("ran").exists()
    tried("array: .npy", name, "named")


def config_of(*layers: dict[str, Any]) -> bytes:
    """Return what Keras writes of a Sequential model with these layers."""
    tree = {"module": "keras", "class_name": "Sequential", "registered_name": None}
    config = {"name": "model", "layers": list(layers)}
    return json.dumps({**tree, "config": config, "build_config": {"input_shape": [None, 4]}}).encode()


def layer(kind: str, /, place: str = "keras.layers", **config: Any) -> dict[str, Any]:
    return {"module": place, "class_name": kind, "config": {"name": "one", **config}, "registered_name": None}


def function(name: str, module: str) -> dict[str, Any]:
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


CODE = {"code": base64.b64encode(b"\xe3" + bytes(60)).decode(), "defaults": None, "closure": None}
INPUT = layer("InputLayer", name="pixels", batch_shape=[None, 4], dtype="float32")
CONFIGS: dict[str, bytes] = {
    "a Lambda": config_of(INPUT, layer("Lambda", function={"class_name": "__lambda__", "config": CODE})),
    "a saved model": config_of(INPUT, layer("TFSMLayer", filepath="/tmp", call_endpoint="serve")),
    "a module of Torch": config_of(INPUT, layer("TorchModuleWrapper", module="gAQu")),
    "a system call": config_of(INPUT, layer("system", place="os", command="touch ran")),
    "a function of Keras": config_of(INPUT, layer("Dense", units=2, activation=function("get_file", "keras.utils"))),
    "eval": config_of(INPUT, layer("Dense", units=2, activation=function("eval", "builtins"))),
    "more weights than the file has": config_of(INPUT, layer("Dense", units=2**40)),
    "many layers of many weights": config_of(INPUT, *(layer("Dense", name=f"d{n}", units=400) for n in range(9))),
    "no model": b"[]",
    "nested": b"[" * 99_999,
    "no JSON": b"\xff",
}


class TestModels:
    @pytest.mark.parametrize("name", CONFIGS)
    def test_a_hostile_model_is_refused_in_a_line(
        self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tried: Tried
    ) -> None:
        from thaw.networks import models

        monkeypatch.chdir(tmp_path)
        file = io.BytesIO()
        with h5py.File(file, "w") as weights:
            weights.create_group("layers")
        metadata = json.dumps({"keras_version": "3.15.1", "date_saved": ""}).encode()
        members = {"config.json": CONFIGS[name], "metadata.json": metadata, "model.weights.h5": file.getvalue()}
        model_file.write(Path("hostile.keras"), members, record(["a", "b"], {"pixels": [8, 8]}))
        with pytest.raises(UserError, match=r"^hostile\.keras: no model that Keras loads in safe mode: [^\n]+$"):
            models.load(Path("hostile.keras"))
        assert not Path("ran").exists()
        tried("model: .keras", name, "named")

    @pytest.mark.parametrize(
        ("classes", "pixels"),
        [
            (["oak", "\x1b[2J"], [8, 8]),
            (["oak", "fig\n"], [8, 8]),
            (["oak", 3], [8, 8]),
            ([], [8, 8]),
            ("ab", [8, 8]),
            ({"oak": 1, "fig": 2}, [8, 8]),
            (["oak", "\ud800"], [8, 8]),
            (["oak", "fig"], [10**6, 10**6]),
            (["oak", "fig"], [0, 8]),
            (["oak", "fig"], [8.5, 8]),
            (["oak", "fig"], [8]),
            (["oak", "fig"], "ab"),
        ],
    )
    def test_what_a_model_asks_for_is_bounded(self, classes: Any, pixels: Any, tmp_path: Path, tried: Tried) -> None:
        path = tmp_path / "hostile.keras"
        model_file.write(path, {"config.json": b"{}"}, record(classes, {"pixels": pixels}))
        with pytest.raises(UserError, match=r"hostile\.keras: not a model that Thaw wrote"):
            model_file.read_record(path)
        tried("model: .keras", "record", "named")

    @pytest.mark.parametrize(
        "tensors",
        [
            {"pixels": [8, 8]},
            {"resize": "pad", "interpolation": "nearest"},
            {"pixels": [8, 8], "resize": "bend", "interpolation": "nearest"},
            {"pixels": [8, 8], "resize": "pad", "interpolation": []},
        ],
    )
    def test_a_model_says_how_its_images_are_made(self, tensors: dict[str, Any], tmp_path: Path, tried: Tried) -> None:
        path = tmp_path / "hostile.keras"
        model_file.write(path, {"config.json": b"{}"}, record(["oak", "fig"], tensors))
        with pytest.raises(UserError, match=r"hostile\.keras: not a model that Thaw wrote: it does not say how its im"):
            Classifier(path)
        tried("model: .keras", "record", "named")

    @pytest.mark.parametrize(
        ("classes", "pixels"), [(["oak"], [8, 8]), (["oak", "fig", "elm"], [8, 8]), (["a", "b"], [9, 8])]
    )
    def test_a_model_has_the_classes_and_pixels_that_it_says(
        self, classes: list[str], pixels: list[int], tmp_path: Path, tried: Tried
    ) -> None:
        from thaw.networks import models
        from thaw.networks.backend import keras

        path, layers = tmp_path / "hostile.keras", [keras.layers.Flatten(), keras.layers.Dense(2)]
        models.save(keras.Sequential([keras.Input((8, 8, 3)), *layers]), path, record(classes, {"pixels": pixels}))
        with pytest.raises(
            UserError, match=r"hostile\.keras: not a model that Thaw wrote: its network has other pixels"
        ):
            models.load(path)
        tried("model: .keras", "record", "named")

    def test_a_compressed_member_is_refused_before_it_is_unpacked(self, tmp_path: Path, tried: Tried) -> None:
        path = tmp_path / "bomb.keras"
        model_file.write(path, {"config.json": b"{}"}, record(["a", "b"], {"pixels": [8, 8]}))
        with zipfile.ZipFile(path) as archive:
            content = {name: archive.read(name) for name in archive.namelist()}
        for name in content:
            with zipfile.ZipFile(path, "w") as archive:
                for other, data in content.items():
                    kind = zipfile.ZIP_DEFLATED if other == name else zipfile.ZIP_STORED
                    archive.writestr(other, data, compress_type=kind)
            with pytest.raises(UserError, match="truncated or altered"):
                model_file.verify(path)
            tried("model: .keras", "compressed", "named")

    def test_a_pipe_is_refused(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "model.keras")
        with pytest.raises(UserError, match="a named pipe"):
            model_file.read_record(tmp_path / "model.keras")


class TestRows:
    @pytest.mark.parametrize("name", ["keys", "paths", "labels", "digests", "rows"])
    def test_what_says_to_be_larger_than_the_file_is_refused(self, name: str, tmp_path: Path, tried: Tried) -> None:
        path = tmp_path / "rows.h5"
        os.mkfifo(tmp_path / "pipe.h5")
        elsewhere = h5py.VirtualLayout((2, 2), np.uint8)
        elsewhere[:] = h5py.VirtualSource("pipe.h5", "rows", (2, 2))
        ways = ("shape", "compressed", "large parts", "external link", "external file", "external pipe", "virtual")
        for how in (*ways, "soft link", *(["link of rows that are not kept"] if name == "rows" else [])):
            with h5py.File(path, "w") as file:
                for one in ("keys", "paths", "labels", "digests", "rows"):
                    if one != name:
                        file[one] = np.zeros((2, 2), np.uint8)
                match how:
                    case "shape":
                        file.create_dataset(name, (2**40, 2**10), np.uint8, chunks=(1, 2**10))
                    case "compressed":
                        file.create_dataset(name, data=np.zeros(2**24, np.uint8), chunks=True, compression="gzip")
                    case "large parts":
                        file.create_dataset(name, (2, 2), np.uint8, maxshape=(None, 2), chunks=(2**30, 2))
                    case "external link":
                        file[name] = h5py.ExternalLink("pipe.h5", "/rows")
                    case "external pipe":
                        file.create_dataset(name, (2, 2), np.uint8, external=[(tmp_path / "pipe.h5", 0, 4)])
                    case "virtual":
                        file.create_virtual_dataset(name, elsewhere)
                    case "link of rows that are not kept":
                        file[name] = h5py.ExternalLink("pipe.h5", "/rows")
                        file.attrs["images"] = np.bytes_(b"images")
                    case "external file":
                        file.create_dataset(name, (99, 2**20), np.uint8, external=[("/dev/zero", 0, 99 * 2**20)])
                    case "soft link":
                        file[name] = h5py.SoftLink("/nothing")
                file.attrs["header"] = np.bytes_(b"{}")
                file.attrs["digest"] = np.bytes_(b"0" * 64)
            with pytest.raises(UserError, match="truncated or altered"):
                RowFile(path)
            tried("rows: .h5", how, "named")


FORMULAS = ("=cmd|' /C calc'!A0", "@SUM(1+1)", "+cmd|' /C calc'!A0", "-2+3+cmd|' /C calc'!D2", "＝HYPERLINK(1)")
HARMLESS = ("oak", "=1+1", "-20 C", "+1", "1e5", "@home", "a=b(c)")


class TestNames:
    @pytest.mark.parametrize("label", FORMULAS)
    def test_formulas_are_no_labels_and_reach_no_table(self, label: str, tried: Tried) -> None:
        assert unreadable(label) == "is a formula that spreadsheets would run"
        assert text_cell(label) == f"'{label}"
        assert path_cell(Path(label)) == f"./{label}"
        tried("name", "a formula", "named")

    @pytest.mark.parametrize("label", HARMLESS)
    def test_what_only_looks_like_one_stays_as_it_is(self, label: str) -> None:
        assert unreadable(label) is None
        assert text_cell(label) == path_cell(Path(label)) == label

    def test_no_terminal_obeys_a_name(self, tried: Tried) -> None:
        for name in ("\x1b[2J", "\x1b]0;title\x07", "a\rb", "a\nb", "\x9b31m", "a\x08b", "\x7f"):
            assert not re.search(r"[\x00-\x1f\x7f-\x9f]", printable(Path(name)))
            assert unreadable(f"a{name}b")
            tried("name", "terminal", "named")

    def test_no_name_is_markup_in_markdown(self, tried: Tried) -> None:
        for name in (
            "<img src=x>",
            "[a](http://b)",
            "![a](http://b)",
            "`a`",
            "a|b",
            "**a**",
            "<!-- a",
            "&lt;",
            "~a~",
            "_a_",
        ):
            for row in table_lines([name], [[name]], markdown=True)[::2]:
                assert not re.search(r"(?<!\\)[<\[`*&~_]|(?<!\\)\|.+(?<!\\)\|.*\|", row), row
            tried("name", "Markdown", "named")

    def test_a_table_of_labels_can_say_nothing_but_text(self, tmp_path: Path) -> None:
        with (tmp_path / "labels.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["path", "label"], ["1.png", '=cmd|"/C calc"!A0']])
        from stages.manifest.tables import read_table

        table = read_table(tmp_path / "labels.csv", (tmp_path / "labels.csv").read_bytes())
        assert unreadable(table["label"][0])


def test_paths_of_suspected_labels_are_no_markup_in_markdown() -> None:
    hostile = "![](http://a)/<b>/1.png"
    issue = LabelIssue(hostile, "oak", "fig", 0.1, True)
    found = Review([], [], [], [], 0, [], None, [Suspected("bottleneck", [issue], [issue], 0)])
    assert hostile in "".join(suspected_labels(found, "main", markdown=False))
    assert r"!\[\](http://a)/\<b\>/1.png (oak" in "".join(suspected_labels(found, "main", markdown=True))


@pytest.mark.parametrize("read", [read_config, digest], ids=lambda read: read.__name__)
def test_a_pipe_in_a_presets_folder_is_refused(read: Callable[[Path], object], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(UserError, match=r"config\.json: no such file"):
        read(tmp_path)


def test_a_password_in_a_url_is_refused_and_not_repeated(tmp_path: Path) -> None:
    from thaw.params.backbones import Backbone

    for url in ("https://me:secret@example.org/w.h5", "https://token@example.org/w.h5"):
        with pytest.raises(ValueError, match="a user name or password") as caught:
            Backbone(architecture="VGG16", weights=url, sha256="0" * 64)
        assert "secret" not in str(caught.value.errors()[0]["msg"])  # type: ignore[attr-defined]


def test_a_pipe_of_parameters_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "params.yaml")
    with pytest.raises(UserError, match="a named pipe"):
        read_yaml(tmp_path / "params.yaml")
