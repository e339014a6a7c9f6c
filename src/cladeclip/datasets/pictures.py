"""Reading a picture file as a person would see it: upright, opaque, in RGB."""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp", ".gif"})

# Twice this many pixels is refused as a decompression bomb. Museum scans reach 100 megapixels.
Image.MAX_IMAGE_PIXELS = 128 * 1024 * 1024

# What `open_picture` raises of a file that cannot be used.
UNUSABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)


def open_picture(path: str | Path, reduce_to: int | None = None) -> Image.Image:
    """Decodes a picture to RGB: first frame, EXIF rotation applied, transparency on white, 16-bit scaled to 8.

    Args:
        path: the file.
        reduce_to: where a JPEG is larger, let the decoder halve it (by 2, 4 or 8) as long as its shorter side stays at
            least this many pixels: many times faster than decoding at full size and reducing afterwards.

    Raises:
        FileNotFoundError, OSError (UnidentifiedImageError, truncated), and the others of UNUSABLE.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(path) as image:
            if reduce_to is not None and image.format == "JPEG" and min(image.size) > reduce_to:
                # draft() keeps both sides at least as large as asked: ask for a shorter side of `reduce_to`.
                scale = reduce_to / min(image.size)
                image.draft(None, (round(image.width * scale), round(image.height * scale)))
            image.load()
            return to_rgb(ImageOps.exif_transpose(image))


def to_rgb(image: Image.Image) -> Image.Image:
    """Any PIL mode to RGB as a viewer shows it."""
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I") or image.mode == "F":
        return _from_deep_grey(image)
    if "A" in image.getbands() or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _from_deep_grey(image: Image.Image) -> Image.Image:
    # PIL's own convert() clips 16-bit greys to 255 instead of scaling them.
    grey = np.asarray(image, dtype=np.float64)
    top = 65535.0 if image.mode != "F" else max(float(grey.max(initial=0.0)), 1.0)
    return Image.fromarray(np.clip(grey * (255.0 / top), 0, 255).round().astype(np.uint8), mode="L").convert("RGB")
