"""How params.yaml names a Keras object: by its own name, with its own arguments."""

from typing import Annotated, Any

from pydantic import PlainValidator

LEAST, LARGEST = 1.1754943508222875e-38, 3.4028234663852886e38
"""Of the numbers above 0 of 32 bits, in which Keras computes: what is less is 0 there, and what is more infinite."""
DECAYS = ("CosineDecay", "ExponentialDecay", "InverseTimeDecay", "PolynomialDecay")
"""The schedules with `decay_steps`."""


def is_keras_object(spec: Any) -> bool:
    """Say whether `spec` is `Name` or `{Name: {argument: value}}`, whatever the name.

    >>> [is_keras_object(spec) for spec in ("Flatten", {"Dense": {"units": 100}}, ["Flatten"])]
    [True, True, False]
    """
    if isinstance(spec, dict) and len(spec) == 1:
        ((name, arguments),) = spec.items()
        return isinstance(name, str) and (arguments is None or isinstance(arguments, dict))
    return isinstance(spec, str)


def _require_keras_object(spec: Any) -> Any:
    if not is_keras_object(spec):
        several = isinstance(spec, dict) and len(spec) > 1
        hint = " (an argument's line is indented deeper than the name)" if several else ""
        raise ValueError(f"expected Name or {{Name: {{argument: value}}}}{hint}")
    return spec


KerasSpec = Annotated[str | dict[str, dict[str, Any] | None], PlainValidator(_require_keras_object)]
"""A Keras object by its own name, with its own arguments: `Flatten` or `{Dense: {units: 100}}`."""


def lack_of_steps(optimizer: KerasSpec, steps: int) -> tuple[str, str] | None:
    """Return the place in an optimizer of what takes more steps than a training has, and why not; None if nothing does.

    >>> place, why = lack_of_steps({"SGD": {"learning_rate": {"CosineDecay": {"warmup_steps": 40}}}}, 35)
    >>> place
    'SGD.learning_rate.CosineDecay.warmup_steps'
    >>> why
    '40, but the training has only 35 steps: make it smaller, or add epochs'
    """
    if not isinstance(optimizer, dict):
        return None
    ((name, arguments),) = optimizer.items()
    together, rate = (arguments or {}).get("gradient_accumulation_steps") or 1, (arguments or {}).get("learning_rate")
    if together > steps:
        return f"{name}.gradient_accumulation_steps", (
            f"{together}, but the training has only {steps} steps, so nothing would be trained: make it smaller, or "
            "add epochs"
        )
    if isinstance(rate, dict):
        ((schedule, values),) = rate.items()
        warm_up = (values or {}).get("warmup_steps", 0)
        if schedule in DECAYS and warm_up >= steps:
            return f"{name}.learning_rate.{schedule}.warmup_steps", (
                f"{warm_up}, but the training has only {steps} steps: make it smaller, or add epochs"
            )
    return None
