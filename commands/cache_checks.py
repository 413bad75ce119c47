"""Whether there is room for what the pipeline makes: memory, disk, DVC's cache."""

import shutil
from pathlib import Path
from typing import Any

import psutil
from dvc.repo import Repo
from dvc_objects.fs.generic import test_links

from commands.findings import Finding, State, amount
from commands.sizes import sizes

BASE_MEMORY = 1.5e9
"""Bytes of a process that has loaded Keras and trains a small network."""
OF_A_SOLVER = 3
"""A solver holds all rows as float32, and again as float64."""
MUCH = 1e9
"""Bytes whose second copy is worth a word."""


def check_memory(repo: Repo, params: dict[str, Any]) -> Finding:
    """Whether there is memory for the variants that hold all of their inputs: others read a batch at a time."""
    memory, found = psutil.virtual_memory(), sizes(repo, params)
    solved = [
        entry["inputs"].removeprefix("features/") for entry in params["variants"].values() if "solver" in entry["fit"]
    ]
    held = max((found.features.get(name, 0) for name in solved), default=0) * OF_A_SOLVER if found else 0
    needed = BASE_MEMORY + held
    text = f"about {amount(needed)} needed, {amount(memory.available)} of {amount(memory.total)} free"
    if needed > memory.total:
        return Finding(
            "memory", State.ERROR, f"{text}: pool the features that a solver reads, or take fewer views of them"
        )
    if needed > memory.available:
        return Finding("memory", State.WARNING, f"{text}: end what else is running")
    return Finding("memory", State.OK, text)


def check_disk(repo: Repo, params: dict[str, Any]) -> Finding:
    """Whether there is room for tensors and features, twice where DVC's cache has copies."""
    found = sizes(repo, params)
    if found is None:
        return Finding(
            "disk", State.OK, f"{amount(free_bytes(repo))} free; what is needed is known once `manifest` has run"
        )
    files = {f"data/tensors/{name}.h5": size for name, size in found.tensors.items()}
    files |= {f"data/features/{name}.h5": size for name, size in found.features.items()}
    times = 2 if _links(repo) == ["copy"] else 1
    needed = times * sum(files.values())
    here = times * sum(Path(path).stat().st_size for path in files if Path(path).exists())
    free = free_bytes(repo)
    text = f"tensors and features take about {amount(needed)}{' with their copies in the cache' if times == 2 else ''}"
    if found.unknown:
        text += f", and what {', '.join(found.unknown)} take, which have not run yet"
    text += f"; {amount(here)} of it are here, {amount(free)} free"
    if needed - here > free:
        hint = "a smaller cache, or fewer pixels, views or features; this removes what no commit refers to"
        return Finding("disk", State.ERROR, f"{text}: {hint}", "dvc gc --all-commits")
    return Finding("disk", State.OK, text)


def free_bytes(repo: Repo) -> int:
    """Return what is free where DVC's cache is."""
    return shutil.disk_usage(_existing(Path(repo.cache.local.path))).free


def check_cache(repo: Repo) -> Finding:
    """Whether what is in DVC's cache takes room once."""
    links = _links(repo)
    size = sum(out.meta.size or 0 for out in repo.index.outs if out.use_cache and out.meta)
    if not links:
        wanted = ", ".join(repo.cache.local.cache_types)
        return Finding(
            "cache",
            State.ERROR,
            f"none of the configured links works here: {wanted}",
            "dvc config --local cache.type copy",
        )
    if links != ["copy"]:
        return Finding("cache", State.OK, f"results are {links[0]}s to {repo.cache.local.path}")
    text = f"results are copies of what is in {repo.cache.local.path}: their {amount(size)} are on the disk twice"
    possible = _working(repo, ["reflink", "hardlink", "symlink"])
    if size < MUCH or not possible:
        return Finding("cache", State.OK, text)
    command = f"dvc config --local cache.type {','.join(possible)} && dvc checkout --relink"
    return Finding("cache", State.WARNING, text, command)


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
    return next(one for one in (path, *path.parents) if one.exists())
