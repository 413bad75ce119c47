"""The JSON schema of params.yaml, from the schemas of its sections and from what the check accepts of Keras.

What the check accepts, the schema accepts. It says nothing of what must be right between keys or entries.
"""

import ast
import inspect
import json
import re
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from stages.check.architectures import known_architectures
from stages.check.checking import ENTRY_NAME, LONGEST_NAME, SECTIONS, SINGLE, UNSEEN_BY_DVC, check_params
from stages.check.keras_names import (
    BASE_ARGUMENTS,
    KINDS,
    MONITORED,
    NAMED,
    keras_problems,
    names_alone,
    public_classes,
    signature,
)
from stages.check.keras_values import rule_of
from thaw.errors import UserError

Schema = dict[str, Any]


def _to(definition: str) -> Schema:
    return {"$ref": f"#/definitions/{definition}"}


KERAS = {
    "head": "layers",
    "augmentation": "augmentation",
    "optimizer": "optimizers",
    "loss": "losses",
    "callbacks": "callbacks",
}
"""By keys, where Keras keeps what they name."""
CHECKED: dict[str, Schema] = {
    "architecture": _to("architectures"),
    "weights": {"examples": ["package", "imagenet", "none"]},
    "start": {"pattern": "^(backbones|variants)/."},
    "inputs": {"pattern": "^(features|tensors)/."},
}
"""By keys, what the check knows of text besides its type."""
VALUES: dict[str, Schema] = {
    "layer": {"anyOf": [_to("layers.arguments"), {"type": "null"}]},
    "backward_layer": {"anyOf": [_to("layers.arguments"), {"type": "null"}]},
    "learning_rate": {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, _to("optimizers.schedules.arguments")]},
    "monitor": {"enum": [*MONITORED]},
}
"""By arguments of Keras's objects, what they can be, where `RULES` has none for them."""
SAMPLES = {"boolean": True, "number": 1, "string": "x", "array": [1], "null": None}


def schema() -> Schema:
    """Return the schema, as draft 7: what all editors know."""
    _, made = models_json_schema(
        [(model, "validation") for model in SECTIONS.values()], ref_template="#/definitions/{model}"
    )
    models = {model.__name__: model for section in SECTIONS.values() for model in models_of(section)}
    definitions = {name: _of_model(models[name], one) for name, one in made["$defs"].items()}
    definitions["architectures"] = {"enum": known_architectures()}
    for namespace in KINDS:
        definitions[f"{namespace}.arguments"] = {
            "type": "object",
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": False,
            "properties": {name: _of_class(namespace, name) for name in public_classes(namespace)},
        }
    for namespace in KERAS.values():
        alone = [name for name in public_classes(namespace) if not any(keras_problems(name, namespace))]
        definitions[namespace] = {"anyOf": [{"enum": alone}, _to(f"{namespace}.arguments")]}
    for namespace in NAMED.values():
        # An activation with arguments is a layer.
        given = _to(f"{namespace if namespace in KINDS else 'layers'}.arguments")
        definitions[namespace] = {"anyOf": [{"enum": [*names_alone(namespace), None]}, given]}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "description": "params.yaml. Made by python -m commands.parameters.",
        "type": "object",
        "additionalProperties": False,
        "required": _required(),
        "properties": {name: _of_section(name, model) for name, model in SECTIONS.items()},
        "definitions": definitions,
    }


def in_lines(node: Any, depth: int = 0) -> str:
    """Return a schema as JSON: a line for each key of params.yaml, and for each of Keras's classes."""
    if depth == 4 or not isinstance(node, dict):
        return json.dumps(node, ensure_ascii=False)
    inner = "\n" + " " * (depth + 1)
    lines = [f"{inner}{json.dumps(key)}: {in_lines(value, depth + 1)}" for key, value in node.items()]
    return "{" + ",".join(lines) + "\n" + " " * depth + "}"


def models_of(annotation: Any) -> list[type[BaseModel]]:
    """Return the models in a type, and in the types of their keys."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        keys = annotation.model_fields.values()
        return [annotation, *(model for key in keys for model in models_of(key.annotation))]
    return [model for inner in getattr(annotation, "__args__", ()) for model in models_of(inner)]


def _required() -> list[str]:
    """Return the sections that the check says are missing, where all are."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "params.yaml"
        path.write_text("{}")
        try:
            check_params(path)
        except UserError as error:
            return re.findall(r"^  (\w+): this section is missing", str(error), flags=re.MULTILINE)
    return []


def _of_section(name: str, model: type[BaseModel]) -> Schema:
    # Of a section's only model, the module says what it is.
    words = vars(model).get("__doc__") or (sys.modules[model.__module__].__doc__ or "").partition(": ")[2]
    entry = _to(model.__name__)
    described = {"description": _line(words[:1].upper() + words[1:])}
    if name in SINGLE:
        return {**described, **entry}
    pattern = f"^(?!({'|'.join(UNSEEN_BY_DVC)})$)(?=.{{1,{LONGEST_NAME}}}$){ENTRY_NAME.pattern}$"
    return {
        **described,
        "type": "object",
        "patternProperties": {pattern: entry},
        "additionalProperties": False,
    }


def _of_model(model: type[BaseModel], made: Schema) -> Schema:
    """Return what pydantic has made of a model, with what its docstrings and the check say of its keys."""
    tree = ast.parse(inspect.getsource(model)).body[0]
    assert isinstance(tree, ast.ClassDef)
    words = {
        key.target.id: text.value.value
        for key, text in pairwise(tree.body)
        if isinstance(key, ast.AnnAssign) and isinstance(key.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
    }
    keys = {
        key: {"description": _line(str(words[key])), **_of_key(one, KERAS.get(key)), **CHECKED.get(key, {})}
        for key, one in made["properties"].items()
    }
    described = {"description": _line(model.__doc__)} if vars(model).get("__doc__") else {}
    return {**described, **{key: one for key, one in made.items() if key != "title"}, "properties": keys}


def _of_key(made: Any, namespace: str | None) -> Any:
    """Return what pydantic has made of a key, which leaves open what names a Keras object."""
    if isinstance(made, list):
        return [_of_key(one, namespace) for one in made]
    if not isinstance(made, dict):
        return made
    node = {key: value if key == "default" else _of_key(value, namespace) for key, value in made.items()}
    node.pop("title", None)
    if "pattern" in node:  # not every editor's expressions have Unicode's categories
        node["pattern"] = node["pattern"].replace(r"\p{C}", r"\u0000-\u001f\u007f-\u009f")
    return {**_to(namespace), **node} if namespace and not node.keys() - {"default"} else node


def _of_class(namespace: str, name: str) -> Schema:
    """Return what one of Keras's classes takes as arguments."""
    of_class = signature(namespace, name)
    assert of_class is not None
    known = of_class.arguments | BASE_ARGUMENTS.get("layers" if namespace == "augmentation" else namespace, set())
    return {
        "type": "object" if of_class.required else ["object", "null"],
        "required": sorted(of_class.required),
        "additionalProperties": False,
        "properties": {argument: _of_argument(namespace, name, argument) for argument in sorted(known)},
    }


def _of_argument(namespace: str, name: str, argument: str) -> Schema:
    """Return what an argument can be: by its name, or what the check lets pass of a sample of each type."""
    end = next((end for end in NAMED if argument.endswith(end)), None)
    if end:
        return _to(NAMED[end])
    if argument in VALUES:
        return VALUES[argument]
    if rule := rule_of(f"{name}.{argument}"):
        is_open = "enum" not in rule[1] and _passes(namespace, name, argument, None)
        return {"anyOf": [rule[1], {"type": "null"}]} if is_open else rule[1]
    types = [kind for kind, sample in SAMPLES.items() if _passes(namespace, name, argument, sample)]
    node: Schema = {"type": types[0] if len(types) == 1 else types} if len(types) < len(SAMPLES) else {}
    if "number" not in types or _passes(namespace, name, argument, -1):
        return node
    return {**node, "minimum" if _passes(namespace, name, argument, 0) else "exclusiveMinimum": 0}


def _passes(namespace: str, name: str, argument: str, value: Any) -> bool:
    here = f"{name}.{argument}"
    return not any(path.startswith(here) for path, _ in keras_problems({name: {argument: value}}, namespace))


def _line(words: str | None) -> str:
    return " ".join((words or "").split())
