"""`thaw pack`: archives that every layout reads, the same each time."""

import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from commands import pack
from commands.pack import LEAST, MOST, parts
from tests.conftest import PARAMS, ROOT, Project
from tests.stages.test_archives import pack as pack_otherwise
from tests.stages.test_layouts import TABLE, collect, lines, table
from thaw.errors import UserError
from thaw.files.writing import _remove_unfinished, unfinished


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    table(tmp_path / "photos", lines())
    return tmp_path / "photos"


def packed(folder: Path, name: str = "out") -> dict[str, bytes]:
    """Pack a folder; return what files there are then, and their bytes."""
    out = folder.parent / name
    pack.main(folder, out)
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_the_rows_are_those_of_the_files_and_the_table_stays_a_file(folder: Path) -> None:
    files = packed(folder)
    assert {*files} == {"part-000.zip", "labels.csv"}
    with zipfile.ZipFile(folder.parent / "out" / "part-000.zip") as archive:
        assert archive.namelist() == sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/*"))
    assert collect(folder.parent / "out", **TABLE).rows == collect(folder, **TABLE).rows


def test_the_command_that_comes_next_can_be_copied(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packed(folder, "my photos")
    assert f"then `dvc add '{folder.parent}/my photos'`." in capsys.readouterr().out


def test_the_bytes_are_the_same_whatever_files_say_of_themselves_or_archives_held_them(folder: Path) -> None:
    expected = packed(folder)
    (folder / ".DS_Store").write_bytes(b"")
    for number, path in enumerate(sorted(folder.rglob("*"), reverse=True)):
        os.utime(path, (number, time.time()))
        path.chmod(0o700)
    assert packed(folder, "again") == expected
    images = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.glob("*/*")}
    shutil.rmtree(folder / "photos")
    pack_otherwise(folder / "gnu.tar", dict(sorted(images.items(), reverse=True)))
    assert packed(folder, "from tar") == expected


@pytest.mark.parametrize("inside", [".", "photos/.."])
def test_the_folder_that_one_is_in_is_packed_beside_it(
    inside: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = packed(folder)
    monkeypatch.chdir(folder)
    pack.main(Path(inside))
    beside = folder.parent / "photos-packed"
    assert {path.name: path.read_bytes() for path in beside.iterdir()} == expected


@pytest.mark.parametrize("is_there", [True, False])
def test_where_a_link_leads_is_written(is_there: bool, folder: Path) -> None:
    target, link = folder.parent / "large disk", folder.parent / "link"
    if is_there:
        target.mkdir()
    link.symlink_to(target)
    assert packed(folder, "link") == packed(folder)
    assert {path.name for path in target.iterdir()} == {"labels.csv", "part-000.zip"}
    assert link.is_symlink()


def test_archives_are_of_some_hundred_megabytes_and_most_stay_when_files_come_and_go() -> None:
    files = [(f"class {number % 7}/{number:06}.jpg", 200_000 + number % 1000 * 500) for number in range(20_000)]
    files.sort()
    divided = list(parts(files))
    sizes = dict(files)
    assert [path for part in divided for path in part] == [path for path, _ in files]
    totals = [sum(sizes[path] for path in part) for part in divided]
    assert all(LEAST <= total <= MOST for total in totals[:-1])
    assert LEAST < sum(totals) / len(totals) < MOST
    before = {tuple(part) for part in divided}
    for changed in (files[:7000] + files[7001:], sorted([*files, ("class 3/new.jpg", 400_000)])):
        assert len({tuple(part) for part in parts(changed)} - before) <= len(before) / 8
    assert list(parts([("a", 1), ("b", MOST), ("c", MOST)])) == [["a"], ["b"], ["c"]]


def test_what_cannot_be_packed_is_named_and_nothing_is_left_behind(folder: Path) -> None:
    def refused(folder: Path, out: Path) -> str:
        with pytest.raises(UserError) as caught:
            pack.main(folder, out)
        return str(caught.value)

    out = folder.parent / "out"
    assert refused(folder / "gone", out) == f"{folder / 'gone'}: no such folder"
    assert "inside of the folder that is packed" in refused(folder, folder / "out")
    assert "inside of the folder that is packed" in refused(folder, folder)
    out.mkdir()
    (folder.parent / "empty").mkdir()
    assert refused(folder.parent / "empty", out) == f"{folder.parent / 'empty'}: no files are there"
    (folder / "photos" / "link.png").symlink_to("nowhere")
    assert "photos/link.png: cannot be read: No such file or directory" in refused(folder, out)
    (folder / "photos" / "link.png").unlink()
    (folder / "photos" / "a\nb.png").write_bytes(b"")
    assert r"'photos/a\nb.png' is a name that is not UTF-8 text" in refused(folder, out)
    (folder / "photos" / "a\nb.png").unlink()
    packed(folder)
    assert "out: there is something already" in refused(folder, out)
    assert sorted(path.name for path in folder.parent.iterdir()) == ["empty", "out", "photos"]


def test_a_full_disk_leaves_nothing_behind_and_neither_does_a_kill(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    killed = folder.parent / f".out{unfinished(folder.parent).replace(f'-{os.getpid()}.', '-4194305.')}"
    killed.mkdir()
    _remove_unfinished.cache_clear()
    with pytest.raises(UserError, match="out: cannot be written: No space left on device; make room there"):
        packed(folder)
    assert [path.name for path in folder.parent.iterdir()] == ["photos"]


def test_a_project_goes_over_to_archives_and_only_reads_its_images_anew(finished: Project) -> None:
    params, lock = finished.params.read_bytes(), finished.folder / "dvc.lock"
    before = lock.read_bytes()
    path = PARAMS["dataset"]["path"]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "commands", "pack", finished.folder / path],
            cwd=ROOT,
            text=True,
            capture_output=True,
            check=True,
        )
        assert done.stdout.startswith(f"{finished.folder / path}-packed: 21 files in 1 archive, 0 beside\n")
        finished.write_params({**PARAMS, "dataset": {**PARAMS["dataset"], "path": f"{path}-packed"}})
        assert finished.repro().ran == ["manifest", "tensors@small"]
        now, then = (YAML(typ="safe").load(text)["stages"] for text in (lock.read_bytes(), before))
        for stage, entry in then.items():
            assert now[stage]["outs"] == entry["outs"]
    finally:
        finished.params.write_bytes(params)
        lock.write_bytes(before)
        shutil.rmtree(finished.folder / f"{path}-packed", ignore_errors=True)
