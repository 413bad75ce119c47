"""Train a variant anew on every part of the images, and score it on the part that was left out."""

from dataclasses import asdict
from pathlib import Path

from stages.cross_validate.folding import cross_validate
from thaw.formats.metrics import write_metrics
from thaw.formats.row_file import RowFile
from thaw.params.cross_validation import CrossValidation
from thaw.params.reading import read_entry
from thaw.params.variants import Variant
from thaw.stage import announce, run


def main(params: Path, entry: str, variant: str, start: Path, inputs: Path, metrics: Path) -> None:
    """Write the mean accuracy of `variant` over all fits, with its interval; no image of a fit is scored by it."""
    wanted, trained, rows = (
        read_entry(params, entry, CrossValidation),
        read_entry(params, variant, Variant),
        RowFile(inputs),
    )
    announce(f"{entry}: {variant}, {wanted.folds} folds, {wanted.repeats} time{'s' * (wanted.repeats != 1)}")
    scores = cross_validate(entry, wanted, variant, trained, start, rows)
    write_metrics(metrics, asdict(scores))
    announce(f"accuracy {scores.accuracy:.4f} ({scores.accuracy_low:.4f} – {scores.accuracy_high:.4f})")


if __name__ == "__main__":
    run(main)
