"""What must be right between a variant, its inputs, and the variants and the backbone that it descends from."""

import itertools
from collections.abc import Iterator

from stages.check.architectures import known_boundaries
from stages.check.keras_names import public_names
from stages.check.networks import cut, ends_in, fixed_size
from stages.check.problems import Entries, Problem, arguments_of, name_of
from thaw.params.backbones import Backbone
from thaw.params.features import Features
from thaw.params.keras_spec import KerasSpec
from thaw.params.variants import Solver, Training, Variant, ends_in_logits

Source = tuple[str, Features | None]
"""The name of the tensors that a variant's inputs are made of, and the features, if it reads features."""
TO_VECTORS = (
    "Flatten",
    "GlobalAveragePooling2D",
    "GlobalAvgPool2D",
    "GlobalMaxPooling2D",
    "GlobalMaxPool2D",
    "GlobalAveragePooling1D",
    "GlobalAvgPool1D",
    "GlobalMaxPooling1D",
    "GlobalMaxPool1D",
    "Reshape",
)


def of_lineage(here: str, name: str, variant: Variant, valid: Entries) -> Iterator[Problem]:
    """Yield what does not fit between a variant, its inputs and the variants it descends from."""
    chain, passed = [variant], {name}
    while chain[-1].start.startswith("variants/"):
        parent = chain[-1].start.partition("/")[2]
        if parent in passed:
            yield f"{here}.start", f"the starts form a circle: variants.{parent} descends from itself"
            return
        passed.add(parent)
        if parent not in valid["variants"]:
            return  # that entry has errors of its own
        chain.append(valid["variants"][parent])
    if isinstance(variant.fit, Training) and variant.fit.validate_on == "validation":
        for one, ancestor in itertools.pairwise(chain):
            if "validation" in ancestor.fit.train_on:
                seen_by = one.start.replace("/", ".")
                yield (
                    f"{here}.fit.validate_on",
                    f"nothing can be chosen by validation: {seen_by}, which the variant descends from, has seen it; "
                    f"leave validation out of {seen_by}.fit.train_on, or start from another variant",
                )
    root_head = chain[-1].head or []
    if variant.fit.calibrate and root_head and arguments_of(root_head[-1]).get("lora_rank"):
        yield (
            f"{here}.fit.calibrate",
            "a temperature divides the last layer's kernel, which lora_rank keeps in parts: leave one of them out",
        )
    takes_logits = isinstance(variant.fit, Training) and arguments_of(variant.fit.loss).get("from_logits") is True
    if takes_logits and len(chain) > 1 and not ends_in_logits(root_head):
        yield f"{here}.fit.loss", f"from_logits: the head of {variant.start} ends in softmax: leave from_logits out"
    sources = [source for one in chain if (source := _source(one, valid)) is not None]
    section, _, backbone = chain[-1].start.partition("/")
    if len(sources) == len(chain) and section == "backbones" and backbone in valid["backbones"]:
        yield from _inputs(here, chain, sources, backbone, valid)


def _inputs(here: str, chain: list[Variant], sources: list[Source], root: str, valid: Entries) -> Iterator[Problem]:
    """Yield a problem if a variant's inputs are not those that its start takes.

    Args:
        here: the variant's address.
        chain: the variant, the one it starts from, and so on.
        sources: what each of the chain reads.
        root: the name of the backbone that the last of the chain starts from.
        valid: entries that their schema has found right.
    """
    variant, backbone = chain[0], valid["backbones"][root]
    (tensors, features), (root_tensors, root_features) = sources[0], sources[-1]
    where = f"{here}.inputs"
    if features is not None and features.backbone != root:
        yield (
            where,
            f"{variant.inputs} come from backbones.{features.backbone}, but the variant starts from "
            f"backbones.{root}: make them the same",
        )
        return
    if tensors != root_tensors:
        yield (
            where,
            f"{variant.inputs} are made of tensors.{tensors}, but the variant's start was trained on "
            f"tensors.{root_tensors}: make them the same",
        )
    if variant.freeze and backbone.architecture == "none":
        yield from _within_head(f"{here}.freeze", variant.freeze, chain[-1].head or [])
    elif variant.freeze:
        yield from cut(f"{here}.freeze", variant.freeze, backbone)
    if isinstance(variant.fit, Training) and variant.fit.layer_decay != 1:
        yield from _decay(f"{here}.fit.layer_decay", variant, features, backbone)
    if len(chain) == 1:
        if features is None:
            yield from fixed_size(where, tensors, backbone, valid)
        yield from _fresh_head(here, variant, features, backbone)
    elif features is not None:
        # What any of those that it descends from has trained, its start has trained.
        trained_from = {
            one.start: parent_features.layer if parent_features else parent.freeze
            for (one, parent), (_, parent_features) in zip(itertools.pairwise(chain), sources[1:], strict=True)
        }
        yield from _trained_before(where, variant, features, trained_from, root_features, backbone)


def _within_head(where: str, layer: str, head: list[KerasSpec]) -> Iterator[Problem]:
    """Yield a problem if a network that is all head has no such layer, or nothing behind it."""
    classes = public_names("layers")  # of some, Keras has two names
    names = [
        f"head_{number}_{classes.get(name_of(one), ('', name_of(one)))[1].lower()}"
        for number, one in enumerate(head[:-1], start=1)
    ]
    if layer not in ("top", *names):
        remedy = f"name {' or '.join(names[-2:])}, or leave freeze out" if names else "leave freeze out"
        yield where, f"{layer!r} is no layer of the head behind which there is one to train: {remedy}"


def _decay(where: str, variant: Variant, features: Features | None, backbone: Backbone) -> Iterator[Problem]:
    """Yield a problem if nothing of the backbone is trained, of which the learning rate could decay."""
    end = features.layer if features else variant.freeze
    if backbone.architecture == "none" or end == "top":
        why = "has no layers" if backbone.architecture == "none" else "is frozen up to its top"
        yield where, f"the learning rate decays within the backbone, which {why}: leave layer_decay out"


def _fresh_head(here: str, variant: Variant, features: Features | None, backbone: Backbone) -> Iterator[Problem]:
    """Yield a problem if a new head gets a map where it takes vectors, or the other way round."""
    kind = ends_in(backbone)
    end, axes = ("tokens", "1D") if kind == "tokens" else ("a map", "2D")
    in_vectors = kind == "vector" or (features is not None and features.pooling is not None)
    if isinstance(variant.fit, Solver):
        if features is None or features.layer != "top" or not in_vectors:
            yield (
                f"{here}.inputs",
                "a solver needs one vector per image: take features with layer: top and pooling: avg or max",
            )
    elif in_vectors and variant.head and str(name_of(variant.head[0])).endswith(("1D", "2D")):
        yield (
            f"{here}.head.0",
            f"{name_of(variant.head[0])} takes {end}, but the backbone's end is one vector per image: leave it out",
        )
    elif not in_vectors and not any(name_of(layer) in TO_VECTORS for layer in variant.head or []):
        yield (
            f"{here}.head",
            f"the backbone's end is {end}, not one vector per image: begin the head with GlobalAveragePooling{axes}, "
            "or take features with layer: top and pooling: avg or max",
        )
    yield from _of_single_images(here, variant, in_vectors)


def _of_single_images(here: str, variant: Variant, in_vectors: bool) -> Iterator[Problem]:
    """Yield a problem if a batch normalization of vectors gets one at a time: less its own mean, nothing is left."""
    names = [name_of(layer) for layer in variant.head or []]
    if not isinstance(variant.fit, Training) or variant.fit.batch_size > 1 or "BatchNormalization" not in names:
        return
    place = names.index("BatchNormalization")
    if "Reshape" not in names[:place] and (in_vectors or {*TO_VECTORS} & {*names[:place]}):
        yield (
            f"{here}.fit.batch_size",
            f"head.{place}, BatchNormalization, takes the mean of a batch from each image, and of a batch of one "
            "leaves nothing: set a batch_size above 1, or take LayerNormalization",
        )


def _trained_before(
    where: str,
    variant: Variant,
    features: Features,
    trained_from: dict[str, str | None],
    root_features: Features | None,
    backbone: Backbone,
) -> Iterator[Problem]:
    """Yield a problem if features are not the activations of a variant's start.

    Args:
        trained_from: the last layer that was not trained, None if all were, of each that the variant descends from.
    """
    pooling = root_features.pooling if root_features else None
    if features.layer == "top" and features.pooling != pooling:
        yield (
            where,
            f"{variant.inputs} have pooling: {features.pooling or 'null'}, "
            f"but the start's head expects: {pooling or 'null'}",
        )
    layers = known_boundaries(backbone.architecture, backbone.include_top)
    depth = {layer: number for number, layer in enumerate([*layers, "top"])}
    for ancestor, last in trained_from.items():
        if last is None or depth.get(features.layer, 0) > depth.get(last, len(layers)):
            yield (
                where,
                f"{ancestor} has trained layers before {features.layer}, so {variant.inputs} are not its "
                "activations: take inputs from an earlier layer or from tensors/",
            )
            return


def _source(variant: Variant, valid: Entries) -> Source | None:
    """Return what a variant reads; None if that entry has errors of its own."""
    section, _, parent = variant.inputs.partition("/")
    if section not in ("tensors", "features") or parent not in valid[section]:
        return None
    return (parent, None) if section == "tensors" else (valid["features"][parent].tensors, valid["features"][parent])
