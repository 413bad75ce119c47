"""Build a pretrained network and pin it as a file."""

from pathlib import Path

from thaw.backbones.building import build_backbone
from thaw.formats.model_file import BackboneRecord
from thaw.networks.models import save
from thaw.params.backbones import Backbone
from thaw.params.reading import read_entry
from thaw.stage import announce, run


def main(params: Path, entry: str, backbone: Path) -> None:
    """Write the backbone that `entry` describes."""
    wanted = read_entry(params, entry, Backbone)
    announce(f"{entry}: {wanted.architecture}, weights: {wanted.weights}, on the CPU")
    save(build_backbone(wanted), backbone, BackboneRecord(wanted.model_dump()))


if __name__ == "__main__":
    run(main)
