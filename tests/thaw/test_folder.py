"""thaw.reuse.folder: what all projects of a user share lies in the user's cache, if there is one."""

import errno
import os
from pathlib import Path

import pytest

from thaw.reuse.folder import FOLDER, LIMIT, make_room, project_folder, rows_folder, shared_folder, stored


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without caches."""
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(("platform", "caches"), [("linux", ".cache"), ("darwin", "Library/Caches")])
def test_the_users_folder_is_where_the_system_has_caches(
    platform: str, caches: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", platform)
    assert shared_folder() == home / caches / "thaw"
    assert rows_folder() == home / caches / "thaw" / "rows"
    assert project_folder() == Path(".thaw")
    assert not any(home.iterdir())  # whoever writes makes it
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "elsewhere"))
    assert shared_folder() == home / "elsewhere" / "thaw"


def test_a_folder_that_is_named_is_for_both(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER, "/scratch/thaw")
    assert shared_folder() == project_folder() == Path("/scratch/thaw")
    monkeypatch.setenv(FOLDER, "~/thaw")  # as from a file of variables, which no shell reads
    assert shared_folder() == project_folder() == home / "thaw"


@pytest.mark.parametrize("caches", ["relative", "a file", "a file/in a file", ""])
def test_where_the_users_folder_cannot_be_made_it_is_the_projects(
    caches: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "a file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / caches) if caches.startswith("a file") else caches)
    if not caches:
        monkeypatch.setattr("os.path.expanduser", lambda path: path)  # as for a user whom the system does not know
    assert shared_folder() == Path(".thaw")


def test_where_the_users_folder_cannot_be_written_it_is_the_projects(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / ".cache" / "thaw").mkdir(parents=True)
    assert shared_folder() == home / ".cache" / "thaw"
    # The administrator, as whom tests may run, is allowed everything.
    access = os.access
    monkeypatch.setattr("os.access", lambda path, mode: not mode & os.W_OK and access(path, mode))
    assert shared_folder() == Path(".thaw")


def test_what_never_fits_takes_no_room_of_what_is_there(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIMIT, "1e-6")
    for number in range(4):
        path = rows_folder() / "made" / f"{number}.rows"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(200))
        os.utime(path, ns=(0, 4 - number))
    make_room(200)
    with pytest.raises(OSError, match="No space left"):
        make_room(1001)
    assert [path.name for _, _, path in stored()] == ["3.rows", "2.rows", "1.rows", "0.rows"]
    make_room(500)
    assert [path.name for _, _, path in stored()] == ["1.rows", "0.rows"]


def test_what_cannot_be_removed_stays_and_room_is_made_of_the_rest(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIMIT, "1e-6")
    for number, name in enumerate(("of another user", "older", "newer")):
        path = rows_folder() / name / "some.rows"
        path.parent.mkdir(parents=True)
        path.write_bytes(bytes(300))
        os.utime(path, ns=(0, number))
    unlink = Path.unlink

    def allowed(path: Path, missing_ok: bool = False) -> None:
        if path.parent.name == "of another user":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", allowed)
    make_room(400)
    assert [path.parent.name for _, _, path in stored()] == ["of another user", "newer"]
    with pytest.raises(PermissionError):
        make_room(800)
    assert [path.parent.name for _, _, path in stored()] == ["of another user"]
