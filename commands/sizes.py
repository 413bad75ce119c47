"""How large the pipeline's large files will be, told before they are written."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvc.repo import Repo

from commands import lock
from thaw.manifest import read_manifest

MANIFEST = Path("data/manifest.csv")


@dataclass(frozen=True)
class Sizes:
    tensors: dict[str, float]
    """Bytes by the entry's name."""
    features: dict[str, float]
    """Of those alone that ran before, if with other images or at another size."""
    unknown: list[str]
    """The features that have never run."""


def sizes(repo: Repo, params: dict[str, Any]) -> Sizes | None:
    """Estimate the bytes of tensors and features; None as long as nobody knows how many images there are.

    A row of tensors is as large as its pixels. Of features, dvc.lock knows how large they were; they grow with the
    number of images, and activations that are not pooled with the number of pixels.
    """
    images = _images(repo, params["dataset"]["path"])
    if images is None:
        return None
    locked = lock.stages_now()
    tensors = {name: float(images * _pixel_bytes(entry)) for name, entry in params["tensors"].items()}
    features: dict[str, float] = {}
    for name, entry in params["features"].items():
        then = _then(locked, params, name, entry)
        if then:
            of_features, of_tensors, pixel_bytes = then
            pixels = 1.0 if entry.get("pooling") else _pixel_bytes(params["tensors"][entry["tensors"]]) / pixel_bytes
            features[name] = of_features * images / (of_tensors / pixel_bytes) * pixels
    return Sizes(tensors, features, [name for name in params["features"] if name not in features])


def _images(repo: Repo, dataset: str) -> int | None:
    """Return how many images there are: by the manifest, or else how many files the data set has."""
    if MANIFEST.exists():
        return len(read_manifest(MANIFEST))
    found = [out.meta.nfiles for out in repo.index.outs if out.meta and str(out) == dataset]
    return found[0] if found else None


def _then(
    locked: dict[str, Any], params: dict[str, Any], name: str, entry: dict[str, Any]
) -> tuple[float, float, float] | None:
    """Return the bytes of features and of their tensors when they last ran, and of one image's pixels.

    None if they have never run, or were of other layers or views.
    """
    ran = locked.get(f"features@{name}")
    if not ran:
        return None
    before = lock.params(ran)[f"features.{name}"]
    tensors, backbone = locked.get(f"tensors@{before['tensors']}"), locked.get(f"backbone@{before['backbone']}")
    same = all(before.get(key) == entry.get(key) for key in ("layer", "pooling", "views"))
    if not (tensors and backbone and same):
        return None
    if lock.params(backbone)[f"backbones.{before['backbone']}"] != params["backbones"][entry["backbone"]]:
        return None
    pixels = _pixel_bytes(lock.params(tensors)[f"tensors.{before['tensors']}"])
    return ran["outs"][0]["size"], tensors["outs"][0]["size"], pixels


def _pixel_bytes(entry: dict[str, Any]) -> int:
    height, width = entry["pixels"]
    return int(height * width * 3)
