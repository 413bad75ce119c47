"""Run the frozen part of a backbone over every tensor, once."""

from pathlib import Path

import numpy as np

from stages.features.frozen import frozen
from stages.features.views import Views
from thaw.engines.openvino import finite
from thaw.files import sha256
from thaw.formats.row_file import Origin, RowFile
from thaw.formats.row_writer import writing
from thaw.machine import processor, versions
from thaw.params.features import Features
from thaw.params.reading import read_entry
from thaw.progress import progress_by_rows
from thaw.reuse.fingerprint import fingerprint
from thaw.reuse.row_store import RowStore
from thaw.stage import announce, run


def main(params: Path, entry: str, tensors: Path, backbone: Path, features: Path, folder: Path | None = None) -> None:
    """Write the activations of `backbone` at the entry's freeze boundary, for every row of `tensors`.

    Where these keep no pixels, they are made anew from the images in `folder`.
    """
    wanted = read_entry(params, entry, Features)
    images = RowFile(tensors)
    digest, normalization = sha256(backbone), images.origin.normalization
    height, width, _ = images.row_shape
    part, engine = frozen(entry, backbone, digest, wanted, (height, width), normalization)
    origin = Origin(
        tensors=images.origin.tensors,
        tensors_digest=images.digest,
        features=wanted.model_dump(),
        backbone=part.backbone,
        backbone_digest=digest,
        boundary=part.boundary,
        engine=engine.name,
    )
    computed = [digest, part.boundary, wanted.pooling, normalization.to_json(), images.row_shape]
    packages = ["keras", "tensorflow", *(["keras-hub"] if part.backbone["architecture"] == "hub" else [])]
    computes = [engine.name, wanted.batch_size, versions(*packages), processor()]
    shape, dtype = tuple(part.row_shape), np.dtype(np.float32)
    store = RowStore(fingerprint("stages.features", computed, computes), shape, dtype)
    views = Views(images, wanted, folder)
    announce(
        f"{entry}: {len(images)} images through {part.network} up to {part.boundary}, with {engine.name} "
        f"({engine.device}); {store.count(views.keys)} of {len(views.keys)} rows were computed before"
    )
    with writing(features, images.index.with_views("train", wanted.views), shape, dtype, origin) as file:
        rows = store.complete(views.keys, lambda missing: finite(engine.stream(views.batches(missing)), backbone))
        file.write(progress_by_rows(rows, len(views.keys), "extracting"))


if __name__ == "__main__":
    run(main)
