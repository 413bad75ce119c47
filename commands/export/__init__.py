"""A trained model in another format."""

import argparse
import importlib.util
import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from thaw.errors import REMEDIES, UserError, reasons
from thaw.files.writing import unfinished, write_text
from thaw.images.reading import images_at
from thaw.images.reading.archives import Member
from thaw.machine import backend

if TYPE_CHECKING:
    from commands.classifier import Classifier

ENDINGS = {"keras": ".keras", "onnx": ".onnx", "openvino": ".xml", "saved_model": "", "tflite": ".tflite"}
OF_KERAS = ("keras", "saved_model")
"""Formats whose runtimes are those that Keras trains by."""
NEEDS = {"onnx": ("onnx", "onnxruntime", "tf2onnx"), "openvino": ("openvino",), "tflite": ("ai_edge_litert",)}
INSTALL_EXPORT = "python -m pip install --constraint constraints.txt --editable '.[export]'"
UNKNOWN = (
    "rule found for operations: (.*)",  # OpenVINO
    r'In Node, \("[^"]*", (\w+)',  # ONNX Runtime
    r"Node number \d+ \((?:Flex)?(\w+)\)",  # LiteRT
)
"""How converters and runtimes tell of an operation that they do not have."""
MOST_IMAGES = 64
PROBABILITY_TOLERANCE = 1e-4
"""The largest difference of a probability; other runtimes add in another order, which makes some 1e-6."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("model", type=Path, help="a variant's model, such as models/variants/full.keras")
    parser.add_argument("--format", choices=ENDINGS, required=True, help="what to write")
    parser.add_argument("--out", type=Path, help="where to; by default, into exports/, under the model's name")
    parser.add_argument(
        "--images",
        type=Path,
        nargs="+",
        default=[],
        help=f"files, folders or archives of images to check it on, of which {MOST_IMAGES} are taken; "
        "by default, two photos that come with scikit-learn, and parts of them",
    )


def main(model: Path, format: str, out: Path | None, images: list[Path]) -> None:
    """Write a trained model in another format, once that gives the same probabilities as Keras on real images.

    Class names, and how images have to be resized, come beside it as JSON.
    """
    ending = ENDINGS[format]
    out = out or Path("exports") / (model.stem + (ending or f"_{format}"))
    _require(format, out)
    files = images_at(images)[:MOST_IMAGES] if images else []
    # TensorFlow takes seconds to import: nobody waits for it to read --help or of a wrong path.
    from commands.classifier import Classifier
    from commands.export.exporting import export_model, run_exported
    from thaw.engines.engine import finite
    from thaw.networks import models

    classifier = Classifier(model)
    network, _ = models.load(model)
    pixels = (_pixels_of(classifier, files) if files else _photos(classifier)).astype(np.float32)
    (expected,) = finite([network.predict(pixels, verbose=0)], model)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".", suffix=unfinished(out.parent), dir=out.parent) as folder:
            written = Path(folder) / out.name
            try:
                export_model(network, model, format, written)
                found = run_exported(format, written, pixels)
            except OSError:
                raise
            except Exception as error:  # converters raise nearly everything
                if refused := _of_the_system(error):
                    raise refused from None
                remedy = "" if format in OF_KERAS else f"; {' and '.join(OF_KERAS)} have all that Keras has"
                raise UserError(f"{model}: cannot be converted to {format}{_reason(error)}{remedy}") from error
            classifier.require_same_file()  # which the format keras copies
            difference = float(np.abs(found - expected).max())
            if not difference <= PROBABILITY_TOLERANCE:
                raise UserError(
                    f"{out}: not written, for it would give other probabilities than {model}: "
                    f"they differ by up to {difference:.1e} on {len(pixels)} images"
                )
            write_text(_beside(written), json.dumps(classifier.usage, indent=1) + "\n")
            if out.is_dir():
                shutil.rmtree(out)
            elif format == "openvino":  # whoever is killed here leaves no former graph with other weights
                out.unlink(missing_ok=True)
            # What tells an export from a file of the user's own comes first, the model last.
            for one in sorted(Path(folder).iterdir(), key=lambda one: (one == written, one != _beside(written))):
                one.replace(out.parent / one.name)
    except OSError as error:
        raise UserError(f"{out}: cannot be written: {reasons(error)}") from None
    print(f"{out}: differs from {model} by up to {difference:.1e} in a probability, on {len(pixels)} images")
    if format == "openvino":  # which would compute in bfloat16 by itself, with other classes at times
        print('Where a CPU has bfloat16, that holds with compile_model(…, {"INFERENCE_PRECISION_HINT": "f32"}) only.')


def _require(format: str, out: Path) -> None:
    """Raise a UserError unless a format's packages are there, and the name of the file to write can be its."""
    missing = [name for name in NEEDS.get(format, ()) if not importlib.util.find_spec(name)]
    if missing:
        raise UserError(f"the format {format} needs {', '.join(missing)}: {INSTALL_EXPORT}")
    if format != "keras" and backend() != "tensorflow":
        raise UserError(f"the format {format} is written by TensorFlow: set KERAS_BACKEND=tensorflow where that is")
    if ENDINGS[format] and out.suffix != ENDINGS[format]:
        raise UserError(f"{out}: the name of a file of the format {format} ends in {ENDINGS[format]}")
    if not out.name:  # . and /
        raise UserError(f"{out}: a folder; give --out the name of what to write")
    is_another = out.is_dir() if ENDINGS[format] else out.exists() and not (out / "saved_model.pb").exists()
    about = _beside(out)
    weights = [out.with_suffix(".bin")] * (format == "openvino")
    theirs = [one for one in (out, *weights) if one.exists() and not about.exists()]  # which an export writes, too
    for one in [*[out] * is_another, *theirs, *[about] * (not _is_ours(about)), *filter(Path.is_dir, weights)]:
        raise UserError(f"{one}: there is something else of that name; give --out another one")


def _beside(out: Path) -> Path:
    """Return where the names of classes are written, and how images have to be resized."""
    return out.with_name(f"{out.name}.json")


def _is_ours(about: Path) -> bool:
    """Say whether a file is one that an export wrote beside a model, or is not there."""
    try:
        return not about.exists() or {"classes", "pixels"} <= json.loads(about.read_bytes()).keys()
    except (OSError, ValueError, AttributeError):
        return False


def _of_the_system(error: Exception) -> OSError | None:
    """Return what the system refused, such as to write on a full disk, as TensorFlow tells it; None if it did not."""
    found = next((number for number in REMEDIES if os.strerror(number) in str(error)), None)
    if found is None:
        return None
    refused = OSError(found, os.strerror(found))
    if tempfile.gettempdir() in str(error):
        refused.add_note(f"in {tempfile.gettempdir()}, the folder for temporary files; TMPDIR can name another one")
    return refused


def _reason(error: Exception) -> str:
    """Return why a model cannot be converted: an operation that a format does not have, or what is said first."""
    found = next(filter(None, (re.search(pattern, str(error)) for pattern in UNKNOWN)), None)
    told = next(iter(str(error).splitlines()), type(error).__name__)
    return f", which does not have {found[1]}" if found else f": {told}"


def _pixels_of(classifier: "Classifier", files: list[Path | Member]) -> np.ndarray:
    from commands.classifier import Unreadable

    pixels = []
    for path in files:
        read = classifier.read(path)
        if isinstance(read, Unreadable):
            raise UserError(f"{path}: {read.reason}; give --images files that show images")
        pixels.append(read)
    return np.stack(pixels)


def _photos(classifier: "Classifier") -> np.ndarray:
    """Return two photographs and the quarters of each."""
    from sklearn.datasets import load_sample_images

    parts = []
    for photo in load_sample_images().images:
        down, across = photo.shape[0] // 2, photo.shape[1] // 2
        parts += [photo, photo[:down, :across], photo[:down, across:], photo[down:, :across], photo[down:, across:]]
    return np.stack([classifier.pixels(part) for part in parts])
