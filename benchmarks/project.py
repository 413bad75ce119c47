"""A pipeline from photos to features."""

import os
import shutil
import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from benchmarks.networks import Network
from stages import tensors
from stages.features import __main__ as features
from stages.manifest import __main__ as manifest
from thaw.backbones.building import build_backbone
from thaw.engines.engine import Precision
from thaw.formats.model_file import BackboneRecord
from thaw.images.normalization import Normalization
from thaw.networks import models
from thaw.networks.backend import keras
from thaw.params.backbones import Backbone

PIXELS = (224, 224)
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")


class Project:
    """The files of a pipeline that has its manifest and its backbone."""

    def __init__(self, folder: Path, network: Network):
        self._folder, self._network = folder, network
        self._params = folder / "params.yaml"
        self.tensors, self._features = folder / "tensors.h5", folder / "features.h5"
        self._manifest = folder / "manifest.csv"
        self.backbone = folder / "backbone.keras"
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
        models.save(build_backbone(backbone), self.backbone, BackboneRecord(backbone.model_dump()))
        self.list_images()

    @property
    def images(self) -> Path:
        return self._folder / "images"

    def list_images(self) -> None:
        """Run the manifest stage."""
        beside = ("skipped.csv", "near.csv", "distribution.csv", "samples.jpg", "thumbnails.zip")
        manifest.main(self._params, "dataset", self.images, self._manifest, *(self._folder / name for name in beside))

    def make(self, precision: str) -> None:
        """Run the stages from photos to features in this process; what is in the store of rows is not made again."""
        arguments = self._arguments(precision)
        tensors.main(**arguments["tensors"])
        features.main(**arguments["features"])

    def remove_results(self) -> None:
        """Delete what the stages from photos to features wrote."""
        self.tensors.unlink()
        self._features.unlink()

    def run(self, precision: str, *stages: str) -> None:
        """Run the stages from photos to features, or some of them, each as a process, as DVC does."""
        for stage in stages or ("tensors", "features"):
            named = [(f"--{name}", str(value)) for name, value in self._arguments(precision)[stage].items()]
            words = [sys.executable, "-m", f"stages.{stage}", *chain(*named)]
            subprocess.run(words, check=True, capture_output=True)

    def _arguments(self, precision: str) -> dict[str, dict[str, Any]]:
        return {
            "tensors": {
                "params": self._params,
                "entry": "tensors.photos",
                "folder": self.images,
                "manifest": self._manifest,
                "tensors": self.tensors,
            },
            "features": {
                "params": self._params,
                "entry": f"features.{precision}",
                "tensors": self.tensors,
                "backbone": self.backbone,
                "features": self._features,
            },
        }

    def frozen(self) -> keras.Model:
        """Return the model that the features stage runs."""
        network, _ = models.load(self.backbone)
        return models.assemble(network, *PIXELS, Normalization.of(self._network.normalization), "avg")  # type: ignore[arg-type]


def forget() -> None:
    """Delete all that Thaw keeps to save time."""
    shutil.rmtree(os.environ["THAW_CACHE"], ignore_errors=True)


def forget_rows() -> None:
    """Empty the store of rows; networks stay."""
    for path in Path(os.environ["THAW_CACHE"]).glob("rows/*/*.rows"):
        path.unlink()
