"""UNICOM's own tower as an encoder: from its published weight file to an encoder folder, and from that to an Encoder."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torchvision import transforms

from cladeclip.encoders import unicom_vit
from cladeclip.encoders.encoder import Encoder, as_floats
from cladeclip.encoders.specs import WEIGHTS
from cladeclip.encoders.unicom_vit import CONFIG, MEAN, STD, VIT_B_32, UnicomViT, load_unicom_vit
from cladeclip.encoders.weights import save_weights as save
from cladeclip.encoders.weights import weight_file
from cladeclip.errors import ConfigError, first_line
from cladeclip.hub import Snapshot
from cladeclip.io.atomic import write_json

__all__ = ["load", "make", "save", "source"]

# The source file of the class that loads the folder, copied into it.
SOURCE = Path(unicom_vit.__file__)


def source(definition: Mapping[str, Any]) -> None:
    """The weights are published as files, and not on the hub."""


def make(name: str, definition: Mapping[str, Any], folder: Path) -> list[Snapshot]:
    """Writes config, class and weights into `folder`. Weights are random, or those of a file: a state dict in UNICOM's
    layout, whose keys may begin with `module.`.

    Raises:
        ConfigError: the file does not fit the architecture.
    """
    weights = weight_file(definition) if "weights" in definition else None
    architecture = definition["architecture"]
    architecture = VIT_B_32 if architecture == "ViT-B-32" else dict(architecture)
    if weights is None:
        torch.manual_seed(definition["seed"])
    try:
        model = UnicomViT(**architecture)
        if weights is not None:
            stored = torch.load(weights, map_location="cpu", weights_only=True)
            model.load_state_dict({key.removeprefix("module."): value.float() for key, value in stored.items()})
    except Exception as error:  # torch.load raises errors of several kinds for what is not a weight file
        raise ConfigError(
            f"config: encoders.{name}: {weights or architecture} does not fit UNICOM's tower: {first_line(error)}"
        ) from error
    mean, std = definition.get("mean", MEAN), definition.get("std", STD)
    write_json(folder / CONFIG, {"architecture": architecture, "mean": list(mean), "std": list(std)})
    shutil.copyfile(SOURCE, folder / SOURCE.name)
    save(model, folder / WEIGHTS)
    return []


def load(folder: Path) -> Encoder:
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    model = load_unicom_vit(folder)
    side, mean, std = config["architecture"]["image_px"], as_floats(config["mean"]), as_floats(config["std"])
    return Encoder(
        family="unicom",
        dim=config["architecture"]["dim"],
        image_px=side,
        mean=mean,
        std=std,
        interpolation="bicubic",
        transform=transforms.Compose(
            [
                transforms.Resize(side, transforms.InterpolationMode.BICUBIC),
                transforms.CenterCrop(side),
                transforms.ToTensor(),
                transforms.Normalize(mean, std),
            ]
        ),
        tower=model,
        model=model,
    )
