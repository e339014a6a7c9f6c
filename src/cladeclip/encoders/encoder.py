"""The interface of all encoders."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from cladeclip.errors import ConfigError

TextEncoder = Callable[[Sequence[str]], Tensor]


@dataclass
class Encoder:
    """An image tower with its transform and, where the model has one, its text tower.

    Attributes:
        family: its name, see `specs.py`.
        dim: length of an embedding.
        image_px: side of the square that the tower sees.
        mean, std: of the normalisation, per channel.
        interpolation: of the resize, as in the model's config.
        transform: an RGB picture to what the tower takes: a (3, image_px, image_px) float32 tensor.
        tower: maps a batch of those to embeddings (n, dim); has gradients where the encoder can be a student.
        model: the whole model that a checkpoint holds, of which `tower` is a part (or all).
        encode_text: captions to embeddings (n, dim); None where there is no text tower.
        count_tokens: the number of tokens of a caption, with those that mark its start and end.
        context_length: the most tokens that the text tower sees.
    """

    family: str
    dim: int
    image_px: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    transform: Callable[[Image.Image], Tensor]
    tower: nn.Module
    model: nn.Module
    encode_text: TextEncoder | None = None
    count_tokens: Callable[[str], int] | None = None
    context_length: int = 0

    @torch.inference_mode()
    def encode_images(self, batch: Tensor) -> Tensor:
        """Embeddings (n, dim) float32, not normalised, on the batch's device."""
        self.tower.eval()
        return self.tower(batch).float()

    def text_encoder(self) -> TextEncoder:
        """The text tower.

        Raises:
            ConfigError: the encoder has none.
        """
        if self.encode_text is None:
            raise ConfigError(f"this {self.family} encoder has no text tower; use features: image.")
        return self.encode_text

    def to(self, device: str | torch.device) -> "Encoder":
        self.model.to(device)
        self.tower.to(device)
        return self


def half_precision(device: torch.device, precision: str) -> torch.autocast:
    """fp16 autocast on CUDA with precision `auto`, as in open_clip; disabled with `fp32` or on other devices."""
    return torch.autocast(device.type, torch.float16, enabled=precision_used(device, precision) == "fp16")


def precision_used(device: torch.device, precision: str) -> str:
    """`fp16` or `fp32`, as `half_precision` does it."""
    return "fp16" if precision == "auto" and device.type == "cuda" else "fp32"


def as_floats(values: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
