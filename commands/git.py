"""Files as they are in a commit, and whether they are."""

import re
import shlex
import subprocess
from pathlib import Path

from thaw.errors import UserError


def is_here() -> bool:
    """Say whether the current folder is in a Git repository."""
    return _git("rev-parse", "--git-dir") is not None


def require_commit(rev: str) -> str:
    """Return the full name of a commit, which may be that of an experiment.

    Raises:
        UserError: there is no such commit, or no Git repository, a clone lacks its files, or Git's index is damaged.
    """
    found = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{rev}^{{commit}}") or _experiment(rev)
    if found is None and not is_here():
        raise UserError(
            f"{rev}: no such commit, for this is not a Git repository; clone the project to have its commits"
        )
    if found is None and _git("rev-parse", "--is-shallow-repository") == b"true\n":
        raise UserError(f"{rev}: no such commit in this shallow clone; `git fetch --unshallow` gets all of its commits")
    if found is None:
        raise UserError(f"{rev}: no such commit; `git fetch` gets those of a remote, `git branch -a` lists branches")
    name = found.decode().strip()
    _require_index()
    _require_files(rev, name)
    return name


def _require_index() -> None:
    """Refuse an index that is damaged, as after a power cut: DVC, which reads commits with it, would wait for ever."""
    if _git("ls-files", "--", "dvc.yaml") is None:
        index = (_git("rev-parse", "--git-path", "index") or b".git/index").decode(errors="replace").strip()
        way = f"rm {shlex.quote(index)} && git reset --quiet"
        raise UserError(
            f"{index}: Git cannot read what it keeps there of the files that it tracks; `{way}` makes it anew"
        )


def _require_files(rev: str, commit: str) -> None:
    """Have a clone that was made with --filter fetch a commit's files: DVC, which does not, would wait for ever."""

    def lacking() -> list[str]:
        listed = _git("rev-list", "--objects", "--missing=print", "--no-walk", commit) or b""
        return [line[1:] for line in listed.decode(errors="replace").splitlines() if line.startswith("?")]

    if lacking():
        _git("diff", "--shortstat", commit, "HEAD")  # fetches most of them at once
    while names := lacking():  # of folders, first what is in them
        if any(_git("cat-file", "-e", name) is None for name in names):
            raise UserError(
                f"{rev}: this clone, made with --filter, lacks files of it, and its remote does not send them; "
                "`git fetch --refetch --no-filter` gets all"
            )


def _experiment(name: str) -> bytes | None:
    """Return the commit of one of DVC's experiments, whose names Git does not know; None if not one alone has it."""
    if not re.fullmatch(r"[\w-]+", name):
        return None
    found = (_git("for-each-ref", "--format=%(objectname)", f"refs/exps/*/*/{name}") or b"").split()
    return found[0] if len(found) == 1 else None


def file_at(rev: str, path: str) -> bytes | None:
    """Return a file's bytes as they are in a commit; None if it is not there."""
    return _git("cat-file", "blob", f"{rev}:./{path}")


def is_tracked(path: str) -> bool:
    """Say whether a file is in Git's index."""
    return bool(_git("ls-files", "--", path))


def is_saved(path: str) -> bool:
    """Say whether the last commit has a file as it is here; one that is not here cannot be lost."""
    if not Path(path).exists():
        return True
    if not is_tracked(path) or _git("status", "--porcelain", "--", path) != b"":
        return False
    is_looked_at = (_git("ls-files", "-v", "--", path) or b"").startswith(b"H")  # not so by --assume-unchanged
    return is_looked_at or _git("hash-object", "--", path) == _git("rev-parse", f"HEAD:./{path}")


def remove(paths: list[str]) -> None:
    """Remove files from the working tree and from Git's index.

    Raises:
        UserError: Git does not do it, such as while another of its processes writes the index; none is removed.
    """
    if paths and _git("rm", "--quiet", "--", *paths) is None:
        raise UserError(f"git rm {' '.join(paths)}: failed, nothing was changed; it says why when you run it")


def _git(*arguments: str) -> bytes | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, check=False)
    except FileNotFoundError:
        raise UserError("git: no such program; install it") from None
    if b"safe.directory" in done.stderr:
        raise UserError(
            "git: takes nothing from a folder of another user, as this one is, unless it is told to: "
            f"`git config --global --add safe.directory {shlex.quote(str(Path.cwd()))}`"
        )
    return done.stdout if done.returncode == 0 else None
