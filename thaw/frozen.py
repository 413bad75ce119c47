"""The frozen part of a backbone, from pixels to the activations at a boundary, ready to run.

What OpenVINO runs is kept between runs, in the store of rows: Keras, which takes longer to load than some images take,
is needed only where the part is new, or on a GPU.
"""

import json
import os
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thaw.engine import Engine, Graph, OpenVinoEngine, openvino
from thaw.files import replacing
from thaw.fingerprint import fingerprint
from thaw.machine import HAS_CUDA, HAS_NVIDIA, processor, versions
from thaw.normalization import Normalization, unlike_pretraining
from thaw.params.features import Features
from thaw.row_store import folder_of
from thaw.stage import announce

MEMBERS = ("model.xml", "model.bin")


@dataclass(frozen=True)
class Frozen:
    """A frozen part, and how to run it."""

    network: str
    boundary: str
    """The layer that it ends with."""
    backbone: dict[str, Any]
    """The backbone's entry of params.yaml."""
    row_shape: list[int]
    """Of the activations of one image."""
    engine: str
    device: str
    start: Callable[[], Engine]
    """Gets the engine ready."""


def frozen(
    entry: str, backbone: Path, digest: str, wanted: Features, pixels: tuple[int, int], normalization: Normalization
) -> Frozen:
    """Return the frozen part of a backbone.

    Args:
        entry: the features' address in params.yaml, for messages.
        backbone: its file.
        digest: of the file.
        wanted: layer, pooling, precision.
        pixels: height and width of the images.
        normalization: of the images.

    Raises:
        UserError: the file is damaged, or cannot be cut there.
    """
    made_of = [digest, wanted.layer, wanted.pooling, wanted.precision, pixels, normalization.to_json()]
    computes = [versions("keras", "tensorflow", "openvino"), processor(), os.environ.get("KERAS_BACKEND")]
    kept_in = folder_of(fingerprint("thaw.frozen", made_of, computes))
    path = kept_in / "graph.zip" if kept_in and openvino and not (HAS_NVIDIA or HAS_CUDA) else None
    if path and (kept := _read(path)):
        known, kept_graph = kept
        if warning := unlike_pretraining(known["network"], normalization):
            announce(warning)
        return Frozen(**known, start=lambda: OpenVinoEngine(kept_graph, wanted.precision))
    from thaw.freezing import freeze  # loads Keras

    known, engine, graph = freeze(entry, backbone, wanted, pixels, normalization)
    if path and graph:
        _write(path, known, graph)
    return Frozen(**known, start=lambda: engine)


def _read(path: Path) -> tuple[dict[str, Any], Graph] | None:
    """Read a part; None if there is none, or if it is damaged, which a zip file's checksums tell."""
    try:
        with zipfile.ZipFile(path) as archive:
            known = json.loads(archive.read("about.json"))
            xml, weights = (archive.read(name) for name in MEMBERS)
        os.utime(path)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return None
    return {**known, "device": f"the CPU, {os.cpu_count()} cores"}, (xml, weights)


def _write(path: Path, known: dict[str, Any], graph: Graph) -> None:
    with suppress(OSError), replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        archive.writestr("about.json", json.dumps(known))
        for name, content in zip(MEMBERS, graph, strict=True):
            archive.writestr(name, content)
