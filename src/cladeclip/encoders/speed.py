"""Measures an encoder's speed and size on this machine, also before its weights are there, for `make doctor`."""

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from cladeclip.devices import choose_device
from cladeclip.encoders.encoder import half_precision
from cladeclip.encoders.load import load_encoder
from cladeclip.encoders.specs import HUB, LOCAL, family_named, kind_of
from cladeclip.encoders.weights import make_encoder_folder

# Pictures at once; one alone where that takes longer than a second.
BATCH = 16
# Keys that select weights and affect neither size nor speed.
WHICH_WEIGHTS = ("pretrained", "weights", "match", "sha256")


class Speed(NamedTuple):
    """The length of an embedding, pictures a second, bytes of the weights."""

    dim: int
    pictures: float
    weights: int


def speed_of(name: str, definition: Mapping[str, Any], folder: Path, precision: str) -> Speed | None:
    """Measures the encoder `name` on grey pictures; `folder` is where it lies or will lie.

    Where it is not there yet, a network of the same architecture without its weights is measured: these decide neither size
    nor speed. None where only a download tells the architecture.
    """
    if (folder / "encoder.json").is_file():
        return _speed_of_folder(folder, precision)
    architecture = definition.get("architecture", "")
    if isinstance(architecture, str) and architecture.startswith((HUB, LOCAL)):
        return None
    library = family_named(definition["family"]).code()
    if hasattr(library, "bare_tower") and kind_of(architecture) == "name":
        if (bare := library.bare_tower(architecture, definition.get("image_px"))) is None:
            return None
        tower, dim, side, weights = bare
        return Speed(dim, _pictures_a_second(tower, side, precision), weights)
    random = {key: value for key, value in definition.items() if key not in WHICH_WEIGHTS} | {"seed": 0}
    with tempfile.TemporaryDirectory() as temporary:
        make_encoder_folder(name, random, temporary)
        return _speed_of_folder(Path(temporary), precision)


def _speed_of_folder(folder: Path, precision: str) -> Speed:
    encoder = load_encoder(folder)
    stored = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    return Speed(encoder.dim, _pictures_a_second(encoder.tower, encoder.image_px, precision), stored)


@torch.inference_mode()
def _pictures_a_second(tower: nn.Module, image_px: int, precision: str) -> float:
    device = choose_device()
    tower = tower.to(device).eval()
    batch = torch.zeros(BATCH, 3, image_px, image_px, device=device)

    def seconds(pictures: torch.Tensor) -> float:
        start = time.monotonic()
        with half_precision(device, precision):
            found = tower(pictures)
        (found[0] if isinstance(found, tuple) else found).cpu()  # coca's tower gives its tokens, too
        return time.monotonic() - start

    if (alone := seconds(batch[:1])) > 1:
        return 1 / alone
    seconds(batch)
    taken: list[float] = []
    # Hand-made features take no time here: they are computed when a picture is read.
    while sum(taken) < 1 and len(taken) < 100:
        taken.append(seconds(batch))
    return BATCH / min(taken)  # what else the machine does makes the others slower
