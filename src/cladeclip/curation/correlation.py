"""Whether one picture shows what another one or a part of it shows: correlation of their details at the best alignment."""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

# A part is as large as the whole, or smaller by at most so much.
SMALLEST = 0.64
# A window of less contrast than this, in grey levels, shows nothing.
CONTRAST = 1.0


class Level(NamedTuple):
    """How closely two pictures are compared.

    Attributes:
        side: longer side, in pixels.
        sizes: of the part, which are tried.
        width: what is smoother than so many pixels is taken away, since backgrounds and shades are alike in many pictures.
    """

    side: int
    sizes: int
    width: int


COARSE, FINE = Level(32, 10, 5), Level(64, 22, 7)
# Pictures that are less alike than this at the coarse level are not compared at the fine one, which takes longer.
PROMISING = 0.7


def correlation(one: Image.Image, other: Image.Image) -> float:
    """The highest normalised cross-correlation, -1 to 1, of one picture's details with a part of the other's, either way.

    Scale and place of the part are searched for, and its mirror image. For each it is what OpenCV's `matchTemplate` computes
    with `TM_CCOEFF_NORMED`.

    Args:
        one, other: grey.
    """
    coarse = _either_way(one, other, COARSE)
    return _either_way(one, other, FINE) if coarse >= PROMISING else coarse


def _either_way(one: Image.Image, other: Image.Image, level: Level) -> float:
    return max(_in_part_of(one, other, level), _in_part_of(other, one, level))


def _in_part_of(part: Image.Image, whole: Image.Image, level: Level) -> float:
    shrink = level.side / max(whole.size)
    width, height = (max(level.width + 1, round(side * shrink)) for side in whole.size)
    image = _details(whole, (width, height), level.width)
    fit = min(width / part.width, height / part.height)
    scales = np.linspace(SMALLEST, 1.0, level.sizes)
    sizes = {(min(width, round(part.width * fit * s)), min(height, round(part.height * fit * s))) for s in scales}
    tried = (_highest(image, _details(part, size, level.width)) for size in sizes if min(size) > level.width)
    return max(tried, default=-1.0)


def _details(picture: Image.Image, size: tuple[int, int], width: int) -> Tensor:
    """The picture, resized to (width, height), as (1, 1, height, width) float32 without what is smooth."""
    pixels = np.asarray(picture.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0), dtype=np.float32)
    image = torch.from_numpy(pixels)[None, None]
    return image - F.avg_pool2d(F.pad(image, (width // 2,) * 4, mode="replicate"), width, 1)


def _highest(image: Tensor, template: Tensor) -> float:
    """The highest correlation of a template and its mirror image with windows of an image."""
    size = template.shape[-2:]
    n = template.numel()
    template = template - template.mean()
    if template.norm() < CONTRAST * n**0.5:
        return -1.0
    template = template / template.norm()
    sums = F.conv2d(image, torch.cat([template, template.flip(-1)]))
    mean = F.avg_pool2d(image, size, 1)
    variance = (F.avg_pool2d(image.square(), size, 1) - mean.square()).clamp(min=0.0)
    return float((sums / (variance * n).sqrt().clamp(min=CONTRAST * n**0.5)).max())
