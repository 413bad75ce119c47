"""stages.features.planning: what a node of a cluster computes is what one machine does."""

import contextlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from ruamel.yaml import YAML

from stages.features import planning
from stages.features.frozen import FrozenPart
from stages.features.planning import extractor
from tests.conftest import PARAMS, Project
from tests.stages.test_cross_validation import TENSORS, coloured
from tests.stages.test_cross_validation import rows as row_file
from thaw.engines import kept
from thaw.errors import UserError
from thaw.files.reading import sha256
from thaw.formats.row_file import Origin, RowFile
from thaw.params.features import Features

WANTED = Features.model_validate(PARAMS["features"]["midway"])


@pytest.mark.parametrize("is_known", [True, False])
def test_a_node_computes_the_rows_of_one_machine_from_a_graph_or_a_backbone(finished: Project, is_known: bool) -> None:
    with contextlib.chdir(finished.folder):
        images, features = (RowFile(Path(f"data/{name}.h5")) for name in ("tensors/small", "features/midway"))
        path, normalization = Path("models/backbones/lite0.keras"), images.origin.normalization
        digest, pixels = sha256(path), (40, 40)
        made_of = (digest, WANTED.layer, WANTED.pooling, WANTED.precision, pixels, normalization.to_json())
        place = kept.place("stages.features.frozen", *made_of)
        found = kept.read(place) if place and is_known else None
        if is_known and found is None:
            pytest.skip("no graphs are kept here")
        content = None if found else path.read_bytes()
        kind, compute = extractor("features.midway", found and found[1], content, digest, WANTED, pixels, normalization)
        assert kind.startswith(str(features.origin.engine))
        rows = [compute(images.read(first, first + 7)) for first in range(0, 21, 7)]
        np.testing.assert_array_equal(np.concatenate(rows), features.read(0, 21), strict=True)


def test_a_backbone_that_is_damaged_on_its_way_is_an_error(finished: Project) -> None:
    normalization = RowFile(finished.folder / "data/tensors/small.h5").origin.normalization
    with pytest.raises(UserError, match="truncated or altered"):
        extractor("features.midway", None, b"damaged", "0" * 64, WANTED, (40, 40), normalization)


def test_rows_are_known_by_the_packages_that_compute_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    row_file(Path("t.h5"), *coloured(6), Origin(TENSORS))
    Path("b.keras").touch()
    with Path("params.yaml").open("w", encoding="utf-8") as file:
        YAML().dump(PARAMS, file)
    part = FrozenPart("network", "mean", {"architecture": "none"}, [3])
    monkeypatch.setattr(planning, "frozen", lambda *_: (part, SimpleNamespace(name="Keras with jax", device="a GPU")))
    places = set()
    for updated in ("none", "keras", "tensorflow", "jax"):
        monkeypatch.setattr("thaw.machine.version", {updated: "2"}.get)
        plan, *_ = planning.planned(Path("params.yaml"), "features.bottleneck", Path("t.h5"), Path("b.keras"))
        places.add(plan.store._folder)
    assert len(places) == 4
