"""thaw.files: what cannot be written is told by its own name, and what is no file is not read."""

import errno
import os
import resource
import signal
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from thaw.backbones.torch_file import read_state_dict
from thaw.errors import UserError, explained
from thaw.files import reading
from thaw.files.reading import LARGEST_FILE, read_bytes, sha256
from thaw.files.watching import unchanged, watch_late
from thaw.files.writing import replacing, temporary_folder
from thaw.formats.manifest import read_manifest
from thaw.formats.row_file import RowFile


@pytest.mark.parametrize(("seconds", "changed"), [(-60, False), (1, True), (10**9, False)])
def test_a_file_that_was_read_late_changed_if_it_is_of_a_time_since_then(
    seconds: int, changed: bool, tmp_path: Path
) -> None:
    path, began = tmp_path / "module.py", time.time() - 10
    path.touch()
    os.utime(path, (began + seconds, began + seconds))
    with pytest.raises(UserError, match="changed while it was in use") if changed else nullcontext(), unchanged([]):
        watch_late(path, int(began * 1e9))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG])
def test_what_cannot_be_written_names_the_file_and_leaves_it_as_it_was(code: int, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("before")
    with pytest.raises(OSError, match=os.strerror(code)) as caught, replacing(path, needed=3 * 10**9) as temporary:
        temporary.write_text("half of")
        raise OSError(code, os.strerror(code))  # as of a write, which names nothing
    line = explained(caught.value)
    assert line.startswith(f"{path}: {os.strerror(code)}")
    assert ("3,000.0 MB are needed, " in line) == (code in (errno.ENOSPC, errno.EDQUOT))
    assert line.endswith(", then run it again")
    assert path.read_text() == "before"
    assert [*tmp_path.iterdir()] == [path]


def test_an_error_of_what_is_read_meanwhile_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Permission denied") as caught, replacing(tmp_path / "table.csv"):
        raise PermissionError(errno.EACCES, "Permission denied", "image.png")
    assert caught.value.filename == "image.png"


def test_who_may_not_remove_is_told_what_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(OSError, match=r"table\.csv") as caught, replacing(tmp_path / "table.csv") as temporary:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(temporary))
    assert caught.value.filename == str(tmp_path / "table.csv")


@pytest.mark.parametrize("read", [sha256, read_bytes, read_state_dict], ids=lambda read: read.__name__)
def test_an_error_of_a_bad_disk_names_the_file(
    read: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad").symlink_to("/proc/self/mem")  # a file, whose first byte cannot be read
    monkeypatch.setattr(reading, "require_regular", lambda path: SimpleNamespace(st_size=9))
    with pytest.raises(OSError, match="Input/output error") as caught:
        read(tmp_path / "bad")
    assert explained(caught.value).startswith(f"{tmp_path / 'bad'}: Input/output error; see whether its disk")


def failing_archive(path: Path) -> None:
    """Do what zipfile does."""
    with reading.reading(path):
        try:
            path.read_bytes()
        except OSError:
            raise zipfile.BadZipFile  # noqa: B904


@pytest.mark.parametrize("read", [read_manifest, RowFile, failing_archive], ids=lambda read: read.__name__)
@pytest.mark.parametrize(("code", "remedy"), [(errno.EIO, "see whether its disk"), (errno.EMFILE, "allow more open")])
def test_a_sound_file_that_the_machine_cannot_read_is_not_called_damaged(
    code: int, remedy: str, read: Callable[[Path], object], tmp_path: Path
) -> None:
    """Who is told so deletes it."""
    path = tmp_path / "file"
    if code == errno.EIO:
        path.symlink_to("/proc/self/mem")
    else:
        path.write_bytes(b"sound")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    if code == errno.EMFILE:
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        with pytest.raises(UserError) as caught:
            read(path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert str(caught.value).startswith(f"{path}: cannot be read: {os.strerror(code)}; {remedy}")


def test_an_error_of_writing_that_names_nothing_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Input/output error") as caught, replacing(tmp_path / "table.csv"):
        raise OSError(errno.EIO, os.strerror(errno.EIO))  # as of fsync and close
    assert caught.value.filename == str(tmp_path / "table.csv")


@contextmanager
def files_of(most: int) -> Iterator[None]:
    """Let no file that is written have more bytes."""
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, limits[1]))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_file_that_may_not_become_so_large_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(OSError, match="File too large") as caught,
        files_of(1000),
        replacing(tmp_path / "rows.h5") as temporary,
    ):
        temporary.write_bytes(bytes(2000))
    assert explained(caught.value).startswith(f"{tmp_path / 'rows.h5'}: File too large; allow larger files")


def test_a_folder_for_temporary_files_that_takes_nothing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OSError, match="No space") as caught, temporary_folder():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert explained(caught.value).startswith(f"{tempfile.gettempdir()}, the folder for temporary files: No space")
    assert "TMPDIR" in explained(caught.value)
    with pytest.raises(OSError, match="Too many") as caught, temporary_folder():
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    assert explained(caught.value).startswith("Too many open files; allow more")
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/nowhere"])
    with pytest.raises(OSError, match="No usable temporary directory") as caught, temporary_folder():
        raise AssertionError
    assert "TMPDIR" in explained(caught.value)


def test_a_full_folder_for_temporary_files_is_named_though_another_file_is_being_written(tmp_path: Path) -> None:
    with (  # as of a learning curve, while a model is saved
        pytest.raises(OSError, match="No space") as caught,
        replacing(tmp_path / "table.csv"),
        temporary_folder() as folder,
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / "model.keras"))
    assert explained(caught.value).startswith(f"{tempfile.gettempdir()}, the folder for temporary files: No space")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "No space left"), "standard output or error: No space left; make room"),
        (OSError(errno.EIO, "Input/output error"), "standard output or error: Input/output error; see whether"),
        (OSError(errno.ESTALE, "Stale file handle", "a"), "a: Stale file handle; see whether its disk or network is"),
        (OSError(errno.EMFILE, "Too many open files"), "Too many open files; allow more open files"),
        (OSError(errno.EAGAIN, "Try again"), "Try again; let fewer processes run"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "Cannot allocate memory; let fewer processes run"),
        (OSError("no number"), "no number"),
        (OSError(errno.EMFILE, "Too many open files", "a.png"), "a.png: Too many open files; allow more open files"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "a"), "a: Is a directory"),
        (OSError(), "OSError"),
    ],
)
def test_every_error_of_the_system_is_a_line(error: OSError, line: str) -> None:
    assert explained(error).startswith(line)
    assert "\n" not in explained(error)


def test_only_files_that_end_are_read(tmp_path: Path) -> None:
    path = tmp_path / "1.png"
    path.write_bytes(b"12345")
    assert read_bytes(path) == b"12345"
    with pytest.raises(OSError, match="more than 4 bytes"):
        read_bytes(path, 4)
    os.truncate(path, LARGEST_FILE + 1)
    with pytest.raises(OSError, match="more than 1,073,741,824 bytes"):
        read_bytes(path)
    os.mkfifo(tmp_path / "pipe")
    for special, kind in ((tmp_path / "pipe", "a named pipe"), (Path("/dev/zero"), "a device"), (tmp_path, "a folder")):
        for read in (read_bytes, sha256):
            with pytest.raises(OSError, match=f"{kind}, where a file is expected"):
                read(special)
