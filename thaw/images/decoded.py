"""One image of a data set as pixels of a wanted size, if its file is still the one that was listed."""

from pathlib import Path

import numpy as np

from thaw.errors import UserError
from thaw.images.decoding import Interpolation, Resize, UnreadableImageError, pixels
from thaw.images.reading import read_image


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
    try:
        found, source = read_image(folder, path)
        if found != digest:
            raise UnreadableImageError("changed since the manifest was written")
        return pixels(source, height, width, resize, interpolation)
    except OSError as error:
        raise UserError(
            f"{folder / path}: cannot be read: {error.strerror}; if the data set is not here, `dvc pull {folder}`"
        ) from None
    except (UnreadableImageError, IndexError) as error:
        raise UserError(f"{folder / path}: {error}; run `dvc repro` to list the images anew") from None
