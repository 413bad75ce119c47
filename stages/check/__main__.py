"""Check params.yaml as a whole, before a stage takes its own entry from it."""

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import thaw
from stages.check.checking import check_params, require_none
from stages.check.problems import Problem
from thaw.errors import UserError
from thaw.formats.manifest import manifest_by, manifest_rows
from thaw.machine import backend
from thaw.params.cross_validation import CrossValidation
from thaw.params.dataset import Dataset
from thaw.params.keras_spec import lack_of_steps
from thaw.params.reading import read_entry, read_yaml
from thaw.params.variants import Solver, Variant
from thaw.reuse.folder import FOLDER, limit, project_folder
from thaw.stage import run
from thaw.suggestions import did_you_mean


def main(params: Path, manifest: Path | None = None) -> None:
    """Check a params file, every error of it being listed; and against a manifest, which has to be of its data set.

    Its folds have to be possible then, too, the classes that have weights be there, and a warm-up be shorter than its
    training. What the environment says is told here as well, where it is wrong.
    """
    if sys.flags.optimize > 1:  # features would be computed by Keras, with other bits
        raise UserError(
            "PYTHONOPTIMIZE: OpenVINO converts no network where docstrings are left out; set it to 1, or not"
        )
    here, ours = Path("thaw", "__init__.py"), Path(thaw.__file__)
    if sys.flags.safe_path and here.exists() and not here.samefile(ours):  # dvc.lock would name code that never ran
        raise UserError(
            f"PYTHONSAFEPATH: set, so that stages are those of {ours.parents[1]}, not those of this folder; unset it"
        )
    if str(project_folder()).startswith("~"):  # a folder of that name would be made here
        raise UserError(f"{FOLDER}: {project_folder()}: there is no such home; write the folder out")
    backend()
    limit()
    check_params(params)
    if manifest:
        if manifest_by(manifest) != read_entry(params, "dataset", Dataset).digest:
            raise UserError(f"{manifest}: of another data set, or split, than {params} has; run `dvc repro`")
        images, splits = Counter[tuple[str, str | None]](), Counter[str]()
        for row in manifest_rows(manifest):
            images[row.label, row.group or None] += 1
            splits[row.split] += 1
        tree, classes = read_yaml(params), {label for label, _ in images}
        require_none(params, [*_unlike_the_images(params, [*tree["variants"]], classes, splits)])
        for name in tree["cross_validation"]:
            entry = f"cross_validation.{name}"
            read_entry(params, entry, CrossValidation).require(entry, images.elements())


def _unlike_the_images(params: Path, names: list[str], classes: set[str], splits: Counter[str]) -> Iterator[Problem]:
    """Yield what does not go with a data set's classes, or with how many images its splits have."""
    for name in names:
        fit = read_entry(params, f"variants.{name}", Variant).fit
        if isinstance(fit, Solver):
            continue
        weights = fit.class_weight
        for label in sorted({*weights} - classes) if isinstance(weights, dict) else ():
            yield f"variants.{name}.fit.class_weight", f"there is no class {label!r}{did_you_mean(label, classes)}"
        steps = fit.steps(sum(splits[split] for split in fit.train_on))
        if lack := lack_of_steps(fit.optimizer, steps):
            place, problem = lack
            yield f"variants.{name}.fit.optimizer.{place}", problem


if __name__ == "__main__":
    run(main)
