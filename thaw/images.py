"""Decoding images as a person sees them, and resizing them."""

import io
import warnings
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
Resize = Literal["pad", "stretch", "crop"]
Interpolation = Literal["bicubic", "bilinear", "nearest"]

# Pillow refuses twice `MAX_IMAGE_PIXELS` and warns of less, but a warning cannot be made an error in one thread only.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class UnreadableImageError(Exception):
    """The bytes are not an image that can be shown; says why."""


def decode(data: bytes) -> Image.Image:
    """Decode an image file's bytes into what a viewer would show.

    The content decides the format, never a file's name. Turned as EXIF says, the first frame of an
    animation, transparency on white, CMYK and palettes as colours, 16 bits a channel scaled to 8.

    Returns:
        An image of mode RGB.

    Raises:
        UnreadableImageError: no bytes, no image in one of `FORMATS`, truncated or damaged, or of a mode with no
            agreed way to show it.
    """
    if not data:
        raise UnreadableImageError("the file has no bytes")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        if Image.MAX_IMAGE_PIXELS and image.width * image.height > Image.MAX_IMAGE_PIXELS:
            raise Image.DecompressionBombError
        image.load()
        return _to_rgb(ImageOps.exif_transpose(image))
    except UnreadableImageError:
        raise
    except UnidentifiedImageError:
        raise UnreadableImageError(f"not an image in one of the formats {', '.join(FORMATS)}") from None
    except Image.DecompressionBombError:
        raise UnreadableImageError(f"more than {Image.MAX_IMAGE_PIXELS:,} pixels") from None
    except Exception as error:  # Pillow's decoders raise nearly everything on damaged files
        raise UnreadableImageError(f"truncated or damaged: {error}") from None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image if "transparency" not in image.info else _on_white(image)
    if image.mode.startswith("I;16") or image.mode == "I":
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise UnreadableImageError("its grey levels do not fit in 16 bits")
        levels = np.where(values == image.info.get("transparency", -1), 255, values >> 8)
        return Image.fromarray(levels.astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise UnreadableImageError("floating-point grey levels have no agreed brightness; convert it to 8 or 16 bits")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        return _on_white(image)
    return image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    layer = image.convert("RGBA")
    white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, layer).convert("RGB")


def resize(
    image: Image.Image, height: int, width: int, method: Resize, interpolation: Interpolation = "bicubic"
) -> np.ndarray:
    """Resize an RGB image by one of Pillow's filters.

    Args:
        image: of mode RGB.
        height, width: of the result, in pixels.
        method: `pad` keeps the aspect and adds black bars, `crop` keeps it and cuts the longer side,
            `stretch` does not keep it.
        interpolation: `bicubic` and `bilinear` are antialiased; `nearest` is not.

    Returns:
        uint8 array (height, width, 3).
    """
    resampling = Image.Resampling[interpolation.upper()]
    if method == "pad":
        image = ImageOps.pad(image, (width, height), resampling, color=(0, 0, 0))
    elif method == "crop":
        image = ImageOps.fit(image, (width, height), resampling)
    else:
        image = image.resize((width, height), resampling)
    return np.asarray(image)
