"""A training that was interrupted goes on after its last finished epoch, to the same bits."""

import fcntl
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from ruamel.yaml import YAML

from stages.check.keras_names import public_classes
from stages.train.__main__ import main as train_variant
from tests.conftest import ROOT, named
from tests.stages.test_cross_validation import TENSORS, backbone, coloured
from tests.stages.test_cross_validation import rows as row_file
from thaw.formats.history import read_history
from thaw.formats.model_file import ModelRecord, read_record
from thaw.formats.row_file import Origin
from thaw.networks.backend import keras
from thaw.params.keras_spec import KerasSpec
from thaw.params.variants import Training
from thaw.training.batches import Rows
from thaw.training.checkpoint import Checkpoint
from thaw.training.training import freeze, train

pytestmark = pytest.mark.slow

FITS: dict[str, dict[str, Any]] = {
    "stopped early": {
        "optimizer": {"Adam": {"learning_rate": 0.3}},
        "callbacks": [{"EarlyStopping": {"monitor": "val_loss", "patience": 2, "restore_best_weights": True}}],
    },
    "at a rate that is reduced, over epochs that are parts of passes": {
        "optimizer": {"SGD": {"learning_rate": 3.0, "momentum": 0.9, "use_ema": True}},
        "callbacks": [
            {"ReduceLROnPlateau": {"monitor": "val_loss", "patience": 1, "cooldown": 1}},
            {"SwapEMAWeights": {"swap_on_epoch": True}},
            "TerminateOnNaN",
        ],
        "steps_per_epoch": 2,
    },
    "on mixed images": {
        "optimizer": {"Adam": {"learning_rate": 0.03}},
        "callbacks": [],
        "loss": "CategoricalCrossentropy",
    },
}
MIXED = ["RandomFlip", {"MixUp": {"alpha": 0.4}}, "CutMix"]


class KilledError(Exception):
    pass


class InterruptedAfterAnEpoch(Checkpoint):
    """A checkpoint behind which the process ends."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        super().on_epoch_end(epoch, logs)
        raise KilledError


def rows() -> Rows:
    pixels = np.random.default_rng(0).integers(0, 256, (22, 4, 4, 3)).astype(np.uint8)
    views = [np.arange(8), np.arange(8, 16)]
    return Rows(pixels, np.arange(22) % 3, np.arange(22), ("ash", "elm", "fir"), views, np.arange(16, 22))


def trained(
    fit: Training, checkpoint: Checkpoint | None, augmentation: list[KerasSpec] | None = None
) -> tuple[dict[str, list[float]], list[np.ndarray]]:
    """Train a new network, as a new process would; return the scores by epoch, and the weights."""
    keras.utils.set_random_seed(fit.seed)
    inputs = keras.Input((4, 4, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Conv2D(4, 3, name="conv")(x)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.Dropout(0.5)(keras.layers.Flatten()(x))
    model = keras.Model(inputs, keras.layers.Dense(3, "softmax", name="head_1_dense")(x))
    freeze(model, None, "trained")
    curve = train(model, None, rows(), fit, augmentation or ["RandomFlip"], checkpoint)
    return curve, model.get_weights()


@pytest.mark.parametrize("name", FITS)
def test_interrupted_after_every_epoch_it_comes_to_the_same_bits(name: str, tmp_path: Path) -> None:
    fit = Training(**{"epochs": 4, "batch_size": 3, **FITS[name]})
    augmentation = MIXED if name == "on mixed images" else None
    curve, weights = trained(fit, None, augmentation)
    for epoch, _ in enumerate(curve["loss"]):
        interrupted = InterruptedAfterAnEpoch(tmp_path, "this")
        assert interrupted.epochs == epoch
        with pytest.raises(KilledError):
            trained(fit, interrupted, augmentation)
    of_all_parts, last_weights = trained(fit, Checkpoint(tmp_path, "this"), augmentation)
    assert of_all_parts == curve
    assert all((one == other).all() for one, other in zip(last_weights, weights, strict=True))


def test_all_callbacks_that_params_can_name_are_tested_here() -> None:
    named = [next(iter(one)) if isinstance(one, dict) else one for fit in FITS.values() for one in fit["callbacks"]]
    assert sorted(named) == sorted(public_classes("callbacks"))


def test_the_state_of_another_training_and_a_damaged_one_are_ignored(tmp_path: Path) -> None:
    fit = Training(epochs=2, batch_size=6, optimizer="SGD")
    with pytest.raises(KilledError):
        trained(fit, InterruptedAfterAnEpoch(tmp_path, "this"))
    assert Checkpoint(tmp_path, "this").epochs == 1
    assert Checkpoint(tmp_path, "another").epochs == 0
    (file,) = tmp_path.iterdir()
    content = file.read_bytes()
    with np.load(file) as arrays:
        middle = content.index(arrays["variable 0"].tobytes())
    altered = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    for damaged in (b"", content[:middle], altered):
        file.write_bytes(damaged)
        assert Checkpoint(tmp_path, "this").epochs == 0


def test_a_state_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "a file").touch()
    curve, _ = trained(Training(epochs=1, batch_size=6, optimizer="SGD"), Checkpoint(tmp_path / "a file", "this"))
    assert len(curve["loss"]) == 1


PARAMS = {
    "variants": {
        "v": {
            "start": "backbones/b",
            "inputs": "tensors/t",
            "head": [
                "GlobalAveragePooling2D",
                {"Dropout": {"rate": 0.3}},
                {"Dense": {"units": "classes", "activation": "softmax"}},
            ],
            "augmentation": ["RandomFlip", "MixUp"],
            "fit": {
                "loss": "CategoricalCrossentropy",
                "calibrate": "temperature",
                "epochs": 90,
                "batch_size": 8,
                "optimizer": {"Adam": {"learning_rate": 0.01}},
                "callbacks": [
                    {"EarlyStopping": {"monitor": "val_accuracy", "patience": 40, "restore_best_weights": True}}
                ],
            },
        }
    }
}
FILES = ("params.yaml", "variants.v", "b.keras", "t.h5", "out/v.keras", "out/v.csv")
STAGE = ("-m", "stages.train", *named("train", *FILES))


def prepare(folder: Path) -> Path:
    """Make a folder in which a variant can be trained."""
    folder.mkdir()
    for code in ("stages", "thaw"):
        (folder / code).symlink_to(ROOT / code)
    with (folder / "params.yaml").open("w", encoding="utf-8") as file:
        YAML().dump(PARAMS, file)
    pixels, labels = coloured(60)
    row_file(folder / "t.h5", pixels, labels, Origin(TENSORS))
    backbone(folder / "b.keras")
    return folder


def test_a_training_goes_on_with_the_packages_that_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(prepare(tmp_path / "begun"))
    made_of = []

    def begun(_: Path, fingerprint: str) -> None:
        made_of.append(fingerprint)
        raise KilledError

    monkeypatch.setattr("stages.train.__main__.Checkpoint", begun)
    of_stage = (Path("params.yaml"), "variants.v", *map(Path, ("b.keras", "t.h5", "out/v.keras", "out/v.csv")))
    for updated in ("none", "keras", "tensorflow", "jax", "numpy"):
        monkeypatch.setattr("thaw.machine.version", {updated: "2"}.get)
        with pytest.raises(KilledError):
            train_variant(*of_stage)
    assert len({*made_of}) == 5


def stage_of(client: subprocess.Popen[str], folder: Path) -> int:
    """Return the process that runs a stage in `folder` for `client`."""
    there = {one.pid for one in psutil.process_iter(["cwd"]) if one.info["cwd"] == str(folder.resolve())}
    (stage,) = there - {client.pid}
    return stage


def test_killed_and_run_again_a_stage_writes_the_bytes_of_one_that_never_was(warm: Path, tmp_path: Path) -> None:
    undisturbed, killed, python = tmp_path / "undisturbed", tmp_path / "killed", warm / "python"
    shutil.copytree(prepare(undisturbed), killed, symlinks=True)
    subprocess.run([python, *STAGE], cwd=undisturbed, stdout=subprocess.DEVNULL, check=True)
    history = read_history(undisturbed / "out" / "v.csv")
    assert 41 < len(history["step"]) < 90  # early stopping waited, and stopped
    record = read_record(undisturbed / "out" / "v.keras")
    assert isinstance(record, ModelRecord)
    assert record.temperature is not None

    # Nobody reads what it prints: it comes to a stand when the pipe is full, some epochs before its end.
    with subprocess.Popen([python, *STAGE], cwd=killed, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        fcntl.fcntl(client.stdout, fcntl.F_SETPIPE_SZ, 4096)
        while not list(killed.glob(".thaw/training/variants.v/state.npz")):
            time.sleep(0.01)
        os.kill(stage_of(client, killed), signal.SIGKILL)
        assert client.wait() == signal.SIGKILL
    assert not (killed / "out" / "v.keras").exists()
    # The learning curve is there to look at while training lasts.
    so_far, whole = ((folder / "out" / "v.csv").read_text().splitlines() for folder in (killed, undisturbed))
    assert len(so_far) > 1
    assert whole[1 : len(so_far)] == so_far[1:]  # the first line has the file's digest

    again = subprocess.run([python, *STAGE], cwd=killed, stdout=subprocess.PIPE, text=True, check=True)
    assert "an interrupted training goes on after epoch " in again.stdout
    for name in ("v.keras", "v.csv"):
        assert (killed / "out" / name).read_bytes() == (undisturbed / "out" / name).read_bytes()
    assert not list(killed.glob(".thaw/training/*"))


def test_interrupted_a_training_ends_without_a_word_and_goes_on_later(warm: Path, tmp_path: Path) -> None:
    folder = prepare(tmp_path / "interrupted")
    with subprocess.Popen(
        [warm / "python", *STAGE], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as client:
        while not list(folder.glob(".thaw/training/variants.v/state.npz")):
            time.sleep(0.01)
        os.kill(stage_of(client, folder), signal.SIGINT)
        out, err = client.communicate()
    assert (client.returncode, err) == (130, "")
    assert "Traceback" not in out
    assert [path.name for path in (folder / "out").iterdir()] == ["v.csv"]
    again = subprocess.run([warm / "python", *STAGE], cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
    assert "an interrupted training goes on after epoch " in again.stdout
