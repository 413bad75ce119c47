"""Features of tensors whose pixels are not kept: the same bytes, made from the images."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from stages import tensors
from stages.features import __main__ as features
from stages.features.views import Views
from tests.conftest import CLASSES, IMAGES_PER_CLASS, PARAMS, Project
from thaw.errors import UserError
from thaw.formats.row_file import RowFile
from thaw.params.features import Features
from thaw.reuse.folder import FOLDER, rows_folder

IMAGES = len(CLASSES) * IMAGES_PER_CLASS
TENSORS, FEATURES = Path("data/tensors/small.h5"), Path("data/features/bottleneck.h5")
IMAGE = Path(CLASSES[0], "tree 0.png")


@pytest.fixture(scope="module")
def unkept(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the finished project's tensors but their pixels, a copy of the images, and stored graphs only."""
    folder = tmp_path_factory.mktemp("unkept")
    shutil.copytree(finished.folder / PARAMS["dataset"]["path"], folder / "images")
    for place in (TENSORS, FEATURES):
        (folder / place).parent.mkdir(parents=True)
    with (folder / "params.yaml").open("w", encoding="utf-8") as file:
        YAML().dump({**PARAMS, "tensors": {"small": {**PARAMS["tensors"]["small"], "keep": False}}}, file)
    graphs = list(rows_folder().glob("*/graph.zip"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER, str(folder / "cache"))
        patch.chdir(folder)  # a file says which one of the project it is
        for graph in graphs:
            (rows_folder() / graph.parent.name).mkdir(parents=True)
            shutil.copy(graph, rows_folder() / graph.parent.name)
        list_pixels(finished, folder)
        yield folder


def list_pixels(finished: Project, folder: Path) -> None:
    manifest = finished.folder / "data" / "manifest.csv"
    tensors.main(folder / "params.yaml", "tensors.small", folder / "images", manifest, TENSORS)


def kept_tensors(finished: Project) -> RowFile:
    return RowFile(finished.folder / TENSORS)


def extract(finished: Project, folder: Path) -> Path:
    backbone = finished.folder / "models" / "backbones" / "lite0.keras"
    features.main(folder / "params.yaml", "features.bottleneck", TENSORS, backbone, FEATURES)
    return FEATURES


def test_features_have_the_bytes_that_they_have_of_kept_pixels(
    finished: Project, unkept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = kept_tensors(finished)
    assert RowFile(TENSORS).digest == kept.digest
    assert TENSORS.stat().st_size < kept.path.stat().st_size - kept.read(0, IMAGES).nbytes + 2048
    assert extract(finished, unkept).read_bytes() == (finished.folder / FEATURES).read_bytes()
    assert f"; 0 of {IMAGES} rows were computed before" in capsys.readouterr().out
    list_pixels(finished, unkept)
    assert re.search(rf"which are not kept, on \d+ CPU cores?; {IMAGES} were decoded before", capsys.readouterr().out)


def test_augmented_views_are_those_of_kept_pixels(finished: Project, unkept: Path) -> None:
    wanted = Features.model_validate(
        PARAMS["features"]["bottleneck"] | {"augmentation": ["RandomFlip"], "views": 2, "batch_size": 4}
    )
    made, kept = Views(RowFile(TENSORS), wanted), Views(kept_tensors(finished), wanted)
    np.testing.assert_array_equal(made.keys, kept.keys)
    numbers = np.arange(len(made.keys))
    np.testing.assert_array_equal(np.concatenate([*made.batches(numbers)]), np.concatenate([*kept.batches(numbers)]))


def test_an_image_that_is_not_the_one_that_was_listed_is_named(
    finished: Project, unkept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for rows in rows_folder().glob("*/*.rows"):
        rows.unlink()
    image = unkept / "images" / IMAGE
    content = image.read_bytes()
    shutil.copy(image.with_name("tree 1.png"), image)
    with pytest.raises(UserError, match=f"{IMAGE}: changed since the manifest was written"):
        extract(finished, unkept)
    image.unlink()
    with pytest.raises(
        UserError, match=f"{IMAGE}: cannot be read: No such file .* `dvc pull --recursive {unkept}/images`"
    ):
        extract(finished, unkept)
    image.write_bytes(content)
    monkeypatch.setattr("stages.features.views.decoded", lambda *_: np.zeros((40, 40, 3), np.uint8))
    with pytest.raises(UserError, match=r"small\.h5: the images decode to other pixels here"):
        extract(finished, unkept)
    with pytest.raises(UserError, match=r"small\.h5: has no pixels: its entry in params\.yaml says keep: false"):
        RowFile(TENSORS).read(0, 1)
