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
KEPT = TEMPORARY / LOCK
CONFLICT = "<<<<<<< "


def remove_leftovers() -> None:
    """Remove what a killed command has left damaged, unless a command is at work on it.

    A dvc.lock is moved; one in which a merge left conflicts is for a person to mend.
    """
    if _is_cut_off():
        with suppress(lockfile.LockError), closing(lockfile.LockFile(str(GUARD))):
            if _is_cut_off():
                RWLOCK.unlink()
                print(f"{RWLOCK}: removed; it was cut off by a command that was killed", flush=True)
    with complaining(), Repo() as repo:
        forget_index(repo)
        with suppress(LockError), repo.lock:  # who changes dvc.lock holds that
            if _is_lock_damaged(repo):
                Path(LOCK).replace(KEPT)
                print(f"{LOCK}: cut off by a command that was killed; moved to {KEPT}, and written anew", flush=True)


def damaged(repo: Repo) -> list[str]:
    """Return the files that `remove_leftovers` would remove."""
    return [*([str(RWLOCK)] if _is_cut_off() else []), *([LOCK] if _is_lock_damaged(repo) else [])]


def forget_index(repo: Repo) -> None:
    """Have DVC list anew what is to be pushed and pulled: a list that was cut off counts as whole.

    See docs/upstream.md.
    """
    with suppress(LockError), repo.lock:
        repo.drop_data_index()


def _is_cut_off() -> bool:
    """Say whether DVC's list of locks is there and cannot be read."""
    try:
        content = json.loads(RWLOCK.read_bytes())
    except FileNotFoundError:
        return False
    except ValueError:
        return True
    return not (isinstance(content, dict) and content.keys() <= {"read", "write"})


def _is_lock_damaged(repo: Repo) -> bool:
    """Say whether dvc.lock is there and is none."""
    try:
        return not isinstance(Lockfile(repo, LOCK).load().get("stages", {}), dict)
    except (YAMLSyntaxError, YAMLValidationError, EncodingError):
        return CONFLICT not in Path(LOCK).read_text(encoding="utf-8", errors="replace")


if __name__ == "__main__":
    with in_terminal():
        remove_leftovers()
