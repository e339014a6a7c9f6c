"""Vision towers of the transformers library (DINOv2, Florence-2, ...): the embedding is the mean of the patch tokens.

For Florence-2 it is the mean of the tokens that its language model reads, as in the work that this software follows.
"""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, AutoImageProcessor, AutoModel, __version__

from cladeclip.encoders.encoder import Encoder, as_floats
from cladeclip.encoders.hub_sources import AROUND, TRANSFORMERS_WEIGHTS, HubSource
from cladeclip.encoders.specs import HUB, LOCAL, WEIGHTS
from cladeclip.encoders.weights import from_hub
from cladeclip.errors import ConfigError, first_line
from cladeclip.hub import Snapshot

ONE_FILE = "100GB"
# Attributes that hold the vision tower of vision-language models.
TOWER_NAMES = ("vision_tower", "vision_model")


class PatchMean(nn.Module):
    """A batch (n, 3, h, w) to the mean (n, dim) of the tower's patch tokens.

    Tokens before the patches (class, registers) are left out; a map (n, dim, rows, columns) is averaged over its places.
    """

    def __init__(self, tower: Any) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, batch: Tensor) -> Tensor:
        tokens = self.tower(batch).last_hidden_state
        if tokens.ndim == 4:
            return tokens.flatten(2).mean(2)
        patch = self.tower.config.patch_size
        patches = (batch.shape[2] // patch) * (batch.shape[3] // patch)
        return tokens[:, -patches:].mean(1)


class ProjectedMean(nn.Module):
    """A batch (n, 3, h, w) to the mean (n, dim) of a vision-language model's projected image tokens.

    For Florence-2 these are one for the whole picture and one for each position of the tower's map, with position
    embeddings, projected and normalised.
    """

    def __init__(self, tower: Any, projector: Any) -> None:
        super().__init__()
        self.tower, self.projector = tower, projector

    def forward(self, batch: Tensor) -> Tensor:
        return self.projector(self.tower(batch).last_hidden_state).mean(1)


def _tower(model: Any) -> nn.Module:
    """The part of a model that makes an embedding of a picture."""
    tower = next((getattr(model, name) for name in TOWER_NAMES if hasattr(model, name)), model)
    if model.config.model_type == "florence2":
        return ProjectedMean(tower, model.multi_modal_projector)
    return PatchMean(tower)


def load(folder: Path) -> Encoder:
    """The encoder of a folder that `transformers.AutoModel` and `AutoImageProcessor` load."""
    model: Any = AutoModel.from_pretrained(folder, dtype=torch.float32)
    processor: Any = AutoImageProcessor.from_pretrained(folder)
    tower = _tower(model).eval()

    def transform(image: Image.Image) -> Tensor:
        return processor(images=image, return_tensors="pt")["pixel_values"][0]

    # Any processed picture shows the tower's input size.
    sample = transform(Image.fromarray(np.zeros((64, 64, 3), dtype=np.uint8)))
    with torch.inference_mode():
        dim = int(tower(sample[None]).shape[1])
    return Encoder(
        family="transformers",
        dim=dim,
        image_px=int(sample.shape[-1]),
        mean=as_floats(processor.image_mean),
        std=as_floats(processor.image_std),
        interpolation="bicubic",
        transform=transform,
        tower=tower,
        model=model,
    )


def source(definition: Mapping[str, Any]) -> HubSource | None:
    """Where the weights lie on the hub, if it is a repository that is named."""
    architecture = definition["architecture"]
    if not architecture.startswith(HUB):
        return None
    return HubSource(architecture.removeprefix(HUB), definition.get("revision", "main"), TRANSFORMERS_WEIGHTS, AROUND)


def make(name: str, definition: Mapping[str, Any], folder: Path) -> list[Snapshot]:
    """Copies model and image processor of a repository or a folder, the weights as safetensors."""
    found = source(definition)
    fetched = from_hub(name, definition, found, folder) if found else None
    local = str(fetched.folder) if fetched else definition["architecture"].removeprefix(LOCAL)
    try:
        AutoModel.from_pretrained(local, dtype=torch.float32).save_pretrained(folder, max_shard_size=ONE_FILE)
        AutoImageProcessor.from_pretrained(local).save_pretrained(folder)
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"config: encoders.{name}.architecture {definition['architecture']!r} cannot be loaded: {first_line(error)}"
        ) from error
    return [fetched] if fetched else []


def save(model: Any, path: Path) -> None:
    """Writes the weights with the library, which handles tied tensors and the names in files."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".saving") as temporary:
        model.save_pretrained(temporary, max_shard_size=ONE_FILE)
        Path(temporary, WEIGHTS).replace(path)


def differences(definition: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[tuple[bool, str]]:
    """Whether the library that is installed has the class of a repository's config."""
    named = theirs.get("model_type")
    yield named in CONFIG_MAPPING, f"transformers {__version__} and its class {named}"
