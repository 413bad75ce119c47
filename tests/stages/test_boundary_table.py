"""What is known of Keras without importing it is what Keras says of itself."""

import inspect
import json
import operator
from typing import Any

import pytest

from stages.check.architectures import (
    BOUNDARIES_JSON,
    PACKAGED,
    known_architectures,
    known_boundaries,
    nearest,
    smallest_pixels,
)
from stages.check.keras_names import (
    GIVEN,
    NAMED,
    NEEDED,
    UNUSABLE,
    is_settled,
    keras_problems,
    names_alone,
    public_classes,
    public_names,
    signature,
)
from tests.boundary_table import as_json, cuts
from thaw.networks.backend import keras
from thaw.networks.keras_objects import keras_object
from thaw.training.training import optimizer_of

NAMESPACES = ("layers", "optimizers", "optimizers.schedules", "losses", "callbacks", "initializers", "regularizers")
CLASSES = [(namespace, name) for namespace in NAMESPACES for name in public_classes(namespace)]


def module(namespace: str) -> Any:
    return operator.attrgetter(namespace)(keras)


@pytest.mark.slow
@pytest.mark.parametrize(
    "architecture", ["EfficientNetLite0", "VGG16"]
)  # without its top, each is built for a test of its own
def test_the_table_has_a_networks_boundaries_with_its_top_and_without(architecture: str) -> None:
    found = cuts(architecture)
    assert known_boundaries(architecture, include_top=False) == found["network"] + found["no_top"]
    assert known_boundaries(architecture, include_top=True) == found["network"] + found["top"]


def test_the_table_has_every_network() -> None:
    networks = {
        name
        for name, value in vars(keras.applications).items()
        if inspect.isfunction(value) and "weights" in inspect.signature(value).parameters
    }
    assert set(known_architectures()) == networks | {*PACKAGED, "hub", "none"}
    assert [name for name in known_architectures() if not known_boundaries(name, include_top=False)] == ["hub", "none"]


def test_the_table_is_written_as_it_is() -> None:
    text = BOUNDARIES_JSON.read_text(encoding="utf-8")
    assert as_json(json.loads(text)) == text


@pytest.mark.parametrize("architecture", ["InceptionV3", "VGG16"])
def test_keras_refuses_smaller_images_than_known(architecture: str) -> None:
    least = smallest_pixels(architecture)
    network = getattr(keras.applications, architecture)
    assert network(weights=None, include_top=False, input_shape=(least, least, 3)).input.shape[1] == least
    with pytest.raises(ValueError, match=f"at least {least}x{least}"):
        network(weights=None, include_top=False, input_shape=(least - 1, least, 3))


@pytest.mark.parametrize("namespace", [*NAMESPACES, "constraints", "activations"])
def test_public_names_are_those_of_keras(namespace: str) -> None:
    of_keras = {name for name, value in vars(module(namespace)).items() if inspect.isclass(value)}
    assert of_keras <= set(public_names(namespace))
    assert [name for name in public_names(namespace) if not hasattr(module(namespace), name)] == []


@pytest.mark.parametrize("namespace", UNUSABLE)
def test_what_is_refused_exists(namespace: str) -> None:
    assert set(UNUSABLE[namespace]) <= set(public_names(namespace))


@pytest.mark.parametrize(("namespace", "name"), CLASSES, ids=[".".join(one) for one in CLASSES])
def test_a_signature_is_that_of_the_class(namespace: str, name: str) -> None:
    known = signature(namespace, name)
    assert known is not None
    parameters = list(inspect.signature(getattr(module(namespace), name).__init__).parameters.values())[1:]
    named = [one for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    if any(one.kind == one.VAR_KEYWORD for one in parameters):
        assert {one.name for one in named} <= known.arguments
    else:
        assert {one.name for one in named} == known.arguments
    without_default = {one.name for one in named if one.default is one.empty}
    assert without_default.union(NEEDED.get(name, ())).difference(GIVEN.get(namespace, ())) == known.required
    defaults = {one.name: one.default for one in named}
    assert {key: defaults.get(key, value) for key, value in known.defaults.items()} == known.defaults


NEEDED_BY_SCHEDULES = {
    "boundaries": [1], "decay_rate": 0.5, "first_decay_steps": 5, "initial_learning_rate": 0.1, "values": [0.1, 0.2],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("namespace", ["optimizers", "optimizers.schedules", "losses", "callbacks"])
def test_what_rules_let_pass_keras_takes(namespace: str) -> None:
    """Of what the rules tell all, Keras is not asked before anything runs."""
    tried = 0
    for name in public_classes(namespace):
        known = signature(namespace, name)
        assert known is not None
        needed = {key: value for key, value in NEEDED_BY_SCHEDULES.items() if key in known.required}
        for argument in sorted(known.arguments):
            for value in (None, True, 0.0, 1.0, 2, "auto", "sum"):
                spec: Any = {name: {**needed, argument: value}}
                if is_settled(spec, namespace) and not any(keras_problems(spec, namespace)):
                    if namespace == "optimizers.schedules":
                        optimizer_of({"SGD": {"learning_rate": spec}}, steps=10**9)
                    else:
                        keras_object(spec, namespace)
                    tried += 1
    assert tried > 10


@pytest.mark.parametrize("namespace", NAMED.values())
def test_a_name_alone_is_understood_by_keras(namespace: str) -> None:
    understood = [name for name in names_alone(namespace) if callable(module(namespace).get(name))]
    assert understood == names_alone(namespace)
    assert len(understood) > 5


@pytest.mark.parametrize(
    ("layer", "known", "said"),
    [
        ("block_9_expand", ["block_8_expand", "block_8", "block_9"], "; the nearest that are: block_8, block_9"),
        ("block_1_conv", ["block_1", "block_2"], "; the nearest that are: block_1"),
        ("conv2_block1_1_conv", ["conv2_block1_out", "conv3_block1_out"], "; the nearest that are: conv2_block1_out"),
        ("stem_cnv", ["stem_conv", "stem_bn", "stem"], "; did you mean 'stem_conv'?"),
        ("Top", ["block_1"], "; did you mean 'top'?"),
    ],
)
def test_the_nearest_boundaries_are_named(layer: str, known: list[str], said: str) -> None:
    assert nearest(layer, known) == said
