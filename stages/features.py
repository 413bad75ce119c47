"""Run the frozen part of a backbone over every tensor, once."""

from pathlib import Path

from thaw import models
from thaw.backend import device
from thaw.boundary import boundaries, prefix, require_boundary
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
    announce(f"{entry}: {len(images)} images through {network.name} up to {layer}, on {device()}")
    made_of = {
        "features": wanted.model_dump(),
        "boundary": layer,
        "tensors": images.made_of["tensors"],
        "tensors_digest": images.digest,
        "backbone": about["backbone"],
        "backbone_digest": sha256(backbone),
    }
    with writing(features, images.index, frozen.output.shape[1:], "float32", made_of) as file:
        batches = images.batches(wanted.batch_size)
        for rows in batched_predict(frozen, batches, len(images), wanted.batch_size, "extracting"):
            file.append(rows)


if __name__ == "__main__":
    run(main)
