"""Views of an image: random changes that are the same whenever they are made."""

import hashlib
from typing import Any

import numpy as np

from thaw.networks.backend import compiled, keras
from thaw.networks.keras_objects import keras_object
from thaw.params.keras_spec import KerasSpec

DRAWS = 2**20
"""More than a layer draws for an image."""


class Augmentation:
    """Keras's augmentation layers, their randomness drawn from the image, the view and a seed alone.

    So a view does not depend on which images were changed before it, or together with it.
    """

    def __init__(self, layers: list[KerasSpec], seed: int):
        self._layers = [keras_object(spec, "layers") for spec in layers]
        self._seed = seed
        generators = [
            value
            for layer in self._layers
            for value in vars(layer).values()
            if isinstance(value, keras.random.SeedGenerator)
        ]
        self._states = [generator.state for generator in generators]
        self._change = compiled(self._through_layers)

    def __call__(self, pixels: np.ndarray, key: bytes, view: int) -> np.ndarray:
        """Return one view of an image.

        Args:
            pixels: (height, width, 3), 0-255.
            key: names the image.
            view: which of its views.

        Returns:
            float32, of the same shape.
        """
        digest = hashlib.sha256(b"%d %d " % (self._seed, view) + key).digest()
        for number, state in enumerate(self._states):
            # A generator counts on from there with each draw: none comes to what another one draws by.
            state.assign([int.from_bytes(digest[:4], "little") >> 1, number * DRAWS])
        changed = self._change(keras.ops.convert_to_tensor(pixels[None], "float32"))
        view_of: np.ndarray = keras.ops.convert_to_numpy(changed)[0]
        return view_of

    def _through_layers(self, pixels: Any) -> Any:
        for layer in self._layers:
            pixels = layer(pixels, training=True)
        return pixels
