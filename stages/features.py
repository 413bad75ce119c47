"""Run the frozen part of a backbone over every tensor, once."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from thaw import models
from thaw.augmentation import Augmentation
from thaw.backend import device
from thaw.boundary import boundaries, prefix, require_boundary
from thaw.engine import engine
from thaw.extraction import batched_predict
from thaw.files import sha256
from thaw.normalization import Normalization
from thaw.params import read_entry
from thaw.params.features import Features
from thaw.row_file import RowFile, writing
from thaw.stage import announce, run


def main(params: Path, entry: str, tensors: Path, backbone: Path, features: Path) -> None:
    """Write the activations of `backbone` at the entry's freeze boundary, for every row of `tensors`."""
    wanted = read_entry(params, entry, Features)
    images = RowFile(tensors)
    network, about = models.load(backbone)
    if wanted.layer != "top":
        require_boundary(network, wanted.layer, boundaries(network), f"{entry}: {network.name}")
    height, width, _ = images.row_shape
    normalization = Normalization.from_json(images.made_of["tensors"]["normalization"])
    model = models.assemble(network, height, width, normalization, wanted.pooling)
    layer = model.layers[-1].name if wanted.layer == "top" else wanted.layer
    frozen = prefix(model, layer)
    extractor = engine(frozen, wanted.precision, wanted.batch_size)
    announce(f"{entry}: {len(images)} images through {network.name} up to {layer}, with {extractor.name} ({device()})")
    made_of = {
        "features": wanted.model_dump(),
        "engine": extractor.name,
        "boundary": layer,
        "tensors": images.made_of["tensors"],
        "tensors_digest": images.digest,
        "backbone": about["backbone"],
        "backbone_digest": sha256(backbone),
    }
    index = images.index.with_views("train", wanted.views)
    with writing(features, index, frozen.output.shape[1:], "float32", made_of) as file:
        for rows in batched_predict(extractor, pixels(images, wanted), len(index.labels), "extracting"):
            file.append(rows)


def pixels(images: RowFile, wanted: Features) -> Iterator[np.ndarray]:
    """Yield batches of images in the order of the features' rows: views come after the split that they are of."""
    for split, part in images.index.splits.items():
        yield from images.batches(wanted.batch_size, part)
        if split == "train" and wanted.views > 1:
            augmentation = Augmentation(wanted.augmentation, wanted.seed)
            keys = images.index.keys[part]
            for view in range(1, wanted.views):
                yield from augmentation.batches(images.batches(wanted.batch_size, part), keys, view)


if __name__ == "__main__":
    run(main)
