"""What DVC's commands leave behind when they are killed as they write it, and what then stops every other command.

DVC writes its list of locks and dvc.lock in place. Who is killed at that moment leaves them empty or cut off, and no
command of DVC runs until somebody removes them; `python -m commands.leftovers` does, before `make repro` starts DVC.
"""

import json
from contextlib import closing, suppress
from pathlib import Path

from dvc.dvcfile import Lockfile
from dvc.lock import LockError
from dvc.repo import Repo
from dvc.utils.serialize import EncodingError
from dvc.utils.strictyaml import YAMLSyntaxError, YAMLValidationError
from zc import lockfile

from commands.lock import LOCK, complaining
from thaw.stage import in_terminal

TEMPORARY = Path(".dvc/tmp")
RWLOCK = TEMPORARY / "rwlock"
"""Which files DVC's commands are reading and writing; who changes it holds `GUARD`."""
GUARD = TEMPORARY / "rwlock.lock"
CONFLICT = "<<<<<<< "


def remove_leftovers() -> None:
    """Remove what a killed command has left damaged, unless a command is at work on it."""
    if is_cut_off():
        with suppress(lockfile.LockError), closing(lockfile.LockFile(str(GUARD))):
            if is_cut_off():
                RWLOCK.unlink()
                print(f"{RWLOCK}: removed; it was cut off by a command that was killed", flush=True)
    _remove_damaged_lock()


def is_cut_off() -> bool:
    """Say whether DVC's list of locks is there and cannot be read."""
    try:
        content = json.loads(RWLOCK.read_bytes())
    except FileNotFoundError:
        return False
    except ValueError:
        return True
    return not (isinstance(content, dict) and content.keys() <= {"read", "write"})


def _remove_damaged_lock() -> None:
    """Move dvc.lock away if it is none, unless a merge left conflicts in it, which a person has to solve."""
    path, kept = Path(LOCK), TEMPORARY / LOCK
    if not path.is_file():
        return
    with complaining(), Repo() as repo, suppress(LockError), repo.lock:  # who changes it holds that
        if not _is_whole(repo) and CONFLICT not in path.read_text(encoding="utf-8", errors="replace"):
            path.replace(kept)
            print(f"{LOCK}: cut off by a command that was killed; moved to {kept}, and written anew", flush=True)


def _is_whole(repo: Repo) -> bool:
    try:
        return isinstance(Lockfile(repo, LOCK).load().get("stages", {}), dict)
    except (YAMLSyntaxError, YAMLValidationError, EncodingError):
        return False


if __name__ == "__main__":
    with in_terminal():
        remove_leftovers()
