"""Write thaw/params/boundaries.json: the layers at which each known network can be cut.

Run `python -m tests.boundary_table` after an upgrade of Keras; it takes some minutes.
"""

import json

from stages.check.architectures import TABLE, known_architectures
from thaw.backbones.building import build
from thaw.networks.backend import keras
from thaw.networks.boundary import boundaries
from thaw.params.backbones import Backbone


def cuts(architecture: str) -> dict[str, list[str]]:
    """Return a network's boundaries: those it has with and without its top, and those of one only."""
    found = {}
    for include_top in (False, True):
        keras.utils.clear_session()
        entry = Backbone(architecture=architecture, weights="none", include_top=include_top)
        found[include_top] = boundaries(build(entry))
    common = [name for name in found[False] if name in found[True]]
    top = [name for name in found[True] if name not in common]
    no_top = [name for name in found[False] if name not in common]
    assert found == {False: common + no_top, True: common + top}, architecture
    return {"network": common, "no_top": no_top, "top": top}


if __name__ == "__main__":
    table = {}
    for name in known_architectures():
        table[name] = cuts(name)
        print(name, {part: len(names) for part, names in table[name].items()}, flush=True)
    TABLE.write_text(json.dumps(table, indent=0, sort_keys=True) + "\n", encoding="utf-8")
