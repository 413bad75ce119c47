"""What Keras offers, read from its source without importing it, which would take seconds."""

import ast
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

from thaw.suggestions import did_you_mean

# What keras.layers.Layer takes through **kwargs, and keras.optimizers.Optimizer besides its own.
_BASE_ARGUMENTS = {
    "layers": {"activity_regularizer", "trainable", "dtype", "autocast", "name", "input_shape", "input_dim"},
    "optimizers": {"name"},
}


def _module_file(module: str) -> Path:
    """Return the source file of a module below the keras package, without importing anything."""
    spec = importlib.util.find_spec("keras")
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def public_names(namespace: str) -> dict[str, tuple[str, str]]:
    """Return the public names of `keras.<namespace>`, each with the module and the name of its source."""
    tree = ast.parse(_module_file(f"keras.{namespace}").read_text(encoding="utf-8"))
    return {
        alias.asname or alias.name: (node.module, alias.name)
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }


@cache
def _arguments(module: str, name: str) -> tuple[frozenset[str], frozenset[str]] | None:
    """Return all and the required arguments of a class's constructor, its bases' included."""
    tree = ast.parse(_module_file(module).read_text(encoding="utf-8"))
    found = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name]
    if not found:
        return None
    constructors = [n for n in found[0].body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
    imported = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    local = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    inherited: frozenset[str] = frozenset()
    required: frozenset[str] = frozenset()
    for base in found[0].bases:
        if isinstance(base, ast.Name):
            origin = (module, base.id) if base.id in local else imported.get(base.id)
            if origin and origin[0].startswith("keras."):
                of_base = _arguments(*origin)
                if of_base:
                    inherited |= of_base[0]
                    required = of_base[1]
    if not constructors:
        return inherited, required
    arguments = constructors[0].args
    positional = [argument.arg for argument in arguments.args[1:]]
    own = {*positional, *(argument.arg for argument in arguments.kwonlyargs)}
    needed = positional[: len(positional) - len(arguments.defaults)]
    return frozenset(own) | (inherited if arguments.kwarg else frozenset()), frozenset(needed)


def problems(spec: Any, namespace: str, instead_of: str | None = None) -> list[tuple[str, str]]:
    """Check a Keras object given by name and arguments against Keras's own source.

    Args:
        spec: `Name` or `{Name: {argument: value}}`.
        namespace: where Keras keeps it: `layers`, `optimizers`, `losses`, `callbacks`.
        instead_of: what to call it in messages; the namespace's singular by default.

    Returns:
        Pairs of a path inside `spec` and what is wrong there; empty when nothing is.
    """
    kind = instead_of or namespace.rstrip("s").replace("losse", "loss")
    if isinstance(spec, dict) and len(spec) != 1:
        return [("", f"expected one {kind} as {{Name: {{argument: value}}}}, got {len(spec)} names")]
    name, arguments = (spec, {}) if isinstance(spec, str) else next(iter(spec.items()))
    arguments = arguments or {}
    names = public_names(namespace)
    if name not in names or not name[0].isupper():
        classes = [known for known in names if known[0].isupper()]
        return [(name if isinstance(spec, dict) else "", f"unknown {kind} {name!r}{did_you_mean(name, classes)}")]
    signature = _arguments(*names[name])
    if signature is None:
        return []
    known, required = signature[0] | _BASE_ARGUMENTS.get(namespace, set()), signature[1]
    found = [
        (f"{name}.{argument}", f"{name} has no argument {argument!r}{did_you_mean(argument, known)}")
        for argument in arguments
        if argument not in known
    ]
    missing = [argument for argument in required if argument not in arguments and argument != "decay_steps"]
    if missing:
        found.append((name, f"{name} needs {', '.join(sorted(missing))}"))
    schedule = arguments.get("learning_rate")
    if namespace == "optimizers" and isinstance(schedule, dict):
        inner = problems(schedule, "optimizers.schedules", "learning-rate schedule")
        found += [(f"{name}.learning_rate.{path}".rstrip("."), problem) for path, problem in inner]
    return found
