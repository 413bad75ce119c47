"""Run the frozen part of a backbone over every tensor, once."""

from pathlib import Path

from stages.features.planning import planned
from thaw.formats.row_writer import writing
from thaw.progress import progress_by_rows
from thaw.stage import run


def main(params: Path, entry: str, tensors: Path, backbone: Path, features: Path) -> None:
    """Write the activations of `backbone` at the entry's freeze boundary, for every row of `tensors`.

    Where these keep no pixels, they are made anew from the images.
    """
    plan, index, origin = planned(params, entry, tensors, backbone)
    with writing(features, index, plan.store.shape, plan.store.dtype, origin) as file:
        file.write(progress_by_rows(plan.rows(), len(plan.keys), "extracting"))


if __name__ == "__main__":
    run(main)
