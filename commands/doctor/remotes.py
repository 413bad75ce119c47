"""Whether teammates get what is computed here: DVC's remote, and what is in it."""

import hashlib
import json
import os
import re
import shlex
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Thread
from typing import TypeVar
from urllib.parse import urlsplit

from configobj import ConfigObj, ConfigObjError
from dvc.config import RemoteNotFoundError
from dvc.data_cloud import Remote
from dvc.fs import HTTPFileSystem, LocalFileSystem, RemoteMissingDepsError
from dvc.repo import Repo
from dvc_data.hashfile.db import HashFileDB
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.transfer import transfer

from commands import git
from commands.doctor.findings import Finding, State
from commands.lock import LOCK
from commands.output import counted, first_names
from commands.pipeline import require_plain
from thaw.errors import UserError
from thaw.files.reading import DAMAGE

CONFIG = ".dvc/config"
SECRET = re.compile(r"password|passphrase|secret|token|account_key|customer_key|connection_string")
NO_SECRET = re.compile(r"^ask_|^exclude_|_command$|_path$")
IN_URL = re.compile(
    r"(?P<user>://[^\s:/?@]*:)(?!\d+(?:/|$))\S*(?=@)|(?P<key>[?&][^\s=&]*(?:sig|key|password|secret|token)[^\s=&]*=)[^\s&]*",
    re.IGNORECASE,
)
"""A password in an address, which may have slashes and more @ in it, and a key behind a question mark."""
VERSIONED = ("version_aware", "worktree")
"""Options of remotes to which files go by their names, not by hashes."""
INSTALLABLE = ("s3", "ssh", "webdav", "webdavs")
"""Kinds of remotes for which the extra `remotes` installs what DVC needs."""
ANSWERS_IN = 10
"""Seconds in which a remote has to answer."""
LISTS_IN = 30
"""Seconds in which a remote has to say what it has."""
FILES_A_SECOND = 1000
"""How many more it has to know of in each second more."""
T = TypeVar("T")


def check_secrets(repo: Repo) -> Finding:
    """Find out whether credentials are kept out of the files that Git tracks."""
    error = partial(Finding, "credentials", State.ERROR)
    config = os.path.relpath(Path(repo.root_dir, CONFIG))  # above, where several projects share a repository
    if git.is_tracked(f"{config}.local"):
        text = f"Git tracks {config}.local, which is for passwords and keys: change them at the server, too"
        return error(text, f"git rm --cached {config}.local")
    for remote, option in _secrets(Path(config).read_text(encoding="utf-8")):
        text = f"{config}, which Git tracks, holds {option}{f' of the remote {remote}' if remote else ''}"
        if option == "url":
            return error(f"{text} with a password or key in it", f"dvc remote modify {shlex.quote(remote)} url URL")
        command, named = ("remote modify", shlex.join([remote, option])) if remote else ("config", shlex.quote(option))
        return error(text, f"dvc {command} --unset {named} && dvc {command} --local {named} VALUE")
    for remote, option in _secrets((git.file_at("HEAD", config) or b"").decode(errors="replace")):
        text = f"the last commit's {config} holds {option}{f' of the remote {remote}' if remote else ''}"
        return error(f"{text}: change it at the server, too", f"git commit {config}")
    return Finding("credentials", State.OK, f"none in {config}")


def _secrets(text: str) -> Iterator[tuple[str, str]]:
    """Yield the remotes, and their options, in which credentials stand; none, and such as studio.token, of all else."""
    try:
        sections = ConfigObj(text.splitlines(), list_values=False)
    except ConfigObjError:  # in a commit: the one that is here was read by DVC
        return
    for section, options in sections.items():
        named = re.fullmatch(r'(\w+) "(.+)"', section)
        kind, name = named.groups() if named else ("", section)
        for option, value in options.items() if isinstance(options, dict) else ():
            is_remote, is_secret = kind == "remote", SECRET.search(option) and not NO_SECRET.search(option)
            if is_secret or (is_remote and option == "url" and IN_URL.search(value)):
                yield (name, option) if is_remote else ("", ".".join(filter(None, (kind, name, option))))


def default_remote(repo: Repo) -> str | None:
    """Return the name of the remote that DVC pushes to."""
    name = repo.config["core"].get("remote")
    return None if name is None else str(name)


def named_remotes(repo: Repo) -> list[str | None]:
    """Return the default remote's name, None if there is none, and those of the remotes that outputs name."""
    return list(dict.fromkeys([default_remote(repo), *(out.remote for out in repo.index.outs if out.remote)]))


def check_remote(repo: Repo, name: str | None = None) -> Finding:
    """Find out whether there is a remote, by default DVC's, which answers, and takes and returns a small file."""
    name = name or default_remote(repo)
    if not name:
        text = "none is configured: teammates cannot get what is computed here"
        return Finding("remote", State.WARNING, text, "dvc remote add --default store URL")
    if versioned := [one for one in VERSIONED if repo.config["remote"].get(name, {}).get(one)]:
        text = f"{name} has {' and '.join(versioned)}: a push takes hashes of folders out of {LOCK}, and all runs again"
        unset = [shlex.join(["dvc", "remote", "modify", "--unset", name, one]) for one in versioned]
        return Finding("remote", State.ERROR, text, " && ".join(unset))
    os.environ.setdefault("AWS_MAX_ATTEMPTS", "1")  # S3's client would try again for longer than is waited here
    try:
        remote = repo.cloud.get_remote(name)
    except RemoteNotFoundError:
        is_default = name == default_remote(repo)
        text = f"{'core.remote' if is_default else 'an output'} names {name}, but there is no remote of that name"
        add = ["dvc", "remote", "add", *(["--default"] if is_default else []), name, "URL"]
        return Finding("remote", State.ERROR, text, shlex.join(add))
    except (ImportError, RemoteMissingDepsError):
        kind = urlsplit(_url(repo, name)).scheme
        extra = "--editable '.[remotes]'" if kind in INSTALLABLE else f"'dvc[{kind}]'"
        text = f"{name} ({_url(repo, name)}): DVC's package for {kind} is not installed"
        return Finding("remote", State.ERROR, text, f"python -m pip install --constraint constraints.txt {extra}")
    except ValueError as error:  # such as a port that is none
        text = f"{name} ({_url(repo, name)}): not the address of a storage: {error}"
        return Finding("remote", State.ERROR, text, f"dvc remote modify {shlex.quote(name)} url URL")
    where = f"{name} ({_url(repo, name)})"
    require_plain(remote.path, f"dvc remote modify {shlex.quote(name)} url URL")
    try:
        within(ANSWERS_IN, lambda: _reach(remote))
    except UserError as error:
        return Finding("remote", State.ERROR, f"{where} cannot be reached: {error}")
    if isinstance(remote.fs, LocalFileSystem) and not remote.fs.exists(remote.path):
        text = f"{where} is no folder yet; `dvc push` makes it. If it is another machine's, mount that first"
        return Finding("remote", State.WARNING, text)
    if isinstance(remote.fs, HTTPFileSystem):
        return Finding("remote", State.OK, f"{where} answers; whether it takes files, only a push can tell")
    try:
        within(ANSWERS_IN, lambda: _write_probe(remote))
    except UserError as error:
        return Finding("remote", State.ERROR, f"{where} can be reached, but not written to: {error}")
    return Finding("remote", State.OK, f"{where} can be reached and written to")


def _url(repo: Repo, name: str) -> str:
    """Return a remote's address, without a password that may stand in it."""
    return _without_secrets(str(repo.config["remote"][name]["url"]))


def _without_secrets(text: str) -> str:
    return IN_URL.sub(lambda found: f"{found['user'] or found['key']}…", text)


def _reach(remote: Remote) -> None:
    if isinstance(remote.fs, HTTPFileSystem):
        address = urlsplit(remote.path)
        socket.create_connection((address.hostname, address.port or address.scheme), ANSWERS_IN).close()
    else:
        with suppress(FileNotFoundError):  # the first push makes it
            remote.fs.info(remote.path)


def _write_probe(remote: Remote) -> None:
    fs, content = remote.fs, uuid.uuid4().hex.encode()
    path = fs.join(remote.path, f"thaw-doctor-{content.decode()}")
    fs.makedirs(remote.path)
    fs.pipe_file(path, content)
    try:
        if fs.cat_file(path) != content:
            raise OSError("it returns something else than was written")
    finally:
        fs.remove(path)


def check_pushed(repo: Repo, name: str | None = None) -> Finding:
    """Find out whether a remote has the results that dvc.lock names, all files of folders, and the run cache.

    The run cache belongs to the default remote.
    """
    name = name or default_remote(repo)
    wanted = _results(repo, name)
    damaged = [path for oid, path in wanted.items() if _is_here(repo, oid) and _listed_here(repo, oid) is None]
    if damaged:
        text = f"DVC's lists of the files in {first_names(damaged)} are damaged here: nobody knows what {name} lacks"
        return Finding("pushed", State.ERROR, text, "thaw doctor --rehash")
    try:
        remote = repo.cloud.get_remote(name)
        there = within(LISTS_IN, lambda: existing(remote, list(wanted)))
        lacking = _lacking(repo, remote, {oid: wanted[oid] for oid in there})
        # DVC keeps no run cache on servers that cannot list files.
        is_kept = name == default_remote(repo) and not isinstance(remote.fs, HTTPFileSystem)
        runs = _runs(repo.cache.legacy) if is_kept else set()
        missing_runs = runs - within(LISTS_IN, lambda: _runs(remote.legacy_odb)) if runs else runs
    except UserError as error:
        return Finding("pushed", State.ERROR, f"{name} does not say what it has: {error}")
    missing = {oid: wanted[oid] for oid in wanted if oid not in there}
    elsewhere = sorted(path for oid, path in {**missing, **lacking}.items() if not _is_here(repo, oid))
    text = f"{name} has {len(wanted) - len(missing)} of {len(wanted)} results"
    if runs:
        text += f", and {len(runs) - len(missing_runs)} of the {len(runs)} runs in the run cache"
    if lacking:
        are_missing = counted(len(lacking), "file of its folders is missing", "files of its folders are missing")
        text += f"; {are_missing} there ({first_names(sorted(lacking.values()))})"
    if elsewhere:
        text += f"; {len(elsewhere)} are not here either ({first_names(elsewhere)}): who has them has to push them"
    if lacking:  # DVC takes them to be there, so that a push leaves them out and a pull fails
        return Finding("pushed", State.ERROR, text, "thaw doctor --complete-remote")
    if len(missing) > len(elsewhere) or missing_runs:
        return Finding("pushed", State.WARNING, text, "dvc push --run-cache" if runs else "dvc push")
    return Finding("pushed", State.WARNING if elsewhere else State.OK, text)


def complete_remote(repo: Repo, name: str | None = None) -> Finding:
    """Send the files that folders in the remote lack, as they do where a push was killed.

    Of a folder, DVC pushes the list of its files last, and takes all of them to be there where that is.
    """
    name = name or default_remote(repo)
    remote, wanted = repo.cloud.get_remote(name), _results(repo, name)
    there = within(LISTS_IN, lambda: existing(remote, list(wanted)))
    lacking = [oid for oid in _lacking(repo, remote, {oid: wanted[oid] for oid in there}) if _is_here(repo, oid)]
    cache = repo.cache.local
    # Without DVC's index of the remote, which says that they are there.
    sent = transfer(cache, remote.odb, {HashInfo(cache.hash_name, oid) for oid in lacking})
    state = State.ERROR if sent.failed else State.OK
    return Finding("completed", state, f"{len(sent.transferred)} of {len(lacking)} files that are here were sent")


def _results(repo: Repo, name: str | None) -> dict[str, str]:
    """Return the results that belong into a remote: their paths by their objects' names."""
    return {
        out.hash_info.value: str(out)
        for out in repo.index.outs
        if out.use_cache
        and out.can_push
        and out.hash_info
        and not out.stage.is_repo_import
        and (out.remote or default_remote(repo)) == name
    }


def _is_here(repo: Repo, oid: str) -> bool:
    return Path(repo.cache.local.oid_to_path(oid)).exists()


def _listed_here(repo: Repo, oid: str) -> dict[str, str] | None:
    """Return what `_listed` does of an object in DVC's cache; of one that is no folder's list, nothing."""
    return _listed(oid, Path(repo.cache.local.oid_to_path(oid)).read_bytes()) if oid.endswith(".dir") else {}


def _listed(oid: str, content: bytes) -> dict[str, str] | None:
    """Return a folder's files by their objects' names, as DVC lists them; None if that is not the list of its name."""
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != oid.removesuffix(".dir"):
        return None
    try:
        return {one["md5"]: one["relpath"] for one in json.loads(content)}
    except DAMAGE:
        return None


def _lacking(repo: Repo, remote: Remote, results: dict[str, str]) -> dict[str, str]:
    """Return the files of folders that a remote has not, though it has their list: their paths by their objects' names.

    Raises:
        UserError: the remote does not answer.
    """
    files: dict[str, str] = {}
    for oid, folder in results.items():
        if oid.endswith(".dir"):
            listed = _listed_here(repo, oid) if _is_here(repo, oid) else None
            path = remote.odb.oid_to_path(oid)
            if listed is None:
                listed = _listed(oid, within(LISTS_IN, partial(remote.odb.fs.cat_file, path)))
            if listed is None:
                raise UserError(f"its list of the files in {folder} is damaged; remove {path} there, then `dvc push`")
            files |= {md5: f"{folder}/{name}" for md5, name in listed.items()}
    there = within(LISTS_IN + len(files) / FILES_A_SECOND, lambda: existing(remote, list(files))) if files else ()
    return {oid: path for oid, path in files.items() if oid not in there}


def existing(remote: Remote, oids: list[str]) -> set[str]:
    """Return which objects a remote has, asked for one by one or, where that takes fewer questions, by listing it."""
    odb = remote.odb
    if isinstance(remote.fs, LocalFileSystem):  # of which DVC would hash them
        return {oid for oid in oids if Path(odb.oid_to_path(oid)).exists()}
    return set(odb.oids_exist(oids))


def _runs(store: HashFileDB) -> set[tuple[str, ...]]:
    """Return the runs in a run cache, by what went in and what came out."""
    try:
        return {tuple(path.split(store.fs.sep)[-2:]) for path in store.fs.find(store.fs.join(store.path, "runs"))}
    except FileNotFoundError:
        return set()


def within(seconds: float, do: Callable[[], T]) -> T:
    """Return what a server answers.

    Raises:
        UserError: it answers with an error, or not in time.
    """
    results: list[T] = []
    errors: list[Exception] = []

    def attempt() -> None:
        try:
            results.append(do())
        except Exception as error:  # each kind of server raises its own
            errors.append(error)

    # This process does not wait for it when it ends, whatever the server does.
    thread = Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(seconds)
    if results:
        return results[0]
    reason = f"no answer within {round(seconds, 1):g} s"
    if errors:
        reason = _without_secrets(next(iter(str(errors[0]).splitlines()), type(errors[0]).__name__))
    raise UserError(reason)
