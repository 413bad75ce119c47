"""`python -m benchmarks gpu`, on the CPU with few and small images."""

import re

import pytest

from benchmarks import gpu
from benchmarks.gpu import RECIPES, Amounts, Limits, Work, measure, work
from benchmarks.networks import VGG16
from thaw.networks.backend import has_gpu, keras
from thaw.params.backbones import Backbone


def tiny(entry: Backbone) -> keras.Model:
    pixels = keras.Input((None, None, 3))
    return keras.Model(pixels, keras.layers.Conv2D(4, 3)(pixels), name=entry.architecture)


@pytest.mark.slow
def test_the_networks_of_the_recipes_are_measured_beside_keras_and_the_device_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert {one.architecture for one in RECIPES} == {"VGG16", "VGG19", "DenseNet121", "EfficientNetLite0"}
    monkeypatch.setattr(gpu, "build_backbone", tiny)
    monkeypatch.setattr(gpu, "RUNS", 1)
    amounts = Amounts(side=32, batch=2, batches=2, matrix=64, array=1000)
    measured = measure((VGG16,), amounts)
    found = {one.what: one for one in measured.comparisons}
    assert list(found) == [
        f"VGG16, {what}, {precision}"
        for precision in ("float32", "bfloat16")
        for what in ("extraction", "training step")
    ]
    assert all(min(one.ours + one.theirs) > 0 and len(one.ours) == len(one.theirs) for one in found.values())
    assert {one.against for one in found.values()} == {"`predict`", "`fit`"}
    assert measured.words.startswith("No GPU was at hand") != has_gpu()
    assert re.search(
        r"on tensorflow, on .*; 32 px, batches of 2, .* 64 × 64 does [\d.]+ TFLOP/s in float32", measured.words
    )
    for what in found:
        assert re.search(rf"^\| {what} \| [\d,]+ images/s \| [\d,]+ images/s \| \d+% \|$", measured.words, re.MULTILINE)


def test_a_networks_work_is_counted_and_limited_by_what_is_slower() -> None:
    pixels = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same")(pixels)
    x = keras.layers.ReLU()(keras.layers.DepthwiseConv2D(3, padding="same")(x))
    model = keras.Model(pixels, keras.layers.Dense(5)(keras.layers.GlobalAveragePooling2D()(x)))
    # At each of 4x4 places, four filters of 3x3x3 numbers, then four of 3x3; five of four numbers.
    assert work(model) == Work(2 * (16 * (4 * 27 + 4 * 9) + 5 * 4), (192 + 64) + (64 + 64) + (4 + 5))

    network = Work(operations=4, numbers=10)
    assert Limits(operations=8, bytes=80).pace(network, "float32") == 2
    assert Limits(operations=8, bytes=20).pace(network, "float32") == 0.5
    assert Limits(operations=8, bytes=20).pace(network, "bfloat16") == 1
    assert Limits(operations=8, bytes=80).pace(network.times(3), "float32") == pytest.approx(2 / 3)
