"""What a result depends on besides its inputs: code."""

import ast
import hashlib
import json
import marshal
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any

import thaw

ROOT = Path(thaw.__file__).parents[1]
PACKAGES = ("stages", "thaw")


def fingerprint(module: str, *parts: Any) -> str:
    """Return a SHA-256 of JSON-serializable parts, of a module, and of all modules of the project that it imports.

    So whatever is kept under a fingerprint is never taken for the result of other code. Comments, docstrings and the
    breaking of lines are no part of what code does.
    """
    code = {name: _digest(path) for name, path in sorted(imports(module).items())}
    return hashlib.sha256(json.dumps([parts, code], sort_keys=True).encode()).hexdigest()


def imports(module: str) -> dict[str, Path]:
    """Return the files of a module and of the project's modules that it imports, directly or not, by their names.

    A package that can be run is its `__main__`, as for `python -m`. A module of nothing but a docstring is left out.
    """
    found: dict[str, Path] = {}
    left = [module, f"{module}.__main__"]
    while left:
        name = left.pop()
        path = _file(name)
        if name in found or path is None:
            continue
        tree = _tree(path)
        if len(tree.body) > (ast.get_docstring(tree) is not None):
            found[name] = path
        left.append(name.rpartition(".")[0])
        for node in _statements(tree):
            if isinstance(node, ast.Import):
                left += [one.name for one in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                left += [node.module, *(f"{node.module}.{one.name}" for one in node.names)]
    return found


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield all statements inside of a node: of ten nodes, nine are expressions, which import nothing."""
    for part in ("body", "handlers", "orelse", "finalbody", "cases"):
        for one in getattr(node, part, ()):
            yield one
            yield from _statements(one)


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes())


@cache
def _digest(path: Path) -> str:
    """Return a SHA-256 of the bytecode of a file; it takes a fifth of the time of writing the syntax tree down."""
    return hashlib.sha256(marshal.dumps(_bare(compile(_tree(path), "", "exec", optimize=2)), 2)).hexdigest()


def _bare(code: CodeType) -> CodeType:
    """Return code without the numbers of its lines."""
    constants = tuple(_bare(one) if isinstance(one, CodeType) else one for one in code.co_consts)
    return code.replace(co_consts=constants, co_firstlineno=0, co_linetable=b"")


def _file(name: str) -> Path | None:
    """Return a module's file; None if it is not the project's, or no module."""
    if name.partition(".")[0] not in PACKAGES:
        return None
    path = ROOT.joinpath(*name.split("."))
    return next((one for one in (path.with_suffix(".py"), path / "__init__.py") if one.is_file()), None)
