"""Reading a picture file as a person would see it: upright, opaque, in RGB."""

import struct
import warnings
from pathlib import Path, PurePath

import numpy as np
import pillow_heif
from PIL import Image

from cladeclip.errors import DataError

pillow_heif.register_heif_opener()
Image.init()
# Formats that Pillow knows by name, but reads only with other programs, or not at all.
UNREAD = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"})
FORMATS = frozenset(Image.OPEN) - UNREAD
# They are tried one after another: the usual ones first.
IN_ORDER = sorted(FORMATS, key=lambda name: (name not in ("JPEG", "PNG", "TIFF", "WEBP", "HEIF"), name))
# MPO (several pictures in one file) is read as the JPEG that it begins with.
SUFFIXES = frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in {"MPO", *FORMATS})
# Leading bytes that identify a file without a suffix.
MAGIC = 32

# Pillow warns of metadata that it cannot read, and of large pictures; neither prevents decoding.
warnings.filterwarnings("ignore", module=r"PIL\.")

# Twice this many pixels is refused as a decompression bomb. Museum scans reach 100 megapixels.
Image.MAX_IMAGE_PIXELS = 128 * 1024 * 1024

# What `open_picture` raises of a file that cannot be used.
UNUSABLE = (OSError, Image.DecompressionBombError)

# The EXIF tag of the orientation; TURNS holds the transpose that makes a picture upright, by its value.
ORIENTATION = 0x0112
# EXIF types that its value may have, as struct formats of one, two or four bytes.
KINDS = {1: "B", 3: "H", 4: "I"}
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def may_be_picture(path: str | PurePath) -> bool:
    """Whether a listed file is a picture by its name: without a suffix, `is_picture` has looked into it."""
    suffix = PurePath(path).suffix
    return not suffix or suffix.lower() in SUFFIXES


def is_picture(path: Path) -> bool:
    """Whether a file has a picture's suffix or, without any suffix, begins as a picture does."""
    if path.suffix:
        return path.suffix.lower() in SUFFIXES
    try:
        with open(path, "rb") as file:
            magic = file.read(MAGIC)
    except OSError:
        return False
    accepts = (Image.OPEN[name][1] for name in FORMATS)
    return len(magic) == MAGIC and any(accept is not None and accept(magic) is True for accept in accepts)


def open_picture(path: str | Path, reduce_to: int | None = None) -> Image.Image:
    """Decodes a picture to RGB: first frame, EXIF rotation applied, transparency on white, 16-bit scaled to 8.

    Args:
        path: the file.
        reduce_to: where a JPEG is larger, let the decoder halve it (by 2, 4 or 8) as long as its shorter side stays at
            least this many pixels: many times faster than decoding at full size and reducing afterwards.

    Raises:
        FileNotFoundError, OSError (UnidentifiedImageError, truncated, or whatever its decoder met), DecompressionBombError.
    """
    if reduce_to is not None:
        try:
            return _decoded(path, reduce_to)
        except OSError:  # what can be decoded whole can be used
            pass
    return _decoded(path, None)


def open_prepared(root: str | Path, image_id: str, reduce_to: int | None = None) -> Image.Image:
    """As `open_picture`, a picture that could be read when the data was prepared.

    Raises:
        DataError: it cannot be read any more.
    """
    try:
        return open_picture(Path(root, image_id), reduce_to)
    except UNUSABLE as error:
        raise DataError(
            f"{image_id}: could be read when the data was prepared, but not now ({error}); "
            "restore the file, or run snakemake again to have it quarantined."
        ) from error


def _decoded(path: str | Path, reduce_to: int | None) -> Image.Image:
    """As `open_picture`, at full size or reduced, and nothing else."""
    try:
        with Image.open(path, formats=IN_ORDER) as image:
            if reduce_to is not None and image.format == "JPEG" and min(image.size) > reduce_to:
                # draft() keeps both sides at least as large as asked: ask for a shorter side of `reduce_to`.
                scale = reduce_to / min(image.size)
                image.draft(None, (round(image.width * scale), round(image.height * scale)))
            image.load()
            return to_rgb(upright(image))
    except UNUSABLE:
        raise
    except Exception as error:  # decoders raise whatever they like of a damaged file
        raise OSError(f"{type(error).__name__}: {error}") from error


def upright(image: Image.Image) -> Image.Image:
    """Applies the EXIF orientation. No other metadata is read, and damaged metadata rejects no picture."""
    try:
        exif = image.info.get("exif")
        orientation = orientation_in(exif) if isinstance(exif, bytes) else image.getexif().get(ORIENTATION, 1)
    except Exception:  # whatever a damaged block makes Pillow raise, the pixels are there
        return image
    turn = TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def orientation_in(exif: bytes) -> int:
    """The orientation in an EXIF block, 1 if there is none; unlike Pillow, it reads past damaged tags.

    Raises:
        struct.error: the block ends before its directory does.
    """
    block = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return 1
    (directory,) = struct.unpack_from(f"{order}I", block, 4)
    (n_tags,) = struct.unpack_from(f"{order}H", block, directory)
    for place in range(directory + 2, directory + 2 + 12 * n_tags, 12):
        tag, kind = struct.unpack_from(f"{order}HH", block, place)
        if tag == ORIENTATION and kind in KINDS:
            return int(struct.unpack_from(f"{order}{KINDS[kind]}", block, place + 8)[0])
    return 1


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
