"""What DVC's commands leave behind when they are killed as they write it, and what then stops every other command.

DVC writes its list of locks and dvc.lock in place, and makes a folder in its run cache before the file in it. Who is
killed at that moment leaves them empty or cut off, and no command of DVC runs until somebody removes them; nor does one
where a machine that lost its power has damaged the databases of hashes, which DVC makes anew.
`python -m commands.leftovers` removes all that, before `make repro` starts DVC. See docs/upstream.md. And it puts what
is here of results, and not in DVC's cache, into that: DVC would have their stages run again.
"""

import fcntl
import json
import os
import re
import sqlite3
import tempfile
import time
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path

from dvc.dvcfile import Lockfile
from dvc.exceptions import DvcException
from dvc.fs import LocalFileSystem
from dvc.lock import LockError
from dvc.output import Output
from dvc.repo import Repo
from dvc.stage import Stage
from ruamel.yaml.constructor import DuplicateKeyError
from zc import lockfile

from commands.lock import LOCK, stages_now
from commands.pipeline import CACHE_IN, complaining, require_inputs, require_plain, require_valid_params, stages_of
from thaw.errors import UserError
from thaw.params.reading import CONFLICT
from thaw.stage import in_terminal

RWLOCK, GUARD = "rwlock", "rwlock.lock"
"""Which files DVC's commands are reading and writing, in DVC's folder for temporary files; who changes it holds the
second."""
RUN = re.compile("[0-9a-f]{64}")
"""The name of a file in the run cache."""
RESULTS = ("data", "metrics", "models")
UNFINISHED = re.compile(r"\.[\w-]{22}\.tmp")
"""What DVC calls a file until it is whole."""


def remove_leftovers() -> None:
    """Remove what a killed command has left damaged, unless a command is at work on it.

    A dvc.lock is moved; one in which a merge left conflicts, or stages twice, is for a person to mend.
    """
    with complaining():
        for path in _damaged_databases():
            for part in (path, *(path.with_name(f"{path.name}{end}") for end in ("-wal", "-shm"))):
                part.unlink(missing_ok=True)
            print(f"{path}: removed; it was damaged, and DVC makes it anew", flush=True)
    with complaining(), Repo() as repo:
        require_plain(repo.cache.local.path, CACHE_IN)
        require_locks(repo)
        temporary = _temporary(repo)
        _remove_other_locks(repo)
        locks = temporary / RWLOCK
        if _is_cut_off(locks):
            with suppress(lockfile.LockError), closing(lockfile.LockFile(str(temporary / GUARD))):
                if _is_cut_off(locks):
                    locks.unlink()
                    print(f"{locks}: removed; it was cut off by a command that was killed", flush=True)
        forget_index(repo)
        with suppress(LockError), repo.lock:  # who changes what follows holds that
            for path in [*_cut_off_results(), *_cut_off_runs(repo)]:
                with suppress(OSError):
                    path.rmdir() if path.is_dir() else path.unlink()
            if _is_lock_damaged(repo):
                kept = Path(LOCK).replace(temporary / LOCK)
                print(f"{LOCK}: cut off by a command that was killed; moved to {kept}, and written anew", flush=True)


def require_locks(repo: Repo) -> None:
    """Refuse a disk on which no file can be locked: DVC takes every lock there for another command's.

    Raises:
        UserError: it is one; the message says how DVC does without.
    """
    folder = _temporary(repo)
    if not repo.config["core"].get("hardlink_lock") and (reason := _why_unlocked(folder)):
        raise UserError(
            f"{folder}: no file can be locked there: {reason}, as on some network's disks; DVC would wait for a "
            "command that there is not: `dvc config --local core.hardlink_lock true` has it make links for locks"
        )


def _why_unlocked(folder: Path) -> str:
    """Return why files in a folder cannot be locked; nothing if they can, or if none can be written."""
    with suppress(OSError), tempfile.TemporaryFile(dir=folder) as file:  # which nobody else has
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return os.strerror(error.errno or 0)
    return ""


def _remove_other_locks(repo: Repo) -> None:
    """Remove the locks of commands that ended before core.hardlink_lock was set: by that, they are held for good."""
    for path in (Path(repo.lock.lockfile), _temporary(repo) / GUARD):
        if repo.config["core"].get("hardlink_lock") and path.exists() and path.read_bytes().strip().isdigit():
            if _why_unlocked(path.parent):  # so that nobody holds it
                path.unlink()
                continue
            with suppress(lockfile.LockError), closing(lockfile.LockFile(str(path))):
                path.unlink()


def commit_results() -> None:
    """Put into DVC's cache what it lacks of what is here as it should be, unless a command is at work.

    As where the cache was emptied, or did not move along. DVC would have stages run again, and fetch what was imported
    from where it may be no more.
    """
    stages_now()  # has a remedy for what a merge left, which DVC has not
    with complaining(), Repo() as repo, suppress(LockError), repo.lock:
        # Which stages are of this project DVC's graph tells: to build it takes as long as all the rest.
        for stage in uncommitted(stages_of(repo)) if any(map(_is_any_lacking, repo.index.stages)) else ():
            print(f"{stage.addressing}: putting what is here of it into DVC's cache, which lacks it", flush=True)
            stage.commit()


def uncommitted(stages: Iterable[Stage]) -> list[Stage]:
    """Return the stages, and `.dvc` files, that are up to date, but of which DVC's cache lacks what is here."""
    return [
        stage
        for stage in stages
        if _is_any_lacking(stage)
        # Where data come from is no matter here.
        and not any(stage.changed_entries() if stage.cmd else [out.changed_checksum() for out in stage.outs])
    ]


def _is_any_lacking(stage: Stage) -> bool:
    """Say whether DVC's cache lacks an output of a stage that is here."""
    return any(out.use_cache and out.hash_info and out.exists and _is_lacking(out, stage) for out in stage.outs)


def _is_lacking(out: Output, stage: Stage) -> bool:
    """Say whether DVC's cache lacks an output; of data, which may be a million files, whether it lacks their list."""
    if stage.cmd:
        return bool(out.changed_cache())
    return not Path(out.cache.oid_to_path(out.hash_info.value)).exists()


def damaged(repo: Repo) -> list[str]:
    """Return the files that `remove_leftovers` would remove."""
    locks = _temporary(repo) / RWLOCK
    files = [*([str(locks)] if _is_cut_off(locks) else []), *([LOCK] if _is_lock_damaged(repo) else [])]
    return [*files, *map(str, _damaged_databases()), *(os.path.relpath(path) for path in _cut_off_runs(repo))]


def forget_index(repo: Repo) -> None:
    """Have DVC list anew what is to be pushed and pulled: a list that was cut off counts as whole."""
    with suppress(LockError, sqlite3.Error), repo.lock:  # who pushes or pulls holds that
        repo.drop_data_index()


def remove_unfinished(repo: Repo) -> None:
    """Remove what DVC had begun to write into folders of data: by .dvcignore it stops nothing, but it takes room."""
    with suppress(LockError, DvcException), repo.lock:  # who writes there holds that
        tops = [out.fs_path for out in repo.index.outs if out.fs.protocol == "local"]
        for folder, _, names in (found for top in tops for found in os.walk(top)):
            for name in filter(UNFINISHED.fullmatch, names):
                with suppress(OSError):
                    Path(folder, name).unlink()


def _temporary(repo: Repo) -> Path:
    """Return DVC's folder for temporary files, which is above this one where several projects share a repository."""
    return Path(os.path.relpath(repo.tmp_dir))


def _is_cut_off(locks: Path) -> bool:
    """Say whether DVC's list of locks is there and cannot be read."""
    try:
        content = json.loads(locks.read_bytes())
    except FileNotFoundError:
        return False
    except (ValueError, RecursionError):
        return True
    return not (isinstance(content, dict) and content.keys() <= {"read", "write"})


def _damaged_databases() -> list[Path]:
    """Return those of DVC's databases for this project that are damaged: of hashes, links, and what is to be pushed."""
    repo = Repo.__new__(Repo)  # to find where they are; a `Repo` opens them
    repo._fs = LocalFileSystem()
    repo._config = repo._remote = repo._remote_config = None
    repo.root_dir, repo.dvc_dir = repo._get_repo_dirs()
    return [path for path in sorted(Path(repo.site_cache_dir).rglob("*.db")) if _is_damaged(path)]


def _is_damaged(database: Path) -> bool:
    try:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, timeout=1)) as connection:
            return bool(connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",))
    except sqlite3.OperationalError:  # it cannot be opened, or somebody is writing it
        return False
    except sqlite3.DatabaseError:
        return True


def _cut_off_results() -> list[Path]:
    """Return what DVC had begun to copy from its cache; in folders that are results, DVC removes it by itself."""
    found = [path for top in RESULTS for pattern in (".*.tmp", "*/.*.tmp") for path in Path(top).glob(pattern)]
    return [path for path in found if UNFINISHED.fullmatch(path.name)]


def _cut_off_runs(repo: Repo) -> list[Path]:
    """Return what in DVC's run cache was not written to its end: files first, then the folders that have no others.

    In a cache that projects share, somebody else may be writing what is not a minute old.
    """
    cache = Path(repo.cache.legacy.path)
    age = 0 if cache.is_relative_to(repo.root_dir) else 60
    found = []
    with suppress(OSError):  # others remove files, too
        for folder in cache.glob("runs/*/*"):
            entries = list(folder.iterdir())
            cut_off = [path for path in entries if not RUN.fullmatch(path.name)]
            for path in [*cut_off, *([folder] if len(cut_off) == len(entries) else [])]:
                if abs(time.time() - path.stat().st_mtime) >= age:  # clocks may have been set back
                    found.append(path)
    return found


def _is_lock_damaged(repo: Repo) -> bool:
    """Say whether dvc.lock is there and is none."""
    try:
        return not isinstance(Lockfile(repo, LOCK).load().get("stages", {}), dict)
    except OSError:
        raise
    except Exception as error:  # YAML's reader lets through what int(), date() and others raise, too
        is_merged = isinstance(error.__cause__, DuplicateKeyError)  # by hand
        return not (is_merged or CONFLICT.search(Path(LOCK).read_text(encoding="utf-8", errors="replace")))


if __name__ == "__main__":
    with in_terminal():
        require_valid_params()
        remove_leftovers()
        commit_results()
        require_inputs()
