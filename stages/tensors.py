"""Decode and resize every image of the manifest, once."""

import os
from pathlib import Path

import numpy as np

from thaw.fingerprint import fingerprint
from thaw.images import DECODER
from thaw.manifest import read_manifest
from thaw.normalization import Normalization
from thaw.params import read_entry
from thaw.params.tensors import Tensors
from thaw.progress import progress_by_rows
from thaw.row_store import RowStore
from thaw.row_writer import writing
from thaw.stage import announce, run
from thaw.tensors import decode_all, index_of


def main(params: Path, entry: str, folder: Path, manifest: Path, tensors: Path) -> None:
    """Write the RGB pixels of the images in `folder` to `tensors`, with the normalization that reading applies."""
    wanted = read_entry(params, entry, Tensors)
    rows, shape, dtype = read_manifest(manifest), (*wanted.pixels, 3), np.dtype(np.uint8)
    index = index_of(rows)
    # Pixels are stored before the normalization, and the split and the classes are no part of them.
    store = RowStore(
        fingerprint("stages.tensors", wanted.pixels, wanted.resize, wanted.interpolation, DECODER), shape, dtype
    )
    size, known = f"{shape[0]}x{shape[1]} pixels ({wanted.resize})", store.count(index.keys)
    announce(f"{entry}: {len(rows)} images to {size}, on {os.cpu_count()} CPU cores; {known} were decoded before")
    made_with = {**wanted.model_dump(), "normalization": Normalization.of(wanted.normalization).to_json()}
    with writing(tensors, index, shape, dtype, {"tensors": made_with}) as file:
        decoded = store.complete(
            index.keys, lambda missing: decode_all(folder, [rows[number] for number in missing], wanted)
        )
        file.write(progress_by_rows(decoded, len(rows), "decoding"))


if __name__ == "__main__":
    run(main)
