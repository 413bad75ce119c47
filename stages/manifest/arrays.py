"""The layout `npy`: arrays of images and of their labels."""

from pathlib import Path

import numpy as np

from stages.manifest.labelled import Labelled, from_zero
from thaw.errors import UserError
from thaw.formats.manifest import SPLITS
from thaw.images.reading import ROW_MARK, Contents, found_at, open_array
from thaw.params.dataset import Dataset


def from_arrays(inside: Contents, dataset: Dataset) -> list[Labelled]:
    """List the images of `<split>_images.npy` with the labels of `<split>_labels.npy`."""
    folder = inside.folder
    images: list[Labelled] = []
    labels: dict[str, np.ndarray] = {}
    for split in SPLITS:
        names = [f"{split}_{kind}.npy" for kind in ("labels", "images")]
        if split == "validation" and not any(map(inside.is_file, names)):
            continue
        labels[split] = _label_numbers(folder, *names)
    least = min((int(part.min()) for part in labels.values() if len(part)), default=0)
    highest = max((int(part.max()) for part in labels.values() if len(part)), default=-1)
    count = len(dataset.classes) if dataset.classes else highest + 1
    width = len(str(highest))
    for split, part in labels.items():
        for row, number in enumerate(part):
            if not 0 <= number < count:
                raise UserError(
                    f"{folder / f'{split}_labels.npy'}: row {row}: the classes have the numbers 0 to "
                    f"{count - 1}, not {number}{from_zero(least)}"
                )
            label = dataset.classes[number] if dataset.classes else f"{number:0{width}}"
            images.append(Labelled(f"{split}_images.npy{ROW_MARK}{row}", label, split))
    return images


def _label_numbers(folder: Path, of_labels: str, of_images: str) -> np.ndarray:
    """Return the numbers of the classes, ints (images,), of an array of images that can be read."""
    numbers, pixels = open_array(folder, of_labels), open_array(folder, of_images)
    labels, images = found_at(folder, of_labels), found_at(folder, of_images)
    if numbers.dtype.kind not in "iu" or numbers.shape not in ((numbers.size,), (numbers.size, 1)):
        raise UserError(
            f"{labels}: expected whole numbers of shape (n,), got {numbers.dtype} {numbers.shape}{_mended(numbers)}"
        )
    is_grey = pixels.ndim == 3 or (pixels.ndim == 4 and pixels.shape[3] == 1)
    if not is_grey and not (pixels.ndim == 4 and pixels.shape[3] == 3):
        are_first = pixels.ndim == 4 and pixels.shape[1] in (1, 3)
        mended = "; if its channels come first, save images.transpose(0, 2, 3, 1)" if are_first else ""
        raise UserError(
            f"{images}: expected images of shape (n, height, width, 3) or (n, height, width), "
            f"got {pixels.shape}{mended}"
        )
    if pixels.dtype != np.uint8 and pixels.dtype.kind != "f":
        mended = "; save images * np.uint8(255)" if pixels.dtype.kind == "b" else ""
        raise UserError(f"{images}: expected pixels 0-255 as uint8, got {pixels.dtype}{mended}")
    if len(numbers) != len(pixels):
        raise UserError(f"{labels}: {len(numbers)} labels for {len(pixels)} images")
    return np.asarray(numbers).reshape(-1)


def _mended(labels: np.ndarray) -> str:
    """Return how labels that are no whole numbers are made ones."""
    if labels.ndim == 2 and labels.dtype.kind in "iufb" and labels.shape[1] > 1:
        return "; if each row has a 1 for its class, save labels.argmax(axis=1)"
    if labels.dtype.kind in "USO":
        return "; save numbers, and list the names in dataset.classes"
    return "; save labels.astype(int)" if labels.ndim == 1 else ""
