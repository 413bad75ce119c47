"""What killed processes leave: it is removed by whoever comes next, and nobody else's is."""

import errno
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from dvc_data.index import DataIndex
from zc.lockfile import LockFile

from commands import repro
from commands.doctor import check_leftovers
from commands.doctor.findings import State
from commands.doctor.remotes import check_pushed, complete_remote
from commands.doctor.room import check_cache
from commands.launching import LAUNCHER
from commands.leftovers import _remove_other_locks, commit_results, remove_leftovers
from commands.pipeline import CHECK, require_inputs
from tests.conftest import ROOT, Project
from tests.toy import commit, copied, dvc, git, make_toy, opened, results
from thaw.errors import UserError
from thaw.files import writing
from thaw.files.writing import A_DAY, unfinished, write_text


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_toy(tmp_path_factory.mktemp("toy") / "project")


@pytest.fixture
def toy(made: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project that a test may do anything to; what it pushes goes to a folder beside it."""
    project = copied(made, tmp_path / "project")
    (tmp_path / "store").mkdir()
    dvc(project, "remote", "add", "--quiet", "--default", "store", str(tmp_path / "store"))
    monkeypatch.chdir(project.folder)
    return project


def test_what_nobody_finishes_any_more_is_removed(tmp_path: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    ours, here = unfinished(tmp_path / "elsewhere"), writing._system()
    other = f"{int(here, 16) ^ 1:08x}"
    kept = [
        tmp_path / name
        for name in (f".a{ours}.csv", f".a.{other}-{dead.pid}.partial.csv", ".a.partial.csv", f"a.{here}-1.partial")
    ]
    gone = [tmp_path / f".a.b.{here}-{dead.pid}.partial{suffix}" for suffix in ("", ".csv", ".new\nline")]
    gone += [tmp_path / f".old.{other}-1.partial", tmp_path / f".export.{here}-{dead.pid}.partial"]
    for path in [*kept, *gone[:-1]]:
        path.write_text("half")
    (gone[-1] / "model").mkdir(parents=True)
    os.utime(gone[-2], (0, time.time() - A_DAY - 1))
    write_text(tmp_path / "b.csv", "whole")
    assert sorted(tmp_path.iterdir()) == sorted([*kept, tmp_path / "b.csv"])


STAGE = "import time; from thaw.stage import run; run(lambda: (print('begun', flush=True), time.sleep(60)))"
STARTER = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {STAGE!r}])"


@pytest.mark.slow
@pytest.mark.parametrize(("starter", "ends"), [("DVC_STAGE", True), ("NOBODY", False)])
def test_a_stage_ends_with_dvc_but_not_with_a_shell(starter: str, ends: bool) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), starter: "train"}
    with subprocess.Popen([sys.executable, "-c", STARTER], env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        (stage,) = psutil.Process(process.pid).children()
        process.kill()
        process.wait()
        gone, going = psutil.wait_procs([stage], timeout=10 if ends else 2)
        for one in going:
            one.kill()
    assert bool(gone) == ends


@pytest.mark.parametrize("begun", [["-c", STAGE], ["-m", "commands.launching", "-c", "echo begun"]])
def test_a_stage_whose_pipeline_is_gone_does_not_begin(begun: list[str]) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DVC_STAGE": "train", "THAW_STARTED_BY": str(dead.pid)}
    environment[LAUNCHER] = "env"
    done = subprocess.run([sys.executable, *begun], env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (143, b"", b"")


@pytest.mark.parametrize("content", [b"", b'{"write": {"/a": {"pid"', b"[" * 99_999])
def test_a_list_of_locks_that_was_cut_off_is_removed_unless_somebody_writes_it(toy: Project, content: bytes) -> None:
    rwlock = toy.folder / ".dvc" / "tmp" / "rwlock"
    rwlock.write_bytes(content)
    guard = LockFile(str(rwlock.with_name("rwlock.lock")))
    remove_leftovers()
    assert rwlock.read_bytes() == content
    guard.close()
    with opened(toy) as repo:
        found = check_leftovers(repo)
    assert (found.state, found.command) == (State.ERROR, "python -m commands.leftovers")
    assert found.text.startswith(".dvc/tmp/rwlock cannot be read")
    remove_leftovers()
    assert not rwlock.exists()
    rwlock.write_text('{"write": {}, "read": {}}')
    remove_leftovers()
    assert rwlock.exists()


@pytest.mark.parametrize("name", ["lock", "rwlock.lock"])
def test_a_lock_of_before_hard_links_were_taken_for_it_is_removed_unless_somebody_holds_it(
    name: str, toy: Project
) -> None:
    lock = toy.folder / ".dvc" / "tmp" / name
    dvc(toy, "config", "core.hardlink_lock", "true")
    holder = LockFile(str(lock))
    with opened(toy) as repo:
        _remove_other_locks(repo)
        assert lock.exists()
        holder.close()
        _remove_other_locks(repo)
        assert not lock.exists()
        with repo.lock:
            _remove_other_locks(repo)
            assert Path(repo.lock.lockfile).exists()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS])
def test_a_disk_without_locks_is_told_with_the_remedy(
    number: int, toy: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DVC would say that another of its commands runs, and `thaw repro` would wait for that."""

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    lock = toy.folder / ".dvc" / "tmp" / "lock"
    lock.write_text(f"{os.getpid()}\n")  # by a command of DVC's that had no success
    with pytest.raises(UserError, match=f"^.dvc/tmp: no file can be locked there: {os.strerror(number)}, ") as told:
        remove_leftovers()
    with opened(toy) as repo, pytest.raises(UserError, match="no file can be locked"):
        check_leftovers(repo)
    dvc(toy, *str(told.value).split("`")[1].split()[1:])
    remove_leftovers()
    assert not lock.exists()
    dvc(toy, "repro", "--quiet")


def test_a_lock_that_was_cut_off_anywhere_is_written_anew(toy: Project) -> None:
    lock, whole, sound = toy.folder / "dvc.lock", (toy.folder / "dvc.lock").read_bytes(), results(toy)
    for end in (0, len(b"schema: '2.0'\nstages:\n"), len(whole) // 2, len(whole) - 40):
        lock.write_bytes(whole[:end])
        remove_leftovers()
        dvc(toy, "repro", "--quiet")
        assert lock.read_bytes() == whole, end
        assert results(toy) == sound
    lock.write_bytes(whole.replace(b"  text:", b"  date: 2021-99-99\n  text:"))  # of which the reader raises its own
    remove_leftovers()
    assert not lock.exists()
    twice = whole + whole.partition(b"stages:\n")[2]
    for merged in (b"<<<<<<< HEAD\n" + whole, whole + b">>>>>>> main\n", b"schema: '2.0'\n=======\n" + whole, twice):
        lock.write_bytes(merged)
        remove_leftovers()
        assert lock.read_bytes() == merged


def test_a_run_that_was_not_noted_to_its_end_does_not_stop_the_next(toy: Project) -> None:
    whole, sound = (toy.folder / "dvc.lock").read_bytes(), results(toy)
    (toy.folder / "dvc.lock").unlink()
    (one, other) = (toy.folder / ".dvc" / "cache" / "runs").glob("*/*/*")
    one.unlink()
    os.utime(one.parent, (time.time() + A_DAY,) * 2)  # before the clock was put back
    other.with_name(".cut.tmp").write_bytes(other.read_bytes()[:100])
    os.utime(other.with_name(".cut.tmp"), (2**32, 2**32))  # of a clock that was set back since
    with opened(toy) as repo:
        assert "cannot be read" in check_leftovers(repo).text
    begun, mine = (toy.folder / "data" / "history" / name for name in (f".{'x' * 22}.tmp", ".mine.tmp"))
    begun.parent.mkdir(parents=True)
    for path in (begun, mine):
        path.touch()
    remove_leftovers()
    assert not begun.exists()
    assert mine.exists()
    assert list(one.parents[2].glob("*/*/*")) == [other]
    with opened(toy) as repo:
        assert check_leftovers(repo).state is State.OK
    dvc(toy, "repro", "--quiet")
    assert (toy.folder / "dvc.lock").read_bytes() == whole
    assert results(toy) == sound


def test_a_file_that_a_killed_pull_had_begun_stops_no_other_and_the_doctor_removes_it(toy: Project) -> None:
    shutil.copy(ROOT / ".dvcignore", toy.folder)
    folder = toy.folder / "more" / "oak"
    folder.mkdir(parents=True)
    for name in "ab":
        (folder / name).write_text(name)
    dvc(toy, "add", "--quiet", "more")
    (folder / "b").unlink()
    begun, mine = folder / f".{'x' * 22}.tmp", folder / ".mine.tmp"
    begun.touch()
    dvc(toy, "checkout", "--quiet")
    assert (folder / "b").read_text() == "b"
    mine.touch()
    with opened(toy) as repo:
        assert check_leftovers(repo).state is State.OK
    assert not begun.exists()
    assert mine.exists()


@pytest.mark.parametrize(
    ("is_changed", "is_imported", "kept"),
    [(False, False, ["text", "folder"]), (True, False, ["text"]), (False, True, ["text", "folder"])],
)
def test_what_is_here_and_only_dvcs_cache_lacks_is_put_there(
    is_changed: bool,
    is_imported: bool,
    kept: list[str],
    toy: Project,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As where somebody removed the cache for its room: all would run again, or be fetched from where it was once."""
    sound = results(toy)
    if is_imported:
        Path("raw.txt.dvc").unlink()
        Path("raw.txt").rename("source.txt")
        dvc(toy, "import-url", "--quiet", str(Path("source.txt").absolute()), "raw.txt")
        Path("source.txt").unlink()
    shutil.rmtree(".dvc/cache")
    if is_changed:
        Path("folder", "1.txt").write_text("mine")
    with opened(toy) as repo:
        found = check_cache(repo)
    kept = ["raw.txt.dvc", *kept]
    assert (found.state, found.command) == (State.WARNING, "python -m commands.leftovers")
    assert f"lacks what is here of {', '.join(kept)}: " in found.text
    capsys.readouterr()
    commit_results()
    assert re.findall(r"(\S+): putting what is here of it into DVC's cache", capsys.readouterr().out) == kept
    with opened(toy) as repo:
        assert check_cache(repo).state is State.OK
    if not is_changed:
        with monkeypatch.context() as patch:
            patch.delattr("commands.leftovers.stages_of")  # which builds DVC's graph: too slow for nothing
            commit_results()
    dvc(toy, "repro", "--quiet")
    assert results(toy) == sound


@pytest.mark.parametrize("imported", [False, True])
@pytest.mark.parametrize(
    ("gone", "told"),
    [
        (["raw.txt"], r"^raw\.txt: not here; `dvc pull raw\.txt` fetches it$"),
        (
            ["raw.txt", "raw.txt.dvc"],
            r"^raw\.txt: text reads it, but it is not here, and no stage or \.dvc file has it; ",
        ),
    ],
)
def test_what_is_read_and_is_not_here_is_named_before_dvc_removes_results(
    gone: list[str], told: str, imported: bool, toy: Project
) -> None:
    """As where dataset.path has a slip of the pen, or data have not been pulled."""
    if imported:
        shutil.copy("raw.txt", "source.txt")
        dvc(toy, "import-url", "--quiet", "--force", "source.txt", "raw.txt")
    for path in gone:
        Path(path).unlink()
    with pytest.raises(UserError, match=told):
        repro.main(1)
    assert Path("text.txt").exists()


def test_an_empty_folder_of_images_is_named_before_dvc_removes_results(toy: Project) -> None:
    """As where a disk is not mounted, or a submodule not there yet."""
    with Path("dvc.yaml").open("a") as file:
        file.write(f"# {CHECK}\n")
    with Path("params.yaml").open("a") as file:
        file.write("dataset: {path: images}\n")
    Path("images").mkdir()
    with pytest.raises(UserError, match="^images: empty, where the images should be; mount or fill it: "):
        require_inputs()
    Path("images", "1.png").touch()
    require_inputs()


@pytest.mark.parametrize(
    ("content", "site"),
    [(bytes(9999), "{}/site"), (b"no database", "../site"), (b"SQLite format 3\0" + bytes(99), "{}/site")],
)
def test_a_damaged_database_of_dvc_is_made_anew(
    toy: Project, content: bytes, site: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As after a power cut."""
    dvc(toy, "config", "core.site_cache_dir", site.format(toy.folder.parent))
    dvc(toy, "push", "--quiet", "--run-cache")
    whole, sound = (toy.folder / "dvc.lock").read_bytes(), results(toy)
    databases = sorted((toy.folder.parent / "site").rglob("*.db"))
    assert {path.parent.name for path in databases} >= {"local", "links", "data"}
    for path in databases:
        for part in path.parent.glob(f"{path.name}-*"):
            part.unlink()
        path.write_bytes(content)
    with (
        pytest.raises(UserError, match=r"^DVC's databases .* cannot be read: .*; `python -m commands\.leftovers`"),
        opened(toy),
    ):
        pass
    remove_leftovers()
    told = capfd.readouterr().out
    assert told.count(": removed; it was damaged") == len(databases)
    with opened(toy) as repo:
        assert check_leftovers(repo).state is State.OK
        assert check_pushed(repo).state is State.OK
    dvc(toy, "repro", "--quiet")
    assert (toy.folder / "dvc.lock").read_bytes() == whole
    assert results(toy) == sound


def kill_while_collecting(command: str, entries: int, monkeypatch: pytest.MonkeyPatch, project: Project) -> None:
    """Have a push or pull of DVC end as it notes what to send or fetch, behind some entries."""
    left = [entries]
    write = DataIndex.__setitem__

    def write_or_end(self: DataIndex, key: tuple[str, ...], value: object) -> None:
        if key and key[0] in ("push", "fetch"):
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
        write(self, key, value)

    with monkeypatch.context() as patched:
        patched.setattr(DataIndex, "__setitem__", write_or_end)
        with pytest.raises(AssertionError):
            dvc(project, command)


def test_a_push_that_was_killed_as_it_listed_what_to_send_is_mended(
    toy: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = 12
    (toy.folder / "more").mkdir()
    for number in range(20):
        (toy.folder / "more" / f"{number}.txt").write_text(str(number))
    dvc(toy, "add", "--quiet", "more")
    commit(toy)
    kill_while_collecting("push", entries, monkeypatch, toy)
    dvc(toy, "push")
    with opened(toy) as repo:
        check_leftovers(repo)
        found = check_pushed(repo)
    assert found.state is State.ERROR
    assert re.search(r"; \d+ files of its folders are missing there \(more/", found.text)
    assert found.command == "thaw doctor --complete-remote"
    with opened(toy) as repo:
        assert complete_remote(repo).state is State.OK
        found = check_pushed(repo)
    dvc(toy, *(found.command or "").split()[1:])
    with opened(toy) as repo:
        assert check_pushed(repo).state is State.OK

    clone = Project(tmp_path / "clone", toy.python)
    git(tmp_path, "clone", str(toy.folder), str(clone.folder))
    dvc(clone, "remote", "add", "--local", "--default", "store", str(tmp_path / "store"))
    kill_while_collecting("pull", entries, monkeypatch, clone)
    with opened(clone) as repo:
        check_leftovers(repo)
    dvc(clone, "pull")
    assert results(clone) == results(toy)


def test_files_that_only_others_have_are_named(toy: Project, tmp_path: Path) -> None:
    dvc(toy, "push", "--quiet")
    sound = results(toy)
    lost = next(path for path in (tmp_path / "store").rglob("*") if path.is_file() and path.read_text() == "two\n")
    lost.unlink()
    for path in (toy.folder / ".dvc" / "cache" / "files").rglob("*"):
        if path.is_file() and path.read_text() == "two\n":
            path.unlink()
    with opened(toy) as repo:
        found = check_pushed(repo)
    assert found.state is State.ERROR
    assert "1 file of its folders is missing there (folder/2.txt)" in found.text
    assert "1 are not here either (folder/2.txt): who has them has to push them" in found.text
    assert results(toy) == sound
