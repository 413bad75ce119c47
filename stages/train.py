"""Train what comes after the freeze boundary."""

from pathlib import Path

from thaw.backend import device, keras
from thaw.history import write_history
from thaw.models import save
from thaw.params import read_entry
from thaw.params.variants import Solver, Variant
from thaw.row_file import RowFile
from thaw.stage import announce, run
from thaw.training import freeze, read_rows, solve, train
from thaw.variants import begin


def main(params: Path, entry: str, start: Path, inputs: Path, model: Path, history: Path) -> None:
    """Write the model that training the variant `entry` gives, and its learning curve."""
    variant = read_entry(params, entry, Variant)
    rows = RowFile(inputs)
    if not isinstance(variant.fit, Solver):
        keras.utils.set_random_seed(variant.fit.seed)
    network, about = begin(entry, variant, start, rows)
    fit = variant.fit
    examples = (
        read_rows(rows, ["train"], "validation")
        if isinstance(fit, Solver)
        else read_rows(rows, fit.train_on, fit.validate_on)
    )
    images, views = len(examples.train[0]), len(examples.train)
    announce(
        f"{entry}: from {variant.start} on {images} {variant.inputs}{f', {views} views each' if views > 1 else ''}, "
        f"frozen up to: {about['frozen'] or 'nothing'}, on {device()}"
    )
    if isinstance(fit, Solver):
        freeze(network, about["frozen"], "frozen")
        curve = solve(network, examples, fit)
    else:
        if fit.validate_on == "test":
            print("warning: the test split is used for validation: its scores will be optimistic", flush=True)
        freeze(network, about["frozen"], fit.batch_norm)
        curve = train(network, about["boundary"], examples, fit, variant.augmentation)
    save(network, model, about)
    write_history(history, curve)


if __name__ == "__main__":
    run(main)
