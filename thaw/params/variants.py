"""`variants.<name>`: what is trained, from what start, on what inputs."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, PlainValidator, Tag, ValidationInfo, field_validator

from thaw.params import Entry, Seed


def is_keras_object(spec: Any) -> bool:
    """Say whether `spec` is `Name` or `{Name: {argument: value}}`, whatever the name."""
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


class Solver(Entry):
    """A linear head, solved by scikit-learn to its default tolerance; C chosen on the validation split."""

    solver: Literal["logistic_regression"]
    C: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)] = [
        10.0**exponent for exponent in range(-6, 2)
    ]
    """Inverse strengths of the L2 penalty on standardized features."""


class Training(Entry):
    """Gradient training by Keras."""

    epochs: int = Field(ge=1)
    batch_size: int = Field(default=32, ge=1)
    optimizer: KerasSpec
    loss: KerasSpec = "SparseCategoricalCrossentropy"
    callbacks: list[KerasSpec] = []
    batch_norm: Literal["frozen", "trained"] = "frozen"
    """Of the backbone's unfrozen part; a head's own is always trained."""
    seed: Seed = 0


def _kind(fit: Any) -> str:
    return "solver" if isinstance(fit, Solver) or (isinstance(fit, dict) and "solver" in fit) else "training"


Fit = Annotated[
    Annotated[Solver, Tag("solver")] | Annotated[Training, Tag("training")],
    Discriminator(_kind),
]


class Variant(Entry):
    start: str
    """`backbones/<name>`, for a fresh head, or `variants/<name>`, whose head goes on being trained."""
    inputs: str
    """`features/<name>`, whose layer is the freeze boundary, or `tensors/<name>`: nothing is frozen."""
    fit: Fit
    head: list[KerasSpec] | None = Field(default=None, validate_default=True)
    """Keras layers; `units: classes` stands for the number of classes."""
    augmentation: list[KerasSpec] = []
    """Keras layers for the training images, which have pixels 0-255."""

    @field_validator("fit")
    @classmethod
    def solver_starts_afresh(cls, fit: Fit, others: ValidationInfo) -> Fit:
        if isinstance(fit, Solver) and others.data.get("start", "").startswith("variants/"):
            raise ValueError("a solver starts from backbones/<name>: its optimum depends on no other start")
        return fit

    @field_validator("head")
    @classmethod
    def fresh_ones_have_a_head(cls, head: list[KerasSpec] | None, others: ValidationInfo) -> list[KerasSpec] | None:
        start, fit = others.data.get("start", ""), others.data.get("fit")
        if head is not None and isinstance(fit, Solver):
            raise ValueError("a solver brings its own head, one Dense layer: leave head out")
        if head is not None and start.startswith("variants/"):
            raise ValueError("the head comes from the variant that this one starts from: leave head out")
        if not head and isinstance(fit, Training) and start.startswith("backbones/"):
            raise ValueError(
                "a variant that starts from a backbone needs a head, such as "
                "[{Dense: {units: classes, activation: softmax}}]"
            )
        return head

    @field_validator("augmentation")
    @classmethod
    def augments_images(cls, augmentation: list[KerasSpec], others: ValidationInfo) -> list[KerasSpec]:
        inputs = others.data.get("inputs", "")
        if augmentation and inputs.startswith("features/"):
            raise ValueError(
                f"augmentation changes images, but {inputs} are cached activations: "
                "take inputs from tensors/ or leave augmentation out"
            )
        if augmentation and isinstance(others.data.get("fit"), Solver):
            raise ValueError("a solver takes no augmented images: leave augmentation out")
        return augmentation
