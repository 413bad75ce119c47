"""Write stages/check/boundaries.json: the layers at which each known network can be cut.

Run `python -m tests.boundary_table` after an upgrade of Keras; it takes some minutes.
"""

import json

from stages.check.architectures import BOUNDARIES_JSON, known_architectures
from thaw.backbones.building import build_backbone
from thaw.networks.backend import keras
from thaw.networks.boundary import boundaries
from thaw.params.backbones import Backbone


def cuts(architecture: str) -> dict[str, list[str]]:
    """Return a network's boundaries: those it has with and without its top, and those of one only."""
    found = {}
    for include_top in (False, True):
        keras.utils.clear_session()
        entry = Backbone(architecture=architecture, weights="none", include_top=include_top)
        found[include_top] = boundaries(build_backbone(entry))
    common = [name for name in found[False] if name in found[True]]
    top = [name for name in found[True] if name not in common]
    no_top = [name for name in found[False] if name not in common]
    assert found == {False: common + no_top, True: common + top}, architecture
    return {"network": common, "no_top": no_top, "top": top}


def as_json(table: dict[str, dict[str, list[str]]]) -> str:
    """Return the table of all networks as JSON with one list a line, so that a diff shows what an upgrade changed."""
    networks = [
        f" {json.dumps(name)}: {{\n"
        + ",\n".join(f"  {json.dumps(part)}: {json.dumps(layers)}" for part, layers in sorted(lists.items()))
        + "\n }"
        for name, lists in sorted(table.items())
    ]
    return "{\n" + ",\n".join(networks) + "\n}\n"


if __name__ == "__main__":
    table = {}
    for name in known_architectures():
        if name == "hub":
            continue
        table[name] = cuts(name)
        print(name, {part: len(names) for part, names in table[name].items()}, flush=True)
    BOUNDARIES_JSON.write_text(as_json(table), encoding="utf-8")
