"""Probabilities that are as often right as they say: the logits of a trained model, divided by one number.

Temperature scaling, Guo et al. 2017, On Calibration of Modern Neural Networks, arXiv 1706.04599. No class overtakes
another by it, so the predictions stay the same; the number is a part of the last layer's weights, so nothing that loads
the model has to know of it.
"""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from thaw.engines.engine import finite
from thaw.engines.keras import KerasEngine
from thaw.networks.backend import keras
from thaw.networks.boundary import tail
from thaw.progress import progress_by_rows
from thaw.stage import announce
from thaw.training.batches import Rows

LIMIT = 100.0
"""Temperatures are from a hundredth to a hundred."""
DIGITS = 4
"""Significant ones of a temperature: more have no effect, and machines would not agree on them."""
LEAST_GAIN = 1.0
"""Of all validation images together, in nats: by half of one, a number that is fitted to some images lessens their log
loss in the mean where there is nothing to gain, and by as much it makes that of others larger (Akaike 1974)."""
NEIGHBOURS = (1, 1.001, 0.999, 1.01, 0.99)
"""Factors of the best temperature that are tried until none of the predictions is another, as rounding may make it."""
BATCH = 32


def calibrate(model: keras.Model, boundary: str | None, rows: Rows, source: str) -> float:
    """Divide a model's logits by the temperature that is the best for the validation rows, in place.

    Their predicted classes stay the same, and their log loss falls by more than chance would have it; where the best
    temperature does not make it do so, it is 1.

    Args:
        model: ends in a Dense layer with softmax, or in one without activation and a Softmax behind it.
        boundary: the layer whose activations the rows are; None if the rows are pixels.
        rows: of which those for validation count.
        source: names the model in messages.

    Returns:
        The temperature.

    Raises:
        UserError: the model computes numbers that are not finite.
    """
    last = next(layer for layer in reversed(model.layers) if layer.weights)
    inputs = _inputs(model, last, boundary, rows, source)
    labels, weights = rows.labels[rows.validation], last.get_weights()
    end = keras.Model(last.input, model.output)
    logits, classes = _logits(inputs, weights), _classes(end, inputs)
    before = log_loss(logits, labels)
    best = best_temperature(logits, labels)
    if best is None:
        announce(
            f"temperature 1: none between {1 / LIMIT:g} and {LIMIT:g} is the best for the {len(labels)} validation "
            "images"
        )
        return 1.0
    for factor in NEIGHBOURS:
        temperature = float(f"{best * factor:.{DIGITS}g}")
        divided = [(weight / temperature).astype(weight.dtype) for weight in weights]
        after = log_loss(_logits(inputs, divided), labels)
        last.set_weights(divided)
        is_gain = (before - after) * len(labels) > LEAST_GAIN
        if is_gain and (_classes(end, inputs) == classes).all():
            announce(
                f"temperature {temperature:g}: the log loss of the {len(labels)} validation images is {after:.4f}, "
                f"and was {before:.4f}"
            )
            return temperature
    last.set_weights(weights)
    announce(
        f"temperature 1: {best:.{DIGITS}g} would make no more than a chance difference to the log loss of the "
        f"{len(labels)} validation images, {before:.4f}"
    )
    return 1.0


def best_temperature(logits: np.ndarray, labels: np.ndarray) -> float | None:
    """Return the temperature with the least log loss, were one label of two more rows than there are another class's.

    In the mean, a few rows have fewer mistakes among them than others will have: without any, the log loss itself would
    fall as long as the temperature does. Such targets are those of Platt 1999, Probabilistic Outputs for Support Vector
    Machines; the other classes share what the true one has not.

    Args:
        logits: float64 (rows, classes).
        labels: ints (rows,).

    Returns:
        The temperature; None if it is not between the limits.

    >>> sure = np.log([[0.9, 0.1]] * 4)
    >>> round(best_temperature(sure, np.array([0, 0, 0, 0])), 3)
    1.365
    >>> best_temperature(sure, np.array([1, 1, 1, 1]))
    """
    rows, classes = logits.shape
    targets = np.full((rows, classes), 1 / (rows + 2) / (classes - 1))
    targets[np.arange(rows), labels] = (rows + 1) / (rows + 2)
    end = np.log(LIMIT)
    found = minimize_scalar(
        lambda exponent: -(targets * log_softmax(logits / np.exp(exponent), axis=1)).sum(),
        bounds=(-end, end),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return float(np.exp(found.x)) if abs(found.x) < 0.99 * end else None


def log_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean of the true classes' negative log probabilities."""
    return float(-log_softmax(logits, axis=1)[np.arange(len(labels)), labels].mean())


def _inputs(model: keras.Model, last: keras.layers.Layer, boundary: str | None, rows: Rows, source: str) -> np.ndarray:
    """Return what the last layer gets of the validation rows, float32 (rows, features)."""
    numbers = rows.validation
    if boundary and last.input is model.get_layer(boundary).output:
        return np.asarray(rows.values[numbers], np.float32)
    body = keras.Model(model.input, last.input)
    inner = body if boundary is None else tail(body, boundary)
    batches = (rows.values[numbers[first : first + BATCH]] for first in range(0, len(numbers), BATCH))
    computed = KerasEngine(inner, batch_size=BATCH).stream(batches)
    return np.concatenate(list(finite(progress_by_rows(computed, len(numbers), "calibrating"), source)))


def _logits(inputs: np.ndarray, weights: list[np.ndarray]) -> np.ndarray:
    """Return the logits of a Dense layer's inputs by its kernel and bias, if it has one, float64 (rows, classes)."""
    kernel, *bias = [weight.astype(np.float64) for weight in weights]
    batches = (inputs[first : first + BATCH].astype(np.float64) for first in range(0, len(inputs), BATCH))
    return np.concatenate([sum(bias, batch @ kernel) for batch in batches])


def _classes(end: keras.Model, inputs: np.ndarray) -> np.ndarray:
    """Return the predicted classes of the last layer's inputs, as the model's end gives them, ints (rows,)."""
    classes: np.ndarray = KerasEngine(end, batch_size=BATCH)(inputs).argmax(axis=1)
    return classes
