"""`variants.<name>`: what is trained, from what start, on what inputs."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, PlainValidator, Tag, ValidationInfo, field_validator

from thaw.params.keras_spec import LARGEST, KerasSpec
from thaw.params.reading import Entry, Seed

Calibration = Literal["temperature"] | None


class Solver(Entry):
    """A linear head, solved; C is chosen by cross-validation inside the training split."""

    solver: Literal["logistic_regression"]
    """Multinomial logistic regression, the only one there is."""
    C: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)] = [
        10.0**exponent for exponent in range(-6, 2)
    ]
    """Inverse strengths of the L2 penalty on standardized features; of several, one is chosen."""
    train_on: Annotated[list[Literal["train", "validation"]], Field(min_length=1)] = ["train"]
    """With `validation` beside `train`, what is chosen on `train` is solved once more on both: for a model that nothing
    that is validated starts from, nor is compared by its validation scores."""
    calibrate: Calibration = None
    """`temperature`: the logits are divided by one number, which the validation split chooses by its log loss, so that
    confidences are what one may expect of them; the predicted classes stay the same."""

    @field_validator("train_on")
    @classmethod
    def train_once(cls, train_on: list[str]) -> list[str]:
        if "train" not in train_on:
            raise ValueError("C is chosen inside train: name it, too")
        return _each_once(train_on)

    @field_validator("calibrate")
    @classmethod
    def calibrates_on_what_is_not_fitted(cls, calibrate: Calibration, others: ValidationInfo) -> Calibration:
        if calibrate and "validation" in others.data.get("train_on", []):
            raise ValueError(
                "a temperature is chosen by validation images that are not fitted: set train_on: [train], or leave "
                "calibrate out"
            )
        return calibrate

    @property
    def chosen_on(self) -> str:
        """Split by which choices are made; C is chosen inside the training split."""
        return "validation" if self.calibrate else "train"


def _each_once(splits: list[str]) -> list[str]:
    if len(set(splits)) < len(splits):
        raise ValueError("a split is named twice")
    return splits


def _require_class_weight(weights: Any) -> Any:
    of_classes = isinstance(weights, dict) and all(
        isinstance(weight, int | float) and not isinstance(weight, bool) and 0 <= weight <= LARGEST
        for weight in weights.values()  # what the check finds wrong with keys, it finds with all of them
    )
    if not of_classes and weights not in ("balanced", None):
        raise ValueError("expected balanced, or a mapping from classes to numbers not below 0, of 32 bits")
    return weights


class Training(Entry):
    """Gradient training by Keras."""

    epochs: int = Field(ge=1, le=10**9)
    """The most epochs: callbacks may end the training earlier."""
    batch_size: int = Field(default=32, ge=1)
    """Images for each step."""
    steps_per_epoch: Annotated[int, Field(ge=1, le=10**9)] | None = None
    """Batches after which the callbacks look at the validation images; by default, all of the training images'."""
    optimizer: KerasSpec
    """Keras optimizer; its `learning_rate` may be a schedule."""
    learning_rate_factors: dict[str, Annotated[float, Field(ge=0)]] = {}
    """Learning-rate factors by the beginnings of layers' names; the longest that fits counts, in place of what
    `layer_decay` gives, and where none does, the factor is that, or 1."""
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    """Learning-rate factor of the backbone's last block; the block before it has its square, the next one its cube, and
    so on, and the head has 1. A block is what the layers' names call so (`block_9_…`), or else what lies between two
    layers at which the network can be cut, as far as there are kernels in it."""
    loss: KerasSpec = "SparseCategoricalCrossentropy"
    """Keras loss between the classes' probabilities, or with `from_logits` their logits, and the true class."""
    class_weight: Annotated[
        str | dict[str, float] | None,
        PlainValidator(
            _require_class_weight,
            json_schema_input_type=Literal["balanced"] | dict[str, Annotated[float, Field(ge=0)]] | None,
        ),
    ] = None
    """Weights by class; `balanced` is in inverse proportion to a class's share of the training images."""
    callbacks: list[KerasSpec] = []
    """Keras callbacks, which see the scores of every epoch."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Type in which the layers before the head compute in training; the model that is saved has float32."""
    jit_compile: bool | None = None
    """Whether XLA compiles the training's step; by default, with JAX it does, and with TensorFlow not."""
    devices: int = Field(default=1, ge=1, exclude_if=lambda devices: devices == 1, validate_default=True)
    """GPUs of one machine that share each batch, with Keras on JAX (`KERAS_BACKEND=jax`). Their number is part of what
    the result's last bits depend on."""
    batch_norm: Literal["frozen", "trained"] = "frozen"
    """Whether the unfrozen backbone's batch normalization is trained; a head's own always is."""
    train_on: Annotated[list[Literal["train", "validation"]], Field(min_length=1)] = ["train"]
    """Splits to train on, each once; what is trained on cannot be validated on."""
    validate_on: Literal["validation", "test"] = Field(default="validation", validate_default=True)
    """Split that callbacks choose by. With `test`, as tutorials do, test scores are optimistic, and marked so."""
    calibrate: Calibration = None
    """`temperature`: once trained, the logits are divided by one number, which the validation split chooses by its log
    loss, so that confidences are what one may expect of them; the predicted classes stay the same."""
    seed: Seed = 0
    """Seed of the head's first weights, the order of images, and all else that is random; what of the scores is the
    seed's, `seeds` tells."""

    def steps(self, images: int) -> int:
        """Return after how many batches a training on so many images ends at the latest."""
        return self.epochs * (self.steps_per_epoch or -(-images // self.batch_size))

    @field_validator("train_on")
    @classmethod
    def each_once(cls, train_on: list[str]) -> list[str]:
        return _each_once(train_on)

    @field_validator("validate_on")
    @classmethod
    def not_on_what_is_trained(cls, validate_on: str, others: ValidationInfo) -> str:
        if validate_on in others.data.get("train_on", []):
            raise ValueError(f"{validate_on} is trained on: nothing can be chosen by it")
        return validate_on

    @field_validator("calibrate")
    @classmethod
    def calibrates_on_validation(cls, calibrate: Calibration, others: ValidationInfo) -> Calibration:
        if calibrate and others.data.get("validate_on") == "test":
            raise ValueError(
                "a temperature is chosen by validation images that are neither trained on nor scored: set validate_on: "
                "validation, and train_on: [train], or leave calibrate out"
            )
        return calibrate

    @field_validator("devices")
    @classmethod
    def share_evenly(cls, devices: int, others: ValidationInfo) -> int:
        batch_size = others.data.get("batch_size", devices)
        if batch_size % devices:
            raise ValueError(
                f"{devices} devices cannot share batches of {batch_size}: make batch_size a multiple of {devices}"
            )
        return devices

    @property
    def chosen_on(self) -> str:
        """Split by which choices are made."""
        return self.validate_on


def _kind(fit: Any) -> str:
    return "solver" if isinstance(fit, Solver) or (isinstance(fit, dict) and "solver" in fit) else "training"


Fit = Annotated[
    Annotated[Solver, Tag("solver")] | Annotated[Training, Tag("training")],
    Discriminator(_kind),
]


class Variant(Entry):
    start: str
    """Where it starts: `backbones/<name>`, for a fresh head, or `variants/<name>`, whose head goes on being trained."""
    inputs: str
    """What is read: `features/<name>`, whose layer is the freeze boundary, or `tensors/<name>`."""
    freeze: Annotated[str, Field(min_length=1)] | None = None
    """Last layer that is not trained, with inputs from tensors/; `top` is the backbone's end; by default, none."""
    fit: Fit
    """A linear head that is solved, if it names a `solver`; else gradient training."""
    head: list[KerasSpec] | None = Field(default=None, validate_default=True)
    """Keras layers; `units: classes` stands for the number of classes. A training that starts from a backbone needs
    one; a solver, and one that starts from a variant, have theirs already."""
    augmentation: list[KerasSpec] = []
    """Keras layers for the training images, which have pixels 0-255: with inputs from tensors/, and no solver."""

    @field_validator("freeze")
    @classmethod
    def freezes_what_images_go_through(cls, freeze: str | None, others: ValidationInfo) -> str | None:
        inputs = others.data.get("inputs", "")
        if freeze and inputs.startswith("features/"):
            raise ValueError(f"{inputs} say where the frozen part ends: leave freeze out")
        return freeze

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
                "give the features an augmentation and views, or take inputs from tensors/"
            )
        if augmentation and isinstance(others.data.get("fit"), Solver):
            raise ValueError("a solver takes no augmented images: leave augmentation out")
        return augmentation


MIXING = ("CutMix", "MixUp")
"""Keras layers that give each image of a batch a part of another, and of its class."""


def mixing(augmentation: list[KerasSpec]) -> list[str]:
    """Return those of an augmentation's layers that mix images."""
    return [name for one in augmentation if (name := one if isinstance(one, str) else next(iter(one))) in MIXING]


def ends_in_logits(head: list[KerasSpec]) -> bool:
    """Say whether a head's last layer has no activation, so that a softmax has to follow."""
    last = head[-1] if head else None
    return (
        isinstance(last, dict) and (last.get("Dense") or {}).get("activation") in (None, "linear") and "Dense" in last
    )
