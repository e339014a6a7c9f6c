"""What an encoder's work and products take on this machine, also before its weights are there: `make doctor` asks."""

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from cladeclip.encoders.encoder import choose_device, half_precision
from cladeclip.encoders.load import load_encoder
from cladeclip.encoders.weights import IN_PACKAGE, make_encoder_folder

# Pictures at once; one alone where that takes longer than a second.
BATCH = 16
# What says which weights an encoder has, and nothing of its size or speed.
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
    if isinstance(architecture, str) and (
        definition["family"] == "transformers" or architecture.startswith(("hf-hub:", "local-dir:"))
    ):
        return None
    if (
        definition["family"] == "open_clip"
        and isinstance(architecture, str)
        and not architecture.startswith(IN_PACKAGE)
    ):
        return _speed_of_open_clip(architecture, definition.get("image_px"), precision)
    bare = {key: value for key, value in definition.items() if key not in WHICH_WEIGHTS} | {"seed": 0}
    with tempfile.TemporaryDirectory() as temporary:
        make_encoder_folder(name, bare, temporary)
        return _speed_of_folder(Path(temporary), precision)


def _speed_of_folder(folder: Path, precision: str) -> Speed:
    encoder = load_encoder(folder)
    stored = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    return Speed(encoder.dim, _pictures_a_second(encoder.tower, encoder.image_px, precision), stored)


def _speed_of_open_clip(architecture: str, image_px: int | None, precision: str) -> Speed | None:
    """Of an architecture that open_clip knows by name; they go up to some GB, which nothing of this fills or writes."""
    import open_clip

    config = open_clip.get_model_config(architecture)
    if config is None or config["text_cfg"].get("hf_model_name"):
        return None
    with torch.device("meta"):
        model = open_clip.create_model(
            architecture, load_weights=False, pretrained_text=False, device="meta", force_image_size=image_px
        )
    side = model.visual.image_size if isinstance(model.visual.image_size, int) else model.visual.image_size[0]
    weights = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    speed = _pictures_a_second(model.visual.to_empty(device="cpu"), side, precision)
    return Speed(config["embed_dim"], speed, weights)


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
