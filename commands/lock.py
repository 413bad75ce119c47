"""dvc.lock: what every stage's last run read and wrote."""

import os
import re
from pathlib import Path
from typing import Any

from dvc.utils.serialize import ParseError, parse_yaml

from commands import git
from thaw.errors import UserError

LOCK = "dvc.lock"
UNHASHED = re.compile(rb"hash: md5\n(?! *(?:md5|etag|checksum):)")


def stages_now(folder: Path = Path()) -> dict[str, Any]:
    """Return the entries of a folder's dvc.lock by stage; none if there is no such file."""
    path = folder / LOCK
    return _entries_of(path.read_bytes(), os.path.relpath(path)) if path.exists() else {}


def stages_at(rev: str) -> dict[str, Any]:
    """Return the entries of dvc.lock by stage as they are in a commit.

    Raises:
        UserError: there is no such commit, or it has no dvc.lock.
    """
    text = git.file_at(git.require_commit(rev), LOCK)
    if text is None:
        raise UserError(f"{rev}: has no {LOCK}; name a commit in which `dvc repro` had run")
    return _entries_of(text, f"{rev}:{LOCK}")


def _entries_of(content: bytes, name: str) -> dict[str, Any]:
    try:
        tree = parse_yaml(content.decode(), name) or {}
    except ParseError as error:
        ours = f"git checkout HEAD {LOCK} metrics data/label_issues"  # --ours fails where we removed a variant
        told = " ".join(str(error).split())
        raise UserError(f"{told}; after a merge: `{ours}`, `dvc repro` (`--pull` with a remote)") from None
    except Exception:  # YAML's reader lets through what int(), date() and others raise, too
        tree = None
    entries = tree.get("stages") or {} if isinstance(tree, dict) else None
    if UNHASHED.search(content):  # DVC takes what lost its hash for changed
        raise UserError(
            f"{name}: lacks hashes of folders, which a push to a remote with version_aware or worktree takes out; "
            f"`git checkout HEAD {LOCK}` restores it (or `dvc commit --force`, where Git has it so, too), "
            "`dvc remote modify --unset REMOTE version_aware` keeps it so"
        )
    if not isinstance(entries, dict) or not all(isinstance(name, str) and is_entry(entries[name]) for name in entries):
        raise UserError(f"{name}: not what DVC writes; `git checkout HEAD {LOCK}` restores it")
    return dict(entries)


def is_entry(entry: Any) -> bool:
    """Say whether something is what DVC writes of a stage."""
    if not isinstance(entry, dict) or not isinstance(entry.get("cmd"), str | list):
        return False
    deps, outs, params = entry.get("deps", []), entry.get("outs", []), entry.get("params", {})
    if not (isinstance(deps, list) and isinstance(outs, list) and isinstance(params, dict)):
        return False
    are_files = all(
        isinstance(one, dict) and isinstance(one.get("path"), str) and one["path"] and _hash(one) for one in deps + outs
    )
    return are_files and all(isinstance(one, dict) for one in params.values())


def hashes(entry: dict[str, Any], kind: str) -> dict[str, str]:
    """Return the hashes of a stage's `deps` or `outs` by path, as `spelled` does it."""
    return {spelled(one["path"]): _hash(one) for one in entry.get(kind, [])}


def _hash(one: dict[str, Any]) -> str:
    """Return the hash that dvc.lock has of a file, or of what lies on the web or in a storage; none without one."""
    return next((one[key] for key in ("md5", "etag", "checksum") if isinstance(one.get(key), str)), "")


def spelled(path: str) -> str:
    """Return a path as seen from the project's folder: without slashes at its end or twice, . and needless .. in it."""
    return Path(os.path.relpath(path)).as_posix()
