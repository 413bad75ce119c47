"""What the stages write, as tables of pandas."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas
import pytest
from ruamel.yaml import YAML

from tests.conftest import CLASSES, Project
from thaw.errors import UserError
from thaw.formats.frames import frame
from thaw.formats.history import read_history, write_history
from thaw.formats.predictions import Predictions, read_predictions, write_predictions
from thaw.formats.row_file import RowFile


def test_every_table_that_a_stage_writes_has_its_columns_and_cells(finished: Project) -> None:
    stages = YAML(typ="safe").load(finished.folder / "dvc.lock")["stages"]
    outs = [finished.folder / out["path"] for stage in stages.values() for out in stage["outs"]]
    tables = [path for path in outs if path.suffix in (".csv", ".json", ".h5")]
    assert len(tables) > 20
    for path in tables:
        table = frame(path)
        assert len(table) or path.stem in ("skipped", "near_duplicates")
        if path.suffix == ".csv":
            with path.open(encoding="utf-8", newline="") as file:
                (*names, _), *rows = csv.reader(file)
            assert [*table] == names
            for column, name in enumerate(names):
                cells = [row[column] for row in rows]
                is_text = not pandas.api.types.is_numeric_dtype(table[name])
                assert table[name].tolist() == (cells if is_text else [float(cell) for cell in cells])


def test_rows_of_features_are_found_by_their_images(finished: Project) -> None:
    path = finished.folder / "data" / "features" / "bottleneck.h5"
    table, manifest = frame(path), frame(finished.folder / "data" / "manifest.csv")
    pandas.testing.assert_frame_equal(table, manifest, check_dtype=False)
    file = RowFile(path)
    test = table[table["split"] == "test"]
    np.testing.assert_array_equal(file[test.index], file.read_split("test")[0], strict=True)
    assert {*test["label"]} == {*CLASSES}


def test_scores_are_a_row_by_variant(finished: Project) -> None:
    paths = sorted((finished.folder / "metrics").glob("*.json"))
    table = pandas.concat(map(frame, paths))
    assert table.index.tolist() == ["frozen_head", "full", "half"]
    full = json.loads((finished.folder / "metrics" / "full.json").read_text())
    assert table.loc["full", "test.accuracy"] == full["test"]["accuracy"]
    assert table.loc["full", "parameters.total"] == full["parameters"]["total"]


def test_numbers_are_those_that_python_reads(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    values = (random.random((500, 3)) ** random.integers(1, 60, (500, 3))).astype(np.float32)
    paths = [f"{number}.png" for number in range(500)]
    write_predictions(tmp_path / "full.csv", Predictions(paths, np.zeros(500, int), values, ["nan", "1", "true"]))
    read = frame(tmp_path / "full.csv").filter(regex="^p_").to_numpy()
    np.testing.assert_array_equal(read, read_predictions(tmp_path / "full.csv").probabilities, strict=True)
    write_history(tmp_path / "curve.csv", {"step": [1, 2, 3], "loss": [float("nan"), float("inf"), 1e-300]})
    curve = frame(tmp_path / "curve.csv")
    np.testing.assert_array_equal(curve["loss"], read_history(tmp_path / "curve.csv")["loss"])
    assert curve["loss"].dtype == float


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("manifest.csv", None, "no such file; `dvc repro` makes it"),
        ("full.keras", "", "no table; expected a .csv, .json or .h5 file"),
        ("mine.csv", "name,age\na,7\n", "nothing that a stage wrote, or damaged"),
        ("empty.csv", "", "nothing that a stage wrote, or damaged"),
        ("full.csv", "path,actual,predicted,p_a\n1.png,a,a,0.5\n2.png,a,a\n", "damaged"),
        ("full.csv", "path,actual,predicted,p_a\n1.png,a,a,0.5,0.5\n", "damaged"),
        ("full.csv", "path,actual,predicted,p_a\n1.png,a,a,0.5\n1.png,a,a,0.5,0.5\n", "damaged"),
        ("curve.csv", "step,loss\n1.5,0.5\n", "damaged"),
        ("full.csv", "path,actual,predicted,p_a\n1.png,a,a,a half\n", "damaged"),
        ("full.csv", "path,actual,predicted,q_a\n1.png,a,a,1\n", "damaged"),
        ("full.csv", b"path,actual,predicted,p_\xe4\n1.png,\xe4,\xe4,1\n", "damaged"),
        ("full.json", "[]", "nothing that a stage wrote, or damaged"),
        ("full.json", '{"name": "thaw"}', "nothing that a stage wrote, or damaged"),
        ("full.json", "{", "nothing that a stage wrote, or damaged"),
        ("full.h5", "rows", "truncated or altered"),
    ],
)
def test_what_is_no_table_of_a_stage_is_refused(
    tmp_path: Path, name: str, text: str | bytes | None, words: str
) -> None:
    if text is not None:
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=words) as caught:
        frame(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name}: ")


def test_a_folder_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "full.csv").mkdir()
    with pytest.raises(UserError, match=r"full\.csv: cannot be read: Is a directory"):
        frame(tmp_path / "full.csv")


@pytest.mark.slow
def test_nobody_waits_for_packages_that_others_would_only_recognize() -> None:
    code = """
import sys, thaw.networks.backend
assert not {"jax", "matplotlib", "pandas", "sklearn"} & sys.modules.keys()
import thaw.scoring.scoring, stages.manifest.listing
assert "pandas" not in sys.modules
import jax, matplotlib.pyplot, pandas
from sklearn.preprocessing import StandardScaler
assert list(StandardScaler().set_output(transform="pandas").fit_transform(pandas.DataFrame({"a": [1.0, 2.0]}))) == ["a"]
"""
    subprocess.run([sys.executable, "-c", code], check=True)
