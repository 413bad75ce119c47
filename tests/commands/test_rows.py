"""`thaw rows`: shares of rows that machines compute into one store, in which stages then find all of them."""

import argparse
import contextlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from commands.rows import _planned, add_arguments, main, require_shared
from tests.conftest import Project
from thaw.errors import UserError
from thaw.formats.row_file import RowFile
from thaw.reuse.folder import FOLDER, LIMIT, rows_folder
from thaw.reuse.row_store import RowStore

KEYS = np.array([b"%064d" % number for number in range(100)])


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A shared folder, in which nothing is stored."""
    folder = tmp_path / "shared"
    folder.mkdir()
    monkeypatch.setenv(FOLDER, str(folder))
    monkeypatch.delenv(LIMIT, raising=False)
    return folder


def test_shares_together_are_all_rows_that_a_stage_wants(
    finished: Project, store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(FOLDER)
    for graph in rows_folder().glob("*/graph.zip"):  # else Keras would be loaded
        shutil.copytree(graph.parent, store / "rows" / graph.parent.name, ignore=shutil.ignore_patterns("*.rows"))
    monkeypatch.setenv(FOLDER, str(store))
    with contextlib.chdir(finished.folder):
        main("tensors.small", (1, 50))
        assert capsys.readouterr().out.splitlines()[-1] == "tensors.small: part 1 of 50 has none of the 21 rows"
        for entry in ("tensors.small", "features.midway"):
            for number, before in enumerate((0, 7, 14), start=1):
                main(entry, (number, 3))
                said = capsys.readouterr().out
                assert f"{before} " in said.split(";")[1]
                assert f"{entry}: rows {before + 1} to {before + 7} of 21 are in {store / 'rows'}, where `dvc" in said
            plan = replace(_planned(entry)[0], compute=lambda missing: pytest.fail("something is computed"))
            file = RowFile(Path(f"data/{entry.replace('.', '/')}.h5"))
            np.testing.assert_array_equal(np.concatenate(list(plan.rows())), file.read(0, len(file)), strict=True)


@pytest.mark.parametrize("text", ["17/16", "0/16", "3", "3/", "a/b", "-1/2", "1/0"])
def test_a_share_that_there_is_not_is_named(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["features.bottleneck", f"--part={text}"])
    assert f"expected I/N with I from 1 to N, such as 3/16, got '{text}'" in capsys.readouterr().err


def test_outside_of_the_projects_folder_a_line_says_so(tmp_path: Path) -> None:
    with (
        contextlib.chdir(tmp_path),
        pytest.raises(UserError, match=r"^params\.yaml: no such file; run this in the pro"),
    ):
        main("tensors.small", (1, 1))


def test_a_folder_that_is_not_shared_is_named(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="THAW_CACHE: name a folder that all machines see"):
        require_shared(None)
    with pytest.raises(UserError, match="gone: no such folder on .*; mount there what all machines share"):
        require_shared(str(store / "gone"))
    require_shared("/dev/shm")
    assert "/dev/shm is on a disk of " in capsys.readouterr().out


def test_rows_that_would_push_each_other_out_are_refused_before_one_is_computed(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = RowStore("some", (1000,), np.dtype(np.float32))
    rows.require_room(100)
    monkeypatch.setenv(LIMIT, "0.0004")
    rows = RowStore("some", (1000,), np.dtype(np.float32))
    with pytest.raises(UserError, match=rf"^{LIMIT}: 100 rows take 0\.0 GB, and .* may have .*`export {LIMIT}=1`$"):
        rows.require_room(100)
    rows.require_room(70)
    rows = RowStore("some", (1000,), np.dtype(np.float32))
    rows.require_room(70)
    list(rows.complete(KEYS[:70], lambda missing: iter(np.zeros((len(missing) // 10, 10, 1000), np.float32))))
    assert RowStore("some", (1000,), np.dtype(np.float32)).count(KEYS) == 70


def test_rows_that_cannot_be_stored_are_an_error_for_who_computes_nothing_else(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = RowStore("some", (10,), np.dtype(np.float32))
    rows.require_room(10)
    (store / "rows" / "some").write_bytes(b"")
    with pytest.raises(UserError, match=r"shared/rows: cannot be written on .*: .*; the rows before are kept"):
        list(rows.complete(KEYS, lambda missing: iter([np.zeros((len(missing), 10), np.float32)])))
    shutil.rmtree(store / "rows")
    (store / "rows").write_bytes(b"")
    with pytest.raises(UserError, match="cannot be written on"):
        rows.require_room(10)
