"""RandAugment (Cubuk et al., CVPR workshops 2020) of whole batches on the training device, drawn by timm picture by picture.

The operations on a picture are drawn where it is read, by timm's own objects, changed only to record an operation instead of
applying it. Recorded operations are applied here with Pillow's arithmetic, within one grey level of timm's operations on
Pillow's pictures. No operation waits for the device.
"""

import math
import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

# An operation is a row of numbers: what is done, the filter of an affine one, and six arguments.
WIDTH = 8
NOTHING, AFFINE, COLOR, SHARPNESS = range(4)
AUTO_CONTRAST, EQUALIZE, SOLARIZE, SOLARIZE_ADD, POSTERIZE, BRIGHTNESS, CONTRAST = range(4, 11)
# Pillow's numbers.
NEAREST, BILINEAR, BICUBIC = 0, 2, 3
# Pillow truncates to integers; float32 may lie this much below an integer that float64 reaches.
ROUNDING = 1e-3
LEVELS = 256


class DrawnOperations:
    """Draws the operations of timm's RandAugment `law`; changes `law` to record them instead of applying them.

    Raises:
        ValueError: an operation that is not known here.
    """

    def __init__(self, law: Any, px: int) -> None:
        self.law = law
        for operation in law.ops:
            name = operation.name.removesuffix("Increasing").removesuffix("Rel")
            if name not in NOTED:
                raise ValueError(f"RandAugment: there is no operation '{operation.name}'")
            operation.aug_fn = partial(_note, NOTED[name], px)

    def __call__(self) -> Tensor:
        """(layers, WIDTH) float32, drawn from Python's and numpy's random numbers; rows of zeros do nothing."""
        noted: list[list[float]] = self.law([])
        return torch.tensor(noted + [[0.0] * WIDTH] * (self.law.num_layers - len(noted)), dtype=torch.float32)


def _note(
    arguments: Callable[..., list[float]], px: int, noted: list[list[float]], *level: float, resample: Any, **_: Any
) -> list[list[float]]:
    """Replaces an operation of timm: it takes and returns a list of rows instead of a picture."""
    what, *numbers = arguments(px, *level)
    filtered = 0
    if what == AFFINE:
        filtered = int(random.choice(resample) if isinstance(resample, Sequence) else resample)
        # Pillow's affine transforms have these filters alone; bicubic is the closest to lanczos.
        filtered = filtered if filtered in (NEAREST, BILINEAR) else BICUBIC
    return [*noted, [what, filtered, *numbers, *[0.0] * (WIDTH - 2 - len(numbers))]]


def _rotation(px: int, degrees: float) -> list[float]:
    """Pillow's matrix about the centre."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    centre = px / 2
    return [AFFINE, cosine, -sine, centre * (1 - cosine + sine), sine, cosine, centre * (1 - cosine - sine)]


def _posterize(px: int, bits: int) -> list[float]:
    # At its strongest it asks for no bits: a black picture, and an error in newer versions of Pillow. One bit is kept.
    return [POSTERIZE, LEVELS >> min(max(bits, 1), 8)]


# What timm's operations note, by their names: the operation and its arguments, from the side of the picture and the level.
NOTED: dict[str, Callable[..., list[float]]] = {
    "AutoContrast": lambda px: [AUTO_CONTRAST],
    "Equalize": lambda px: [EQUALIZE],
    "Invert": lambda px: [SOLARIZE, 0],
    "Rotate": _rotation,
    "Posterize": _posterize,
    "Solarize": lambda px, threshold: [SOLARIZE, threshold],
    "SolarizeAdd": lambda px, added: [SOLARIZE_ADD, added],
    "Color": lambda px, factor: [COLOR, factor],
    "Contrast": lambda px, factor: [CONTRAST, factor],
    "Brightness": lambda px, factor: [BRIGHTNESS, factor],
    "Sharpness": lambda px, factor: [SHARPNESS, factor],
    "ShearX": lambda px, factor: [AFFINE, 1, factor, 0, 0, 1, 0],
    "ShearY": lambda px, factor: [AFFINE, 1, 0, 0, factor, 1, 0],
    "TranslateX": lambda px, share: [AFFINE, 1, 0, share * px, 0, 1, 0],
    "TranslateY": lambda px, share: [AFFINE, 1, 0, 0, 0, 1, share * px],
}


def carried_out(pictures: Tensor, operations: Tensor, fill: Tensor) -> Tensor:
    """Carries out what was drawn, layer by layer.

    Args:
        pictures: (b, 3, h, w) uint8, changed in place.
        operations: (b, layers, WIDTH) float32 on the CPU.
        fill: (3,) uint8 on the device of the pictures, which stands where an affine operation finds no picture.
    """
    on_device = operations.to(pictures.device, non_blocking=True)
    for layer in range(operations.shape[1]):
        noted = operations[:, layer]
        for rows, change in _groups(noted):
            rows = rows.to(pictures.device, non_blocking=True)
            arguments = on_device[:, layer].index_select(0, rows)[:, 2:, None, None]
            pictures.index_copy_(0, rows, change(pictures.index_select(0, rows), arguments.unbind(1), fill))
    return pictures


Change = Callable[[Tensor, Sequence[Tensor], Tensor], Tensor]


def _groups(noted: Tensor) -> list[tuple[Tensor, Change]]:
    """The rows that can be changed together, and how: found on the CPU, so that no device is asked."""
    what = noted[:, 0]
    found: list[tuple[Tensor, Change]] = []
    if bool((affine := what == AFFINE).any()):
        moves = (noted[:, 2:] != torch.tensor([1.0, 0, 0, 0, 1, 0])).view(-1, 2, 3).any(2)
        for filtered in (NEAREST, BILINEAR, BICUBIC):
            among = affine & (noted[:, 1] == filtered)
            found += [(among & moves[:, 0] & ~moves[:, 1], partial(_moved_along, 3, filtered))]
            found += [(among & moves[:, 1] & ~moves[:, 0], partial(_moved_along, 2, filtered))]
            found += [(among & moves.all(1), partial(_moved, filtered))]
    found += [(what == kind, partial(_by_table, table)) for kind, table in TABLES.items()]
    found += [(what == COLOR, partial(_enhanced, _grey)), (what == SHARPNESS, partial(_enhanced, _smoothed))]
    rows = [(torch.nonzero(chosen).squeeze(1), change) for chosen, change in found]
    return [(chosen, change) for chosen, change in rows if len(chosen)]


def _moved_along(dim: int, filtered: int, pictures: Tensor, matrix: Sequence[Tensor], fill: Tensor) -> Tensor:
    """Affine, where nothing leaves its row (dim 3) or its column (dim 2): each of them slides as a whole."""
    _, b, c, d, _, f = matrix
    slope, start = (b, c) if dim == 3 else (d, f)
    across = _middles(pictures, 5 - dim)
    slide = slope[:, None] * across + start[:, None]
    first, weights = _taps(filtered, slide)
    size = pictures.shape[dim]
    along = torch.arange(size + len(weights) - 1, dtype=torch.int32, device=pictures.device)
    along = along if dim == 3 else along[:, None]
    read = pictures.gather(dim, (along + first).clamp(0, size - 1).long().expand(-1, pictures.shape[1], -1, -1)).float()
    result = read.narrow(dim, 0, size) * weights[0]
    for number, weight in enumerate(weights[1:], start=1):
        result.addcmul_(read.narrow(dim, number, size), weight)
    place = _middles(pictures, dim) + slide
    return torch.where((place >= 0) & (place < size), _whole(result), fill[:, None, None])


def _moved(filtered: int, pictures: Tensor, matrix: Sequence[Tensor], fill: Tensor) -> Tensor:
    """Affine: what lies at (x, y) comes from `matrix` times (x, y, 1), with x and y at the middles of pixels."""
    n, channels, height, width = pictures.shape
    a, b, c, d, e, f = matrix
    x, y = _middles(pictures, 3), _middles(pictures, 2)
    from_x, from_y = a * x + b * y + c, d * x + e * y + f
    first_column, of_columns = _taps(filtered, from_x - 0.5)
    first_row, of_rows = _taps(filtered, from_y - 0.5)
    # The channels of a pixel are packed into one number, since random access to memory takes most of the time.
    bits = 8 * torch.arange(channels, dtype=torch.int32, device=pictures.device)[:, None, None]
    packed = (pictures.int() << bits).sum(1, dtype=torch.int32).flatten()
    result = torch.zeros(channels, n, height, width, device=pictures.device)
    columns = [(first_column + number).clamp(0, width - 1) for number in range(len(of_columns))]
    start = torch.arange(n, dtype=torch.int32, device=pictures.device)[:, None, None] * (height * width)
    for number, of_row in enumerate(of_rows):
        row = (first_row + number).clamp(0, height - 1) * width + start
        for column, of_column in zip(columns, of_columns, strict=True):
            found = packed.index_select(0, (row + column).flatten()).view(n, height, width)
            weight = of_row * of_column
            for channel in range(channels):
                result[channel].addcmul_((found >> 8 * channel) & (LEVELS - 1), weight)
    result = result.transpose(0, 1)
    inside = (from_x >= 0) & (from_x < width) & (from_y >= 0) & (from_y < height)
    return torch.where(inside[:, None], _whole(result), fill[:, None, None])


def _middles(pictures: Tensor, dim: int) -> Tensor:
    """The middles of the pixels along a dimension, for broadcasting."""
    middles = torch.arange(pictures.shape[dim], device=pictures.device) + 0.5
    return middles if dim == 3 else middles[:, None]


def _taps(filtered: int, at: Tensor) -> tuple[Tensor, list[Tensor]]:
    """For each place, the first pixel (int32) that a filter reads, and the weights of all that it reads.

    Args:
        at: places, where the middle of pixel i lies at i. Pillow's bicubic filter has a = -1.
    """
    if filtered == NEAREST:
        return (at + 0.5).floor().int(), [torch.ones_like(at)]
    first = at.floor()
    d = at - first
    if filtered == BILINEAR:
        return first.int(), [1 - d, d]
    weights = [d * (-1 + d * (2 - d)), 1 + d * d * (d - 2), d * (1 + d * (1 - d)), d * d * (d - 1)]
    return first.int() - 1, weights


def _whole(values: Tensor) -> Tensor:
    """As Pillow makes grey levels of numbers; changes `values`."""
    return values.add_(ROUNDING).clamp_(0, LEVELS - 1).to(torch.uint8)


def _by_table(
    table: Callable[[Tensor, Tensor], Tensor], pictures: Tensor, arguments: Sequence[Tensor], fill: Tensor
) -> Tensor:
    """Each grey level of a channel becomes another: `table` gives (n, 1 or 3, 256) of pictures and an argument (n, 1, 1)."""
    levels = table(pictures, arguments[0]).clamp(0, LEVELS - 1).to(torch.uint8).expand(-1, 3, -1)
    return levels.gather(2, pictures.flatten(2).long()).view_as(pictures)


def _levels(like: Tensor) -> Tensor:
    return torch.arange(LEVELS, device=like.device)


def _auto_contrast(pictures: Tensor, _: Tensor) -> Tensor:
    low, high = (edge(pictures.flatten(2), 2).double()[:, :, None] for edge in (torch.amin, torch.amax))
    levels = _levels(pictures)
    scale = (LEVELS - 1) / (high - low)
    return torch.where(high > low, levels * scale - low * scale, levels).nan_to_num()


def _equalized(pictures: Tensor, _: Tensor) -> Tensor:
    # Whole numbers: their sum is the same in any order.
    counts = torch.zeros(*pictures.shape[:2], LEVELS, dtype=torch.int64, device=pictures.device)
    pixels = pictures.flatten(2).long()
    counts.scatter_add_(2, pixels, torch.ones_like(pixels))
    upto = counts.cumsum(2)
    of_highest = counts.gather(2, pixels.amax(2, keepdim=True))
    step = (upto[:, :, -1:] - of_highest) // (LEVELS - 1)
    before = upto - counts
    return torch.where(step > 0, (step // 2 + before) // step.clamp(min=1), _levels(pictures))


def _solarized(pictures: Tensor, threshold: Tensor) -> Tensor:
    levels = _levels(pictures)
    return torch.where(levels < threshold, levels, LEVELS - 1 - levels)


def _solarized_by_adding(pictures: Tensor, added: Tensor) -> Tensor:
    levels = _levels(pictures)
    return torch.where(levels < LEVELS // 2, levels + added, levels)


def _posterized(pictures: Tensor, steps: Tensor) -> Tensor:
    """Multiples of `steps` alone."""
    return (_levels(pictures) / steps).floor() * steps


def _brightened(pictures: Tensor, factor: Tensor) -> Tensor:
    return _blended(torch.zeros_like(factor), _levels(pictures), factor)


def _contrasted(pictures: Tensor, factor: Tensor) -> Tensor:
    mean = (_grey(pictures).flatten(1).double().mean(1) + 0.5).floor().float()[:, None, None]
    return _blended(mean, _levels(pictures), factor)


TABLES: dict[int, Callable[[Tensor, Tensor], Tensor]] = {
    AUTO_CONTRAST: _auto_contrast,
    EQUALIZE: _equalized,
    SOLARIZE: _solarized,
    SOLARIZE_ADD: _solarized_by_adding,
    POSTERIZE: _posterized,
    BRIGHTNESS: _brightened,
    CONTRAST: _contrasted,
}


def _enhanced(plain: Callable[[Tensor], Tensor], pictures: Tensor, arguments: Sequence[Tensor], fill: Tensor) -> Tensor:
    return _blended(plain(pictures), pictures, arguments[0][:, None])


def _blended(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    """`first` where the share is 0, `second` where it is 1, and beyond."""
    first, second = first.float(), second.float()
    return _whole(first + share * (second - first))


def _grey(pictures: Tensor) -> Tensor:
    """(n, 1, h, w) int32: Pillow's mode L (ITU-R 601-2)."""
    red, green, blue = pictures.int().unbind(1)
    return ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16)[:, None]


def _smoothed(pictures: Tensor) -> Tensor:
    """Pillow's filter SMOOTH: the mean of nine pixels, of which the middle one counts five times; the edge stays."""
    whole = pictures.int()
    middle = whole[:, :, 1:-1, 1:-1]
    three = whole[:, :, :-2] + whole[:, :, 1:-1] + whole[:, :, 2:]
    nine = three[..., :-2] + three[..., 1:-1] + three[..., 2:]
    whole[:, :, 1:-1, 1:-1] = (2 * (nine + 4 * middle) + 13) // 26
    return whole
