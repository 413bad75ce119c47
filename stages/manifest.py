"""List the usable images, each with its class, its split and its digest."""

from collections import Counter
from pathlib import Path

from thaw.dataset import collect
from thaw.files import write_csv
from thaw.manifest import SPLITS, write_manifest
from thaw.params import read_entry
from thaw.params.dataset import Dataset
from thaw.stage import announce, run


def main(params: Path, entry: str, folder: Path, manifest: Path, skipped: Path) -> None:
    """Write the manifest of the images in `folder`, and the list of files that are left out."""
    dataset = read_entry(params, entry, Dataset)
    announce(f"manifest: reading the images in {folder} on the CPU")
    rows, left_out = collect(folder, dataset)
    write_manifest(manifest, rows)
    write_csv(skipped, ["path", "reason"], [[one.path, one.reason] for one in left_out])
    counts = Counter(row.split for row in rows)
    sizes = ", ".join(f"{counts[split]} for {split}" for split in SPLITS)
    announce(f"{len(rows)} images of {len({row.label for row in rows})} classes: {sizes}; {len(left_out)} left out")


if __name__ == "__main__":
    run(main)
