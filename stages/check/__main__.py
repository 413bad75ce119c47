"""Check params.yaml as a whole, before a stage takes its own entry from it."""

from pathlib import Path

from stages.check.checking import check_params
from thaw.formats.manifest import read_manifest
from thaw.machine import backend
from thaw.params.cross_validation import CrossValidation
from thaw.params.reading import read_entry, read_yaml
from thaw.stage import run


def main(params: Path, manifest: Path | None = None) -> None:
    """Check a params file, every error of it being listed; and against a manifest, whether its folds are possible."""
    backend()
    check_params(params)
    if manifest:
        images = [(row.label, row.group or (row.path,)) for row in read_manifest(manifest)]
        for name in read_yaml(params)["cross_validation"]:
            entry = f"cross_validation.{name}"
            read_entry(params, entry, CrossValidation).require(entry, images)


if __name__ == "__main__":
    run(main)
