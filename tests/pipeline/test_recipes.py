"""Every recipe runs from end to end on a small data set in its own layout, with random weights."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

from stages.check.__main__ import main as check
from tests.conftest import ROOT
from tests.stages_of import stages_of
from thaw.backbones.building import build_backbone
from thaw.formats.history import read_history
from thaw.images.normalization import Normalization
from thaw.networks.models import assemble, count_parameters
from thaw.params.backbones import Backbone
from thaw.training.training import add_head, freeze

pytestmark = pytest.mark.slow

LIGHTS = ("green", "red", "yellow")
VEHICLES = ("qingqi", "rickshaw", "tanga")
FOODS = 11
OBJECTS = 10


def draw(path: Path, *seed: int) -> None:
    """Write a photo of noise, whose colour tells its class: the first number of the seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(*seed)).save(path)


def noise(*seed: int) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 120, (64, 64, 3))
    pixels[..., seed[0] % 3] += 30 * (seed[0] // 3) + 30
    return pixels.astype(np.uint8)


def vehicles(folder: Path) -> None:
    for number, label in enumerate(VEHICLES):
        for count in range(5):
            draw(folder / label / f"{count}.jpg", number, count)


def traffic_lights(folder: Path) -> None:
    for number, label in enumerate(LIGHTS):
        for count in range(6):
            draw(folder / ("Train" if count < 4 else "Test") / label / f"{count}.png", number, count)


def dollar_street(folder: Path) -> None:
    folder.mkdir(parents=True)
    for split, counts in (("train", range(3)), ("test", range(3, 4))):
        labels = np.repeat(np.arange(OBJECTS), len(counts))
        images = [noise(number, count) for number in range(OBJECTS) for count in counts]
        np.save(folder / f"{split}_images.npy", np.stack(images))
        np.save(folder / f"{split}_labels.npy", labels)


def food11(folder: Path) -> None:
    for number in range(FOODS):
        for split, count in (("training", 0), ("training", 1), ("validation", 2), ("evaluation", 3)):
            draw(folder / split / f"{number}_{count}.jpg", number, count)


# Whatever takes long and changes nothing that is asserted.
SHORT = [
    (r"weights: imagenet", "weights: none"),
    (r"epochs: \d+", "epochs: 1"),
    (r"warmup_steps: \d+", "warmup_steps: 0"),
    (r"views: 8", "views: 2"),
]
SMALL = [*SHORT, (r"pixels: \[224, 224\]", "pixels: [64, 64]")]
SMALLEST = [*SHORT, (r"pixels: \[224, 224\]", "pixels: [32, 32]")]
# A tenth of so few photos is too little. The layers of 4096 units are tried by a test of their own.
FEW = [
    *SMALLEST,
    (r", include_top: true", ""),
    (r"layer: fc2", "layer: block5_pool"),
    (r"head: \[", "head: [GlobalAveragePooling2D, "),
    (r"test: 0.1, validation: 0.1", "test: 0.3, validation: 0.3"),
    (r"cross_validation:\n  .*", "cross_validation: {}"),
]

RECIPES: dict[str, tuple[Callable[[Path], None], list[tuple[str, str]]]] = {
    "vehicles_vgg19": (vehicles, FEW),
    "traffic_lights": (traffic_lights, SMALL),
    "dollar_street": (dollar_street, SHORT),
    "food11": (food11, SMALLEST),
}

VGG16 = 14_714_688
VGG16_TO_BLOCK3 = 1_735_488
LIGHTS_HEAD = 512 * 9 * 32 + 32 + 32 * 9 * 64 + 64 + 64 * 128 + 128 + 128 * 3 + 3
VGG19 = 20_024_384
VGG19_TO_FC2 = 139_570_240
VGG19_TO_BLOCK4 = 10_585_152
NEW_LAYER = 4096 * 3 + 3
FOOD_HEAD = 512 * 100 + 100 + 100 * FOODS + FOODS

# Total and trainable parameters. The tutorials report those of Dollar Street's and of Food-11's faithful variants.
COUNTS = {
    "vehicles_vgg19": {
        "faithful_last_10": (VGG19_TO_FC2 + NEW_LAYER, VGG19_TO_FC2 - VGG19_TO_BLOCK4 + NEW_LAYER),
        "faithful_new_layer": (VGG19_TO_FC2 + NEW_LAYER, NEW_LAYER),
        "linear_probe": (VGG19 + 512 * 3 + 3, 512 * 3 + 3),
        "fine_tuned": (VGG19 + 512 * 3 + 3, VGG19 - VGG19_TO_BLOCK4 + 512 * 3 + 3),
    },
    "traffic_lights": {
        "faithful": (VGG16 + LIGHTS_HEAD, LIGHTS_HEAD),
        "cached_views": (VGG16 + LIGHTS_HEAD, LIGHTS_HEAD),
    },
    "dollar_street": {
        "faithful": (7_093_360, 53_808),
        "small_cnn": (3 * 9 * 50 + 50 + 50 * 9 * 50 + 50 + 14 * 14 * 50 * 50 + 50 + 510,) * 2,
        "corrected": (7_093_360, 53_808),
        "linear_probe": (7_037_504 + 10_250, 10_250),
    },
    "food11": {
        "bottleneck": (VGG16 + 512 * FOODS + FOODS, 512 * FOODS + FOODS),
        "faithful_full": (14_767_099, 14_767_099),
        "faithful_half": (14_767_099, 13_031_611),
        "half_cached": (14_767_099, 14_767_099 - VGG16_TO_BLOCK3),
        "half_lp_ft": (VGG16 + 512 * FOODS + FOODS, VGG16 - VGG16_TO_BLOCK3 + 512 * FOODS + FOODS),
    },
}
WITH_TOP = ("faithful_last_10", "faithful_new_layer")
"""Variants of `vehicles_vgg19`."""
VALIDATED_ON_TEST = {
    "vehicles_vgg19": {"faithful_last_10", "faithful_new_layer"},
    "traffic_lights": {"faithful"},
    "dollar_street": {"faithful", "small_cnn"},
    "food11": set(),
}


def recipe(name: str) -> str:
    return (ROOT / "recipes" / f"{name}.yaml").read_text(encoding="utf-8")


def run(name: str) -> None:
    """Run a recipe as its comment says, made short, in this folder; without DVC, which takes a quarter of the time."""
    make_data, replacements = RECIPES[name]
    text = recipe(name)
    for pattern, replacement in replacements:
        text = re.sub(pattern, replacement, text)
    params = YAML(typ="safe").load(text)
    make_data(Path(params["dataset"]["path"]))
    Path("params.yaml").write_text(text, encoding="utf-8")
    shutil.copy(ROOT / "constraints.txt", ".")
    check(Path("params.yaml"))
    for stage in stages_of(params).values():
        stage.run()


def metrics(variant: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(Path("metrics", f"{variant}.json").read_text())
    return content


@pytest.mark.usefixtures("memory_back")
@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_runs_from_end_to_end_with_the_tutorials_parameter_counts(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run(name)
    counts = {variant: metrics(variant)["parameters"] for variant in COUNTS[name]}
    assert set(counts) == set(YAML(typ="safe").load(recipe(name))["variants"])
    found = {variant: (count["total"], count["trainable"]) for variant, count in counts.items()}
    expected = COUNTS[name] | ({one: found[one] for one in WITH_TOP} if name == "vehicles_vgg19" else {})
    assert found == expected
    chosen_on = {variant: metrics(variant)["chosen_on"] for variant in COUNTS[name]}
    assert {variant for variant, split in chosen_on.items() if split == "test"} == VALIDATED_ON_TEST[name]
    unvalidated = {variant for variant in COUNTS[name] if "validation" not in metrics(variant)}
    assert unvalidated == VALIDATED_ON_TEST[name]  # the tutorials train on their validation images
    comparison = Path("metrics", "comparison.md").read_text(encoding="utf-8")
    marked = set(re.findall(r"^\| (\w+) \\\* \|", comparison, flags=re.MULTILINE))
    assert marked == VALIDATED_ON_TEST[name]
    if name == "food11":  # frozen layers that run in every epoch train what their cached activations train
        history = [Path("data", "history", f"{one}.csv") for one in ("faithful_half", "half_cached")]
        again, cached = ([*read_history(path).values()] for path in history)
        np.testing.assert_allclose(again, cached, rtol=1e-4)


def test_vgg19_with_its_top_has_the_tutorials_parameter_counts() -> None:
    entries = YAML(typ="safe").load(recipe("vehicles_vgg19"))
    backbone = build_backbone(Backbone(**entries["backbones"]["vgg19"] | {"weights": "none"}))
    tensors = entries["tensors"]["as_described"]
    body = assemble(backbone, *tensors["pixels"], Normalization.of(tensors["normalization"]), None)
    for name in WITH_TOP:
        variant = entries["variants"][name]
        layer = entries["features"][variant["inputs"].removeprefix("features/")]["layer"]
        model = add_head(body, variant["head"], len(VEHICLES))
        freeze(model, layer, "frozen")
        assert tuple(count_parameters(model).values()) == COUNTS["vehicles_vgg19"][name]
