"""DVC's cache, object by object: DVC itself checks a damaged object out without complaint."""

import hashlib
import json
import re
import shlex
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from dvc.output import Output
from dvc.repo import Repo
from tqdm import tqdm

from commands.doctor.findings import Finding, State, amount
from commands.doctor.remotes import LISTS_IN, existing, named_remotes, within
from thaw.errors import UserError
from thaw.progress import progress

OBJECT = re.compile(r"[0-9a-f]{32}(\.dir)?")


def rehash(repo: Repo) -> Iterator[Finding]:
    """Hash every object in the local cache; yield the damaged ones, then how many there are."""
    objects = {
        path.parent.name + path.name: path for path in sorted(Path(repo.cache.local.path).glob("[0-9a-f][0-9a-f]/*"))
    }
    objects = {oid: path for oid, path in objects.items() if OBJECT.fullmatch(oid)}
    sizes = {oid: path.stat().st_size for oid, path in objects.items()}
    damaged = []
    bar: tqdm[str] = progress((), sum(sizes.values()), "hashing", "B")
    with bar:
        for oid, path in objects.items():
            if _md5(path) != oid[:32]:
                damaged.append(oid)
            bar.update(sizes[oid])
    users = _users(repo, damaged)
    remote = _in_remote(repo, damaged)
    for oid in damaged:
        yield _damage(objects[oid], oid, users[oid], oid in remote)
    are = "is" if len(damaged) == 1 else "are"
    text = f"{len(damaged)} of {len(objects)} objects {are} damaged, of {amount(sum(sizes.values()))} in all"
    yield Finding("objects", State.ERROR if damaged else State.OK, text)


def _md5(path: Path) -> str | None:
    """Return a file's MD5; None if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "md5").hexdigest()
    except OSError:
        return None


def _users(repo: Repo, damaged: list[str]) -> dict[str, list[tuple[Output, str]]]:
    """Return, for each object, the outputs that it belongs to, and the path at which it then is."""
    found = defaultdict(list)
    for out in repo.index.outs:
        if not out.use_cache or not out.hash_info:
            continue
        found[out.hash_info.value].append((out, str(out)))
        listing = Path(repo.cache.local.oid_to_path(out.hash_info.value))
        if out.hash_info.isdir and out.hash_info.value not in damaged and listing.exists():
            for one in json.loads(listing.read_bytes()):
                found[one["md5"]].append((out, f"{out}/{one['relpath']}"))
    return found


def _in_remote(repo: Repo, oids: list[str]) -> set[str]:
    """Return which objects the remotes have; none if there is no remote that answers."""

    def there(name: str) -> set[str]:
        return existing(repo.cloud.get_remote(name), oids)

    found: set[str] = set()
    for name in filter(None, named_remotes(repo) if oids else ()):
        with suppress(UserError):
            found |= within(LISTS_IN, partial(there, name))
    return found


def _damage(path: Path, oid: str, users: list[tuple[Output, str]], is_in_remote: bool) -> Finding:
    """Say what a damaged object belongs to, and how it is mended.

    Its copies in the workspace have to go, too: DVC takes them to be what they should be.
    """
    error = partial(Finding, "objects", State.ERROR)
    here = str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
    outs = list(dict.fromkeys(str(out) for out, _ in users))
    places = list(dict.fromkeys(place for _, place in users))
    stages = list(dict.fromkeys(out.stage.addressing for out, _ in users if out.stage.cmd))
    forget, forget_all = shlex.join(["rm", "-f", here]), shlex.join(["rm", "-rf", here, *places])
    if not users:
        return error(f"{here}: damaged; of an earlier version", forget)
    text = f"{here}: damaged; it is {', '.join(places)}"
    if is_in_remote:
        return error(text, f"{forget_all} && {shlex.join(['dvc', 'pull', *outs])}")
    if stages:
        return error(text, f"{forget_all} && {shlex.join(['dvc', 'repro', *stages])}")
    if any(Path(place).is_file() and _md5(Path(place)) == oid for place in places):
        return error(text, f"{forget} && {shlex.join(['dvc', 'commit', '--force', *outs])}")
    text += "; no remote that answers has it, and no stage makes it: put it back from where it came from, then"
    return error(text, f"{forget} && {shlex.join(['dvc', 'add', *outs])}")
