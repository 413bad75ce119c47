"""Every rule for params.yaml as a whole: all errors at once, before anything runs."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from thaw.errors import UserError
from thaw.params import Entry, read_yaml
from thaw.params.architectures import boundaries, known_architectures
from thaw.params.backbones import Backbone
from thaw.params.dataset import Dataset
from thaw.params.evaluation import Evaluation
from thaw.params.features import Features
from thaw.params.keras_names import problems
from thaw.params.tensors import Tensors
from thaw.params.variants import KerasSpec, Solver, Variant
from thaw.suggestions import did_you_mean

SECTIONS: dict[str, type[Entry]] = {
    "dataset": Dataset,
    "tensors": Tensors,
    "backbones": Backbone,
    "features": Features,
    "variants": Variant,
    "evaluation": Evaluation,
}
SINGLE = ("dataset", "evaluation")
ENTRY_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
# DVC does not see these keys change, and restores stale outputs (iterative/dvc#10296).
UNSEEN_BY_DVC = ("size", "nfiles")

Problem = tuple[str, str]
Entries = dict[str, dict[str, Any]]


def check(path: Path) -> None:
    """Check a whole params file, without importing Keras.

    Raises:
        UserError: its message lists every error with the key it stands at.
    """
    tree = read_yaml(path)
    found = list(_unseen_keys("", tree))
    entries: Entries = {name: {} for name in SECTIONS}
    found += [(name, f"unknown section{did_you_mean(str(name), SECTIONS)}") for name in tree if name not in SECTIONS]
    for section, schema in SECTIONS.items():
        if section not in tree:
            found.append((section, "this section is missing"))
        elif section in SINGLE:
            found += _validate(section, tree[section], schema, entries[section], section)
        elif not isinstance(tree[section], dict):
            found.append((section, "expected a mapping from names to entries"))
        else:
            for name, entry in tree[section].items():
                address = f"{section}.{name}"
                if not isinstance(name, str) or not ENTRY_NAME.fullmatch(name):
                    found.append((address, "a name has letters, digits, - and _, and begins with a letter"))
                else:
                    found += _validate(address, entry, schema, entries[section], name)
    known = {section: list(tree.get(section) or {}) for section in SECTIONS}
    found += _relations(entries, known)
    if found:
        lines = "\n".join(f"  {where}: {problem}" for where, problem in found)
        count = "1 error" if len(found) == 1 else f"{len(found)} errors"
        raise UserError(f"{path}: {count}, nothing was run\n{lines}")


def _unseen_keys(where: str, node: Any) -> Iterator[Problem]:
    if isinstance(node, dict):
        for key, value in node.items():
            here = f"{where}.{key}".lstrip(".")
            if key in UNSEEN_BY_DVC:
                yield here, f"DVC does not notice when a parameter named {key!r} changes; use another name"
            yield from _unseen_keys(here, value)
    elif isinstance(node, list):
        for index, item in enumerate(node):
            yield from _unseen_keys(f"{where}.{index}", item)


def _validate(address: str, entry: Any, schema: type[Entry], into: dict[str, Any], name: str) -> Iterator[Problem]:
    try:
        into[name] = schema.model_validate(entry)
    except ValidationError as error:
        seen = set()
        for detail in error.errors():
            problem = _in_words(address, detail, schema)
            if problem not in seen:
                seen.add(problem)
                yield problem


def _in_words(address: str, detail: ErrorDetails, schema: type[BaseModel]) -> Problem:
    """Return where one of pydantic's errors stands, and what it says."""
    steps = [
        str(step) for step in detail["loc"] if step not in ("training", "solver", "str") or step == detail["loc"][-1]
    ]
    steps = [step for step in steps if not step.startswith(("dict[", "constrained-"))]
    where = ".".join([address, *steps])
    value = detail["input"]
    match detail["type"]:
        case "extra_forbidden":
            return where, f"unknown key{did_you_mean(steps[-1], _keys_beside(schema, detail['loc']))}"
        case "missing":
            return where, "this key is missing"
        case "value_error":
            return where, str(detail["ctx"]["error"])
        case "literal_error":
            expected = detail["ctx"]["expected"]
            choices = [choice.strip("' ") for choice in re.split(",| or ", expected)]
            return where, f"{value!r} is none of {expected}{did_you_mean(str(value), choices)}"
        case "model_type" | "dict_type":
            return where, f"expected a mapping, got {value!r}"
        case _:
            return where, f"{detail['msg']}, got {value!r}"


def _keys_beside(schema: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Return the keys that the schema knows at an error's place."""
    branches = [schema]
    for step in location[:-1]:
        branches = [
            model
            for branch in branches
            if step in branch.model_fields
            for model in _models_in(branch.model_fields[str(step)].annotation)
        ] or branches
    return [key for branch in branches for key in branch.model_fields]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in getattr(annotation, "__args__", ()) for model in _models_in(inner)]


def _relations(entries: Entries, known: dict[str, list[str]]) -> Iterator[Problem]:
    """Yield what is wrong between entries, or between an entry and what Keras offers."""
    for name, backbone in entries["backbones"].items():
        architectures = known_architectures()
        if backbone.architecture not in architectures:
            yield (
                f"backbones.{name}.architecture",
                f"unknown backbone {backbone.architecture!r}{did_you_mean(backbone.architecture, architectures)}",
            )
        elif backbone.weights_are_a_file and not backbone.weights_are_remote and not Path(backbone.weights).is_file():
            yield f"backbones.{name}.weights", f"no such file: {backbone.weights}"
    for name, features in entries["features"].items():
        here = f"features.{name}"
        yield from _parent(f"{here}.tensors", "tensors", features.tensors, known)
        yield from _parent(f"{here}.backbone", "backbones", features.backbone, known)
        backbone = entries["backbones"].get(features.backbone)
        if backbone is not None and features.layer != "top":
            layers = boundaries(backbone.architecture, backbone.include_top)
            if layers and features.layer not in layers:
                yield (
                    f"{here}.layer",
                    f"{features.layer!r} is no layer of {backbone.architecture} that every path goes through"
                    f"{did_you_mean(features.layer, layers)}",
                )
    for name, variant in entries["variants"].items():
        yield from _variant(f"variants.{name}", name, variant, entries, known)


def _parent(where: str, section: str, name: str, known: dict[str, list[str]]) -> Iterator[Problem]:
    if name not in known[section]:
        yield where, f"there is no {section}.{name}{did_you_mean(name, known[section])}"


def _variant(
    here: str, name: str, variant: Variant, entries: Entries, known: dict[str, list[str]]
) -> Iterator[Problem]:
    for index, layer in enumerate(variant.head or []):
        yield from _keras(f"{here}.head.{index}", layer, "layers")
    for index, layer in enumerate(variant.augmentation):
        yield from _keras(f"{here}.augmentation.{index}", layer, "layers")
    if not isinstance(variant.fit, Solver):
        yield from _keras(f"{here}.fit.optimizer", variant.fit.optimizer, "optimizers")
        yield from _keras(f"{here}.fit.loss", variant.fit.loss, "losses")
        for index, callback in enumerate(variant.fit.callbacks):
            yield from _keras(f"{here}.fit.callbacks.{index}", callback, "callbacks")
    if variant.head and not _ends_in_classes(variant.head):
        yield f"{here}.head", "the last layer with units must be {Dense: {units: classes, activation: softmax}}"
    parents_found = True
    for key, sections in (("start", ("backbones", "variants")), ("inputs", ("features", "tensors"))):
        section, _, parent = getattr(variant, key).partition("/")
        if section not in sections or not parent:
            parents_found = False
            choices = " or ".join(f"{section}/<name>" for section in sections)
            yield f"{here}.{key}", f"expected {choices}, got {getattr(variant, key)!r}"
        elif parent not in known[section]:
            parents_found = False
            yield from _parent(f"{here}.{key}", section, parent, known)
    if parents_found:
        yield from _lineage(here, name, variant, entries)


def _keras(where: str, spec: KerasSpec, namespace: str) -> Iterator[Problem]:
    for path, problem in problems(spec, namespace):
        yield f"{where}.{path}".rstrip("."), problem


def _ends_in_classes(head: list[KerasSpec]) -> bool:
    last = head[-1]
    arguments = (last.get("Dense") if isinstance(last, dict) else None) or {}
    return arguments.get("units") == "classes" and arguments.get("activation") == "softmax"


def _lineage(here: str, name: str, variant: Variant, entries: Entries) -> Iterator[Problem]:
    """Yield what does not fit between a variant, its inputs and the variants it descends from."""
    chain, passed = [variant], {name}
    while chain[-1].start.startswith("variants/"):
        parent = chain[-1].start.partition("/")[2]
        if parent in passed:
            yield f"{here}.start", f"the starts form a circle: variants.{parent} descends from itself"
            return
        passed.add(parent)
        if parent not in entries["variants"]:
            return  # that entry has errors of its own
        chain.append(entries["variants"][parent])
    sources = [source for one in chain if (source := _source(one, entries)) is not None]
    if len(sources) < len(chain):
        return
    root, backbone_name = chain[-1], chain[-1].start.partition("/")[2]
    (tensors, features), (root_tensors, root_features) = sources[0], sources[-1]
    where = f"{here}.inputs"
    if features is not None and features.backbone != backbone_name:
        yield (
            where,
            f"{variant.inputs} come from backbones.{features.backbone}, but the variant starts from "
            f"backbones.{backbone_name}: make them the same",
        )
        return
    if tensors != root_tensors:
        yield (
            where,
            f"{variant.inputs} are made of tensors.{tensors}, but the variant's start was trained on "
            f"tensors.{root_tensors}: make them the same",
        )
    backbone = entries["backbones"].get(backbone_name)
    if features is not None and root is not variant:
        pooling = root_features.pooling if root_features else None
        if features.layer == "top" and features.pooling != pooling:
            yield where, f"{variant.inputs} have pooling: {features.pooling}, but the start's head expects: {pooling}"
        start_features = sources[1][1]
        layers = boundaries(backbone.architecture, backbone.include_top) if backbone else []
        depth = {layer: number for number, layer in enumerate([*layers, "top"])}
        if start_features is None or depth.get(features.layer, 0) > depth.get(start_features.layer, len(layers)):
            yield (
                where,
                f"{variant.start} has trained layers before {features.layer}, so {variant.inputs} are not its "
                "activations: take inputs from an earlier layer or from tensors/",
            )
    if isinstance(variant.fit, Solver):
        pooled = (
            features is not None
            and features.layer == "top"
            and (features.pooling or (backbone and backbone.include_top))
        )
        if not pooled:
            yield where, "a solver needs one vector per image: take features with layer: top and pooling: avg or max"


def _source(variant: Variant, entries: Entries) -> tuple[str, Features | None] | None:
    """Return the tensors and the features that a variant reads; None if that entry has errors of its own."""
    section, _, parent = variant.inputs.partition("/")
    if parent not in entries.get(section, {}):
        return None
    return (
        (parent, None) if section == "tensors" else (entries["features"][parent].tensors, entries["features"][parent])
    )
