"""The schema and the reference of params.yaml: what the check accepts, the schema accepts."""

import copy
import operator
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from commands.parameters.__main__ import written
from commands.parameters.reference import anchor
from commands.parameters.schema import schema
from stages.check.keras_names import KINDS, keras_problems
from tests.conftest import ROOT
from thaw.params.reading import read_yaml

SCHEMA = schema()
FILES = [ROOT / "params.yaml", *sorted((ROOT / "recipes").glob("*.yaml"))]
TYPES: dict[str, Any] = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": int | float,
    "array": list,
    "object": dict,
    "null": type(None),
}
SAMPLES = (True, 0, 1, 0.5, -1, 300, "x", "classes", "relu", "zeros", "val_loss", "channels_last", None, [1], [0, 255])


def fits(node: dict[str, Any], value: Any) -> bool:
    """Say whether a value is right by a schema, which has no words but those known here."""
    return all(WORDS[word](wanted, value) for word, wanted in node.items()) and has_right_keys(node, value)


def has_right_keys(node: dict[str, Any], value: Any) -> bool:
    if not isinstance(value, dict):
        return True
    patterns, others = node.get("patternProperties", {}), node.get("additionalProperties", {})
    for key, one in value.items():
        known = [inner for name, inner in node.get("properties", {}).items() if name == key]
        known += [inner for pattern, inner in patterns.items() if re.search(pattern, key)]
        if not known and others is False:
            return False
        if not all(fits(inner, one) for inner in known or [others]):
            return False
    return True


def is_of(kind: str, value: Any) -> bool:
    return isinstance(value, TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and one == other


def limit(kind: Any, is_right: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """Return a check of values of one type; a schema's word says nothing about others."""
    return lambda wanted, value: not isinstance(value, kind) or isinstance(value, bool) or is_right(value, wanted)


WORDS: dict[str, Callable[[Any, Any], bool]] = {
    **dict.fromkeys(("$schema", "definitions", "description", "default", "examples"), lambda wanted, value: True),
    **dict.fromkeys(("properties", "patternProperties", "additionalProperties"), lambda wanted, value: True),
    "$ref": lambda to, value: fits(SCHEMA["definitions"][to.removeprefix("#/definitions/")], value),
    "anyOf": lambda nodes, value: any(fits(one, value) for one in nodes),
    "oneOf": lambda nodes, value: sum(fits(one, value) for one in nodes) == 1,
    "type": lambda kinds, value: any(is_of(one, value) for one in ([kinds] if isinstance(kinds, str) else kinds)),
    "enum": lambda choices, value: any(same(one, value) for one in choices),
    "const": same,
    "minimum": limit(int | float, operator.ge),
    "maximum": limit(int | float, operator.le),
    "exclusiveMinimum": limit(int | float, operator.gt),
    "exclusiveMaximum": limit(int | float, operator.lt),
    "pattern": limit(str, lambda value, pattern: re.search(pattern, value) is not None),
    "minLength": limit(str, lambda value, least: len(value) >= least),
    "minItems": limit(list, lambda value, least: len(value) >= least),
    "maxItems": limit(list, lambda value, most: len(value) <= most),
    "items": limit(list, lambda value, inner: all(fits(inner, one) for one in value)),
    "minProperties": limit(dict, lambda value, least: len(value) >= least),
    "maxProperties": limit(dict, lambda value, most: len(value) <= most),
    "required": limit(dict, lambda value, keys: set(keys) <= value.keys()),
}


def test_schema_and_reference_are_written_anew_after_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for path, text in written().items():
        assert (ROOT / path).read_text(encoding="utf-8") == text, "run: python -m commands.parameters"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_the_repository_offers_is_right_by_the_schema(path: Path) -> None:
    assert fits(SCHEMA, read_yaml(path))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_editors_find_the_schema_where_a_recipe_is_copied_to(path: Path) -> None:
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert (ROOT / first.removeprefix("# yaml-language-server: $schema=")).samefile(ROOT / "docs/params.schema.json")


@pytest.mark.parametrize(
    ("address", "value"),
    [
        ("variant", {}),
        ("dataset.pth", "x"),
        ("dataset.layout", "folders"),
        ("dataset.path", "$HOME"),
        ("dataset.split.test", 1),
        ("dataset.near_duplicates", 33),
        ("tensors.1st", {"pixels": [64, 64], "resize": "pad", "normalization": "lite"}),
        ("tensors." + "n" * 101, {"pixels": [64, 64], "resize": "pad", "normalization": "lite"}),
        ("tensors.lite64.pixels", [64]),
        ("backbones.lite0.architecture", "VGG61"),
        ("features.midway.layer", None),
        ("variants.full.start", "frozen_head"),
        ("variants.frozen_head.fit", {"solver": "logistic_regression", "epochs": 3}),
        ("variants.full.fit.optimizer", "Adamm"),
        ("variants.full.fit.optimizer", {"Adam": {"learning_rate": "fast"}}),
        ("variants.full.fit.optimizer", {"Adam": {"learning_rate": {"CosineDecay": {}}}}),
        ("variants.full.fit.optimizer", {"Adam": {}, "SGD": {}}),
        ("variants.full.fit.loss", "CTC"),
        ("variants.full.fit.class_weight", {"a": -1}),
        ("variants.full.fit.callbacks", ["ModelCheckpoint"]),
        ("variants.full.head", ["Dense"]),
        ("variants.full.head", [{"Dense": {"unit": 3}}]),
        ("variants.full.head", [{"Dense": {"units": 3, "kernel_regularizer": {"L3": None}}}]),
        ("variants.full.augmentation", ["Flatten"]),
    ],
)
def test_a_mistake_is_underlined(address: str, value: Any) -> None:
    tree = copy.deepcopy(read_yaml(ROOT / "params.yaml"))
    *path, last = address.split(".")
    node = tree
    for key in path:
        node = node[key]
    node[last] = value
    assert not fits(SCHEMA, tree)


@pytest.mark.parametrize("namespace", KINDS)
def test_an_argument_can_be_what_the_check_lets_pass(namespace: str) -> None:
    for name, of_class in SCHEMA["definitions"][f"{namespace}.arguments"]["properties"].items():
        for argument, node in of_class["properties"].items():
            for value in SAMPLES:
                here = f"{name}.{argument}"
                passes = not any(
                    path.startswith(here) for path, _ in keras_problems({name: {argument: value}}, namespace)
                )
                # That 1 needs a point as a learning rate, a schema cannot say.
                if argument != "learning_rate" or not isinstance(value, int):
                    assert fits(node, value) == passes, (here, value)


def test_links_in_the_reference_lead_to_a_heading() -> None:
    page = (ROOT / "docs/parameters.md").read_text(encoding="utf-8")
    headings = {anchor(title) for title in re.findall("^#+ (.*)$", page, flags=re.MULTILINE)}
    links = set(re.findall(r"\]\(#([^)]*)\)", page))
    assert len(links) > 10
    assert links <= headings
