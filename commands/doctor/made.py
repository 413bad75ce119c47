"""Whether results were made with the parameters with which dvc.lock has them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from commands import lock, pipeline
from commands.doctor.findings import Finding, State
from commands.output import first_names
from thaw.formats.model_file import backbone_of, read_record, variant_of
from thaw.formats.row_file import RowFile
from thaw.images.normalization import Normalization
from thaw.params.backbones import Backbone
from thaw.params.features import Features
from thaw.params.tensors import Tensors
from thaw.params.variants import Variant

Same = Callable[[Path, Any], bool]


def check_made(params: dict[str, Any]) -> Finding:
    """Find out whether files that DVC takes for up to date say that they were made with what params.yaml says.

    They do not where `dvc commit --force` or `dvc exp save` noted parameters with which nothing had run.
    """
    if others := [*_made_otherwise(params)]:
        text = f"{first_names(others)}: the file was made with other parameters than {lock.LOCK} says"
        return Finding("results", State.WARNING, text, f"dvc repro --force --single-item {' '.join(others)}")
    return Finding("results", State.OK, f"what is here was made with the parameters that {lock.LOCK} says")


def _made_otherwise(params: dict[str, Any]) -> Iterator[str]:
    entries = lock.stages_now()
    for section, (stage, place, is_same) in MADE.items():
        for name, entry in params[section].items():
            path, addressing = Path(place.format(name)), f"{stage}@{name}"
            noted = entries.get(addressing, {}).get("params", {}).get(str(pipeline.PARAMS), {})
            if path.exists() and noted.get(f"{section}.{name}") == entry and not is_same(path, entry):
                yield addressing


def _equal(schema: type[BaseModel], made_with: Any, entry: Any, left_out: set[str] | None = None) -> bool:
    """Say whether two entries are the same, with the defaults of today; also if one is of a Thaw that had others."""
    try:
        former = schema.model_validate(made_with)
    except ValidationError:
        return True
    return former.model_dump(exclude=left_out) == schema.model_validate(entry).model_dump(exclude=left_out)


def _same_tensors(path: Path, entry: Any) -> bool:
    made_with = RowFile(path).origin.tensors
    is_normalized = made_with["normalization"] == Normalization.of(entry["normalization"]).to_json()
    former = {**made_with, "normalization": entry["normalization"]}
    return is_normalized and _equal(Tensors, former, entry, {"unlike_pretraining", "keep"})


MADE: dict[str, tuple[str, str, Same]] = {
    "tensors": ("tensors", "data/tensors/{}.h5", _same_tensors),
    "backbones": (
        "backbone",
        "models/backbones/{}.keras",
        lambda path, entry: _equal(Backbone, backbone_of(path, read_record(path)).backbone, entry),
    ),
    "features": (
        "features",
        "data/features/{}.h5",
        lambda path, entry: _equal(Features, RowFile(path).origin.features, entry),
    ),
    "variants": (
        "train",
        "models/variants/{}.keras",
        lambda path, entry: _equal(Variant, variant_of(path, read_record(path)).variant, entry),
    ),
}
"""By section of params.yaml: the stage, its file, and whether that was made with an entry."""
