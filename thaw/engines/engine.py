"""What runs a model in inference mode, whatever computes it."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Literal

import numpy as np

from thaw.errors import UserError

Precision = Literal["float32", "bfloat16"]


class Engine(ABC):
    """A model that is ready to run; a row's result depends on nothing but the row."""

    name: str
    """What computes, and in which precision: the same on machines that compute the same bits."""
    device: str
    """What it computes on, in words."""

    @abstractmethod
    def stream(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Run the model over batches, which are taken some way ahead of the results.

        Args:
            batches: arrays (rows, ...) of uint8 or float32, of any lengths.

        Yields:
            float32 arrays (rows, ...), one for each batch, in order.
        """

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        """Run the model over one batch."""
        return next(self.stream([batch]))


def finite(batches: Iterable[np.ndarray], source: object) -> Iterator[np.ndarray]:
    """Yield what a model computed, as long as all of it is finite.

    Args:
        batches: float arrays.
        source: what computed them, for the message.

    Raises:
        UserError: a number is not finite.
    """
    for batch in batches:
        if not np.isfinite(batch).all():
            raise UserError(
                f"{source}: computes numbers that are not finite (nan, inf): its weights are too large, or its inputs "
                "are on another scale than those that it was trained on; train it anew, at a smaller learning rate"
            )
        yield batch
