"""Set the variants side by side."""

from pathlib import Path

from stages.report.comparison import against_best, ranking, table
from stages.report.learning_curves import draw_learning_curves
from thaw.errors import UserError
from thaw.files import write_text
from thaw.formats.history import read_history
from thaw.formats.predictions import read_predictions
from thaw.params.reading import read_yaml
from thaw.scoring.scoring import score
from thaw.stage import announce, run


def main(params: Path, entry: str, predictions: Path, histories: Path, comparison: Path, curves: Path) -> None:
    """Write all variants' scores, what of their differences is noise, and a picture of their learning curves.

    Files of variants that params.yaml no longer has are removed from both folders, so that what this stage
    depends on is the same here and in a fresh clone; DVC's cache keeps them.
    """
    variants = read_yaml(params)[entry]
    announce(f"compare: {', '.join(variants)}")
    for folder in (predictions, histories):
        for file in sorted(folder.glob("*.csv")):
            if file.stem not in variants:
                announce(f"{file} belongs to no variant in {params}: removed")
                file.unlink()
    read = {name: read_predictions(predictions / f"{name}.csv") for name in variants}
    first, *others = variants
    for name in others:
        if read[name].paths != read[first].paths:
            raise UserError(f"{predictions}: {first}.csv and {name}.csv are of different images; run `dvc repro`")
    scores = {name: score(one.labels, one.probabilities) for name, one in read.items()}
    optimistic = {name for name, variant in variants.items() if variant["fit"].get("validate_on") == "test"}
    text = table(scores, optimistic)
    if others:
        probabilities = {name: one.probabilities for name, one in read.items()}
        text += "\n" + against_best(read[first].labels, probabilities, ranking(scores), optimistic)
    write_text(comparison, text)
    draw_learning_curves(curves, {name: read_history(histories / f"{name}.csv") for name in variants})
    print(text, end="")


if __name__ == "__main__":
    run(main)
