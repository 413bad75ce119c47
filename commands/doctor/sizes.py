"""How large the pipeline's large files will be, told before they are written."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvc.repo import Repo

from commands import lock
from thaw.formats.manifest import read_manifest
from thaw.images.reading import contents

MANIFEST = Path("data/manifest.csv")


@dataclass(frozen=True)
class Sizes:
    """Bytes by the entry's name."""

    tensors: dict[str, int]
    features: dict[str, int]
    unknown: tuple[str, ...] = ()
    """Features of which nobody knows them, since their network has to be fetched first."""


def sizes(repo: Repo, params: dict[str, Any], row_bytes: dict[str, int]) -> Sizes | None:
    """Return the bytes of tensors and features; None as long as nobody knows how many images there are.

    Args:
        repo: the project.
        params: params.yaml.
        row_bytes: of one image's features, by the entry's name.
    """
    counts = _image_counts(repo, params["dataset"]["path"])
    if counts is None:
        return None
    images, trained = counts
    return Sizes(
        {
            name: images * 3 * entry["pixels"][0] * entry["pixels"][1]
            for name, entry in params["tensors"].items()
            if entry.get("keep", True)
        },
        {
            name: size * (images + trained * (params["features"][name].get("views", 1) - 1))
            for name, size in row_bytes.items()
        },
        tuple(name for name in params["features"] if name not in row_bytes),
    )


def _image_counts(repo: Repo, dataset: str) -> tuple[int, int] | None:
    """Return how many images there are, and how many of them are for training.

    By the manifest; before there is one, they are taken to be the data set's files, also in archives, all for training.
    """
    if MANIFEST.exists():
        rows = read_manifest(MANIFEST)
        return len(rows), sum(row.split == "train" for row in rows)
    path = lock.spelled(dataset)
    outs = [out for out in repo.index.outs if lock.spelled(out.fs_path) == path]
    found = [out.meta.nfiles for out in outs if out.meta and out.meta.nfiles]
    if found and Path(dataset).is_dir():
        found = [len(contents(Path(dataset)).files)]
    return (found[0], found[0]) if found else None
