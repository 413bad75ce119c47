"""Models as OpenVINO has them, kept between runs, in the store of rows.

Keras takes longer to load than some images take to be computed: it is needed only for models that are new here, or on
a GPU.
"""

import json
import os
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from thaw.engine import Graph, openvino
from thaw.files import replacing
from thaw.fingerprint import fingerprint
from thaw.machine import HAS_CUDA, HAS_NVIDIA, processor, versions
from thaw.row_store import folder_of

MEMBERS = ("model.xml", "model.bin")


def place(module: str, *made_of: Any) -> Path | None:
    """Return where a graph is kept; None if none is, or if OpenVINO may not be what runs it.

    Args:
        module: the code that makes it.
        made_of: the rest of what it is made of, JSON-serializable.
    """
    if openvino is None or HAS_NVIDIA or HAS_CUDA:
        return None
    computes = [versions("keras", "tensorflow", "openvino"), processor(), os.environ.get("KERAS_BACKEND")]
    folder = folder_of(fingerprint(module, made_of, computes))
    return folder / "graph.zip" if folder else None


def read(path: Path) -> tuple[dict[str, Any], Graph] | None:
    """Read a graph and what is known of it; None if there is none, or a damaged one: a zip file has checksums."""
    try:
        with zipfile.ZipFile(path) as archive:
            known = json.loads(archive.read("about.json"))
            xml, weights = (archive.read(name) for name in MEMBERS)
        os.utime(path)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return None
    return known, (xml, weights)


def keep(path: Path, known: dict[str, Any], graph: Graph) -> None:
    """Keep a graph and what is known of it, unless the disk does not take it."""
    with suppress(OSError), replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        archive.writestr("about.json", json.dumps(known))
        for name, content in zip(MEMBERS, graph, strict=True):
            archive.writestr(name, content)
