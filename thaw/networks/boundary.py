"""The freeze boundary: where a network is cut into a frozen prefix and a trained tail."""

import re

from thaw.errors import UserError
from thaw.networks.backend import keras
from thaw.suggestions import did_you_mean

BLOCK = re.compile(r".*?block_?\d+[a-z]?(?=_|$)")
"""What begins the names of a block's layers: `block_9`, `block4b`, `conv5_block2`."""


def boundaries(model: keras.Model) -> list[str]:
    """Return the layers that every path from the model's input to its output goes through.

    With the layers in topological order, a layer is such a point if and only if no edge of the graph
    jumps over it: a path that avoids the layer must at some step go from before it to behind it.

    Args:
        model: a functional model with one input and one output.

    Returns:
        Layer names from input to output, the input layer left out. The part of the model up to one of
        them, followed by the part behind it, is the whole model.

    >>> images = keras.Input((8,))
    >>> x = keras.layers.Dense(4, name="stem")(images)
    >>> y = keras.layers.Dense(4, name="branch")(x)
    >>> model = keras.Model(images, keras.layers.Add(name="block")([x, y]))
    >>> boundaries(model)
    ['stem', 'block']
    """
    # A layer that is called twice has no single output: its name would not say where to cut.
    nodes = [node for depth in sorted(model._nodes_by_depth, reverse=True) for node in model._nodes_by_depth[depth]]
    position = {id(node): index for index, node in enumerate(nodes)}
    calls = [node.operation.name for node in nodes]
    reach = 0  # the farthest node that an edge from an earlier one leads to
    readers: dict[int, int] = {}
    for index, node in enumerate(nodes):
        for parent in node.parent_nodes:
            if id(parent) in position:
                before = position[id(parent)]
                readers[before] = max(readers.get(before, before), index)
    found = []
    for index, node in enumerate(nodes):
        layer = node.operation
        named = isinstance(layer, keras.layers.Layer) and not node.is_input and calls.count(layer.name) == 1
        if reach <= index and named:
            found.append(layer.name)
        reach = max(reach, readers.get(index, index))
    return found


def blocks(model: keras.Model) -> list[list[keras.layers.Layer]]:
    """Return a model's layers in blocks, from input to output: of each, the last is a boundary.

    A block is what lies between two boundaries. But what their names give to one block (`block_9_...`) is one, and what
    has no kernel, only vectors as normalization has them, belongs to the block before it; at the input, to the first.

    >>> images = keras.Input((8,))
    >>> x = keras.layers.Dense(4, name="stem")(images)
    >>> x = keras.layers.ReLU(name="relu")(keras.layers.BatchNormalization(name="norm")(x))
    >>> for name in ("block_1_expand", "block_1_project", "head"):
    ...     x = keras.layers.Dense(2, name=name)(x)
    >>> [[layer.name for layer in block if layer.weights] for block in blocks(keras.Model(images, x))]
    [['stem', 'norm'], ['block_1_expand', 'block_1_project'], ['head']]
    """
    ends = {*boundaries(model)}
    found: list[list[keras.layers.Layer]] = []
    stretch: list[keras.layers.Layer] = []
    last = None
    for layer in model.layers:
        stretch.append(layer)
        if layer.name not in ends:
            continue
        named = BLOCK.match(layer.name)
        has_kernel = any(len(weight.shape) > 1 for one in stretch for weight in one.weights)
        if found and (not has_kernel or (named and named[0] == last)):
            found[-1] += stretch
        elif has_kernel:
            found.append(stretch)
        else:
            continue
        stretch, last = [], named and named[0]
    return found


def require_boundary(model: keras.Model, layer: str, known: list[str], name: str) -> None:
    """Raise a UserError unless `layer` is one of the model's boundaries `known`; it names the nearest."""
    if layer in known:
        return
    names = [one.name for one in model.layers]
    if layer not in names:
        raise UserError(f"{name} has no layer {layer!r}{did_you_mean(layer, names)}")
    place = names.index(layer)
    before = [one for one in known if names.index(one) < place][-1:]
    behind = [one for one in known if names.index(one) > place][:1]
    raise UserError(
        f"{name} cannot be cut at {layer!r}, since some paths go around it; "
        f"the nearest layers that all paths go through: {', '.join(before + behind)}"
    )


def prefix(model: keras.Model, layer: str) -> keras.Model:
    """Return the part of `model` from its input up to and including `layer`, sharing its layers.

    >>> images = keras.Input((8,))
    >>> x = keras.layers.Dense(4, name="stem")(images)
    >>> model = keras.Model(images, keras.layers.Dense(2, name="head")(x))
    >>> prefix(model, "stem").output.shape
    (None, 4)
    """
    return keras.Model(model.input, model.get_layer(layer).output, name="prefix")


def tail(model: keras.Model, layer: str) -> keras.Model:
    """Return the part of `model` behind `layer`, sharing its layers.

    >>> images = keras.Input((8,))
    >>> x = keras.layers.Dense(4, name="stem")(images)
    >>> model = keras.Model(images, keras.layers.Dense(2, name="head")(x))
    >>> tail(model, "stem").input.shape, tail(model, "stem").output.shape
    ((None, 4), (None, 2))
    """
    return keras.Model(model.get_layer(layer).output, model.output, name="tail")
