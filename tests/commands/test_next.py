"""`thaw next`: the most uncertain images, spread out, each once, and none that has a label."""

import os
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from commands import next as command
from commands.predict import main as predict
from tests.commands.test_predict import images, model, rows
from tests.conftest import CLASSES, ROOT, Project
from thaw.errors import UserError
from thaw.networks import models
from thaw.networks.backend import keras


def table(out: Path, *paths: Path, of: Path, count: int) -> list[dict[str, str]]:
    command.main(list(paths), of, count, out)
    return rows(out)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unlabelled images: mixtures of the classes, of which one is there three times."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(30):
        noise = np.random.default_rng(number)
        pixels = noise.integers(0, 120, (24, 30, 3)) + np.round(noise.dirichlet((1, 1, 1)) * 120).astype(int)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number:02}.png")
    for name in ("copy.png", "deeper/copy.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(folder / "07.png", folder / name)
    return folder


def test_it_begins_with_the_most_uncertain_and_goes_on_with_the_farthest(
    finished: Project, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "POOL", 2)
    found = table(tmp_path / "next.csv", photos, of=model(finished), count=6)
    predict(model(finished), [photos], tmp_path / "all.csv", 3)
    scored = {row["path"]: row for row in rows(tmp_path / "all.csv")}
    margins = {path: float(row["probability_1"]) - float(row["probability_2"]) for path, row in scored.items()}
    apart = {path: margin for path, margin in margins.items() if "copy" not in path}
    pool = sorted(apart, key=apart.__getitem__)[:12]
    network, _ = models.load(model(finished))
    last = keras.Model(network.input, network.layers[-1].input)
    from commands.classifier import Classifier

    read = Classifier(model(finished)).read
    embeddings = last.predict(np.stack([read(Path(path)) for path in pool]), verbose=0)
    chosen = [0]
    while len(chosen) < 6:
        distances = ((embeddings[:, None] - embeddings[chosen]) ** 2).sum(axis=2).min(axis=1)
        chosen.append(int(distances.argmax()))
    assert [row["path"] for row in found] == [pool[number] for number in chosen]
    for row in found:
        assert row["class"] == scored[row["path"]]["class_1"]
        assert float(row["confidence"]) == pytest.approx(float(scored[row["path"]]["probability_1"]), abs=1e-5)


def test_the_list_is_the_same_twice_and_names_no_image_twice(finished: Project, photos: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        table(tmp_path / f"{name}.csv", photos, of=model(finished), count=100)
    assert (tmp_path / "first.csv").read_bytes() == (tmp_path / "second.csv").read_bytes()
    paths = [row["path"] for row in rows(tmp_path / "first.csv")]
    assert len(paths) == len(set(paths)) == 30
    assert sum(path.endswith(("07.png", "copy.png")) for path in paths) == 1


def test_what_the_manifest_has_is_left_out(
    finished: Project, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(finished.folder)
    command.main([images(finished), photos], model(finished), 5, None)
    said = capsys.readouterr()
    assert "left out: 21 that data/manifest.csv has, 2 that are copies of others" in said.err
    assert len(said.out.splitlines()) == 5
    assert not any(name in said.out for name in ("oak/", "pine/"))
    with pytest.raises(UserError, match="all are in data/manifest.csv already"):
        command.main([images(finished)], model(finished), 5, None)
    with pytest.raises(UserError, match="manifest.csv: one of the files that are read"):
        command.main([photos], model(finished), 5, command.MANIFEST)
    monkeypatch.chdir(photos)
    command.main([photos / "07.png"], model(finished), 1, None)
    assert "warning: data/manifest.csv is not here, so that images which have a label" in capsys.readouterr().err


def test_files_that_show_nothing_are_listed_at_the_end(finished: Project, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("no image")
    with pytest.raises(UserError, match=r"1 of 31 files shows no image:\n  .*note\.txt: "):
        table(tmp_path / "found.csv", photos, tmp_path / "note.txt", of=model(finished), count=3)
    assert len(rows(tmp_path / "found.csv")) == 3
    with pytest.raises(UserError, match="1 of 1 files shows no image"):
        table(tmp_path / "found.csv", tmp_path / "note.txt", of=model(finished), count=3)


def test_a_deeper_head_has_its_own_embedding(finished: Project, tmp_path: Path) -> None:
    network, record = models.load(model(finished))
    hidden = keras.layers.Dense(5, activation="relu")(network.layers[-1].input)
    logits = keras.layers.Dense(len(CLASSES))(hidden)
    models.save(keras.Model(network.input, keras.layers.Softmax()(logits)), tmp_path / "deep.keras", record)
    engine = command.with_embedding(tmp_path / "deep.keras")
    pixels = np.random.default_rng(0).integers(0, 256, (3, *network.input.shape[1:])).astype(np.uint8)
    rows = engine(pixels)
    assert rows.shape == (3, 5 + len(CLASSES))
    np.testing.assert_allclose(rows[:, 5:].sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(rows[:, :5], keras.Model(network.input, hidden)(pixels), rtol=1e-3, atol=1e-5)


def test_what_is_far_is_found_some_rows_at_a_time() -> None:
    embeddings = np.random.default_rng(0).normal(size=(300, 2000)).astype(np.float32)
    embeddings[[150, 299]] = embeddings[0]
    apart = np.square(embeddings[:, None, :50] - embeddings[None, :, :50]).sum(axis=2)
    tracemalloc.start()
    chosen = command.spread_out(embeddings[:, :50], count=300)
    assert chosen[:2] == [0, apart[0].argmax()]
    assert chosen[2] == np.minimum(apart[0], apart[chosen[1]]).argmax()
    assert chosen[-2:] == [150, 299]  # copies of the first
    command.spread_out(embeddings, count=3)
    assert tracemalloc.get_traced_memory()[1] < embeddings.nbytes
    tracemalloc.stop()


def test_the_command_line() -> None:
    def thaw(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "commands", *arguments], cwd=ROOT, text=True, capture_output=True)

    assert "next" in thaw("--help").stdout
    count = thaw("next", "a", "--model", "m", "--count", "0")
    assert count.returncode == 2
    assert "expected a whole number from 1, got '0'" in count.stderr
    nothing = thaw("next", "nowhere", "--model", "m")
    assert nothing.stderr == "error: nowhere: cannot be read: No such file or directory\n"


def test_a_pipe_among_the_images_makes_nobody_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.png")
    shutil.copy(ROOT / "docs" / "report.png", "1.png")
    assert command._new([Path("1.png"), Path("pipe.png")]) == [Path("1.png"), Path("pipe.png")]
