"""Decode and resize every image of the manifest, once."""

import os
from pathlib import Path

import numpy as np

from thaw.manifest import read_manifest
from thaw.normalization import Normalization
from thaw.params import read_entry
from thaw.params.tensors import Tensors
from thaw.progress import progress
from thaw.row_file import writing
from thaw.stage import announce, run
from thaw.tensors import decode_all, index_of


def main(params: Path, entry: str, folder: Path, manifest: Path, tensors: Path) -> None:
    """Write the RGB pixels of the images in `folder` to `tensors`, with the normalization that reading applies."""
    wanted = read_entry(params, entry, Tensors)
    rows = read_manifest(manifest)
    height, width = wanted.pixels
    announce(f"{entry}: {len(rows)} images to {height}x{width} pixels ({wanted.resize}), on {os.cpu_count()} CPU cores")
    made_of = {
        "tensors": {**wanted.model_dump(), "normalization": Normalization.of(wanted.normalization).to_json()},
    }
    with writing(tensors, index_of(rows), (height, width, 3), np.uint8, made_of) as file:
        for pixels in progress(decode_all(folder, rows, wanted), len(rows), "decoding"):
            file.append(pixels[None])


if __name__ == "__main__":
    run(main)
