"""Generated params files, and their check: `python -m tests.faults.nonsense FIRST COUNT`.

Every number is a file, the same in every run: a valid one, of which values, keys or bytes were changed. What Keras
would be asked in a process of its own is asked here, in this one, on its NumPy backend.
"""

import copy
import io
import json
import random
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ruamel.yaml import YAML

from stages.check import trials
from stages.check.checking import check_params
from tests.conftest import PARAMS
from tests.stages.check_cases import RIGHT, ROOT, edited
from thaw.errors import UserError, printable
from thaw.params.reading import read_yaml

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 3.5, -0.0, 1e-320, 1e308, float("nan"), float("inf"), 2**31, 2**32, 2**63, 2**64),
    *(
        10**30,
        10**400,
        -(10**30),
        "",
        " ",
        "a" * 5000,
        "=cmd|' /C calc'!A0",
        "\x1b[2J\x1b[31m",
        "oak\nfig",
        "\u202eoak",
    ),
    *("$(touch x)", "`touch x`", "; touch x", '"', "'", "\\", "../..", "/", "~", "-rf", "${dataset.path}", "{{ x }}"),
    *("None", "nan", "1e5", "007", "2024-01-01", "<script>alert(1)</script>", "|", "top", "classes", "none", "package"),
    *("variants/full", "features/midway", "tensors/lite64", "backbones/lite0", "https://user:secret@example.org/w.h5"),
    *([], {}, [[]], [{}], [None], {"": 1}, {"units": "classes"}, ["oak", "oak"], [1, 2, 3], [10**9, 10**9], [0, 0]),
    *(
        {"Dense": None},
        {"Dense": {"units": 10**12}},
        {"Lambda": {"function": "x"}},
        {"Conv2D": {"filters": -1}},
        "Adam",
    ),
    *(
        "EfficientNetLite9",
        "VGG16",
        "hub",
        "kernel",
        "\u0301",
        "𝔬𝔞𝔨",
        "日本",
        [["oak"]],
        {"Adam": {"learning_rate": -1}},
    ),
)
TEXTS = (
    *("&a [*a]", "!!python/object/apply:os.system [true]", "!!binary aGk=", "!!timestamp 2024-01-01", "!!set {a, b}"),
    *(
        "<<: *a",
        "? [a, b]\n: c",
        "- - - -",
        "{",
        "[",
        "'",
        "\t",
        "\x00",
        "\ufeff",
        "%YAML 9.9",
        "%YAML 1.1\n---\n",
        "\n=======\n",
        "\n>>>>>>> main\n",
        "\x85",
        "\u2028",
        "\r",
        "2026-13-45",
        "1e400",
        "yes",
        "---",
        "...",
        "&a",
        "*a",
    ),
    *(
        "!!omap [a: 1]",
        "0o17",
        "0b1",
        "1_000",
        "12:30:45",
        ".inf",
        "~",
        "|\n  text",
        ">\n  text",
        "#",
        "@",
        "`",
        "!",
        "!!",
    ),
    *("[" * 3000, "{a: " * 500, "\\u0000", '"\\ud800"', '"\\x1b[31m"', "dataset: 1", "9" * 5000, "-" * 300, "é" * 200),
)


@cache
def bases() -> list[dict[str, Any]]:
    """Return valid params: the default, the tests', the recipes', and the cases that the check has to accept."""
    recipes = [read_yaml(path) for path in sorted((ROOT / "recipes").glob("*.yaml"))]
    return [read_yaml(ROOT / "params.yaml"), PARAMS, *recipes, *map(edited, RIGHT.values())]


def places(node: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the ways to all that is in a tree."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [way for key, value in items for way in ((*above, key), *places(value, (*above, key)))]


def at(tree: Any, way: tuple[Any, ...]) -> Any:
    for step in way:
        tree = tree[step]
    return tree


def changed(tree: dict[str, Any], chance: random.Random) -> None:
    """Change one thing in a tree."""
    ways = places(tree)
    if not ways:
        return
    way = chance.choice(ways)
    parent, last = at(tree, way[:-1]), way[-1]
    match chance.randrange(7):
        case 0:
            del parent[last]
        case 1 | 2:
            parent[last] = copy.deepcopy(chance.choice(VALUES))
        case 3:
            parent[last] = copy.deepcopy(at(tree, chance.choice(ways)))
        case 4 if isinstance(parent, dict):
            name = str(last)
            cut = chance.randrange(len(name) + 1)
            parent[
                chance.choice([name[:cut] + name[cut + 1 :], name.upper(), f"{name} ", "size", "\x1b[1m", 3, None, ""])
            ] = parent.pop(last)
        case 5 if isinstance(parent, dict):
            parent[chance.choice(["unknown", "seed", "units", "nfiles", last])] = copy.deepcopy(chance.choice(VALUES))
        case 5 if isinstance(parent, list):
            parent += copy.deepcopy(parent)
        case _ if isinstance(parent[last], int | float) and not isinstance(parent[last], bool):
            parent[last] = parent[last] * chance.choice([-1, 0, 10, 1000, 1e-9, 10**12, 0.5])
        case _:
            parent[last] = [parent[last]]


def generated(number: int) -> bytes:
    """Return a params file."""
    chance = random.Random(number)
    tree = copy.deepcopy(chance.choice(bases()))
    for _ in range(chance.choice([0, 1, 1, 1, 2, 3, 6])):
        changed(tree, chance)
    text = io.StringIO()
    yaml = YAML()
    try:
        yaml.dump(tree, text)
    except Exception:  # what YAML cannot say is no file
        return generated(number + 10**6)
    content = text.getvalue()
    if chance.random() < 0.25:
        for _ in range(chance.randrange(1, 4)):
            place = chance.randrange(len(content) + 1)
            content = content[:place] + chance.choice(TEXTS) + content[place + chance.choice([0, 0, 1, 20]) :]
    data = content.encode("utf-8", "surrogatepass")
    match chance.randrange(40):
        case 0:
            return data[: chance.randrange(len(data) + 1)]
        case 1:
            return content.encode("utf-16", "surrogatepass")
        case 2:
            return data.replace(b"\n", b"\r\n")
        case 3:
            return bytes(one ^ (chance.random() < 0.002) << chance.randrange(8) for one in data)
    return data


def asked_here(command: list[str], input: str, **_: Any) -> "subprocess.CompletedProcess[str]":
    """Answer what `stages.check.trial` would, in this process."""
    from stages.check.trial import trial_problems

    found = [list(trial_problems(**entry)) for entry in json.loads(input)]
    return subprocess.CompletedProcess(command, 0, json.dumps(found), "")


def outcome(path: Path) -> str:
    """Check a params file; say what came of it: `valid`, `refused`, or the traceback of what is neither."""
    try:
        check_params(path)
    except UserError as error:
        text = str(error)
        unfit = [one for one in text if one != "\n" and printable(one) != one]
        return f"obeyed by terminals: {text!r}" if unfit or str(path) not in text else "refused"
    except BaseException:
        return traceback.format_exc()
    return "valid"


def main(first: int, count: int) -> None:
    """Print how many files there were of each outcome, and the numbers of those that are neither valid nor refused."""
    trials.subprocess = SimpleNamespace(run=asked_here)
    counts: Counter[str] = Counter()
    failed = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "params.yaml"
        for number in range(first, first + count):
            path.write_bytes(generated(number))
            found = outcome(path)
            counts[found if found in ("valid", "refused") else "failed"] += 1
            if found not in ("valid", "refused"):
                failed[number] = found
    print(json.dumps({"counts": counts, "failed": failed}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
