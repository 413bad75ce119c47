"""Check params.yaml as a whole, before a stage takes its own entry from it."""

import sys
from collections import Counter
from pathlib import Path

import thaw
from stages.check.checking import check_params
from thaw.errors import UserError
from thaw.formats.manifest import manifest_by, manifest_rows
from thaw.machine import backend
from thaw.params.cross_validation import CrossValidation
from thaw.params.dataset import Dataset
from thaw.params.reading import read_entry, read_yaml
from thaw.reuse.folder import FOLDER, limit, project_folder
from thaw.stage import run
from thaw.suggestions import did_you_mean


def main(params: Path, manifest: Path | None = None) -> None:
    """Check a params file, every error of it being listed; and against a manifest, which has to be of its data set.

    Its folds have to be possible then, too, and the classes that have weights be there. What the environment says is
    told here as well, where it is wrong.
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
        images = Counter((row.label, row.group or None) for row in manifest_rows(manifest))
        tree, classes = read_yaml(params), {label for label, _ in images}
        for name, variant in tree["variants"].items():
            weights = variant["fit"].get("class_weight")
            for label in sorted({*weights} - classes) if isinstance(weights, dict) else ():
                raise UserError(
                    f"variants.{name}.fit.class_weight: there is no class {label!r}{did_you_mean(label, classes)}"
                )
        for name in tree["cross_validation"]:
            entry = f"cross_validation.{name}"
            read_entry(params, entry, CrossValidation).require(entry, images.elements())


if __name__ == "__main__":
    run(main)
