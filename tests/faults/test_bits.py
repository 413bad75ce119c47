"""Every bit of small files of each format, flipped: a reader says so, or reads what was written."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import record
from tests.faults.conftest import Tried
from tests.faults.damages import SEED
from thaw.errors import UserError
from thaw.formats import model_file
from thaw.formats.history import read_history, write_history
from thaw.formats.label_issues import LabelIssue, read_label_issues, write_label_issues
from thaw.formats.manifest import Row, manifest_by, read_manifest, write_manifest
from thaw.formats.model_file import BackboneRecord
from thaw.formats.predictions import Predictions, read_predictions, write_predictions
from thaw.formats.row_file import Index, Origin, RowFile
from thaw.formats.row_writer import writing
from thaw.formats.thumbnails import reading_thumbnails, thumbnail, writing_thumbnails

SEVERAL_LINES = 'a "tree",\nof two lines'
DIGESTS = ["ab" * 32, "cd" * 32]


def write_pictures(path: Path) -> None:
    with writing_thumbnails(path) as pictures:
        for number, digest in enumerate(DIGESTS):
            pictures.add(digest, thumbnail(Image.new("RGB", (12, 9), (number * 99, 50, 9))))


def read_pictures(path: Path) -> list[bytes]:
    with reading_thumbnails(path) as pictures:
        return [pictures[digest].tobytes() for digest in DIGESTS]


def write_rows(path: Path) -> None:
    labels = np.array([0, 1], np.int32)
    names = [np.array(names) for names in ([b"a" * 64, b"b" * 64], [b"1.png", b"2.png"])]
    index = Index(*names, labels, np.array([b"", b""]), ("fig", "oak"), {"train": slice(0, 1), "test": slice(1, 2)})
    with writing(path, index, (3,), np.dtype(np.uint8), Origin({"pixels": [1, 1]})) as file:
        file.write([np.arange(6, dtype=np.uint8).reshape(2, 3)])


def read_rows(path: Path) -> Any:
    file = RowFile(path)
    index = file.index
    columns = [getattr(index, name).tolist() for name in ("keys", "paths", "labels", "groups")]
    return file.read(0, len(file)).tolist(), columns, index.classes, index.splits, file.origin, file.digest


def write_model(path: Path) -> None:
    model_file.write(
        path, {"config.json": b"{}", "weights": bytes(range(99))}, record(["fig", "oak"], {"pixels": [1, 1]})
    )


FORMATS: dict[str, tuple[Callable[[Path], None], Callable[[Path], Any]]] = {
    "data/manifest.csv": (
        lambda path: write_manifest(path, [Row(f"{SEVERAL_LINES}.png", "oak", "test", "ab" * 32, "7")], DIGESTS[0]),
        lambda path: (manifest_by(path), read_manifest(path)),
    ),
    "data/predictions/full.csv": (
        lambda path: write_predictions(
            path, Predictions(["1.png"], np.array([1]), np.array([[0.25, 0.75]]), ["fig", SEVERAL_LINES], DIGESTS[1])
        ),
        lambda path: str(read_predictions(path)),
    ),
    "data/validation/full.csv": (
        lambda path: write_predictions(path, Predictions([], np.empty(0, int), np.empty((0, 1)), ["fig"])),
        lambda path: str(read_predictions(path)),
    ),
    "data/history/full.csv": (lambda path: write_history(path, {"step": [1, 2], "loss": [0.7, 0.5]}), read_history),
    "data/label_issues/full.csv": (
        lambda path: write_label_issues(path, [LabelIssue("oak/1.jpg", "oak", "fig", 0.01, True)]),
        read_label_issues,
    ),
    "data/thumbnails.zip": (write_pictures, read_pictures),
    "data/features/full.h5": (write_rows, read_rows),
    "models/variants/full.keras": (write_model, model_file.verify),
    "models/backbones/full.keras": (
        lambda path: model_file.write(path, {"config.json": b"{}"}, BackboneRecord({"architecture": "none"})),
        model_file.verify,
    ),
}


@pytest.mark.parametrize("name", FORMATS)
def test_no_flipped_bit_passes(
    name: str, is_full: bool, tried: Tried, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path, (write, read) = Path(name), FORMATS[name]
    write(path)
    content, whole = path.read_bytes(), read(path)
    places, chance = range(len(content)), random.Random(f"{SEED} {name}")
    for place in places if is_full else chance.sample(places, min(150, len(places))):
        path.unlink()  # another file to who has this one open
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << chance.randrange(8)]) + content[place + 1 :])
        told = ""
        try:
            assert read(path) == whole, place
        except UserError as error:
            told = str(error)
        outcome = "named" if told else "harmless"
        assert not told or (told.startswith(name) and "`dvc repro" in told and "\n" not in told)
        tried(name.replace("full", "*"), "each byte", outcome)
        if path.suffix == ".csv":
            assert outcome == "named"


@pytest.mark.parametrize("name", [name for name in FORMATS if name.endswith(".keras")])
def test_no_model_with_more_bytes_passes(
    name: str, tried: Tried, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its digest, which names it in what is made by it, would be another's."""
    monkeypatch.chdir(tmp_path)
    path, (write, read) = Path(name), FORMATS[name]
    write(path)
    content = path.read_bytes()
    more = {"zeros": bytes(4096), "an end of old bytes": content[-99:], "a byte": b"1"}
    for how, added in more.items():
        for longer in (content + added, added + content):
            path.write_bytes(longer)
            with pytest.raises(UserError, match=f"^{name}: truncated or altered"):
                read(path)
            tried(name.replace("full", "*"), how, "named")


@pytest.mark.parametrize("name", [name for name in FORMATS if name.count("/") > 1])
def test_no_file_of_another_name_passes(
    name: str, tried: Tried, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of the same kind in its place is refused; elsewhere, it may be called anything."""
    monkeypatch.chdir(tmp_path)
    path, (write, read) = Path(name), FORMATS[name]
    write(path)
    for other in (path.with_stem("half"), Path("data/other", path.name)):
        other.parent.mkdir(exist_ok=True, parents=True)
        path.replace(other)
        with pytest.raises(
            UserError, match=f"^{other}: not {other.parent.name}/{other.stem}, but {path.parent.name}/full"
        ):
            read(other)
        other.replace(path)
    tried(name.replace("full", "*"), "swapped", "named")
    path.replace("mine")
    read(Path("mine"))
