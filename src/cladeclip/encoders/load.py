"""From an encoder folder (see `weights.py`) to an Encoder."""

from pathlib import Path

from safetensors import SafetensorError

from cladeclip.encoders.encoder import Encoder
from cladeclip.encoders.weights import family_of
from cladeclip.errors import CladeclipError, first_line


def load_encoder(folder: str | Path) -> Encoder:
    """Loads an encoder folder on the CPU; no other library than its own is imported.

    Raises:
        CladeclipError: it is no encoder folder, or its files are damaged.
    """
    folder, family = Path(folder), family_of(folder)
    try:
        encoder: Encoder = family.code().load(folder)
    except (RuntimeError, OSError, ValueError, SafetensorError) as error:
        raise CladeclipError(
            f"{folder}: the encoder cannot be loaded ({first_line(error)}); delete the folder and run again to rebuild it."
        ) from error
    return encoder
