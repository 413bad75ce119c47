"""`thaw doctor`: say whether machine, data and remote are in order."""

import argparse
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from dvc.repo import Repo

from commands import leftovers, lock, pipeline
from commands.doctor.cluster import check_cluster
from commands.doctor.findings import Finding, State, checked
from commands.doctor.machine import (
    check_environment,
    check_keras,
    check_openvino,
    check_packages,
    check_python,
    starting_keras,
)
from commands.doctor.made import check_made
from commands.doctor.rehashing import rehash
from commands.doctor.remotes import check_pushed, check_remote, check_secrets, complete_remote, named_remotes
from commands.doctor.room import check_cache, check_data, check_disk, check_memory, check_store
from commands.doctor.sizes import sizes
from stages.check.checking import check_params
from thaw.errors import printable
from thaw.params.reading import read_yaml
from thaw.reuse.cluster import ADDRESS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("--rehash", action="store_true", help="hash every object in DVC's cache, and name the damaged")
    parser.add_argument(
        "--complete-remote", action="store_true", help="send the remote the files that its folders lack, first"
    )


def main(rehash: bool = False, complete_remote: bool = False) -> None:
    """Say whether machine, data and remote are in order, and how to mend what is not.

    The status is 1 if there is an error.
    """
    has_error = False
    for finding in examine(rehash, complete_remote):
        command = f": `{finding.command}`" if finding.command else ""
        print(printable(f"{finding.state:8} {finding.about}: {finding.text}{command}"), flush=True)
        has_error |= finding.state is State.ERROR
    if has_error:
        raise SystemExit(1)


def examine(objects: bool = False, complete: bool = False) -> Iterator[Finding]:
    """Yield what is found in the project in the current folder.

    Args:
        objects: hash those in DVC's cache, too.
        complete: send the remote what its folders lack.
    """
    with starting_keras() as keras, pipeline.opened() as repo:
        yield checked("Python", check_python)
        yield checked("packages", check_packages)
        yield checked("environment", check_environment)
        yield checked("locks", lambda: check_leftovers(repo))
        found = checked("pipeline", lambda: check_pipeline(repo))
        yield found
        if found.state is State.OK:
            params = read_yaml(pipeline.PARAMS)
            yield checked("OpenVINO", lambda: check_openvino(params))
            yield checked("data", lambda: check_data(repo, Path(params["dataset"]["path"])))
            yield checked("cache", lambda: check_cache(repo))
            yield checked("results", lambda: check_made(params))
        yield checked("rows", check_store)
        if address := os.environ.get(ADDRESS):
            yield checked("cluster", lambda: check_cluster(address))
        yield checked("credentials", lambda: check_secrets(repo))
        for name in named_remotes(repo) if found.state is State.OK else [None]:
            remote = checked("remote", partial(check_remote, repo, name))
            yield remote
            if remote.state is found.state is State.OK:
                if complete:
                    yield checked("completed", partial(complete_remote, repo, name))
                yield checked("pushed", partial(check_pushed, repo, name))
        if objects and found.state is State.OK:
            yield from rehash(repo)
        loaded, row_bytes = check_keras(keras)
        yield loaded
        if found.state is State.OK and loaded.state is not State.ERROR:
            yield checked("memory", lambda: check_memory(params, sizes(repo, params, row_bytes)))
            yield checked("disk", lambda: check_disk(repo, sizes(repo, params, row_bytes)))


def check_leftovers(repo: Repo) -> Finding:
    """Find out whether a killed command has left what stops all others; remove what one has left that stops none."""
    leftovers.require_locks(repo)
    leftovers.forget_index(repo)
    leftovers.remove_unfinished(repo)
    if damaged := leftovers.damaged(repo):
        text = (
            f"{' and '.join(damaged)} cannot be read, as where a command of DVC was killed: none runs until it is gone"
        )
        return Finding("locks", State.ERROR, text, "python -m commands.leftovers")
    return Finding("locks", State.OK, "no killed command has left what stops others")


def check_pipeline(repo: Repo) -> Finding:
    """Find out whether params.yaml, dvc.lock and dvc.yaml can be read: nothing is known of the pipeline without."""
    check_params(pipeline.PARAMS)
    lock.stages_now()
    with pipeline.complaining():
        count = len(pipeline.stages_of(repo))
    return Finding("pipeline", State.OK, f"{count} stages; {pipeline.PARAMS} has no errors")
