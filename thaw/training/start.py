"""Where a variant begins: the network that it starts from, joined to the inputs that it reads."""

from pathlib import Path
from typing import Any

from thaw.errors import UserError
from thaw.files import sha256
from thaw.formats.row_file import RowFile
from thaw.images.normalization import Normalization
from thaw.networks import models
from thaw.networks.backend import keras
from thaw.networks.boundary import boundaries, prefix, require_boundary
from thaw.params.keras_spec import KerasSpec
from thaw.params.variants import Solver, Variant
from thaw.training.training import add_head

SOLVED_HEAD: list[KerasSpec] = [{"Dense": {"units": "classes", "activation": "softmax"}}]


def begin(entry: str, variant: Variant, start: Path, inputs: RowFile) -> tuple[keras.Model, dict[str, Any]]:
    """Build the model that a variant trains.

    Args:
        entry: the variant's address in params.yaml, for messages.
        variant: what is wanted.
        start: the file of a backbone or of another variant.
        inputs: features or tensors.

    Returns:
        The model from pixels to class probabilities, and what its file will say about it. There, `boundary` is
        the layer whose activations the inputs are, None for pixels; `frozen` is the last layer that is not
        trained, None if all are.

    Raises:
        UserError: the inputs are not activations of the start, or it cannot be frozen where the variant says.
    """
    boundary = inputs.made_of.get("boundary")
    tensors = inputs.made_of["tensors"]
    network, started = models.load(start)
    start_digest = sha256(start)
    if variant.start.startswith("backbones/"):
        height, width = tensors["pixels"]
        pooling = inputs.made_of["features"]["pooling"] if boundary else None
        body = models.assemble(network, height, width, Normalization.from_json(tensors["normalization"]), pooling)
        head = SOLVED_HEAD if isinstance(variant.fit, Solver) else variant.head or []
        model, backbone_digest = add_head(body, head, len(inputs.index.classes)), start_digest
    else:
        model, backbone_digest = network, started["backbone_digest"]
        if started["tensors"] != tensors:
            raise UserError(f"{entry}: {variant.start} was trained on other tensors than {variant.inputs}")
        if started["classes"] != list(inputs.index.classes):
            raise UserError(f"{entry}: {variant.start} was trained on other classes than {variant.inputs} has")
        trained_from = started["frozen"]
        if boundary and (trained_from is None or model.get_layer(boundary) not in prefix(model, trained_from).layers):
            raise UserError(
                f"{entry}: {variant.start} has trained layers before {boundary}, so {variant.inputs} are not its "
                "activations; take inputs from an earlier layer or from tensors/"
            )
    if boundary and inputs.made_of["backbone_digest"] != backbone_digest:
        raise UserError(f"{entry}: {variant.inputs} come from another backbone than {variant.start}")
    frozen = boundary
    if variant.freeze == "top":
        frozen = [layer.name for layer in model.layers if not layer.name.startswith(models.HEAD)][-1]
    elif variant.freeze:
        require_boundary(model, variant.freeze, boundaries(model), f"{entry}.freeze: {variant.start}")
        frozen = variant.freeze
    about = {
        "classes": list(inputs.index.classes),
        "variant": variant.model_dump(),
        "tensors": tensors,
        "boundary": boundary,
        "frozen": frozen,
        "backbone_digest": backbone_digest,
        "start_digest": start_digest,
        "start_fit": started.get("variant", {}).get("fit"),
        "inputs_digest": inputs.digest,
    }
    return model, about
