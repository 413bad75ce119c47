"""Where a variant begins: the network that it starts from, joined to the inputs that it reads."""

from pathlib import Path

from thaw.errors import UserError
from thaw.files.reading import sha256
from thaw.formats.model_file import BackboneRecord, ModelRecord
from thaw.formats.row_file import RowFile
from thaw.networks import models
from thaw.networks.backend import keras, share_out
from thaw.networks.boundary import boundaries, prefix, require_boundary
from thaw.params.keras_spec import KerasSpec
from thaw.params.variants import Solver, Training, Variant
from thaw.training.training import add_head

SOLVED_HEAD: list[KerasSpec] = [{"Dense": {"units": "classes", "activation": "softmax"}}]


def begin(entry: str, variant: Variant, start: Path, inputs: RowFile) -> tuple[keras.Model, ModelRecord]:
    """Build the model that a variant trains.

    Args:
        entry: the variant's address in params.yaml, for messages.
        variant: what is wanted.
        start: the file of a backbone or of another variant.
        inputs: features or tensors.

    Returns:
        The model from pixels to class probabilities, and what its file will say about it, but for its parameters.

    Raises:
        UserError: the inputs are not activations of the start, it cannot be frozen where the variant says, or there are
            not as many devices as it says.
    """
    if isinstance(variant.fit, Training):
        share_out(f"{entry}.fit.devices", variant.fit.devices)
    origin = inputs.origin
    boundary, tensors = origin.boundary, origin.tensors
    network, started = models.load(start)
    start_digest = sha256(start)
    if isinstance(started, BackboneRecord):
        height, width = tensors["pixels"]
        pooling = origin.features["pooling"] if origin.features else None
        body = models.assemble(network, height, width, origin.normalization, pooling)
        head = SOLVED_HEAD if isinstance(variant.fit, Solver) else variant.head or []
        model, backbone_digest = add_head(body, head, len(inputs.index.classes)), start_digest
    else:
        model, backbone_digest = network, started.backbone_digest
        if started.tensors != tensors:
            raise UserError(f"{entry}: {variant.start} was trained on other tensors than {variant.inputs}")
        if started.classes != list(inputs.index.classes):
            raise UserError(f"{entry}: {variant.start} was trained on other classes than {variant.inputs} has")
        trained_from = started.frozen
        if boundary and (trained_from is None or model.get_layer(boundary) not in prefix(model, trained_from).layers):
            raise UserError(
                f"{entry}: {variant.start} has trained layers before {boundary}, so {variant.inputs} are not its "
                "activations; take inputs from an earlier layer or from tensors/"
            )
    if boundary and origin.backbone_digest != backbone_digest:
        raise UserError(f"{entry}: {variant.inputs} come from another backbone than {variant.start}")
    frozen = boundary
    if variant.freeze == "top":
        frozen = [layer.name for layer in model.layers if not layer.name.startswith(models.HEAD)][-1]
    elif variant.freeze:
        require_boundary(model, variant.freeze, boundaries(model), f"{entry}.freeze: {variant.start}")
        frozen = variant.freeze
        place = [layer.name for layer in model.layers].index(frozen)
        if not any(layer.weights for layer in model.layers[place + 1 :]):
            raise UserError(f"{entry}.freeze: behind {frozen} there is nothing to train: name an earlier layer")
    earlier = started if isinstance(started, ModelRecord) else None
    return model, ModelRecord(
        classes=list(inputs.index.classes),
        tensors=tensors,
        variant=variant.model_dump(),
        boundary=boundary,
        frozen=frozen,
        backbone_digest=backbone_digest,
        start_digest=start_digest,
        start_fit=earlier.variant["fit"] if earlier else None,
        inputs_digest=inputs.digest,
        trained_on=sorted({*variant.fit.train_on, *(earlier.trained_on if earlier else [])}),
        chosen_on=sorted({variant.fit.chosen_on, *(earlier.chosen_on if earlier else [])}),
    )
