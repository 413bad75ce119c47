"""docs/parameters.md: what the schema says, for people."""

import json
import re
from itertools import groupby
from typing import Any

from commands.parameters.schema import Schema
from stages.check.architectures import PACKAGED, known_architectures, pretrained_with, smallest_pixels
from stages.check.keras_names import IDLE, KINDS, MONITORED, UNUSABLE, public_classes, public_names, signature
from thaw.backbones.presets import FAMILIES

INTRODUCTION = """# Parameters

All that `params.yaml` can hold. `python -m commands.parameters` writes this page, and the schema by which editors
complete keys and names and underline what is wrong, from `thaw/params` and from what the check knows of Keras. What has
to fit together is said by `python -m stages.check --params params.yaml`, as before each stage.

A key without a default is required. Where the default is `null`, to leave the key out is the same. Values are not
converted: `"3"` is no number. Names of entries have letters a–z, large or small, digits, `-` and `_`, 100 in all at
most, and begin with a letter. Of a section, no two differ by large and small letters only, and none is `size` or
`nfiles`, which DVC does not heed.
"""
KEPT = {
    "layers": (
        "Layers",
        "For a variant's `head`. The last has to be `{Dense: {units: classes, activation: softmax}}`, or to have no "
        "activation where the loss has `from_logits: true`.",
    ),
    "augmentation": (
        "Augmentation",
        "For the `augmentation` of features and variants: only what changes images at random, and leaves their size "
        "and the range of their pixels as they are. `CutMix` and `MixUp` mix the images of a batch and their labels: "
        "for variants only, whose loss takes vectors, such as `CategoricalCrossentropy`.",
    ),
    "optimizers": (
        "Optimizers",
        "For `fit.optimizer`. The `learning_rate` is a number above 0, with a point or an exponent, or a "
        "[schedule](#learning-rate-schedules).",
    ),
    "optimizers.schedules": (
        "Learning-rate schedules",
        "For an optimizer's `learning_rate`; steps are batches. Without `decay_steps`, where there are such, the decay "
        "lasts for all of the training.",
    ),
    "losses": ("Losses", "For `fit.loss`."),
    "callbacks": (
        "Callbacks",
        f"For `fit.callbacks`. What they `monitor` is one of {', '.join(f'`{one}`' for one in MONITORED)}.",
    ),
}
"""By where Keras keeps them: what objects are called, and where they go."""
LINKS = {
    "architectures": "[network](#networks)",
    **{kept_in: f"[{KINDS[kept_in]}](#{title.lower().replace(' ', '-')})" for kept_in, (title, _) in KEPT.items()},
}


def reference(schema: Schema, recipe: str) -> str:
    """Return the reference.

    Args:
        schema: of params.yaml.
        recipe: the text of a params file, of which examples are taken.
    """
    definitions = schema["definitions"]
    parts = [INTRODUCTION]
    for section, node in schema["properties"].items():
        path, example = section if "$ref" in node else f"{section}.<name>", _example(section, recipe)
        parts.append(f"## `{path}`\n\n{node['description']}\n")
        parts += [f"```yaml\n{example}```\n"] if example else []
        (model,) = _models(node)
        parts += _tables(path, definitions[model], definitions)
    parts.append(_networks())
    parts.append(
        "## Keras's objects\n\n"
        "They go by Keras's own names, alone or with arguments: `Flatten`, `{Dense: {units: 100}}`. So do the "
        "activations, initializers, regularizers and constraints among the arguments: `relu`, `{L2: {l2: 1e-4}}`. In "
        "brackets stand the arguments that are required; all are described at [keras.io/api](https://keras.io/api/).\n"
    )
    parts += [_kept(kept_in) for kept_in in KEPT]
    return "\n".join(parts)


def _tables(path: str, model: Schema, definitions: Schema) -> list[str]:
    """Return the table of a mapping's keys, and those of the mappings in it."""
    rows = ["| key | type | default | what it is |", "| --- | --- | --- | --- |"]
    inner = []
    for key, node in model["properties"].items():
        models = _models(node)
        here = f"`{path}.{key}`"
        titles = {one: f"{here}, {one.lower()}" if len(models) > 1 else here for one in models}
        named = {one: one.lower() if len(models) > 1 else "keys" for one in models}
        kind = " or ".join(f"[{named[one]}](#{anchor(titles[one])})" for one in models) or _type(node)
        default = "required" if key in model.get("required", ()) else f"`{_value(node['default'])}`"
        cells = [cell.replace("|", "\\|") for cell in (f"`{key}`", kind, default, node["description"])]
        rows.append(f"| {' | '.join(cells)} |")
        for one in models:
            inner.append(f"### {titles[one]}\n\n{definitions[one]['description']}\n")
            inner += _tables(f"{path}.{key}", definitions[one], definitions)
    return ["\n".join(rows) + "\n", *inner]


def _models(node: Any) -> list[str]:
    """Return the mappings with keys of their own that a key takes."""
    if isinstance(node, list):
        return [name for one in node for name in _models(one)]
    if not isinstance(node, dict):
        return []
    name = str(node.get("$ref", "")).rpartition("/")[2]
    found = [name] if name[:1].isupper() else []
    return found + [one for key, inner in node.items() if key != "default" for one in _models(inner)]


def _type(node: Schema) -> str:
    """Return a schema in words, but for null, which is the default where it can be."""
    if "$ref" in node:
        return LINKS[node["$ref"].rpartition("/")[2]]
    if "enum" in node or "const" in node:
        *names, last = [f"`{_value(one)}`" for one in node.get("enum", [node.get("const")])]
        return f"{', '.join(names)} or {last}" if names else last
    if "anyOf" in node:
        return " or ".join(_type(one) for one in node["anyOf"] if one != {"type": "null"})
    if node["type"] == "array":
        least, most = node.get("minItems", 0), node.get("maxItems")
        count = f" ({least})" if least == most else f" ({least} or more)" if least else ""
        return f"list{count} of {_type(node['items'])}"
    if node["type"] == "object":
        return f"mapping from names to {_type(node['additionalProperties'])}"
    words = {"boolean": "`true` or `false`", "integer": "whole number", "number": "number"}
    if node["type"] == "string":
        return "some text" if node.get("minLength") else "text"
    signs = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
    limits = [f"{sign} {node[limit]}" for limit, sign in signs.items() if limit in node]
    return " ".join([words[node["type"]], " and ".join(limits)]).strip()


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def anchor(title: str) -> str:
    """Return by what GitHub links to a heading."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def _example(section: str, recipe: str) -> str:
    """Return the first two paragraphs of a section of a params file."""
    found = re.search(rf"^{section}:.*\n((?:(?: .*)?\n)*)", recipe, flags=re.MULTILINE)
    return "\n\n".join(found[0].strip().split("\n\n")[:2]) + "\n" if found else ""


def _networks() -> str:
    rows = ["| network | its weights | their normalization | pixels at least |", "| --- | --- | --- | ---: |"]
    for name in known_architectures():
        weights = "package" if name in PACKAGED else "none" if name == "none" else "imagenet"
        if name == "hub":
            rows.append(f"| `hub` | a preset of {', '.join(FAMILIES)} | `none` | |")
            continue
        mode = f"`{mode}`" if (mode := pretrained_with(name)) else ""
        rows.append(f"| `{name}` | `{weights}` | {mode} | {smallest_pixels(name)} |")
    return (
        "## Networks\n\nFor a backbone's `architecture`. Each but `none` can also have `weights: none`, or those of a "
        "file. Some take images of some sizes only, all or with `include_top`. At which layers each can be cut is in "
        "`stages/check/boundaries.json`.\n\n" + "\n".join(rows) + "\n"
    )


def _kept(namespace: str) -> str:
    """Return which of Keras's objects are accepted, and why others are not."""
    title, words = KEPT[namespace]
    origins = public_names(namespace)
    accepted = []
    for _, same in groupby(public_classes(namespace), key=origins.__getitem__):
        first, *others = same
        of_class = signature(namespace, first)
        required = ", ".join(sorted(of_class.required)) if of_class else ""
        if namespace == "augmentation" and first in IDLE:
            required = f"one of {', '.join(IDLE[first])}"
        accepted.append(" or ".join(f"`{one}`" for one in (first, *others)) + (f" ({required})" if required else ""))
    reasons: dict[str, list[str]] = {}
    for name, reason in UNUSABLE.get(namespace, {}).items():
        reasons.setdefault(reason, []).append(f"`{name}`")
    refused = "\n".join(f"| {', '.join(names)} | {reason} |" for reason, names in reasons.items())
    table = f"\n| not accepted | since each |\n| --- | --- |\n{refused}\n" if refused else ""
    return f"### {title}\n\n{words}\n\n{', '.join(accepted)}\n{table}"
