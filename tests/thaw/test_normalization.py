"""thaw.images.normalization against what the networks' authors do: keras.applications, and (pixel - 127) / 128."""

import json
import math

import numpy as np
import pytest

from stages.check.architectures import PACKAGED, known_architectures, pretrained_with
from stages.check.keras_names import public_names
from thaw.images.normalization import Normalization
from thaw.networks.backend import keras

# Every value of a pixel in every channel: row n is (n, n, n).
EVERY_VALUE = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
# The same, with channels that differ, so that a wrong order of channels shows.
CHANNELS_DIFFER = np.stack([np.arange(256), 255 - np.arange(256), np.arange(256) ^ 85], axis=1).astype(np.uint8)
PIXELS = pytest.mark.parametrize("pixels", [EVERY_VALUE, CHANNELS_DIFFER], ids=["equal", "different"])
MODES = ["caffe", "torch", "tf", "rescale", "lite", "none"]


def keras_preprocessing(module: str, pixels: np.ndarray) -> np.ndarray:
    """What `keras.applications` does to float32 images."""
    images = pixels.reshape(1, 16, 16, 3).astype(np.float32)
    return np.asarray(getattr(keras.applications, module).preprocess_input(images.copy())).reshape(-1, 3)


@PIXELS
@pytest.mark.parametrize("module", ["vgg16", "vgg19", "resnet50"])
def test_caffe_is_keras_to_the_last_bit(module, pixels):
    np.testing.assert_array_equal(Normalization.of("caffe")(pixels), keras_preprocessing(module, pixels), strict=True)


@PIXELS
def test_lite_is_the_published_formula_to_the_last_bit(pixels):
    expected = (pixels.astype(np.float32) - np.float32(127)) / np.float32(128)
    np.testing.assert_array_equal(Normalization.of("lite")(pixels), expected, strict=True)


@PIXELS
@pytest.mark.parametrize("module", ["efficientnet", "efficientnet_v2", "convnext", "mobilenet_v3"])
def test_none_is_what_networks_that_normalize_inside_themselves_expect(module, pixels):
    normalized = Normalization.of("none")(pixels)
    np.testing.assert_array_equal(normalized, pixels.astype(np.float32), strict=True)
    np.testing.assert_array_equal(normalized, keras_preprocessing(module, pixels), strict=True)


# The largest differences there are, over all 256 values and 3 channels, in units of 2**-24: half the distance
# between 1 and the float32 behind it. Results are as large as 2.65 (torch) and 1 (tf, rescale).
@PIXELS
@pytest.mark.parametrize(
    ("mode", "module", "units"),
    [
        ("torch", "densenet", 8),
        ("tf", "mobilenet_v2", 2),
        ("tf", "inception_v3", 2),
        ("tf", "resnet_v2", 2),
        ("tf", "xception", 2),
    ],
)
def test_dividing_modes_are_keras_but_for_the_last_bits(mode, module, units, pixels):
    difference = np.abs(
        Normalization.of(mode)(pixels).astype(np.float64) - keras_preprocessing(module, pixels).astype(np.float64)
    )
    assert difference.max() <= units * 2.0**-24


@PIXELS
def test_rescale_is_a_division_by_255_but_for_the_last_bit(pixels):
    divided = pixels.astype(np.float32) / np.float32(255)
    difference = np.abs(Normalization.of("rescale")(pixels).astype(np.float64) - divided.astype(np.float64))
    assert difference.max() <= 2.0**-24


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.int64])
def test_any_type_and_leading_shape_gives_the_same_float32(mode, dtype):
    normalization = Normalization.of(mode)
    expected = normalization(CHANNELS_DIFFER)
    images = normalization(CHANNELS_DIFFER.reshape(4, 8, 8, 3).astype(dtype))
    assert images.dtype == np.float32
    np.testing.assert_array_equal(images, expected.reshape(4, 8, 8, 3), strict=True)


@pytest.mark.parametrize("mode", MODES)
def test_the_pixels_themselves_are_left_alone(mode):
    pixels = CHANNELS_DIFFER.astype(np.float32)
    Normalization.of(mode)(pixels)
    np.testing.assert_array_equal(pixels, CHANNELS_DIFFER)


@pytest.mark.parametrize("mode", MODES)
def test_a_normalization_survives_json(mode):
    normalization = Normalization.of(mode)
    again = Normalization.from_json(json.loads(json.dumps(normalization.to_json())))
    assert again == normalization
    np.testing.assert_array_equal(again(CHANNELS_DIFFER), normalization(CHANNELS_DIFFER), strict=True)


def test_modes_differ_from_one_another():
    results = {mode: Normalization.of(mode)(CHANNELS_DIFFER) for mode in MODES}
    closest = min(np.abs(results[a] - results[b]).max() for a in MODES for b in MODES if a != b)
    assert closest > 1 / 256
    assert not math.isnan(closest)


OF_KERAS = sorted(set(known_architectures()) - {*PACKAGED, "hub", "none"})


@pytest.mark.parametrize("architecture", OF_KERAS)
def test_a_network_is_pretrained_with_what_its_own_preprocessing_does(architecture):
    module = public_names("applications")[architecture][0].rpartition(".")[2]
    mode = pretrained_with(architecture)
    assert mode is not None
    expected = keras_preprocessing(module, CHANNELS_DIFFER)
    np.testing.assert_allclose(Normalization.of(mode)(CHANNELS_DIFFER), expected, rtol=0, atol=1e-5)


def test_other_networks_are_pretrained_with_their_own():
    assert pretrained_with("EfficientNetLite0") == "lite"
    assert pretrained_with("none") is None
