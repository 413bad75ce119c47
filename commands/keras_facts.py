"""What only Keras knows, as JSON.

`python -m commands.keras_facts` is a process of its own, since to load Keras takes seconds.
"""

import json
import math
from pathlib import Path
from typing import Any

from stages.check.checking import check_params
from thaw.backbones.building import build_backbone
from thaw.errors import UserError
from thaw.networks.backend import device, keras
from thaw.params.backbones import Backbone
from thaw.params.reading import read_yaml

PARAMS = Path("params.yaml")


def row_bytes(params: dict[str, Any]) -> dict[str, int]:
    """Return the bytes of one row of each features entry, which is float32; none of KerasHub's, which would be fetched.

    Networks are built without their weights.
    """
    networks: dict[str, keras.Model] = {}
    found = {}
    for name, entry in params["features"].items():
        backbone, pixels = entry["backbone"], params["tensors"][entry["tensors"]]["pixels"]
        wanted = params["backbones"][backbone]
        if wanted["architecture"] == "hub":
            continue
        if backbone not in networks:
            networks[backbone] = build_backbone(
                Backbone(
                    architecture=wanted["architecture"], weights="none", include_top=wanted.get("include_top", False)
                )
            )
        network = networks[backbone]
        end = network.output if entry["layer"] == "top" else network.get_layer(entry["layer"]).output
        shape = keras.Model(network.input, end).compute_output_shape((1, *pixels, 3))
        found[name] = 4 * (shape[-1] if entry.get("pooling") else math.prod(shape))
    return found


def main() -> None:
    """Print the backend, what it computes on, and the bytes of features' rows, as long as params.yaml has no errors."""
    try:
        check_params(PARAMS)
        rows = row_bytes(read_yaml(PARAMS))
    except (UserError, ValueError):  # a layer that a network does not have, which the stage will say
        rows = {}
    print(json.dumps({"backend": keras.backend.backend(), "device": device(), "row_bytes": rows}))


if __name__ == "__main__":
    main()
