"""What is kept to save time is never taken where it is damaged, or another's: without it, results are the same."""

import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.faults.conftest import Tried
from tests.faults.damages import DAMAGES, RANDOM, SEED
from thaw import stage
from thaw.engines import kept
from thaw.errors import UserError
from thaw.files.watching import unchanged
from thaw.files.writing import write_text
from thaw.networks.backend import keras
from thaw.reuse.folder import FOLDER, rows_folder
from thaw.reuse.row_store import RowStore
from thaw.training.checkpoint import Checkpoint

KEYS = np.array([f"{number:064x}".encode() for number in range(40)])
ROWS = np.random.default_rng(0).integers(0, 256, (40, 30), np.uint8)
GRAPH = (b"<net>" * 40, bytes(range(256)) * 8)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    return tmp_path


def compute(numbers: np.ndarray) -> Iterator[np.ndarray]:
    for first in range(0, len(numbers), 7):
        yield ROWS[numbers[first : first + 7]]


def stored(made_of: str) -> np.ndarray:
    return np.concatenate([*RowStore(made_of, (30,), ROWS.dtype).complete(KEYS, compute)])


def damaged(path: Path, is_full: bool) -> Iterator[str]:
    """Damage a file in one way after another; it is put back between them, and at the end."""
    content, chance = path.read_bytes(), random.Random(f"{SEED} {path.name}")
    for damage in DAMAGES:
        for _ in range((40 if is_full else 4) if damage in RANDOM else 1):
            path.write_bytes(damage(content, chance))
            yield damage.__name__
    path.write_bytes(content)


def test_rows(is_full: bool, tried: Tried) -> None:
    stored("a" * 64)
    (segment,) = (rows_folder() / ("a" * 64)).iterdir()
    for how in damaged(segment, is_full):
        content = segment.read_bytes()
        np.testing.assert_array_equal(stored("a" * 64), ROWS)
        for more in segment.parent.iterdir():
            more.unlink()
        segment.write_bytes(content)
        tried("rows", how, "harmless")


def test_rows_of_another_network(tried: Tried) -> None:
    """In its folder, they have the right keys and the right size."""
    other = np.concatenate([*RowStore("b" * 64, (30,), ROWS.dtype).complete(KEYS, lambda numbers: iter([ROWS[::-1]]))])
    np.testing.assert_array_equal(other, ROWS[::-1])
    shutil.copytree(rows_folder() / ("b" * 64), rows_folder() / ("a" * 64))
    np.testing.assert_array_equal(stored("a" * 64), ROWS)
    tried("rows", "swapped", "harmless")


def test_graphs(folder: Path, is_full: bool, tried: Tried) -> None:
    place, other = rows_folder() / "a" / "graph.zip", rows_folder() / "b" / "graph.zip"
    kept.keep(place, {"network": "one"}, GRAPH)
    kept.keep(other, {"network": "other"}, (b"<other>", b"weights"))
    assert kept.read(place) == ({"network": "one"}, GRAPH)
    for how in damaged(place, is_full):
        assert kept.read(place) in (None, ({"network": "one"}, GRAPH))
        tried("graphs", how, "harmless")
    shutil.copy(other, place)
    assert kept.read(place) is None
    tried("graphs", "swapped", "harmless")


@pytest.fixture(scope="module")
def network() -> keras.Model:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("adam", "mse")
    model.fit(np.zeros((4, 3)), np.zeros((4, 2)), verbose=0)
    return model


def test_checkpoints(folder: Path, network: keras.Model, is_full: bool, tried: Tried) -> None:
    def written(name: str, fingerprint: str) -> Path:
        checkpoint = Checkpoint(folder / name, fingerprint)
        checkpoint.set_model(network)
        checkpoint.on_epoch_end(2)
        return folder / name / "state.npz"

    path, other = written("one", "1"), written("other", "2")
    whole = Checkpoint(path.parent, "1")
    assert whole.epochs == 3
    for how in damaged(path, is_full):
        found = Checkpoint(path.parent, "1")
        assert found.epochs in (0, 3)
        if found.epochs:
            np.testing.assert_equal(found._found, whole._found)
        tried("checkpoints", how, "harmless")
    shutil.copy(other, path)
    assert Checkpoint(path.parent, "1").epochs == 0
    tried("checkpoints", "swapped", "harmless")


def test_a_training_whose_inputs_change_can_go_on(folder: Path, network: keras.Model, tried: Tried) -> None:
    inputs, model = folder / "inputs.h5", folder / "model.keras"
    inputs.write_bytes(b"rows")
    checkpoint = Checkpoint(folder / "one", "1")
    checkpoint.set_model(network)
    with pytest.raises(UserError, match=f"^{inputs}: changed"), unchanged([inputs, model]):
        checkpoint.on_epoch_end(2)
        write_text(model, "trained")
        inputs.write_bytes(b"other")
        checkpoint.discard()
    assert not model.exists()
    assert Checkpoint(folder / "one", "1").epochs == 3
    tried("inputs of a training", "changed", "named")


def test_a_state_of_another_kind_is_ignored(folder: Path, network: keras.Model, tried: Tried) -> None:
    for number, about in enumerate(([], {}, {"fingerprint": "1"}, {"fingerprint": "1", "seal": "", "epochs": 1}, "1")):
        path = folder / str(number) / "state.npz"
        path.parent.mkdir()
        np.savez(path, about=np.array(json.dumps(about)))
        assert Checkpoint(path.parent, "1").epochs == 0
        tried("checkpoints", "of another kind", "harmless")


def test_scores_of_seeds(is_full: bool, tried: Tried) -> None:
    from stages import seeds

    scores, place = {"test": {"accuracy": 0.5}}, rows_folder() / "a" / "seed.zip"
    seeds.keep(place, scores)
    seeds.keep(rows_folder() / "b" / "seed.zip", {"test": {"accuracy": 0.9}})
    for how in damaged(place, is_full):
        assert seeds.kept(place) in (None, scores)
        tried("seeds", how, "harmless")
    content = place.read_bytes()
    for number in range(len(content)):
        place.write_bytes(content[:number] + bytes([content[number] ^ 1 << number % 8]) + content[number + 1 :])
        assert seeds.kept(place) in (None, scores)
    shutil.copy(rows_folder() / "b" / "seed.zip", place)
    assert seeds.kept(place) is None
    tried("seeds", "swapped", "harmless")


def test_a_pipe_in_a_files_place_makes_nobody_wait(folder: Path, tried: Tried) -> None:
    from stages import seeds

    pipes = ("rows/a/1.rows", "rows/a/graph.zip", "rows/a/seed.zip", "training/state.npz", "durations.csv")
    for name in pipes:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(folder / name)
        tried(name, "a pipe", "harmless")
    np.testing.assert_array_equal(stored("a"), ROWS)
    assert kept.read(folder / pipes[1]) is seeds.kept(folder / pipes[2]) is None
    assert Checkpoint(folder / "training", "1").epochs == 0
    assert stage.durations() == {}


def test_durations_that_are_none_are_left_out(folder: Path) -> None:
    seconds = ("nan", "inf", "-1", "1e300", "2.5")
    (folder / "durations.csv").write_text("".join(f"python -m {number},{one}\n" for number, one in enumerate(seconds)))
    assert [*stage.durations().values()] == [2.5]


def test_durations(folder: Path, is_full: bool, tried: Tried) -> None:
    path = folder / "durations.csv"
    path.write_text("".join(f"python -m stages.train --entry variants.{name},{len(name)}.5\n" for name in ("a", "bb")))
    assert len(stage.durations()) == 2
    for how in damaged(path, is_full):
        stage.durations()  # only an estimate
        tried("durations", how, "harmless")
