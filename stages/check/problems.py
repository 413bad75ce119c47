"""Problems of params.yaml, and Keras objects in it, which may be wrong."""

from collections.abc import Iterator
from typing import Any

from stages.check.keras_names import keras_problems
from thaw.params.keras_spec import is_keras_object
from thaw.suggestions import did_you_mean

Problem = tuple[str, str]
"""A key, and what is wrong there."""
Entries = dict[str, dict[str, Any]]
"""Sections, each with its entries by name."""


def unknown_entry(where: str, section: str, name: str, raw: Entries) -> Iterator[Problem]:
    """Yield a problem if a section has no entry of a name, with the name that was probably meant."""
    if name not in raw[section]:
        yield where, f"there is no {section}.{name}{did_you_mean(name, raw[section])}"


def of_keras(where: str, specs: Any, namespace: str) -> Iterator[Problem]:
    """Yield the problems of one Keras object, or of each in a list; what is none, the schema has found."""
    for index, spec in enumerate(specs if isinstance(specs, list) else [specs]):
        if is_keras_object(spec):
            for path, problem in keras_problems(spec, namespace):
                steps = [where, str(index) if isinstance(specs, list) else "", path]
                yield ".".join(step for step in steps if step), problem


def listed(specs: Any) -> list[Any]:
    """Return those of a list that are Keras objects."""
    return [spec for spec in specs if is_keras_object(spec)] if isinstance(specs, list) else []


def name_of(spec: Any) -> Any:
    """Return the name of a Keras object's class, with arguments or alone."""
    return next(iter(spec)) if isinstance(spec, dict) and spec else spec


def arguments_of(spec: Any) -> dict[str, Any]:
    """Return the arguments that a Keras object is given."""
    return (next(iter(spec.values())) or {}) if isinstance(spec, dict) and is_keras_object(spec) else {}
