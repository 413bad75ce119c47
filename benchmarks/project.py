"""A pipeline from photos to features, whose stages run in this process."""

import os
import shutil
from pathlib import Path

from ruamel.yaml import YAML

from benchmarks.networks import Network
from stages import features, manifest, tensors
from thaw import models
from thaw.backbones import build
from thaw.backend import keras
from thaw.engine import Precision
from thaw.normalization import Normalization
from thaw.params.backbones import Backbone

PIXELS = (224, 224)
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")


class Project:
    """The files of a pipeline that has its manifest and its backbone."""

    def __init__(self, folder: Path, network: Network):
        self._folder, self._network = folder, network
        self._params = folder / "params.yaml"
        self.tensors = folder / "tensors.h5"
        self._manifest = folder / "manifest.csv"
        self._backbone = folder / "backbone.keras"
        entry = {"tensors": "photos", "backbone": "network", "layer": "top", "pooling": "avg"}
        params = {
            "dataset": {
                "path": "images",
                "layout": "class_folders",
                "split": {"method": "stratified", "test": 0.2, "validation": 0.2},
            },
            "tensors": {
                "photos": {"pixels": list(PIXELS), "resize": "stretch", "normalization": network.normalization}
            },
            "features": {precision: {**entry, "precision": precision} for precision in PRECISIONS},
        }
        with self._params.open("w", encoding="utf-8") as file:
            YAML().dump(params, file)
        backbone = Backbone(architecture=network.architecture, weights=network.weights)
        models.save(build(backbone), self._backbone, {"backbone": backbone.model_dump()})
        self.list_images()

    @property
    def images(self) -> Path:
        return self._folder / "images"

    def list_images(self) -> None:
        """Run the manifest stage."""
        beside = ("skipped.csv", "near.csv", "distribution.csv", "samples.jpg", "thumbnails.zip")
        manifest.main(self._params, "dataset", self.images, self._manifest, *(self._folder / name for name in beside))

    def make(self, precision: str) -> None:
        """Run the stages from photos to features; what is in the store of rows is not made again."""
        tensors.main(self._params, "tensors.photos", self.images, self._manifest, self.tensors)
        self.features(precision)

    def features(self, precision: str) -> None:
        """Run the features stage; what is in the store of rows is not made again."""
        features.main(self._params, f"features.{precision}", self.tensors, self._backbone, self._folder / "features.h5")

    def frozen(self) -> keras.Model:
        """Return the model that the features stage runs."""
        network, _ = models.load(self._backbone)
        return models.assemble(network, *PIXELS, Normalization.of(self._network.normalization), "avg")  # type: ignore[arg-type]


def forget_rows() -> None:
    """Empty the store of rows."""
    shutil.rmtree(os.environ["THAW_CACHE"], ignore_errors=True)
