"""Hand-crafted features: colour and edge histograms. The comparison's lower baseline, and the demo's teacher.

Colour: a joint hue-saturation histogram of the whole picture, weighted by saturation. Edges: histograms of gradient
orientation, weighted by magnitude, on a grid of cells (Dalal and Triggs, CVPR 2005, without block normalisation). Each
part is scaled to unit sum and its square root taken, so that the dot product of two parts is their Bhattacharyya
coefficient.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from cladeclip.encoders.encoder import Encoder
from cladeclip.hub import Snapshot
from cladeclip.io.atomic import read_json, write_json

CONFIG = "handcrafted.json"
HUES, SATURATIONS = 16, 6
GRID, ORIENTATIONS = 4, 8
DIM = HUES * SATURATIONS + GRID * GRID * ORIENTATIONS


def source(definition: Mapping[str, Any]) -> None:
    """There are no weights."""


def make(name: str, definition: Mapping[str, Any], folder: Path) -> list[Snapshot]:
    write_json(folder / CONFIG, {"image_px": definition.get("image_px", 96)})
    return []


def load(folder: Path) -> Encoder:
    return handcrafted_encoder(**read_json(folder / CONFIG))


def handcrafted_encoder(image_px: int = 96) -> Encoder:
    def transform(image: Image.Image) -> Tensor:
        return torch.from_numpy(histograms(image.resize((image_px, image_px), Image.Resampling.BICUBIC)))

    identity = nn.Identity()
    return Encoder(
        family="handcrafted",
        dim=DIM,
        image_px=image_px,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        interpolation="bicubic",
        transform=transform,
        tower=identity,
        model=identity,
    )


def histograms(image: Image.Image) -> np.ndarray:
    """The features (DIM,) float32 of an RGB picture; their squared norm is 2 (less where there is no colour or no edge)."""
    return np.concatenate([_colour(image), _edges(image)]).astype(np.float32)


def _colour(image: Image.Image) -> np.ndarray:
    hsv = np.asarray(image.convert("HSV"), dtype=np.int64)
    hue, saturation = hsv[..., 0] * HUES // 256, hsv[..., 1] * SATURATIONS // 256
    # Weighted by saturation: the hue of a grey backdrop is noise, and there is a lot of it.
    bins, weights = (hue * SATURATIONS + saturation).ravel(), hsv[..., 1].ravel() / 255
    counts = np.bincount(bins, weights=weights, minlength=HUES * SATURATIONS)
    return np.sqrt(counts / max(counts.sum(), 1e-12))


def _edges(image: Image.Image) -> np.ndarray:
    grey = np.asarray(image.convert("L"), dtype=np.float64)
    down, right = np.gradient(grey)
    magnitude = np.hypot(down, right)
    # Orientation without direction: dark on light and light on dark are the same edge.
    orientation = (
        np.floor(np.mod(np.arctan2(down, right), np.pi) / np.pi * ORIENTATIONS).astype(np.int64) % ORIENTATIONS
    )
    rows = np.arange(grey.shape[0])[:, None] * GRID // grey.shape[0]
    columns = np.arange(grey.shape[1])[None, :] * GRID // grey.shape[1]
    bins = (rows * GRID + columns) * ORIENTATIONS + orientation
    weights = np.bincount(bins.ravel(), weights=magnitude.ravel(), minlength=GRID * GRID * ORIENTATIONS)
    return np.sqrt(weights / max(weights.sum(), 1e-12))
