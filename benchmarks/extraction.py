"""From photos to features, as whole processes: the tutorials' ways and Thaw's stages; beside them, the bare engine."""

import subprocess
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measuring import Comparison, Measured, in_turn
from benchmarks.networks import NETWORKS, Network
from benchmarks.photos import photos
from benchmarks.project import PIXELS, PRECISIONS, Project, forget, forget_rows
from thaw.engines.engine import Precision
from thaw.engines.ready import engine
from thaw.formats.row_file import RowFile
from thaw.networks.backend import keras

RUNS = 2

# What tutorials do, with the normalization that each has. The network is loaded from the file that Thaw's stage loads.
LOAD_IMG = f"""
import sys
from pathlib import Path
import keras
import numpy as np
body = keras.saving.load_model(sys.argv[1])
model = keras.Model(body.input, keras.layers.GlobalAveragePooling2D()(body.output))
files = sorted(Path(sys.argv[2]).rglob("*.jpg"))
arrays = [keras.utils.img_to_array(keras.utils.load_img(file, target_size={PIXELS})) for file in files]
np.save(sys.argv[3], model.predict(np.stack(arrays) / 255, verbose=0))
"""
GENERATOR = f"""
import sys
import keras
import numpy as np
from keras.src.legacy.preprocessing.image import ImageDataGenerator
body = keras.saving.load_model(sys.argv[1])
model = keras.Model(body.input, keras.layers.GlobalAveragePooling2D()(body.output))
batches = ImageDataGenerator(rescale=1 / 255).flow_from_directory(
    sys.argv[2], target_size={PIXELS}, batch_size=10, class_mode=None, shuffle=False
)
np.save(sys.argv[3], model.predict(batches, verbose=0))
"""


def measure() -> Measured:
    """Measure every network."""
    found = []
    for network in NETWORKS:
        with TemporaryDirectory() as folder:
            found += measure_one(network, Path(folder))
        keras.utils.clear_session()
    words = (
        "Every way is a process that starts, loads the network from its file and ends. Where Thaw knows the network, "
        "since it has run it before, it has kept it for OpenVINO and does not load Keras; so it is with the features "
        "stage alone."
    )
    return Measured(found, words)


def measure_one(network: Network, folder: Path) -> list[Comparison]:
    """Measure one network."""
    count = network.photos
    photos(folder / "images", count)
    project = Project(folder, network)

    def script(text: str) -> None:
        paths = map(str, (project.backbone, project.images, folder / "features.npy"))
        subprocess.run([sys.executable, "-c", text, *paths], check=True, capture_output=True)

    def from_nothing(precision: Precision) -> None:
        forget()
        project.run(precision)

    def with_known_network(precision: Precision) -> None:
        forget_rows()
        project.run(precision)

    def features(precision: Precision) -> None:
        forget_rows()
        project.run(precision, "features")

    def bare(precision: Precision) -> None:
        # One array, as large as the file's rows, already in memory.
        for _ in engines[precision].stream([rows]):
            pass

    project.run("float32")
    rows = RowFile(project.tensors).read(0, count)
    engines = {precision: engine(project.frozen(), precision) for precision in PRECISIONS}
    ways = {"load_img": partial(script, LOAD_IMG), "generator": partial(script, GENERATOR)}
    for precision in PRECISIONS:
        ways |= {
            f"new {precision}": partial(from_nothing, precision),
            f"known {precision}": partial(with_known_network, precision),
            f"features {precision}": partial(features, precision),
            f"bare {precision}": partial(bare, precision),
        }
    seconds = in_turn(ways, RUNS, warm_ups=0)
    loop = "`load_img` loop, float32 `predict`"
    name = f"{network.architecture}, {count:,} photos"
    found = []
    for precision in PRECISIONS:
        new, known, stage = (seconds[f"{way} {precision}"] for way in ("new", "known", "features"))
        what = f"{name}, {precision}"
        found += [
            Comparison(what, count, new, loop, seconds["load_img"]),
            Comparison(f"{what}, network known", count, known, loop, seconds["load_img"]),
            Comparison(what, count, new, "generator, float32 `predict`", seconds["generator"]),
            Comparison(
                f"{what}, features stage", count, stage, "bare engine, data in memory", seconds[f"bare {precision}"]
            ),
        ]
    return found
