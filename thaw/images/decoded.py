"""One image of a data set as pixels of a wanted size, if its file is still the one that was listed."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from thaw.errors import UserError
from thaw.images.decoding import Interpolation, Resize, UnreadableImageError, pixels
from thaw.images.reading import found_at, read_image


def decoded(
    folder: Path, path: str, digest: str, height: int, width: int, resize: Resize, interpolation: Interpolation
) -> np.ndarray:
    """Read, decode and resize an image.

    Args:
        folder: the data set's.
        path: below it, as `read_image` takes it.
        digest: SHA-256 that the manifest has of it.
        height, width, resize, interpolation: as `pixels` takes them.

    Returns:
        uint8 array (height, width, 3), RGB.

    Raises:
        UserError: the file is not what it was when the manifest was written, or it is not here.
    """
    return decode(*stored(folder, path, digest), height, width, resize, interpolation)


def stored(folder: Path, path: str, digest: str) -> tuple[str, bytes | np.ndarray]:
    """Return where a person finds an image, and the image as it is stored; see `decoded` and `read_image`."""
    place = found_at(folder, path)
    with _complaining(place, folder):
        folder.stat()  # it may be all that is not here
        found, source = read_image(folder, path)
        if found != digest:
            raise UnreadableImageError("changed since the manifest was written")
        return place, source


def decode(
    place: str, source: bytes | np.ndarray, height: int, width: int, resize: Resize, interpolation: Interpolation
) -> np.ndarray:
    """Return the pixels of an image that was read; see `decoded`."""
    with _complaining(place):
        return pixels(source, height, width, resize, interpolation)


@contextmanager
def _complaining(place: str, folder: Path | None = None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # Also where each folder of a class was added by itself.
        pull = (
            f"; if the data set is not here, `{shlex.join(['dvc', 'pull', '--recursive', str(folder)])}`"
            if folder
            else ""
        )
        raise UserError(f"{place}: cannot be read: {error.strerror}{pull}") from None
    except (UnreadableImageError, IndexError) as error:
        raise UserError(f"{place}: {error}; run `dvc repro` to list the images anew") from None
