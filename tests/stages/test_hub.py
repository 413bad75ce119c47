"""KerasHub's backbones through the check and the stages: tiny ones of random weights, in folders, without a network."""

import copy
import re
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from commands import export
from stages import backbone as backbone_stage
from stages import evaluate as evaluate_stage
from stages import tensors as tensors_stage
from stages.check.checking import check_params
from stages.features import __main__ as features_stage
from stages.manifest import __main__ as manifest_stage
from stages.train import __main__ as train_stage
from tests.conftest import PARAMS, draw_trees
from tests.stages.check_cases import Tree, edited
from thaw.backbones.building import build_backbone
from thaw.backbones.presets import FAMILIES, built_in, digest
from thaw.errors import UserError
from thaw.formats.model_file import BackboneRecord
from thaw.formats.predictions import read_predictions
from thaw.formats.row_file import RowFile
from thaw.images.normalization import Normalization
from thaw.networks import models
from thaw.networks.backend import keras
from thaw.networks.boundary import boundaries
from thaw.networks.hub import keras_hub
from thaw.params.backbones import Backbone

SIDE = 32
SIZES = {"hidden_dim": 16, "num_layers": 2, "num_heads": 2}
IMAGES: dict[str, Any] = {"image_shape": (SIDE, SIDE, 3)}
DINO = {**SIZES, **IMAGES, "patch_size": 8, "intermediate_dim": 32, "num_register_tokens": 1}
CUTS = {
    "siglip": "sig_lip_vision_encoder_encoder_block_0",
    "swin_transformer": "stage_0",
    "resnet": "stack0_block0_out",
}
"""Where the networks that can be cut are cut here."""
POOLING = {"siglip": None, "swin_transformer": "avg"}
"""The others have a class token."""


def siglip(hub: Any) -> Any:
    text = {"vocabulary_size": 32, "embedding_dim": 16, "max_sequence_length": 8}
    return hub.models.SigLIPBackbone(
        hub.models.SigLIPVisionEncoder(**SIZES, **IMAGES, patch_size=8, intermediate_dim=32),
        hub.models.SigLIPTextEncoder(**SIZES, **text, intermediate_dim=32),
    )


def swin_transformer(hub: Any) -> Any:
    sizes = {"embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4}
    return hub.models.SwinTransformerBackbone(**IMAGES, **sizes)


def vit(hub: Any) -> Any:
    return hub.models.ViTBackbone(**SIZES, **IMAGES, patch_size=8, mlp_dim=32)


def dinov2(hub: Any) -> Any:
    return hub.models.DINOV2Backbone(**DINO, position_embedding_shape=(48, 48, 3))


def dinov3(hub: Any) -> Any:
    return hub.models.DINOV3Backbone(**DINO)


def resnet(hub: Any) -> Any:
    stacks = {"stackwise_num_filters": [64, 16], "stackwise_num_blocks": [1, 1], "stackwise_num_strides": [1, 2]}
    stem = {"input_conv_filters": [64], "input_conv_kernel_sizes": [3]}
    return hub.models.ResNetBackbone(**stem, **stacks, block_type="basic_block")


def cspnet(hub: Any) -> Any:
    stem = {"stem_filters": 8, "stem_kernel_size": 3, "stem_strides": 1}
    stages = {"stackwise_depth": [1, 1], "stackwise_strides": [1, 2], "stackwise_num_filters": [8, 16]}
    return hub.models.CSPNetBackbone(**stem, **stages, block_type="dark_block", stage_type="dark")


def densenet(hub: Any) -> Any:
    return hub.models.DenseNetBackbone([1, 1])


def vgg(hub: Any) -> Any:
    return hub.models.VGGBackbone([1, 1], [8, 8])


def xception(hub: Any) -> Any:
    return hub.models.XceptionBackbone([[8, 8], [16, 16]], [True, False])


IN_ONE_LAYER = (dinov2, dinov3, vit)
MAKERS = {
    maker.__name__: maker
    for maker in (*IN_ONE_LAYER, siglip, swin_transformer, cspnet, densenet, resnet, vgg, xception)
}
"""Of all families."""
Presets = Callable[[str], Path]


@pytest.fixture(scope="module")
def presets(tmp_path_factory: pytest.TempPathFactory) -> Presets:
    """A function that gives the folder of a family's preset."""
    parent = tmp_path_factory.mktemp("presets")

    def folder(family: str) -> Path:
        path = parent / family
        if not path.exists():
            hub = keras_hub()
            keras.utils.set_random_seed(7)
            made = MAKERS[family](hub)
            made.set_weights(
                [
                    weight + np.random.default_rng(1).normal(0, 0.1, weight.shape)
                    if weight.dtype == np.float32
                    else weight
                    for weight in made.get_weights()
                ]
            )
            made.save_to_preset(str(path))
            scale = [1 / 127.5, 1 / 120, 1 / 110]
            hub.layers.ImageConverter(image_size=(SIDE, SIDE), scale=scale, offset=[-1.0, -0.9, -1.1]).save_to_preset(
                str(path)
            )
        return path

    return folder


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is asked for, and nothing reported."""

    def refuse(*_: Any) -> None:
        raise AssertionError("something connects to the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def entry(folder: Path) -> dict[str, str]:
    return {"architecture": "hub", "weights": str(folder), "sha256": digest(folder)}


@pytest.mark.slow
@pytest.mark.parametrize("family", ["swin_transformer", "vit"])
def test_a_preset_goes_through_the_stages(
    family: str, presets: Presets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("THAW_CACHE", str(tmp_path / ".thaw"))
    pooling, cut = POOLING.get(family, "token"), CUTS.get(family)
    params = copy.deepcopy(PARAMS)
    params["tensors"]["small"] = {"pixels": [SIDE, SIDE], "resize": "stretch", "normalization": "none"}
    params["backbones"] = {"lite0": entry(presets(family))}
    params["features"]["bottleneck"]["pooling"] = pooling
    params["features"]["midway"]["layer"] = cut
    variant = "half" if cut else "full"
    for other in {"half", "full"} - {variant}:
        del params["variants"][other]
    if not cut:
        del params["features"]["midway"]
    write(params, tmp_path / "params.yaml")
    draw_trees(tmp_path / "data/raw/trees")
    check_params(Path("params.yaml"))
    run_stages(params)

    pixels = RowFile(Path("data/small.h5"))
    rows = np.arange(len(pixels))
    expected = of_keras_hub(presets(family), pixels[rows])
    pooled = {"avg": lambda: expected.mean(axis=1), "token": lambda: expected[:, 0], None: lambda: expected}[pooling]()
    np.testing.assert_allclose(RowFile(Path("data/bottleneck.h5"))[rows], pooled, rtol=0, atol=1e-4)

    whole, record = models.load(Path(f"models/variants/{variant}.keras"))
    assert record.boundary == cut
    part = rows[pixels.index.splits["test"]]
    scored = read_predictions(Path(f"{variant}/predictions.csv"))
    np.testing.assert_allclose(scored.probabilities, whole.predict(pixels[part], verbose=0), rtol=0, atol=1e-4)
    export.main(Path(f"models/variants/{variant}.keras"), "keras", Path("copy.keras"), [])


def write(params: Tree, path: Path) -> None:
    with path.open("w") as file:
        YAML().dump(params, file)


def run_stages(wanted: Tree) -> None:
    """Run the stages that dvc.yaml would."""
    params, data = Path("params.yaml"), Path("data")
    names = ("manifest.csv", "skipped.csv", "near.csv", "classes.csv", "samples.jpg", "thumbnails.zip")
    raw, small, backbone = data / "raw/trees", data / "small.h5", Path("models/backbones/lite0.keras")
    manifest_stage.main(params, "dataset", raw, *(data / name for name in names))
    tensors_stage.main(params, "tensors.small", raw, data / "manifest.csv", small)
    backbone_stage.main(params, "backbones.lite0", backbone)
    for features in wanted["features"]:
        features_stage.main(params, f"features.{features}", small, backbone, data / f"{features}.h5")
    for variant, described in wanted["variants"].items():
        model, rows = Path(f"models/variants/{variant}.keras"), data / f"{Path(described['inputs']).name}.h5"
        start = Path(f"models/{described['start']}.keras")
        train_stage.main(params, f"variants.{variant}", start, rows, model, Path(f"{variant}.csv"))
        tables = ("validation.csv", "predictions.csv", "by_class.csv", "by_confidence.csv")
        paths = [Path(variant) / one for one in ("metrics.json", *tables, "mistakes.jpg")]
        evaluate_stage.main(params, "evaluation", variant, model, rows, data / "thumbnails.zip", *paths)


@pytest.mark.slow
@pytest.mark.parametrize("family", MAKERS)
def test_a_preset_gives_what_keras_hub_gives(family: str, presets: Presets, tmp_path: Path) -> None:
    wanted = entry(presets(family))
    models.save(build_backbone(Backbone(**wanted)), tmp_path / "b.keras", BackboneRecord(wanted))
    network, _ = models.load(tmp_path / "b.keras")
    pixels = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3)).astype(np.uint8)
    expected = of_keras_hub(presets(family), pixels)
    np.testing.assert_allclose(network.predict(pixels, verbose=0), expected, rtol=0, atol=1e-4)
    assert expected.ndim == {"vector": 2, "tokens": 3, "map": 4}[FAMILIES[family].ends_in]
    blocks = [name for name in boundaries(network) if re.search("block|stage|stack", name)]
    assert bool(blocks) == FAMILIES[family].cuttable
    assert CUTS.get(family) in [None, *blocks]


def of_keras_hub(preset: Path, pixels: np.ndarray) -> np.ndarray:
    """Return what KerasHub makes of pixels by itself."""
    hub = keras_hub()
    converter, backbone = (one.from_preset(str(preset)) for one in (hub.layers.ImageConverter, hub.models.Backbone))
    found: np.ndarray = getattr(backbone, "vision_encoder", backbone).predict(converter(pixels), verbose=0)
    return found


def test_every_family_has_presets_and_its_class(presets: Presets) -> None:
    hub = keras_hub()
    assert set(built_in().values()) >= set(FAMILIES)
    for family in FAMILIES.values():
        names = getattr(hub.models, family.backbone).presets
        assert names
        assert {FAMILIES[built_in()[name]].backbone for name in names} == {family.backbone}


def test_a_preset_that_cannot_be_fetched_is_named() -> None:
    with pytest.raises(UserError, match="the preset vit_base_patch16_224_imagenet cannot be fetched: .*"):
        build_backbone(Backbone(architecture="hub", weights="vit_base_patch16_224_imagenet"))


def test_a_folder_with_another_digest_is_refused(presets: Presets, tmp_path: Path) -> None:
    wanted = entry(presets("vit"))
    folder = Path(shutil.copytree(wanted["weights"], tmp_path / "altered"))
    settings = folder / "image_converter.json"
    settings.write_text(settings.read_text().replace("-1.0", "-1.5"))
    with pytest.raises(UserError, match=rf"altered: its SHA-256 is {digest(folder)}, params.yaml says"):
        build_backbone(Backbone(**{**wanted, "weights": str(folder)}))


def test_images_of_another_size_are_refused(presets: Presets) -> None:
    network = build_backbone(Backbone(**entry(presets("vit"))))
    with pytest.raises(UserError, match="ViTBackbone takes images of 32x32 pixels only, not of 40x40"):
        models.assemble(network, 40, 40, Normalization.of("none"), "avg")


HUB = "backbones.hub"
THERE_ARE = f"there are {', '.join(FAMILIES)}"
NAMED: dict[str, tuple[dict[str, Any], str]] = {
    "a text model": (
        {"weights": "bert_base_en"},
        f"{HUB}.weights: bert_base_en is a preset of bert, none of the image backbones; {THERE_ARE}",
    ),
    "a typo": (
        {"weights": "siglip_base_patch16_242"},
        f"{HUB}.weights: KerasHub has no preset 'siglip_base_patch16_242'; did you mean 'siglip_base_patch16_224'?; "
        "a preset's folder needs its sha256 (with any other, the backbone's stage says the right one)",
    ),
    "a top": (
        {"weights": "swin_tiny_patch4_window7_224", "include_top": True},
        f"{HUB}.include_top: KerasHub's backbones have no such layers: leave it out",
    ),
    "no folder": (
        {"weights": "nowhere", "sha256": "0" * 64},
        f"{HUB}.weights: nowhere/config.json: no such file, as KerasHub's save_to_preset writes it",
    ),
}


@pytest.mark.parametrize(("given", "said"), NAMED.values(), ids=NAMED)
def test_a_preset_that_cannot_be_used_is_said(
    given: dict[str, Any], said: str, errors: Callable[[Tree], list[str]]
) -> None:
    assert errors(edited({HUB: {"architecture": "hub", **given}})) == [said]


def test_what_does_not_go_with_a_preset_is_said(presets: Presets, errors: Callable[[Tree], list[str]]) -> None:
    folder = presets("vit")
    tensors = {"pixels": [64, 64], "resize": "pad", "normalization": "lite"}
    features = {"tensors": "raw", "backbone": "hub"}
    edits = {
        HUB: entry(folder),
        "backbones.swin": {"architecture": "hub", "weights": "swin_tiny_patch4_window7_224"},
        "tensors.raw": tensors,
        "features.encoder": {**features, "layer": "vit_encoder"},
        "features.token": {**features, "backbone": "swin", "layer": "top", "pooling": "token"},
    }
    normalization = "was pretrained with 'none', got 'lite'; if that is meant, write unlike_pretraining: true beside it"
    assert sorted(errors(edited(edits))) == sorted(
        [
            "features.encoder.layer: ViTBackbone has all of its blocks inside one layer, so it can be cut at its end "
            "only: take top, or train all of it, from tensors/",
            f"features.encoder.tensors: {folder} needs tensors with pixels: [32, 32]",
            "features.token.pooling: backbones.swin has no class token: take avg or max",
            *(f"tensors.raw.normalization: hub, of backbones.{name}, {normalization}" for name in ("hub", "swin")),
        ]
    )


def test_a_folder_of_a_text_model_is_refused(tmp_path: Path, errors: Callable[[Tree], list[str]]) -> None:
    (tmp_path / "config.json").write_text('{"registered_name": "keras_hub>BertBackbone", "config": {}}')
    found = errors(edited({HUB: {"architecture": "hub", "weights": str(tmp_path), "sha256": "0" * 64}}))
    assert found == [f"{HUB}.weights: {tmp_path} has a BertBackbone, none of the image backbones; {THERE_ARE}"]
