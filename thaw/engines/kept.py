"""Models as OpenVINO has them, kept between runs, beside the stored rows.

Keras takes longer to load than some images take to be computed: it is needed only for models that are new here, or on
a GPU.
"""

import hashlib
import json
import os
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from thaw.files.reading import DAMAGE, require_regular, sha256
from thaw.files.writing import replacing
from thaw.machine import HAS_CUDA, HAS_NVIDIA, HAS_OPENVINO, backend, processor, versions
from thaw.reuse.fingerprint import fingerprint
from thaw.reuse.folder import limit, make_room, rows_folder

Graph = tuple[bytes, bytes]
"""XML, and the weights."""
MEMBERS = ("model.xml", "model.bin")


def place(module: str, *made_of: Any) -> Path | None:
    """Return where a graph is kept; None if none is, or if OpenVINO may not be what runs it.

    Args:
        module: the code that makes it.
        made_of: the rest of what it is made of, JSON-serializable.
    """
    if not HAS_OPENVINO or HAS_NVIDIA or HAS_CUDA or limit() <= 0:
        return None
    computes = [versions("keras", "keras-hub", "tensorflow", "openvino"), processor(), backend("numpy")]
    return rows_folder() / fingerprint(module, made_of, computes) / "graph.zip"


def place_of_trained(path: Path, boundary: str | None) -> Path | None:
    """Return where the graph of the part behind a boundary of the model in a file is kept, of all of it if None."""
    return place("thaw.engines.converting", sha256(path), boundary)


def read(path: Path) -> tuple[dict[str, Any], Graph] | None:
    """Read a graph and what is known of it; None if there is none, or a damaged one, or another's."""
    try:
        require_regular(path)
        with zipfile.ZipFile(path) as archive:
            about = archive.read("about.json")
            xml, weights = (archive.read(name) for name in MEMBERS)
            if archive.comment != _seal(path, about, xml, weights):
                return None
        known = json.loads(about)
    except (OSError, *DAMAGE):
        return None
    with suppress(OSError):  # of a folder that cannot be written, nothing is removed
        os.utime(path)
    return known, (xml, weights)


def _seal(path: Path, *members: bytes) -> bytes:
    """Return the SHA-256 of what is kept, and of what it was made of, which names its folder."""
    digests = [hashlib.sha256(one).hexdigest() for one in members]
    return hashlib.sha256(json.dumps([path.parent.name, digests]).encode()).hexdigest().encode()


def keep(path: Path, known: dict[str, Any], graph: Graph) -> None:
    """Keep a graph and what is known of it, unless the disk does not take it."""
    with suppress(OSError), replacing(path) as temporary:
        make_room(sum(map(len, graph)))
        with zipfile.ZipFile(temporary, "w") as archive:
            about = json.dumps(known).encode()
            for name, content in zip(("about.json", *MEMBERS), (about, *graph), strict=True):
                archive.writestr(name, content)
            archive.comment = _seal(path, about, *graph)
