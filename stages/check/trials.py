"""What only Keras can tell of heads and augmentations, asked before anything runs; what passed is not asked again."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import thaw
from stages.check.keras_names import is_settled
from stages.check.problems import Entries, Problem
from thaw.params.backbones import Backbone
from thaw.params.features import Features
from thaw.params.variants import Training, Variant
from thaw.reuse.folder import shared_folder
from thaw.stage import announce

NO_GPU = {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu", "JAX_PLATFORM_NAME": "cpu"}
"""Shapes need none."""
SIZED = ("NASNetLarge", "NASNetMobile")
"""Networks that take images of some sizes only, as Keras builds them."""


def tried(valid: Entries) -> Iterator[Problem]:
    """Yield what Keras has to say against entries that are otherwise right."""
    wanted = {f"features.{name}": _of_features(one, valid) for name, one in valid["features"].items()}
    wanted |= {f"variants.{name}": _of_variant(one, valid) for name, one in valid["variants"].items()}
    wanted = {address: one for address, one in wanted.items() if one}
    code = _code() if wanted else ""
    new = {address: one for address, one in wanted.items() if not _has_passed(one, code)}
    if not new:
        return
    # Keras's NumPy backend loads in half the time, and builds networks in a tenth, but takes from JAX what it computes.
    backend = "numpy" if find_spec("jax") else "tensorflow"
    environment = {**os.environ, "KERAS_BACKEND": backend, **NO_GPU}
    command = [sys.executable, "-m", "stages.check.trial"]
    done = subprocess.run(
        command, input=json.dumps([*new.values()]), env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        reason = next(reversed(done.stderr.strip().splitlines()), f"status {done.returncode}")
        announce(f"warning: heads and augmentations could not be tried before anything runs: {reason}")
        return
    for (address, one), found in zip(new.items(), json.loads(done.stdout.splitlines()[-1]), strict=True):
        yield from ((f"{address}.{where}", problem) for where, problem in found)
        if not found:
            with suppress(OSError):  # it is only asked again then
                _passed(one, code).parent.mkdir(parents=True, exist_ok=True)
                _passed(one, code).touch()


def _code() -> str:
    """Return what an answer depends on besides the question: all code that may be asked.

    What of it that is takes longer to find out, in each stage, than to ask again when anything has changed.
    """
    folders = (Path(thaw.__file__).parent, Path(__file__).parent)
    files = sorted(path for folder in folders for path in folder.rglob("*.py"))
    contents = [version("keras"), *(path.read_text(encoding="utf-8") for path in files)]
    return hashlib.sha256("\0".join(contents).encode()).hexdigest()


def _of_features(features: Features, valid: Entries) -> dict[str, Any] | None:
    tensors, backbone = valid["tensors"].get(features.tensors), valid["backbones"].get(features.backbone)
    network = _network(backbone) if backbone and backbone.architecture in SIZED else {}
    if not tensors or not (features.augmentation or network):
        return None
    return {"pixels": tensors.pixels, "augmentation": features.augmentation, "head": [], **network, "source": "tensors"}


def _of_variant(variant: Variant, valid: Entries) -> dict[str, Any] | None:
    section, _, name = variant.inputs.partition("/")
    features = valid["features"].get(name) if section == "features" else None
    tensors = valid["tensors"].get(features.tensors if features else name)
    backbone = valid["backbones"].get(variant.start.removeprefix("backbones/"))
    if backbone and backbone.architecture == "hub":  # of which nothing is at hand before it is fetched
        backbone = None
    fit = _of_fit(variant)
    if not tensors or not (variant.augmentation or (variant.head and backbone) or fit):
        return None
    return {
        "pixels": tensors.pixels,
        "augmentation": variant.augmentation,
        "head": (variant.head or []) if backbone else [],
        **(_network(backbone) if backbone else {}),
        "pooling": features.pooling if features else None,
        **({"fit": fit} if fit else {}),
    }


def _of_fit(variant: Variant) -> dict[str, list[Any]]:
    """Return by key what a variant is trained by, each with its namespace, as far as rules do not tell all of it."""
    if not isinstance(variant.fit, Training):
        return {}
    named: dict[str, tuple[str, Any]] = {
        "fit.optimizer": ("optimizers", variant.fit.optimizer),
        "fit.loss": ("losses", variant.fit.loss),
        **{f"fit.callbacks.{number}": ("callbacks", one) for number, one in enumerate(variant.fit.callbacks)},
    }
    return {key: [namespace, spec] for key, (namespace, spec) in named.items() if not is_settled(spec, namespace)}


def _network(backbone: Backbone) -> dict[str, Any]:
    return {"architecture": backbone.architecture, "include_top": backbone.include_top}


def _has_passed(entry: dict[str, Any] | None, code: str) -> bool:
    try:
        return _passed(entry, code).exists()
    except OSError:  # in another user's folder, which nobody else may read
        return False


def _passed(entry: dict[str, Any] | None, code: str) -> Path:
    """Return the file that says that an entry passed, with the code that tried it."""
    key = hashlib.sha256(json.dumps([entry, code], sort_keys=True).encode()).hexdigest()
    return shared_folder() / "tried" / key
