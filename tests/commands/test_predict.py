"""`thaw predict`: what the pipeline scored, for any images, whatever else lies beside them."""

import csv
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from commands import export, predict
from commands import next as following
from commands.output import refuse_place, writing_table
from tests.conftest import CLASSES, PARAMS, ROOT, Project
from thaw.errors import UserError
from thaw.formats import model_file
from thaw.machine import HAS_CUDA, HAS_NVIDIA, HAS_OPENVINO

VARIANTS = list(PARAMS["variants"])


def model(project: Project, variant: str = "frozen_head") -> Path:
    return project.folder / "models" / "variants" / f"{variant}.keras"


def images(project: Project) -> Path:
    return project.folder / PARAMS["dataset"]["path"]


def rows(table: Path) -> list[dict[str, str]]:
    with table.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return list(csv.DictReader(file))


def probabilities(row: dict[str, str]) -> dict[str, float]:
    ranks = [int(column.removeprefix("class_")) for column in row if column.startswith("class_")]
    return {row[f"class_{rank}"]: float(row[f"probability_{rank}"]) for rank in ranks}


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_probabilities_are_those_that_were_scored(variant: str, finished: Project, tmp_path: Path) -> None:
    scored = rows(finished.folder / "data" / "predictions" / f"{variant}.csv")
    paths = [images(finished) / row["path"] for row in scored]
    predict.main(model(finished, variant), paths, tmp_path / "new folder" / "found.csv", 5)
    found = rows(tmp_path / "new folder" / "found.csv")
    assert [Path(row["path"]) for row in found] == paths
    for row, expected in zip(found, scored, strict=True):
        by_class = probabilities(row)
        assert set(by_class) == set(CLASSES)
        assert list(by_class.values()) == sorted(by_class.values(), reverse=True)
        assert by_class == pytest.approx({name: float(expected[f"p_{name}"]) for name in CLASSES}, rel=0, abs=1e-5)


def test_folders_are_searched_and_unreadable_files_are_listed_at_the_end(finished: Project, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    noise = np.random.default_rng(0)
    for number in range(70):
        path = folder / f"day {number % 3}" / "deeper" / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise.integers(0, 256, (20, 30, 3), np.uint8)).save(path)
    whole = (folder / "day 0" / "deeper" / "00.png").read_bytes()
    bad = [folder / "day 0" / "note.txt", folder / "day 1" / "cut.png", folder / "day 2" / "empty.jpg"]
    for path, content in zip(bad, (b"no image", whole[: len(whole) // 2], b""), strict=True):
        path.write_bytes(content)
    (folder / ".hidden.png").write_bytes(b"")
    odd = folder / "name\udcff.png"
    odd.write_bytes(whole)

    out = tmp_path / "found.csv"
    done = subprocess.run(
        [sys.executable, "-m", "commands", "predict", model(finished), folder, odd, "--out", out, "--top", "2"],
        cwd=ROOT,
        text=True,
        capture_output=True,
    )
    assert done.returncode == 1
    listed = done.stderr[done.stderr.index("error: ") :].splitlines()
    assert listed[0] == "error: 3 of 74 files show no image:"
    assert [line.split(": ")[0].strip() for line in listed[1:]] == [str(path) for path in bad]
    assert "74/74" in done.stderr
    found = rows(out)
    below = sorted(path for path in folder.glob("*/*/*.png") if path not in bad)
    assert [row["path"] for row in found] == [str(path) for path in (odd, *below)]
    assert list(found[0]) == ["path", "class_1", "probability_1", "class_2", "probability_2"]
    same = [probabilities(row) for row in found if row["path"] in (str(odd), str(folder / "day 0/deeper/00.png"))]
    assert same[0] == same[1]


WATCHED = """
import sys
from pathlib import Path
from commands import predict

predict.main(Path(sys.argv[1]), [Path(sys.argv[2])], Path(sys.argv[3]), 3)
print("Keras is loaded" if "keras" in sys.modules else "Keras is not loaded")
"""


@pytest.mark.skipif(HAS_NVIDIA or HAS_CUDA or not HAS_OPENVINO, reason="Keras runs models here")
def test_a_model_is_converted_once_and_then_runs_without_keras(finished: Project, tmp_path: Path) -> None:
    folder, cache = images(finished) / CLASSES[0], tmp_path / "cache"

    def found(out: str, where: Path | None = cache) -> tuple[str, bytes]:
        words = [sys.executable, "-c", WATCHED, model(finished, "full"), folder, tmp_path / out]
        environment = {**os.environ, "THAW_CACHE": str(where or "")}
        done = subprocess.run(words, cwd=ROOT, env=environment, text=True, capture_output=True, check=True)
        return done.stdout, (tmp_path / out).read_bytes()

    said, table = found("first.csv")
    assert "Keras is loaded" in said
    assert found("second.csv") == (said.replace("is loaded", "is not loaded"), table)
    # Training kept what it had trained.
    assert found("third.csv", None) == ("Keras is not loaded\n", table)
    (graph,) = (cache / "rows").glob("*/graph.zip")
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(content)
    assert found("fourth.csv") == (said, table)


def test_a_table_has_a_row_for_each_file_whatever_its_name(tmp_path: Path) -> None:
    names = ["plain", "a\rb", "a\nb", "\r\n", 'a"b', "a,b", "name\udcff", " a "]
    with writing_table(tmp_path / "found.csv", ["path", "class"]) as write:
        for name in names:
            write([name, "oak"])
    assert [row["path"] for row in rows(tmp_path / "found.csv")] == names
    assert (tmp_path / "found.csv").read_bytes().startswith(b"path,class\nplain,oak\n")


def test_a_table_is_printed(finished: Project, capsys: pytest.CaptureFixture[str]) -> None:
    path = images(finished) / CLASSES[0] / "tree 0.png"
    predict.main(model(finished), [path, path], None, 1)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{path}  ")
    assert line.endswith("%")
    assert any(name in line.removeprefix(str(path)) for name in CLASSES)


def test_nothing_that_is_printed_seems_surer_than_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    path = Path("a.png")
    predict._printer([path], ["oak", "fig"])(path, [("oak", 0.9998), ("fig", 0.0002)])
    following._show([(path, "oak", 0.9998)], None)
    assert capsys.readouterr().out == "a.png  oak >99.9%  fig  <0.1%\na.png  oak  >99.9%\n"


def test_what_is_unsure_is_left_open(finished: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = sorted(images(finished).rglob("*.png"))
    for out, unsure in (("all.csv", None), ("some.csv", 0.8)):
        predict.main(model(finished), paths, tmp_path / out, 2, unsure)
    every, some = rows(tmp_path / "all.csv"), rows(tmp_path / "some.csv")
    left_open = [float(row["probability_1"]) < 0.8 for row in every]
    assert 0 < sum(left_open) < len(paths)
    for before, after, is_open in zip(every, some, left_open, strict=True):
        assert after == (before | {"class_1": ""} if is_open else before)
    told = f"{sum(left_open)} of {len(paths)} images left open, with a confidence below 0.8"
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("command", ["predict", "next", "export"])
def test_a_model_that_becomes_another_meanwhile_is_told(
    command: str, finished: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The names of classes would be those of the one, and the numbers the other's."""
    path = Path(shutil.copy(model(finished), tmp_path / "head.keras"))
    read = model_file.read_record

    def read_and_replace(path: Path) -> model_file.Record:
        found = read(path)
        Path(shutil.copy(model(finished, "half"), tmp_path / "other.keras")).replace(path)
        return found

    monkeypatch.setattr(model_file, "read_record", read_and_replace)
    monkeypatch.chdir(tmp_path)
    calls: dict[str, Callable[[], None]] = {
        "predict": lambda: predict.main(path, [images(finished)], tmp_path / "found", 5),
        "next": lambda: following.main([images(finished)], path, 3, tmp_path / "found"),
        "export": lambda: export.main(path, "keras", tmp_path / "found.keras", []),
    }
    with pytest.raises(UserError, match=r"^.*head\.keras: became another file while it was read; run it again$"):
        calls[command]()
    assert not [*tmp_path.glob("found*")]


def wrong(model: Path, *images: Path, out: Path | None = None) -> str:
    with pytest.raises(UserError) as caught:
        predict.main(model, list(images), out, 1)
    return str(caught.value)


def test_what_cannot_be_used_is_named(finished: Project, tmp_path: Path) -> None:
    good, image = model(finished), images(finished) / CLASSES[0] / "tree 0.png"
    text, empty, folder = tmp_path / "model.keras", tmp_path / "empty", tmp_path / "folder"
    text.write_text("no model")
    empty.mkdir()
    folder.mkdir()
    assert wrong(tmp_path / "none.keras", image).startswith(f"{tmp_path / 'none.keras'}: no such file")
    assert wrong(folder, image).startswith(f"{folder}: a folder, where a file is expected")
    assert wrong(folder, image).endswith("; name a variant's model, such as models/variants/full.keras")
    assert wrong(image, image) == f"{image}: no model; name a variant's model, such as models/variants/full.keras"
    assert "truncated or altered" in wrong(text, image)
    assert "a backbone, which knows no classes" in wrong(
        finished.folder / "models" / "backbones" / "lite0.keras", image
    )
    assert wrong(good, tmp_path / "nowhere") == f"{tmp_path / 'nowhere'}: cannot be read: No such file or directory"
    assert wrong(good, empty) == f"{empty}: no files are there"
    assert wrong(good, image, out=folder).startswith(f"{folder}: a folder")
    archive = tmp_path / "photos.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.write(image, "1.png")
    for read in (good, image, archive):
        before = read.read_bytes()
        assert wrong(good, image.parent, archive, out=read) == (
            f"{read}: one of the files that are read; give --out the name of another"
        )
        assert read.read_bytes() == before
    mine = tmp_path / "mine.csv"
    for content in ("path,label\n1.png,oak\n", "path,class,confidence,label\n", "note"):
        mine.write_text(content)
        assert wrong(good, image, out=mine) == (
            f"{mine}: there is a file that would be lost; give --out the name of another, or remove it"
        )
        assert mine.read_text() == content
    assert wrong(good, image, out=text / "found.csv").startswith(f"{text / 'found.csv'}: cannot be written")
    assert not list(folder.iterdir())


def test_no_file_takes_a_devices_place() -> None:
    """It would take that of standard output, where a file is that, for whoever may write there."""
    with pytest.raises(UserError, match="^/dev/stdout: no place for files; without --out, a table is printed$"):
        refuse_place(Path("/dev/stdout"), [])
    refuse_place(Path("/dev/shm/found.csv"), [])


@pytest.mark.slow
def test_the_command_line(tmp_path: Path) -> None:
    def thaw(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "commands", *arguments], cwd=ROOT, text=True, capture_output=True)

    assert "predict" in thaw("--help").stdout
    assert "--top K" in thaw("predict", "--help").stdout
    nothing = thaw("predict", str(tmp_path / "none.keras"), str(tmp_path / "none.jpg"))
    assert nothing.returncode == 1
    assert nothing.stderr == f"error: {tmp_path / 'none.jpg'}: cannot be read: No such file or directory\n"
    empty = thaw("predict", "a", "")
    assert empty.returncode == 2
    assert empty.stderr.endswith("error: an argument is empty; see whether a variable is not set\n")
    top = thaw("predict", "a", "b", "--top", "0")
    assert top.returncode == 2
    assert "expected a whole number from 1, got '0'" in top.stderr
    for value in ("1.5", "0", "1", "-0.5", "nan", "inf", "high"):
        unsure = thaw("predict", "a", "b", f"--unsure={value}")
        assert unsure.returncode == 2
        assert unsure.stderr.splitlines()[-1].endswith(f"above 0 and below 1, such as 0.8, got {value!r}")
