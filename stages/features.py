"""Run the frozen part of a backbone over every tensor, once."""

from pathlib import Path

import numpy as np

from thaw import models
from thaw.backend import device, keras
from thaw.boundary import boundaries, prefix, require_boundary
from thaw.engine import engine
from thaw.files import sha256
from thaw.fingerprint import fingerprint, machine
from thaw.normalization import Normalization
from thaw.overlap import ahead
from thaw.params import read_entry
from thaw.params.features import Features
from thaw.progress import progress_by_rows
from thaw.row_file import RowFile, writing
from thaw.row_store import RowStore
from thaw.stage import announce, run
from thaw.views import Views


def main(params: Path, entry: str, tensors: Path, backbone: Path, features: Path) -> None:
    """Write the activations of `backbone` at the entry's freeze boundary, for every row of `tensors`."""
    wanted = read_entry(params, entry, Features)
    images = RowFile(tensors)
    network, about = models.load(backbone)
    if wanted.layer != "top":
        require_boundary(network, wanted.layer, boundaries(network), f"{entry}: {network.name}")
    height, width, _ = images.row_shape
    normalization = images.made_of["tensors"]["normalization"]
    model = models.assemble(network, height, width, Normalization.from_json(normalization), wanted.pooling)
    layer = model.layers[-1].name if wanted.layer == "top" else wanted.layer
    frozen = prefix(model, layer)
    extractor = engine(frozen, wanted.precision, wanted.batch_size)
    made_of = {
        "features": wanted.model_dump(),
        "engine": extractor.name,
        "boundary": layer,
        "tensors": images.made_of["tensors"],
        "tensors_digest": images.digest,
        "backbone": about["backbone"],
        "backbone_digest": sha256(backbone),
    }
    computed = [made_of["backbone_digest"], layer, wanted.pooling, normalization, images.row_shape]
    computes = [extractor.name, wanted.batch_size, keras.__version__, machine()]
    store = RowStore(fingerprint("features", computed, computes), frozen.output.shape[1:], np.dtype(np.float32))
    views = Views(images, wanted)
    announce(
        f"{entry}: {len(images)} images through {network.name} up to {layer}, with {extractor.name} ({device()}); "
        f"{store.count(views.keys)} of {len(views.keys)} rows were computed before"
    )
    index = images.index.with_views("train", wanted.views)
    with writing(features, index, frozen.output.shape[1:], "float32", made_of) as file:
        rows = store.complete(views.keys, lambda missing: extractor.stream(ahead(views.batches(missing))))
        for batch in progress_by_rows(rows, len(views.keys), "extracting"):
            file.append(batch)


if __name__ == "__main__":
    run(main)
