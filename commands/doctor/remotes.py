"""Whether teammates get what is computed here: DVC's remote, and what is in it."""

import os
import re
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

from commands import git
from commands.doctor.findings import Finding, State, first_names
from thaw.errors import UserError

CONFIG = ".dvc/config"
SECRET = re.compile(r"password|passphrase|secret|token|account_key|customer_key|connection_string")
NO_SECRET = re.compile(r"^ask_|_command$|_path$")
INSTALLABLE = ("s3", "ssh", "webdav", "webdavs")
"""Kinds of remotes for which the extra `remotes` installs what DVC needs."""
ANSWERS_IN = 10
"""Seconds in which a remote has to answer."""
LISTS_IN = 30
"""Seconds in which a remote has to say what it has."""
T = TypeVar("T")


def check_secrets(repo: Repo) -> Finding:
    """Find out whether credentials are kept out of the files that Git tracks."""
    error = partial(Finding, "credentials", State.ERROR)
    if git.is_tracked(f"{CONFIG}.local"):
        text = f"Git tracks {CONFIG}.local, which is for passwords and keys: change them at the server, too"
        return error(text, f"git rm --cached {CONFIG}.local")
    for remote, option in _secrets(Path(repo.root_dir, CONFIG).read_text(encoding="utf-8")):
        text = f"{CONFIG}, which Git tracks, holds {option} of the remote {remote}"
        if option == "url":
            return error(f"{text} with a password in it", f"dvc remote modify {remote} url URL")
        move = f"dvc remote modify --unset {remote} {option} && dvc remote modify --local {remote} {option} VALUE"
        return error(text, move)
    for remote, option in _secrets(_committed()):
        text = f"the last commit's {CONFIG} holds {option} of the remote {remote}: change it at the server, too"
        return error(text, f"git commit {CONFIG}")
    return Finding("credentials", State.OK, f"none in {CONFIG}")


def _committed() -> str:
    return (git.file_at("HEAD", CONFIG) or b"").decode(errors="replace")


def _secrets(text: str) -> Iterator[tuple[str, str]]:
    """Yield the remotes, and their options, in which credentials stand."""
    try:
        sections = ConfigObj(text.splitlines(), list_values=False)
    except ConfigObjError:  # in a commit: the one that is here was read by DVC
        return
    for section, options in sections.items():
        if not (remote := re.fullmatch(r'remote "(.+)"', section)):
            continue
        for option, value in options.items():
            is_secret = SECRET.search(option) and not NO_SECRET.search(option)
            if is_secret or (option == "url" and urlsplit(value).password):
                yield remote[1], option


def default_remote(repo: Repo) -> str | None:
    """Return the name of the remote that DVC pushes to."""
    name = repo.config["core"].get("remote")
    return None if name is None else str(name)


def check_remote(repo: Repo) -> Finding:
    """Find out whether there is a remote, which answers, and takes and returns a small file."""
    name = default_remote(repo)
    if not name:
        text = "none is configured: teammates cannot get what is computed here"
        return Finding("remote", State.WARNING, text, "dvc remote add --default store URL")
    os.environ.setdefault("AWS_MAX_ATTEMPTS", "1")  # S3's client would try again for longer than is waited here
    try:
        remote = repo.cloud.get_remote()
    except RemoteNotFoundError:
        text = f"core.remote names {name}, but there is no remote of that name"
        return Finding("remote", State.ERROR, text, f"dvc remote add --default {name} URL")
    except (ImportError, RemoteMissingDepsError):
        kind = urlsplit(_url(repo)).scheme
        extra = "--editable '.[remotes]'" if kind in INSTALLABLE else f"'dvc[{kind}]'"
        text = f"{name} ({_url(repo)}): DVC's package for {kind} is not installed"
        return Finding("remote", State.ERROR, text, f"python -m pip install --constraint constraints.txt {extra}")
    where = f"{name} ({_url(repo)})"
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


def _url(repo: Repo) -> str:
    """Return the default remote's address, without a password that may stand in it."""
    url = str(repo.config["remote"][default_remote(repo)]["url"])
    password = urlsplit(url).password
    return url.replace(f":{password}@", ":…@") if password else url


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


def check_pushed(repo: Repo) -> Finding:
    """Find out whether the remote has the results that dvc.lock names, and the run cache."""
    name = default_remote(repo)
    wanted = {
        out.hash_info.value: str(out)
        for out in repo.index.outs
        if out.use_cache and out.can_push and out.hash_info and not out.stage.is_repo_import
    }
    try:
        remote = repo.cloud.get_remote()
        there = within(LISTS_IN, lambda: existing(remote, list(wanted)))
        # DVC keeps no run cache on servers that cannot list files.
        runs = set() if isinstance(remote.fs, HTTPFileSystem) else _runs(repo.cache.legacy)
        missing_runs = runs - within(LISTS_IN, lambda: _runs(remote.legacy_odb)) if runs else runs
    except UserError as error:
        return Finding("pushed", State.ERROR, f"{name} does not say what it has: {error}")
    missing = [oid for oid in wanted if oid not in there]
    cache = repo.cache.local
    nowhere = sorted(wanted[oid] for oid in missing if not Path(cache.oid_to_path(oid)).exists())
    text = f"{name} has {len(wanted) - len(missing)} of {len(wanted)} results"
    if runs:
        text += f", and {len(runs) - len(missing_runs)} of the {len(runs)} runs in the run cache"
    if nowhere:
        text += f"; {len(nowhere)} are not here either ({first_names(nowhere)}): who has them has to push them"
    if len(missing) > len(nowhere) or missing_runs:
        return Finding("pushed", State.WARNING, text, "dvc push --run-cache" if runs else "dvc push")
    return Finding("pushed", State.WARNING if nowhere else State.OK, text)


def existing(remote: Remote, oids: list[str]) -> set[str]:
    """Return which objects a remote has; of a folder that is pushed, the list of files comes last."""
    paths = [remote.odb.oid_to_path(oid) for oid in oids]
    return {oid for oid, is_there in zip(oids, remote.fs.exists(paths), strict=True) if is_there}


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
    reason = f"no answer within {seconds} s"
    if errors:
        reason = next(iter(str(errors[0]).splitlines()), type(errors[0]).__name__)
    raise UserError(reason)
