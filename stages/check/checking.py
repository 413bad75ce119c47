"""The check of params.yaml as a whole: all errors at once, before anything runs."""

import re
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from stages.check.problems import Entries, Problem
from stages.check.rules import relations
from stages.check.trials import tried
from thaw.errors import UserError
from thaw.params.backbones import Backbone
from thaw.params.cross_validation import CrossValidation
from thaw.params.dataset import Dataset
from thaw.params.evaluation import Evaluation
from thaw.params.features import Features
from thaw.params.label_issues import LabelIssues
from thaw.params.reading import Entry, read_yaml, shown
from thaw.params.seeds import Seeds
from thaw.params.tensors import Tensors
from thaw.params.variants import Variant
from thaw.reuse.folder import FOLDER, project_folder, shared_folder
from thaw.suggestions import did_you_mean

SECTIONS: dict[str, type[Entry]] = {
    "dataset": Dataset,
    "tensors": Tensors,
    "backbones": Backbone,
    "features": Features,
    "variants": Variant,
    "evaluation": Evaluation,
    "cross_validation": CrossValidation,
    "seeds": Seeds,
    "label_issues": LabelIssues,
}
SINGLE = ("dataset", "evaluation")
MOVED = {
    "evaluation.cross_validation": "is a section of its own now, with an entry for each variant: "
    "cross_validation: {NAME: {start: ..., inputs: ..., folds: ..., repeats: ..., seed: ...}}"
}
"""What keys of earlier versions are called now."""
OF_THE_OTHER_FIT = " here: a solver and a training by epochs each have keys of their own"
ENTRY_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
LONGEST_NAME = 100
"""Letters: a name is part of files' names, which have up to 255."""
# DVC does not see these keys change, and restores stale outputs (iterative/dvc#10296).
UNSEEN_BY_DVC = ("size", "nfiles")
# A params file has some hundred values; one that seems to have more repeats itself by aliases.
MOST_VALUES = 100_000
LONGEST_INTEGER = 10**400


def check_params(path: Path) -> None:
    """Check a whole params file, without importing Keras.

    Raises:
        UserError: its message lists every error with the key it stands at.
    """
    tree = read_yaml(path)
    unfit = _unfit(tree)
    if unfit:
        raise UserError(f"{path}: {unfit}")
    require_none(path, _problems(tree))
    images = Path(tree["dataset"]["path"])
    for folder in (project_folder(), shared_folder()):
        if folder.resolve().is_relative_to(images.resolve()):
            raise UserError(
                f"{folder}: a folder for caches inside of {images}, whose files would count as images; have {FOLDER}, "
                "or XDG_CACHE_HOME, name one outside of it"
            )


def require_none(path: Path, found: list[Problem]) -> None:
    """Raise `UserError` with a list of all that is wrong in a params file, if anything is."""
    if found:
        lines = "\n".join(_printable(f"  {where}: {problem}") for where, problem in found)
        count = "1 error" if len(found) == 1 else f"{len(found)} errors"
        raise UserError(f"{path}: {count}, nothing was run\n{lines}")


def _unfit(tree: Any) -> str | None:
    """Return why a tree cannot be gone through, or a value of it not be shown; None if all can."""
    waiting, met = [tree], 0
    while waiting:
        node = waiting.pop()
        met += 1
        if met > MOST_VALUES:
            return (
                f"an alias (*name) makes it contain itself, or more than {MOST_VALUES} values; write out what is meant"
            )
        if isinstance(node, dict):
            waiting += [*node.keys(), *node.values()]
        elif isinstance(node, list | tuple):
            waiting += node
        elif isinstance(node, int) and abs(node) > LONGEST_INTEGER:
            return "a whole number has more than 400 digits; if it is meant as text, put it between quotes"
        elif isinstance(node, str) and any("\ud800" <= char <= "\udfff" for char in node):
            return f"{shown(node.encode(errors='replace').decode())} has an escape (\\u) that is half of a character"
    return None


def _printable(line: str) -> str:
    """Return a line in which a name's line breaks and other control characters are written out."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in line)


def _problems(tree: dict[Any, Any]) -> list[Problem]:
    """Return every error of a params file; what stands in a later section is found despite earlier ones."""
    found = list(_unfit_for_files("", tree))
    raw: Entries = {name: {} for name in SECTIONS}
    valid: Entries = {name: {} for name in SECTIONS}
    for section in tree:
        if section not in SECTIONS and isinstance(section, str):
            found.append((section, f"unknown section{did_you_mean(section, SECTIONS)}"))
    for section, schema in SECTIONS.items():
        node = tree.get(section)
        if section not in tree:
            hint = "" if section in SINGLE else f"; without any entries, write {section}: {{}}"
            found.append((section, f"this section is missing{hint}"))
        elif section in SINGLE:
            found += _validate(section, node, schema, valid[section], section)
        elif not isinstance(node, dict):
            found.append((section, f"expected a mapping from names to entries, got {shown(node)}"))
        else:
            if section == "variants" and not node:
                found.append((section, "there is nothing to train: name at least one variant"))
            for name, entry in node.items():
                address = f"{section}.{name}"
                if not isinstance(name, str):
                    continue  # found above, as any such key
                raw[section][name] = entry
                if ENTRY_NAME.fullmatch(name):
                    found += _validate(address, entry, schema, valid[section], name)
                    found += _unfit_name(address, name, raw[section])
                else:
                    found.append((address, "a name has letters a-z, digits, - and _, and begins with a letter"))
    found += relations(raw, valid)
    wrong = {".".join(where.split(".")[:2]) for where, _ in found}
    right = {
        section: {name: entry for name, entry in entries.items() if f"{section}.{name}" not in wrong}
        for section, entries in valid.items()
    }
    return found + list(tried(right))


def _unfit_name(address: str, name: str, names: Iterable[str]) -> Iterator[Problem]:
    """Yield why files cannot bear an entry's name beside those of the names of its section up to it."""
    if len(name) > LONGEST_NAME:
        yield address, f"a name has no more than {LONGEST_NAME} letters, since files bear it, got {len(name)}"
    for other in names:
        if other != name and other.lower() == name.lower():
            yield address, f"on some disks {name} and {other} are one file: use another name"


def _unfit_for_files(where: str, node: Any) -> Iterator[Problem]:
    """Yield the keys and values of YAML that JSON does not have, or DVC does not heed."""
    if isinstance(node, dict):
        for key, value in node.items():
            here = f"{where}.{key}".lstrip(".")
            if not isinstance(key, str):
                yield here, f"a key is text, got {shown(key)}; if it is a name, put it between quotes"
            if key in UNSEEN_BY_DVC:
                of_keras = where.rpartition(".")[2].startswith("UpSampling")
                remedy = "leave it out, for it is 2 then, or take Resizing" if of_keras else "use another name"
                yield here, f"DVC does not notice when a parameter named {key!r} changes; {remedy}"
            yield from _unfit_for_files(here, value)
    elif isinstance(node, list):
        for index, item in enumerate(node):
            yield from _unfit_for_files(f"{where}.{index}", item)
    elif not isinstance(node, str | int | float | None):
        kind = "a date; put it between quotes" if isinstance(node, date) else "of a YAML type that DVC cannot keep"
        yield where, f"expected text, a number, true, false, null, a list or a mapping; this is {kind}"


def _validate(address: str, entry: Any, schema: type[Entry], into: dict[str, Any], name: str) -> Iterator[Problem]:
    try:
        into[name] = schema.model_validate(entry)
    except ValidationError as error:
        for detail in error.errors():
            if detail["type"] != "invalid_key" and detail["loc"][-1:] != ("[key]",):  # found above, as any such key
                yield _in_words(address, detail, schema)


def _in_words(address: str, detail: ErrorDetails, schema: type[BaseModel]) -> Problem:
    """Return where one of pydantic's errors stands, and what it says."""
    location = detail["loc"]
    # Behind `fit` stands which kind of fit it was taken for.
    steps = [str(step) for index, step in enumerate(location) if index != 1 or location[0] != "fit"]
    value, context = detail["input"], detail.get("ctx", {})
    match detail["type"]:
        case "extra_forbidden":
            beside = _keys_beside(schema, location)
            is_of_other = steps[0] == "fit" and steps[-1] in beside
            hint = OF_THE_OTHER_FIT if is_of_other else did_you_mean(steps[-1], beside)
            problem = MOVED.get(".".join([address, *steps]), f"unknown key{hint}")
        case "missing":
            problem = "this key is missing"
        case "value_error":
            problem = str(context["error"])
        case "literal_error":
            choices = re.findall("'([^']*)'", context["expected"])
            expected = choices[0] if len(choices) == 1 else f"one of {', '.join(choices)}"
            problem = f"expected {expected}, got {shown(value)}{did_you_mean(value, choices)}"
        case "string_pattern_mismatch" if steps[-1] == "sha256":
            problem = f"expected 64 hexadecimal digits, 0-9 and a-f, got {shown(value)}"
        case "string_pattern_mismatch":
            but = """without " $ ` \\ and control characters, nor - at its start"""
            problem = f"expected some text {but}, got {shown(value)}"
        case "string_type" if isinstance(value, bool | None):
            problem = f"expected text, got {shown(value)}; if that is a name, put it between quotes"
        case "string_type" if isinstance(value, int | float):
            problem = f"expected text, got the number {shown(value)}; put it between quotes"
        case kind:
            problem = f"expected {EXPECTED[kind].format(**context)}, got {shown(value)}"
    return ".".join([address, *steps]), problem


EXPECTED = {
    "bool_type": "true or false",
    "dict_type": "a mapping from names to numbers",
    "finite_number": "a finite number",
    "float_type": "a number",
    "greater_than": "a number above {gt:g}",
    "greater_than_equal": "a number not below {ge:g}",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "less_than": "a number below {lt:.10g}",
    "less_than_equal": "a number not above {le:.10g}",
    "list_type": "a list",
    "model_type": "a mapping of keys to values",
    "string_too_short": "some text",
    "string_type": "text",
    "too_long": "{max_length} values and no more",
    "too_short": "{min_length} or more values",
}
"""What pydantic's errors say was expected: all that these schemas can give rise to."""


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
