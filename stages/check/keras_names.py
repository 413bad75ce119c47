"""What Keras offers, read from its source without importing it, which would take seconds."""

import ast
import importlib.util
from collections.abc import Iterator
from ctypes import c_float
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from stages.check.keras_values import Rule, fits, is_number, rule_of
from thaw.params.keras_spec import LARGEST, LEAST, is_keras_object
from thaw.params.reading import shown
from thaw.suggestions import did_you_mean

KINDS = {
    "layers": "layer",
    "augmentation": "layer",
    "optimizers": "optimizer",
    "optimizers.schedules": "learning-rate schedule",
    "losses": "loss",
    "callbacks": "callback",
    "initializers": "initializer",
    "regularizers": "regularizer",
    "constraints": "constraint",
}
# Layers that change images at random, and leave their size and the range of their pixels as they are.
AUGMENTING = (
    *(
        "CutMix",
        "MixUp",
        "RandAugment",
        "RandomBrightness",
        "RandomColorDegeneration",
        "RandomColorJitter",
        "RandomContrast",
    ),
    *("RandomElasticTransform", "RandomErasing", "RandomFlip", "RandomGaussianBlur", "RandomGrayscale", "RandomHue"),
    *("RandomInvert", "RandomPerspective", "RandomPosterization", "RandomRotation", "RandomSaturation"),
    *("RandomSharpness", "RandomShear", "RandomTranslation", "RandomZoom"),
)
# Those that by default change nothing, with the arguments of which one says how far they may go.
IDLE = {
    "RandomColorJitter": ("brightness_factor", "contrast_factor", "saturation_factor", "hue_factor"),
    "RandomShear": ("x_factor", "y_factor"),
}
# Arguments that do nothing without another one.
UNHEEDED = {
    "BinaryFocalCrossentropy.alpha": "apply_class_balancing",
    "SGD.nesterov": "momentum",
    "ema_momentum": "use_ema",
    "ema_overwrite_frequency": "use_ema",
}
# Arguments that can be given by a name alone, by the ends of theirs.
NAMED = {
    "activation": "activations",
    "_initializer": "initializers",
    "_regularizer": "regularizers",
    "_constraint": "constraints",
}
# What keras.layers.Layer takes through **kwargs, and keras.optimizers.Optimizer besides its own.
BASE_ARGUMENTS = {
    "layers": {"activity_regularizer", "trainable", "dtype", "autocast", "name", "input_shape", "input_dim"},
    "optimizers": {"name"},
}

_ABSTRACT = "is only what others are derived from"
_INPUT = "does not go into a list of layers: the network has its input already"
_CODE = "holds code, which Keras refuses to load from a model's file"
_SEVERAL = "has several inputs, but each layer of a list has one"
_LABELS = "would have to change the labels as well"
_TEXT = "is for text, categories or sound, not for images and their features"
_PARTS = "takes other layers, which params.yaml cannot give it: list those layers instead"
_UNREPEATABLE = "draws from Python's own random numbers, so that no run repeats another"
_CROPS = "gives another size in training than in inference: give the tensors pixels of that size, with resize: crop"
_CYCLE = "hands on its input as its output, of which Keras can build no network"
_UNREADABLE = "is written into a model's file by Keras so that it cannot be read again: put it into augmentation"
_OF_PIXELS = "reckons with pixels 0-255, and a head gets others: put it into augmentation, or leave it out"
_WRITES = (
    "writes files or sends data that dvc.yaml does not declare; to keep the best epoch's weights use "
    "{EarlyStopping: {monitor: val_loss, restore_best_weights: true}}; learning curves are written in any case"
)
_FUNCTION = "needs a function, which params.yaml cannot give"
_ALWAYS = "is always there: leave it out"
_OPTIMIZERS = "takes other optimizers, which params.yaml cannot give it: name one optimizer"
UNUSABLE = {
    "layers": {
        **dict.fromkeys(("Layer", "Wrapper"), _ABSTRACT),
        **dict.fromkeys(("Input", "InputLayer", "InputSpec"), _INPUT),
        **dict.fromkeys(("Lambda", "TFSMLayer", "JaxLayer", "FlaxLayer", "TorchModuleWrapper"), _CODE),
        **dict.fromkeys(
            ("Add", "Average", "Concatenate", "Dot", "Maximum", "Minimum", "Multiply", "Subtract"), _SEVERAL
        ),
        **dict.fromkeys(("AdditiveAttention", "Attention", "GroupQueryAttention", "MultiHeadAttention"), _SEVERAL),
        **dict.fromkeys(("GRUCell", "LSTMCell", "SimpleRNNCell"), _SEVERAL),
        **dict.fromkeys(("CutMix", "MixUp", "MaxNumBoundingBoxes"), _LABELS),
        **dict.fromkeys(("Pipeline", "RNN", "StackedRNNCells"), _PARTS),
        **dict.fromkeys(("CategoryEncoding", "Embedding", "HashedCrossing", "Hashing", "IntegerLookup"), _TEXT),
        **dict.fromkeys(("ReversibleEmbedding", "StringLookup", "TextVectorization"), _TEXT),
        **dict.fromkeys(("MelSpectrogram", "STFTSpectrogram"), _TEXT),
        **dict.fromkeys(("AutoContrast", "ContrastLimitedAdaptiveHistogramEqualization", "Solarization"), _OF_PIXELS),
        **dict.fromkeys(
            ("RandAugment", "RandomBrightness", "RandomColorDegeneration", "RandomColorJitter"), _OF_PIXELS
        ),
        **dict.fromkeys(("RandomContrast", "RandomElasticTransform", "RandomErasing"), _OF_PIXELS),
        **dict.fromkeys(("RandomGaussianBlur", "RandomHue", "RandomInvert"), _OF_PIXELS),
        **dict.fromkeys(("RandomPosterization", "RandomSaturation", "RandomSharpness"), _OF_PIXELS),
        "AugMix": _UNREPEATABLE,
        "Equalization": _CYCLE,
        "RandomCrop": _CROPS,
        "RandomShear": _UNREADABLE,
    },
    "augmentation": {
        "MaxNumBoundingBoxes": _LABELS,
        "AugMix": _UNREPEATABLE,
        "RandomCrop": _CROPS,
    },
    "optimizers": {
        **dict.fromkeys(("Optimizer", "OptimizerMap"), _ABSTRACT),
        **dict.fromkeys(("LossScaleOptimizer", "MultiOptimizer"), _OPTIMIZERS),
    },
    "optimizers.schedules": {"LearningRateSchedule": _ABSTRACT},
    "losses": {
        "Loss": _ABSTRACT,
        "CTC": "is for sequences, not for classes",
        "Circle": "is for embeddings, not for classes",
        "CategoricalGeneralizedCrossEntropy": "takes labels as numbers, which only Sparse... losses get",
    },
    "initializers": {"Initializer": _ABSTRACT},
    "regularizers": {"Regularizer": _ABSTRACT},
    "constraints": {"Constraint": _ABSTRACT},
    "callbacks": {
        "Callback": _ABSTRACT,
        **dict.fromkeys(
            ("ModelCheckpoint", "BackupAndRestore", "CSVLogger", "TensorBoard", "RemoteMonitor", "OrbaxCheckpoint"),
            _WRITES,
        ),
        "LambdaCallback": _FUNCTION,
        "LearningRateScheduler": f"{_FUNCTION}; give the optimizer's learning_rate as a schedule instead",
        **dict.fromkeys(("CallbackList", "History", "ProgbarLogger"), _ALWAYS),
    },
}
# Arguments that Keras can do without where a layer is adapted to data, which here it is not.
NEEDED = {"Discretization": ("bin_boundaries",), "Normalization": ("mean", "variance")}
# What thaw/training/training.py gives: the steps of a schedule that lasts for all of the training.
GIVEN = {"optimizers.schedules": ("decay_steps",)}
# What a learning curve has, for callbacks that watch it.
MONITORED = ("loss", "accuracy", "val_loss", "val_accuracy")
WATCHING = ("EarlyStopping", "ReduceLROnPlateau")


@dataclass(frozen=True)
class Signature:
    """A constructor's arguments; params.yaml has to name those `required`, `defaults` has literal defaults."""

    arguments: frozenset[str]
    required: frozenset[str]
    defaults: dict[str, Any]


def _module_file(module: str) -> Path:
    """Return the source file of a module below the keras package, without importing anything."""
    spec = importlib.util.find_spec("keras")
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def parsed(module: str) -> ast.Module:
    """Return the syntax tree of a module below the keras package."""
    return ast.parse(_module_file(module).read_text(encoding="utf-8"))


@cache
def _imported(module: str) -> dict[str, tuple[str, str]]:
    """Return what a module imports by name, each with the module and the name of its source."""
    return {
        alias.asname or alias.name: (node.module, alias.name)
        for node in parsed(module).body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }


def public_names(namespace: str) -> dict[str, tuple[str, str]]:
    """Return the public names of `keras.<namespace>`, each with the module and the name of its source."""
    return _imported(f"keras.{'layers' if namespace == 'augmentation' else namespace}")


def public_classes(namespace: str) -> list[str]:
    """Return the names in `keras.<namespace>` of what params.yaml can name; `UNUSABLE` has the others."""
    if namespace == "augmentation":
        return list(AUGMENTING)
    unusable = UNUSABLE.get(namespace, {})
    return [name for name in public_names(namespace) if name[0].isupper() and name not in unusable]


def names_alone(namespace: str) -> list[str]:
    """Return the names in `keras.<namespace>` that stand for an object without arguments."""
    others = ("get", "serialize", "deserialize", "Constant", "constant", "l1_l2", *UNUSABLE.get(namespace, {}))
    aliases = ("normal", "one", "uniform", "zero") if namespace == "initializers" else ()
    return [*(name for name in public_names(namespace) if name not in others), *aliases]


def signature(namespace: str, name: str) -> Signature | None:
    """Return the signature of the class `keras.<namespace>.<name>`; None if it is no class."""
    found = _signature(*public_names(namespace)[name])
    if found is None:
        return None
    return replace(found, required=found.required.union(NEEDED.get(name, ())).difference(GIVEN.get(namespace, ())))


@cache
def _signature(module: str, name: str) -> Signature | None:
    """Return a constructor's signature, with what it takes as **kwargs and hands on to its base."""
    classes = {node.name: node for node in parsed(module).body if isinstance(node, ast.ClassDef)}
    if name not in classes:
        return None
    inherited = _inherited(module, classes, classes[name].bases)
    constructors = [n for n in classes[name].body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
    if not constructors:
        return inherited
    own = constructors[0].args
    positional = [argument.arg for argument in own.args[1:]]
    pairs: list[tuple[str, ast.expr | None]] = [
        *zip(positional, [*[None] * (len(positional) - len(own.defaults)), *own.defaults], strict=True),
        *zip([argument.arg for argument in own.kwonlyargs], own.kw_defaults, strict=True),
    ]
    names = frozenset(key for key, _ in pairs)
    literals = {key: default.value for key, default in pairs if isinstance(default, ast.Constant)}
    required = frozenset(key for key, default in pairs if default is None)
    if not own.kwarg:
        return Signature(names, required, literals)
    handed_on = {key: value for key, value in inherited.defaults.items() if key not in names}
    return Signature(names | inherited.arguments, required, handed_on | literals)


def _inherited(module: str, classes: dict[str, ast.ClassDef], bases: list[ast.expr]) -> Signature:
    """Return the signature of the first base that is one of Keras's classes; one without arguments if none is."""
    for base in bases:
        if isinstance(base, ast.Name):
            origin = (module, base.id) if base.id in classes else _imported(module).get(base.id)
            found = _signature(*origin) if origin and origin[0].startswith("keras.") else None
            if found:
                return found
    return Signature(frozenset(), frozenset(), {})


def keras_problems(spec: Any, namespace: str) -> Iterator[tuple[str, str]]:
    """Check a Keras object given by name and arguments against Keras's own source.

    Args:
        spec: `Name` or `{Name: {argument: value}}`.
        namespace: where Keras keeps it, a key of `KINDS`.

    Yields:
        Pairs of a path inside `spec` and what is wrong there.

    >>> for problem in keras_problems({"Dense": {"unit": 10}}, "layers"):
    ...     print(problem)
    ('Dense', 'Dense needs units')
    ('Dense.unit', "Dense has no argument 'unit'; did you mean 'units'?")
    """
    name, arguments = (spec, None) if isinstance(spec, str) else next(iter(spec.items()))
    arguments = arguments or {}
    place = name if isinstance(spec, dict) else ""
    problem = _name_problem(namespace, name)
    if problem:
        yield place, problem
        return
    of_class = signature(namespace, name)
    if of_class is None:
        return
    if namespace == "augmentation":
        if name in IDLE and not any(arguments.get(argument) for argument in IDLE[name]):
            yield place, f"{name} changes nothing without one of {', '.join(IDLE[name])}"
        namespace = "layers"
    missing = sorted(of_class.required - arguments.keys())
    if missing:
        yield place, f"{name} needs {', '.join(missing)}"
    known = of_class.arguments | BASE_ARGUMENTS.get(namespace, set())
    if not missing:
        yield from _together(place, name, arguments)
    for argument, value in arguments.items():
        if not isinstance(argument, str):
            continue  # stages/check/checking.py refuses any such key
        if argument in known:
            yield from _argument_problems(f"{name}.{argument}", namespace, argument, value, of_class)
        else:
            hint = _of_vectors(namespace, name, argument) or did_you_mean(argument, sorted(known))
            yield f"{name}.{argument}", f"{name} has no argument {argument!r}{hint}"


def _together(place: str, name: str, arguments: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the arguments of an object taken together, each of which may be right by itself."""
    clips = [one for one in ("clipnorm", "clipvalue", "global_clipnorm") if arguments.get(one) is not None]
    if len(clips) > 1:
        yield place, f"Keras clips gradients in one way only: leave all but one of {', '.join(clips)} out"
    if name in WATCHING:
        watched = arguments.get("monitor", "val_loss")
        right, better = ("max", "greater") if str(watched).endswith("accuracy") else ("min", "less")
        if arguments.get("mode") in ("min", "max") and arguments["mode"] != right:
            yield place, f"mode: {arguments['mode']}, but {watched} is better the {better} it is: leave mode out"
        for argument in ("baseline", "min_delta") if right == "max" else ():
            if is_number(arguments.get(argument)) and arguments[argument] >= 1:
                told = f"{argument}: {arguments[argument]}, but {watched} is a share, below 1: write 0.9 for 90 %"
                yield place, told
    for argument, value in arguments.items():
        needed = UNHEEDED.get(argument) or UNHEEDED.get(f"{name}.{argument}")
        if needed and needed not in arguments and value not in (None, False):
            yield place, f"without {needed}, Keras does not heed {argument}: name it, or leave {argument} out"
    has_target = arguments.get("warmup_target") is not None
    if name == "CosineDecay" and arguments.get("warmup_steps") and not has_target:
        yield place, "without warmup_target, Keras does not heed warmup_steps: name it, or leave warmup_steps out"
    elif name == "CosineDecay" and has_target and "warmup_steps" not in arguments:
        yield (
            place,
            "without warmup_steps, Keras begins at warmup_target, and does not heed initial_learning_rate: name them, "
            "or leave warmup_target out",
        )
    elif name == "CosineDecay" and has_target:
        first, most = arguments["initial_learning_rate"], arguments["warmup_target"]
        if is_number(first) and is_number(most) and first > most:
            yield (
                place,
                f"the warm-up would fall, from the initial_learning_rate {first:g} to the warmup_target {most:g}, from "
                "which the decay begins: exchange them",
            )
    elif arguments.get("initial_learning_rate") == 0 and not has_target:
        yield place, "the learning rate is 0 in each step: name an initial_learning_rate above 0, or a warm-up"
    if name == "PolynomialDecay":
        first, last = (
            arguments.get(one, default) for one, default in (("initial_learning_rate", 0), ("end_learning_rate", 1e-4))
        )
        if is_number(first) and is_number(last) and 0 < first < last:
            default = "" if "end_learning_rate" in arguments else ", which Keras takes where none is named"
            yield (
                place,
                f"the learning rate would rise to the end_learning_rate {last:g}{default}: name one that is not above "
                f"the initial_learning_rate {first:g}",
            )
    if name == "Discretization":
        bins = arguments["bin_boundaries"]
        if not isinstance(bins, list) or not bins or not all(map(is_number, bins)) or bins != sorted({*bins}):
            yield place, f"bin_boundaries are numbers, each of them above the one before it, got {shown(bins)}"
    if name == "PiecewiseConstantDecay":
        yield from _pieces(place, arguments["boundaries"], arguments["values"])


def _pieces(place: str, boundaries: Any, values: Any) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the steps at which a learning rate changes, and with its values."""
    if not isinstance(boundaries, list) or not isinstance(values, list):
        return  # which each is told by itself
    if not boundaries:
        yield place, "there is no boundary: name one, or write the learning rate as a number"
    elif not all(map(is_number, [*boundaries, *values])):
        yield place, "boundaries and values are numbers"
    elif min([*boundaries, *values], default=0) < 0 or not any(values):
        yield place, "boundaries and values are not below 0, and a value is above 0"
    elif boundaries != sorted(set(boundaries)):
        yield place, f"each of boundaries is above the one before it, got {shown(boundaries)}"
    elif len(values) != len(boundaries) + 1:
        yield place, f"there is one value more than boundaries, got {len(values)} and {len(boundaries)}"


def _of_vectors(namespace: str, name: str, argument: str) -> str:
    """Return which loss has an argument, if that of the same name that takes vectors has it."""
    other = name.removeprefix("Sparse")
    is_other = namespace == "losses" and other != name and other in public_classes(namespace)
    of_class = signature(namespace, other) if is_other else None
    return f": take {other}, which has it" if of_class and argument in of_class.arguments else ""


def _name_problem(namespace: str, name: str) -> str | None:
    """Return why params.yaml cannot name `keras.<namespace>.<name>`; None if it can."""
    if name in UNUSABLE.get(namespace, {}):
        return f"{name} {UNUSABLE[namespace][name]}"
    classes = public_classes(namespace)
    if name in classes:
        return None
    if namespace == "augmentation" and name in public_names(namespace):
        return f"{name} is no random change of images that leaves their size and the range of their pixels alone"
    return f"unknown {KINDS[namespace]} {name!r}{did_you_mean(name, classes)}"


def _argument_problems(
    here: str, namespace: str, argument: str, value: Any, of_class: Signature
) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with an argument that a class has: with a nested object, inside of it."""
    if (unfit := _unfit_number(value)) is not None:
        yield here, f"expected a finite number of {64 if isinstance(unfit, int) else 32} bits, got {shown(unfit)}"
    elif namespace == "optimizers" and argument == "learning_rate":
        yield from _learning_rate(here, value)
    elif argument == "monitor" and value not in MONITORED:
        yield here, f"expected one of {', '.join(MONITORED)}, got {shown(value)}{did_you_mean(value, MONITORED)}"
    elif argument in ("layer", "backward_layer") and value is not None:
        if isinstance(value, dict) and is_keras_object(value):
            yield from _nested(here, value, "layers")
        else:
            yield here, f"expected {{Name: {{argument: value}}}}, got {shown(value)}"
    elif _is_nested(value) and not rule_of(here):
        # As thaw/training/training.py takes it; an activation with arguments is a layer.
        kept_in = next((NAMED[end] for end in NAMED if argument.endswith(end)), "layers")
        yield from _nested(here, value, kept_in if kept_in in KINDS else "layers")
    else:
        problem = _value_problem(namespace, here, value, of_class)
        if problem:
            yield here, problem


def _is_nested(value: Any) -> bool:
    return isinstance(value, dict) and is_keras_object(value) and next(iter(value))[:1].isupper()


def _nested(here: str, spec: dict[str, Any], namespace: str) -> Iterator[tuple[str, str]]:
    yield from ((f"{here}.{path}".rstrip("."), problem) for path, problem in keras_problems(spec, namespace))


def _learning_rate(here: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and is_keras_object(value):
        yield from _nested(here, value, "optimizers.schedules")
    elif not isinstance(value, float) or not 0 < value < float("inf"):
        yield (
            here,
            f"expected a number above 0 with a point or an exponent, or {{Schedule: {{...}}}}, got {shown(value)}",
        )


def _value_problem(namespace: str, here: str, value: Any, of_class: Signature) -> str | None:
    """Return what is wrong with an argument's value, as far as its name and its default tell."""
    argument = here.rpartition(".")[2]
    if rule := rule_of(here):
        expected, node = rule
        # Keras computes in 32 bits, which make 1 of 0.99999999.
        rounded = c_float(value).value if isinstance(value, float) else value
        is_right = fits(node, rounded) or (
            value is None and argument in of_class.defaults and of_class.defaults[argument] is None
        )
        hint = f", which is {rounded:g} in 32 bits" if not is_right and fits(node, value) else ""
        return None if is_right else f"expected {expected}, got {shown(value)}{hint}"
    end = next((end for end in NAMED if argument.endswith(end)), None)
    if end is not None and value is not None:
        return _name_alone_problem(end, value)
    like_default = _unlike_default(namespace, of_class.defaults.get(argument), value)
    return f"expected {like_default}, got {shown(value)}" if like_default else None


def _unfit_number(value: Any) -> int | float | None:
    """Return a number in an argument's value with which Keras could not compute; None if there is none."""
    if isinstance(value, list):
        return next((one for one in map(_unfit_number, value) if one is not None), None)
    is_unfit = isinstance(value, float) and value != 0 and not LEAST <= abs(value) <= LARGEST
    return value if is_unfit or (isinstance(value, int) and not -(2**63) <= value < 2**63) else None


def _is_whole_for_a_part(rule: Rule, namespace: str, value: Any) -> bool:
    """Say whether a whole number stands where others may, too, which not every constructor takes."""
    return namespace != "optimizers.schedules" and rule[1].get("type") == "number" and isinstance(value, int)


def is_settled(spec: Any, namespace: str) -> bool:
    """Say whether rules tell of each argument of an object whether it is right, so that Keras need not be asked.

    >>> is_settled({"Adam": {"learning_rate": 1e-3}}, "optimizers"), is_settled({"Muon": {"rms_rate": 0}}, "optimizers")
    (True, False)
    """
    if isinstance(spec, str):
        return True
    ((name, arguments),) = spec.items()
    of_class = signature(namespace, name)
    assert of_class is not None
    return all(
        ((rule := rule_of(f"{name}.{argument}")) and not _is_whole_for_a_part(rule, namespace, value))
        or argument == "monitor"
        or isinstance(of_class.defaults.get(argument), bool)
        or (argument == "learning_rate" and (not _is_nested(value) or is_settled(value, "optimizers.schedules")))
        for argument, value in (arguments or {}).items()
    )


def _name_alone_problem(end: str, value: Any) -> str | None:
    """Return why a value is no name, known to Keras, of what an argument with this end takes."""
    if not isinstance(value, str):
        return f"expected a name or {{Name: {{argument: value}}}}, got {shown(value)}"
    names = names_alone(NAMED[end])
    if value in names:
        return None
    return f"Keras knows no {end.lstrip('_')} {value!r} by its name alone{did_you_mean(value, names)}"


def _unlike_default(namespace: str, default: Any, value: Any) -> str | None:
    """Return what an argument's default shows that it takes, if the value is something else."""
    match default:
        case bool() if not isinstance(value, bool):
            return "true or false"
        case bool():
            return None
        # A layer's number may stand for a list of them.
        case int() | float() if isinstance(value, str | bool) or (namespace != "layers" and not is_number(value)):
            return "a number"
        case str() if is_number(value) or isinstance(value, bool | list):
            return "a name"
    return None
