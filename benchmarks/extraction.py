"""From photos to features: the tutorials' ways, Thaw's stages, and the bare engine on data in memory."""

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from keras.src.legacy.preprocessing.image import ImageDataGenerator

from benchmarks.measuring import Comparison, Measured, in_turn
from benchmarks.networks import NETWORKS, Network
from benchmarks.photos import photos
from benchmarks.project import PIXELS, PRECISIONS, Project, forget_rows
from thaw.backend import keras
from thaw.engine import Precision
from thaw.keras_engine import engine
from thaw.row_file import RowFile

RUNS = 2


def measure() -> Measured:
    """Measure every network."""
    found = []
    for network in NETWORKS:
        with TemporaryDirectory() as folder:
            found += measure_one(network, Path(folder))
        keras.utils.clear_session()
    return Measured(found)


def measure_one(network: Network, folder: Path) -> list[Comparison]:
    """Measure one network."""
    photos(folder / "images", network.photos)
    project = Project(folder, network)
    model = network.model()
    files = sorted(project.images.rglob("*.jpg"))

    def load_img_loop() -> np.ndarray:
        arrays = [keras.utils.img_to_array(keras.utils.load_img(file, target_size=PIXELS)) for file in files]
        return np.asarray(model.predict(network.preprocess(np.stack(arrays)), verbose=0))

    def generator() -> np.ndarray:
        batches = ImageDataGenerator(rescale=1 / 255).flow_from_directory(
            project.images, target_size=PIXELS, batch_size=10, class_mode=None, shuffle=False
        )
        return np.asarray(model.predict(batches, verbose=0))

    def stages(precision: str) -> None:
        forget_rows()
        project.make(precision)

    def features_stage(precision: str) -> None:
        forget_rows()
        project.features(precision)

    def bare(precision: Precision) -> None:
        # One array, as large as the file's rows, already in memory.
        for _ in engines[precision].stream([rows]):
            pass

    project.make("float32")
    rows = RowFile(project.tensors).read(0, network.photos)
    engines = {precision: engine(project.frozen(), precision) for precision in PRECISIONS}
    seconds = in_turn(
        {
            "load_img": load_img_loop,
            "generator": generator,
            **{f"thaw {precision}": partial(stages, precision) for precision in PRECISIONS},
            **{f"features {precision}": partial(features_stage, precision) for precision in PRECISIONS},
            **{f"bare {precision}": partial(bare, precision) for precision in PRECISIONS},
        },
        RUNS,
    )
    name = network.architecture
    found = []
    for precision in PRECISIONS:
        ours = seconds[f"thaw {precision}"]
        what = f"{name}, photos to features, {precision}"
        found += [
            Comparison(what, network.photos, ours, "`load_img` loop, float32 `predict`", seconds["load_img"]),
            Comparison(what, network.photos, ours, "generator, float32 `predict`", seconds["generator"]),
            Comparison(
                f"{name}, features stage, {precision}",
                network.photos,
                seconds[f"features {precision}"],
                "the bare engine, data in memory",
                seconds[f"bare {precision}"],
            ),
        ]
    return found
