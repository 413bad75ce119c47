"""Values that arguments of Keras's objects may have, as far as their names tell: what is silently wrong is left out."""

import math
from typing import Any

Rule = tuple[str, dict[str, Any]]
"""What a value has to be: in words, and as a JSON schema."""


def _number(whole: bool = False, **limits: float) -> Rule:
    """Return the rule for numbers within limits, which go by JSON schema's names."""
    words = {"exclusiveMinimum": "above", "minimum": "not below", "maximum": "not above", "exclusiveMaximum": "below"}
    said = " and ".join(f"{words[name]} {limit}" for name, limit in limits.items())
    kind = "whole number" if whole else "number"
    return f"a {kind} {said}".rstrip(), {"type": "integer" if whole else "number", **limits}


def _one_of(words: str, *values: Any) -> Rule:
    return words, {"enum": [*values]}


_SHARE = ("a number from 0 to below 1", _number(minimum=0, exclusiveMaximum=1)[1])
_UP_TO_1 = ("a number from 0 to 1", _number(minimum=0, maximum=1)[1])
_COUNT = _number(whole=True, minimum=0)
_POSITIVE = _number(exclusiveMinimum=0)
_NOT_NEGATIVE = _number(minimum=0)
_FALLING = _number(exclusiveMinimum=0, maximum=1)
"""Above, the learning rate would rise."""
_REPEATED = _number(whole=True, minimum=1, maximum=100)
"""How often something is done in each step: Keras writes it out as often into the graph that it computes."""
_MODE = _one_of("one of auto, min, max", "auto", "min", "max")
RULES: dict[str, Rule] = {
    # of what is trained
    "data_format": _one_of("channels_last, as images are here", "channels_last", None),
    "dropout": _SHARE,
    "dtype": _one_of("float32, in which heads, losses and augmentations compute", "float32", None),
    "epsilon": _POSITIVE,
    "filters": _number(whole=True, minimum=1),
    "fill_value": ("a number from 0 to 255", _number(minimum=0, maximum=255)[1]),
    **dict.fromkeys(
        [f"{name}.axis" for name in ("MaxNorm", "MinMaxNorm", "UnitNorm")],
        ("a whole number or a list of them", {"anyOf": [{"type": "integer"}, {"type": "array"}]}),
    ),
    "MaxNorm.max_value": _POSITIVE,
    "MinMaxNorm.max_value": _POSITIVE,
    "MinMaxNorm.min_value": _NOT_NEGATIVE,
    "MinMaxNorm.rate": _UP_TO_1,
    "rate": _SHARE,
    "recurrent_dropout": _SHARE,
    "seed": _number(whole=True, minimum=0, exclusiveMaximum=2**32),
    "sparse": _one_of("false, since other layers take arrays", False),
    "synchronized": _one_of("false, since devices share a training otherwise", False),
    "RandomFlip.mode": _one_of(
        "one of horizontal, vertical, horizontal_and_vertical", "horizontal", "vertical", "horizontal_and_vertical"
    ),
    "MixUp.alpha": _POSITIVE,
    "num_ops": _REPEATED,
    "power_iterations": _REPEATED,
    "stddev": _NOT_NEGATIVE,
    "trainable": _one_of("true, since a variant's inputs and freeze say what is not trained", True),
    "units": (
        "a whole number above 0 or classes",
        {"anyOf": [{"const": "classes"}, {"type": "integer", "minimum": 1}]},
    ),
    "use_cudnn": _one_of("auto, which takes cuDNN where it can, or false", "auto", False),
    "value_range": ("[0, 255], as pixels are here", {"const": [0, 255]}),
    # of optimizers
    "adam_beta_1": _SHARE,
    "adam_beta_2": _SHARE,
    "beta_1": _SHARE,
    "beta_2": _SHARE,
    "beta_2_decay": _number(maximum=0),
    "clipnorm": _POSITIVE,
    "clipvalue": _POSITIVE,
    "ema_momentum": _SHARE,  # at 1, averages stay the first weights
    "ema_overwrite_frequency": _number(whole=True, minimum=1),
    "global_clipnorm": _POSITIVE,
    "gradient_accumulation_steps": _number(whole=True, minimum=2),
    "clip_threshold": _POSITIVE,
    "Lion.beta_1": _number(exclusiveMinimum=0, exclusiveMaximum=1),
    "loss_scale_factor": _POSITIVE,
    "momentum": _SHARE,  # at 1, a batch normalization keeps the statistics that it begins with
    "ns_steps": _REPEATED,
    "rho": _SHARE,
    "ScheduleFreeAdamW.beta_1": _number(exclusiveMinimum=0, exclusiveMaximum=1),
    "weight_decay": _NOT_NEGATIVE,
    # of schedules
    "CosineDecay.alpha": _UP_TO_1,  # above, the learning rate would rise
    "CosineDecayRestarts.alpha": _UP_TO_1,
    "ExponentialDecay.decay_rate": _FALLING,
    "decay_rate": _POSITIVE,
    "decay_steps": _POSITIVE,
    "end_learning_rate": _NOT_NEGATIVE,
    "first_decay_steps": _POSITIVE,
    "initial_learning_rate": _NOT_NEGATIVE,
    "m_mul": _FALLING,
    "PolynomialDecay.power": _POSITIVE,
    "t_mul": _number(minimum=1),
    "warmup_steps": _NOT_NEGATIVE,
    "warmup_target": _POSITIVE,
    "PiecewiseConstantDecay.boundaries": ("a list of numbers", {"type": "array"}),
    "PiecewiseConstantDecay.values": ("a list of numbers", {"type": "array"}),
    # of losses
    **dict.fromkeys(
        [
            f"{name}.axis"
            for name in (
                *("BinaryCrossentropy", "BinaryFocalCrossentropy", "CategoricalCrossentropy"),
                *("CategoricalFocalCrossentropy", "CosineSimilarity", "SparseCategoricalCrossentropy"),
            )
        ],
        _one_of("-1, the axis of the classes", -1),
    ),
    "BinaryFocalCrossentropy.alpha": _UP_TO_1,
    "CategoricalFocalCrossentropy.alpha": _POSITIVE,
    "delta": _POSITIVE,
    "label_smoothing": _SHARE,
    "reduction": _one_of(
        "one of sum_over_batch_size, sum, mean, mean_with_sample_weight",
        *("sum_over_batch_size", "sum", "mean", "mean_with_sample_weight"),
    ),
    "gamma": _NOT_NEGATIVE,
    "Tversky.alpha": _NOT_NEGATIVE,
    "Tversky.beta": _NOT_NEGATIVE,
    # of callbacks
    "baseline": _number(),
    "cooldown": _COUNT,
    "EarlyStopping.mode": _MODE,
    "min_delta": _NOT_NEGATIVE,
    "min_lr": _NOT_NEGATIVE,
    "patience": _COUNT,
    "ReduceLROnPlateau.factor": _number(exclusiveMinimum=0, exclusiveMaximum=1),
    "ReduceLROnPlateau.mode": _MODE,
    "start_from_epoch": _COUNT,
}
"""What the values of arguments have to be, by their names: whatever class they are of, or of one class."""


def rule_of(here: str) -> Rule | None:
    """Return the rule for an argument, given as `Class.argument`; None if there is none."""
    return RULES.get(here) or RULES.get(here.rpartition(".")[2])


def fits(node: dict[str, Any], value: Any) -> bool:
    """Say whether a value is right by the schema of a rule."""
    if "anyOf" in node:
        return any(fits(one, value) for one in node["anyOf"])
    if "const" in node or "enum" in node:
        return any(type(one) is type(value) and one == value for one in node.get("enum", [node.get("const")]))
    if node["type"] == "array":
        return isinstance(value, list)
    return (
        is_number(value)
        and (node["type"] == "number" or isinstance(value, int))
        and value >= node.get("minimum", -math.inf)
        and value > node.get("exclusiveMinimum", -math.inf)
        and value <= node.get("maximum", math.inf)
        and value < node.get("exclusiveMaximum", math.inf)
    )


def is_number(value: Any) -> bool:
    """Say whether a value is a number, and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value
