"""Whether DVC sees the data, and there is room for what the pipeline makes: memory, disk, DVC's cache."""

import os
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from dvc.repo import Repo
from dvc_objects.fs.generic import test_links

from commands import lock, pipeline
from commands.doctor.findings import Finding, State, amount
from commands.doctor.sizes import Sizes
from commands.leftovers import uncommitted
from commands.output import counted, first_names
from thaw.files.finding import files_below
from thaw.reuse.folder import FOLDER, limit, project_folder, rows_folder, stored
from thaw.threads import GROUP

BASE_MEMORY = 1.5e9
"""Bytes of a process that has loaded Keras and trains a small network."""
MEMBERSHIP = Path("/proc/self/cgroup")
"""Which group a process is in, as those of a scheduler's job are."""
INACTIVE = re.compile(r"^(?:total_)?inactive_file (\d+)$", re.MULTILINE)
"""What a group holds of files, which counts as used, but is given back when it is wanted; last, of all groups in it."""
OF_A_SOLVER = 2
"""A solver holds all rows, and again as it turns them."""
MUCH = 1e9
"""Bytes whose second copy is worth a word."""


def check_data(repo: Repo, folder: Path) -> Finding:
    """Find out whether DVC sees every file of the data set: of what a .dvcignore leaves out, it notices no change."""
    if not folder.is_dir():
        return Finding("data", State.OK, f"{folder} is not here")
    (files, _), absolute = files_below(folder), repo.fs.abspath
    seen = {*repo.dvcignore.find(repo.fs, absolute(str(folder)))}
    unseen = [lock.spelled(str(one)) for one in files if absolute(str(one)) not in seen]
    if unseen:
        are_out = counted(len(unseen), "file that stages read is left out", "files that stages read are left out")
        text = f"{are_out} by .dvcignore, so that no change is noticed; mend that, or move away what it leaves out"
        return Finding("data", State.ERROR, f"{text}: {first_names(unseen)}")
    if not files:
        return Finding("data", State.WARNING, f"{folder} is empty, where the images should be; mount or fill it")
    return Finding("data", State.OK, f"DVC sees the {counted(len(files), 'file')} of {folder}")


def check_memory(params: dict[str, Any], found: Sizes | None) -> Finding:
    """Find out whether there is memory for the heads that are solved on all of their inputs; others read batches."""
    total, available = _memory()
    solved = [one["inputs"].removeprefix("features/") for one in params["variants"].values() if "solver" in one["fit"]]
    solved += params["label_issues"]
    held = max((found.features.get(name, 0) for name in solved), default=0) * OF_A_SOLVER if found else 0
    needed = BASE_MEMORY + held
    text = f"about {amount(needed)} needed{_but_for(found)}, {amount(available)} of {amount(total)} free"
    if needed > total:
        hint = "give what a solver reads pooling, or fewer views"
        return Finding("memory", State.ERROR, f"{text}: {hint}")
    if needed > available:
        return Finding("memory", State.WARNING, f"{text}: end what else is running")
    return Finding("memory", State.OK, text)


def _memory() -> tuple[int, int]:
    """Return how many bytes there are, and how many of them are free; a container, or a job, may have fewer."""
    memory = psutil.virtual_memory()
    total, free = [memory.total], [memory.available]
    for group in _groups():
        # Since 2020, and before.
        for folder, most, used in (
            (GROUP / group, "memory.max", "memory.current"),
            (GROUP / "memory" / group, "memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            with suppress(OSError, ValueError):  # there is none, or "max"
                total.append(int((folder / most).read_text()))
                *_, given_back = INACTIVE.findall((folder / "memory.stat").read_text())
                free.append(total[-1] - int((folder / used).read_text()) + int(given_back))
    return min(total), max(0, min(*free, *total))


def _groups() -> set[Path]:
    """Return the groups that this process is in, one in the other; of a container, the outermost is the container."""
    groups = {Path()}
    with suppress(OSError):
        for line in MEMBERSHIP.read_text().splitlines():
            _, kinds, group = line.split(":", 2)
            if kinds in ("", "memory"):
                groups |= {Path(group.lstrip("/")), *Path(group.lstrip("/")).parents}
    return groups


def check_disk(repo: Repo, found: Sizes | None) -> Finding:
    """Find out whether there is room for tensors and features, twice where DVC's cache has copies."""
    free = _free_bytes(repo)
    if found is None:
        text = f"{amount(free)} free; how much is needed is known once `dvc repro manifest` has run"
        return Finding("disk", State.OK, text)
    files = {f"data/tensors/{name}.h5": size for name, size in found.tensors.items()}
    files |= {f"data/features/{name}.h5": size for name, size in found.features.items()}
    times = 2 if _links(repo) == ["copy"] else 1
    needed = times * sum(files.values())
    here = times * sum(Path(path).stat().st_size for path in files if Path(path).exists())
    copies = " with their copies in the cache" if times == 2 else ""
    text = f"tensors and features{_but_for(found)} take {amount(needed)}{copies}, "
    text += f"{amount(here)} are here, {amount(free)} free"
    if needed - here > free:
        hint = "take fewer pixels, views or features, or remove from the cache what no commit names"
        return Finding("disk", State.ERROR, f"{text}: {hint}", "dvc gc --all-commits")
    return Finding("disk", State.OK, text)


def _but_for(found: Sizes | None) -> str:
    names = [f"features.{name}" for name in found.unknown] if found else []
    return f" (but for {first_names(names)}, of a network that is not yet known)" if names else ""


def check_store() -> Finding:
    """Find out how large the store is that projects share, and whether this project still has one of its own."""
    size = sum(size for _, size, _ in stored())
    text = f"{amount(size)} of at most {amount(limit())} are in {rows_folder()}"
    if not _is_writable(rows_folder()):
        hint = f"have {FOLDER} name another folder, or `chmod -R g+w` this one where a team shares it"
        text = f"{rows_folder()} cannot be written, so that nothing new is kept: {hint}"
        return Finding("rows", State.WARNING, text)
    former = project_folder() / "rows"
    if former.is_dir() and former != rows_folder():
        return Finding("rows", State.WARNING, f"{text}; those in {former} are not read any more", f"rm -r {former}")
    return Finding("rows", State.OK, text)


def _is_writable(folder: Path) -> bool:
    """Say whether files can be put into a folder, which is made if it is not there."""
    there = _existing(folder)
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def _free_bytes(repo: Repo) -> int:
    """Return what is free where DVC's cache is."""
    return shutil.disk_usage(_existing(Path(repo.cache.local.path))).free


def check_cache(repo: Repo) -> Finding:
    """Find out whether all results that are here are in DVC's cache, and whether they take room once."""
    pipeline.require_plain(repo.cache.local.path, pipeline.CACHE_IN)
    if broken := [path for out in repo.index.outs for path in _broken_links(Path(out.fs_path))]:
        lead = counted(len(broken), "link leads", "links lead")
        text = f"{lead} nowhere, as where the project or the cache was moved: {first_names(broken)}"
        if Path(repo.cache.local.path).exists():
            return Finding("cache", State.ERROR, text, "dvc checkout")
        text = f"{text}; nothing is at {repo.cache.local.path}: mount it, or say where DVC's cache is now"
        return Finding("cache", State.ERROR, text, "dvc cache dir --local FOLDER && dvc checkout")
    if lacking := [stage.addressing for stage in uncommitted(pipeline.stages_of(repo))]:
        what = f"lacks what is here of {first_names(lacking)}"
        text = f"{repo.cache.local.path} {what}: it cannot be pushed, and `dvc repro` would make results anew"
        return Finding("cache", State.WARNING, text, "python -m commands.leftovers")
    links = _links(repo)
    size = sum(out.meta.size or 0 for out in repo.index.outs if out.use_cache and out.meta)
    if not links:
        wanted = ", ".join(repo.cache.local.cache_types)
        text = f"none of the configured links works here: {wanted}"
        return Finding("cache", State.ERROR, text, "dvc config --local cache.type copy")
    if links != ["copy"]:
        return Finding("cache", State.OK, f"results are {links[0]}s to {repo.cache.local.path}")
    text = f"results are copies of what is in {repo.cache.local.path}: their {amount(size)} are on the disk twice"
    possible = _working(repo, ["reflink", "hardlink", "symlink"])
    if size < MUCH or not possible:
        return Finding("cache", State.OK, text)
    command = f"dvc config --local cache.type {','.join(possible)} && dvc checkout --relink"
    return Finding("cache", State.WARNING, text, command)


def _broken_links(path: Path) -> list[str]:
    """Return which of a result's files, or data's, are links to what is not there."""
    links = [path, *(Path(entry) for entry in pipeline.entries_below(path) if entry.is_symlink())]
    return [os.path.relpath(link) for link in links if link.is_symlink() and not link.exists()]


def _links(repo: Repo) -> list[str]:
    """Return the link that DVC makes from results to its cache: the first configured one that works."""
    return _working(repo, repo.cache.local.cache_types)[:1]


def _working(repo: Repo, links: list[str]) -> list[str]:
    cache = _existing(Path(repo.cache.local.path))
    return [
        str(link)
        for link in test_links(links, repo.cache.local.fs, str(cache), repo.fs, str(Path(repo.root_dir, "data")))
    ]


def _existing(path: Path) -> Path:
    return next(one for one in (path, *path.parents) if os.access(one, os.F_OK))
