"""`variants.<name>`: what is trained, from what start, on what inputs."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from thaw.params import Entry

KerasSpec = str | dict[str, dict[str, Any] | None]
"""A Keras object by its own name, with its own arguments: `Flatten` or `{Dense: {units: 100}}`."""


class Solver(Entry):
    """A linear head solved to the optimum, C chosen on the validation split."""

    solver: Literal["logistic_regression"]
    C: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)] = [
        10.0**exponent for exponent in range(-6, 4)
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
    seed: int = Field(default=0, ge=0)


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
    head: list[KerasSpec] | None = None
    """Keras layers; `units: classes` stands for the number of classes."""
    augmentation: list[KerasSpec] = []
    """Keras layers for the training images, which have pixels 0-255."""
    fit: Fit

    @model_validator(mode="after")
    def fits_together(self) -> "Variant":
        fresh = self.start.startswith("backbones/")
        if isinstance(self.fit, Solver):
            if self.head is not None:
                raise ValueError("a solver brings its own head, one Dense layer: leave head out")
            if not fresh:
                raise ValueError("a solver starts from a backbone: its optimum depends on no other start")
        elif fresh and not self.head:
            raise ValueError("a variant that starts from a backbone needs a head")
        elif not fresh and self.head is not None:
            raise ValueError("the head comes from the variant that this one starts from: leave head out")
        if self.augmentation and not self.inputs.startswith("tensors/"):
            raise ValueError(
                f"augmentation changes images, but {self.inputs} are cached activations: "
                "take inputs from tensors/ or leave augmentation out"
            )
        return self
