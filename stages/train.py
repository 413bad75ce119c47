"""Train what comes after the freeze boundary."""

from pathlib import Path

from thaw.backend import device, keras
from thaw.history import write_history
from thaw.models import save
from thaw.params import read_entry
from thaw.params.variants import Solver, Variant
from thaw.row_file import RowFile
from thaw.stage import announce, run
from thaw.training import freeze, solve, train
from thaw.variants import begin


def main(params: Path, entry: str, start: Path, inputs: Path, model: Path, history: Path) -> None:
    """Write the model that training the variant `entry` gives, and its learning curve."""
    variant = read_entry(params, entry, Variant)
    rows = RowFile(inputs)
    if not isinstance(variant.fit, Solver):
        keras.utils.set_random_seed(variant.fit.seed)
    network, about = begin(entry, variant, start, rows)
    training, validation = rows.read_split("train"), rows.read_split("validation")
    frozen = about["boundary"] or "nothing"
    announce(
        f"{entry}: from {variant.start} on {len(training[1])} {variant.inputs}, frozen up to: {frozen}, on {device()}"
    )
    if isinstance(variant.fit, Solver):
        freeze(network, about["boundary"], "frozen")
        curve = solve(network, training, validation, variant.fit)
    else:
        freeze(network, about["boundary"], variant.fit.batch_norm)
        curve = train(network, about["boundary"], training, validation, variant.fit, variant.augmentation)
    save(network, model, about)
    write_history(history, curve)


if __name__ == "__main__":
    run(main)
