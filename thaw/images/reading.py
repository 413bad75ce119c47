"""Reading one image as it is stored, in a file or in a row of an array."""

import hashlib
from functools import cache
from pathlib import Path

import numpy as np

from thaw.errors import UserError
from thaw.files import read_bytes, require_regular
from thaw.images.decoding import UnreadableImageError, require_pixels

ROW_MARK = "#"
"""Stands between an array's file and a row's number."""


def read_image(folder: Path, path: str) -> tuple[str, bytes | np.ndarray]:
    """Read an image without decoding it.

    Args:
        folder: the data set's.
        path: below it; of a file, or `<array>.npy#<row>`.

    Returns:
        The SHA-256 of the file's bytes, or of the row's shape and pixels; and these: bytes, or uint8
        (height, width) or (height, width, 3).

    Raises:
        UnreadableImageError: a row that is no image.
        OSError: it cannot be read.
    """
    name, _, row = path.rpartition(ROW_MARK)
    if name.endswith(".npy") and row.isdigit():
        return _row(open_array(folder / name)[int(row)])
    data = read_bytes(folder / path)
    return hashlib.sha256(data).hexdigest(), data


def _row(values: np.ndarray) -> tuple[str, np.ndarray]:
    if values.ndim < 2 or values.shape[2:] not in ((), (1,), (3,)):
        raise UnreadableImageError(f"an image has the shape (height, width) or (height, width, 3), not {values.shape}")
    require_pixels(*values.shape[:2])
    pixels = values.astype(np.uint8)
    if values.dtype != np.uint8 and not np.array_equal(pixels, values):
        raise UnreadableImageError("its values are not whole numbers from 0 to 255")
    if pixels.shape[-1] == 1 and pixels.ndim == 3:
        pixels = pixels[..., 0]
    return hashlib.sha256(repr(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest(), pixels


def open_array(path: Path) -> np.ndarray:
    """Open an array without reading it into memory.

    Raises:
        UserError: it is missing, or no array of numbers.
    """
    try:
        stat = require_regular(path)
        with path.open("rb") as file:
            is_archive = file.read(2) == b"PK"
        if is_archive:
            raise UserError(
                f"{path}: an archive of arrays (.npz); save each of them in a file of its own by numpy.save"
            )
        return _mapped(path, stat.st_mtime_ns, stat.st_size)
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such file; the layout npy reads <split>_images.npy and <split>_labels.npy"
        ) from None
    except OSError as error:
        raise UserError(f"{path}: no array of numbers: {error.strerror or error}") from None
    except UserError:
        raise
    except Exception as error:  # NumPy raises nearly everything of a damaged header
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"{path}: no array of numbers: {reason}") from None


@cache
def _mapped(path: Path, modified: int, length: int) -> np.ndarray:
    mapped: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    return mapped
