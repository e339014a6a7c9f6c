"""What an encoder looks at when it finds two pictures alike: Grad-CAM on the cosine of their embeddings, by captum.

Gradient times activation, summed over channels (HiResCAM, Draelos and Carin 2020): for networks that end in global average
pooling it equals Grad-CAM (Selvaraju et al. 2017), and it applies to the tokens of a transformer as well.
"""

import io
from collections.abc import Sequence
from math import isqrt
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import torch
from captum.attr import LayerGradientXActivation
from PIL import Image
from torch import Tensor, nn

from cladeclip.datasets.pictures import open_picture
from cladeclip.devices import choose_device
from cladeclip.encoders.encoder import Encoder
from cladeclip.errors import DataError

OVERLAY_PX = 96
JPEG_QUALITY = 80


def overlays(
    encoder: Encoder, root: str | Path, image_ids: Sequence[str], others: Sequence[str], *, device: str = "auto"
) -> pd.DataFrame:
    """What an encoder looks at in each image to find it like the other: columns of the `saliency` table.

    Raises:
        DataError: see `saliency`.
    """
    encoder.to(where := choose_device(device))
    pictures, compared = (
        torch.stack([encoder.transform(open_picture(Path(root, name))) for name in names])
        for names in (image_ids, others)
    )
    maps, cosines = saliency(encoder, pictures.to(where), compared.to(where))
    shown = [overlay(picture, found, encoder) for picture, found in zip(pictures, maps, strict=True)]
    return pd.DataFrame({"image_id": image_ids, "compared_with": others, "cosine": cosines, "overlay": shown})


def saliency(encoder: Encoder, pictures: Tensor, others: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """What in each picture makes its embedding like that of the other one.

    Args:
        pictures, others: (n, 3, h, w), as the encoder's transform gives them, on its device.

    Returns:
        Maps (n, rows, columns) float32 from 0 to 1 (the map's own maximum; all 0 where nothing supports the similarity), and
        the cosines (n,).

    Raises:
        DataError: no layer of the encoder has spatial positions.
    """
    tower = encoder.tower.eval()
    layer = spatial_layer(tower, pictures)
    with torch.no_grad():
        targets = nn.functional.normalize(tower(others).float(), dim=1)

    def cosines(batch: Tensor) -> Tensor:
        return (nn.functional.normalize(tower(batch).float(), dim=1) * targets).sum(dim=1)

    found = LayerGradientXActivation(cosines, layer).attribute(pictures)
    maps = _places(found.detach().float()).relu()
    highest = maps.flatten(1).amax(dim=1)[:, None, None]
    maps = torch.where(highest > 0, maps / highest.clamp_min(torch.finfo(maps.dtype).tiny), maps)
    with torch.no_grad():
        likeness = cosines(pictures)
    return maps.cpu().numpy(), likeness.cpu().numpy()


def spatial_layer(tower: nn.Module, batch: Tensor) -> nn.Module:
    """The last layer with spatial positions: of a transformer the normalisation before its last attention (after that,
    patch tokens no longer affect the class token), else the last that gives a map (n, channels, rows, columns).

    Raises:
        DataError: there is none.
    """
    called: list[nn.Module] = []
    shapes: dict[nn.Module, torch.Size] = {}

    def note(module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, Tensor):
            shapes[module] = output.shape

    hooks = [
        hook
        for module in tower.modules()
        for hook in (
            module.register_forward_pre_hook(lambda module, _inputs: called.append(module)),
            module.register_forward_hook(note),
        )
    ]
    try:
        with torch.no_grad():
            tower(batch[:1])
    finally:
        for hook in hooks:
            hook.remove()

    attentions = [place for place, module in enumerate(called) if "attention" in type(module).__name__.lower()]
    for module in reversed(called[: attentions[-1]] if attentions else []):
        shape = shapes.get(module, torch.Size())
        if isinstance(module, nn.LayerNorm) and len(shape) == 3 and shape[0] == 1 and isqrt(shape[1]) > 1:
            return module
    for module in reversed(called):
        shape = shapes.get(module, torch.Size())
        if len(shape) == 4 and shape[0] == 1 and min(shape[2:]) > 1:
            return module
    raise DataError("no layer of this encoder keeps places apart, so what it looks at cannot be shown.")


def _places(found: Tensor) -> Tensor:
    """Attributions summed over channels, as maps (n, rows, columns); tokens before the patches are left out."""
    if found.ndim == 4:
        return found.sum(dim=1)
    side = isqrt(found.shape[1])
    return found[:, -side * side :].sum(dim=2).reshape(len(found), side, side)


def overlay(picture: Tensor, saliency_map: np.ndarray, encoder: Encoder) -> bytes:
    """A picture as the encoder sees it, in grey, under its map in colour, as JPEG of OVERLAY_PX.

    Args:
        picture: (3, h, w), as the encoder's transform gives it.
        saliency_map: (rows, columns) from 0 to 1.
    """
    mean, std = (torch.tensor(values)[:, None, None] for values in (encoder.mean, encoder.std))
    seen = (picture.cpu() * std + mean).clamp(0, 1).mul(255).byte().permute(1, 2, 0).numpy()
    grey = np.asarray(Image.fromarray(seen).convert("L").resize((OVERLAY_PX, OVERLAY_PX)), dtype=np.float32) / 255
    grown = Image.fromarray(saliency_map.astype(np.float32)).resize((OVERLAY_PX, OVERLAY_PX), Image.Resampling.BICUBIC)
    heat = np.asarray(grown).clip(0, 1)
    # Inferno is read alike with any colour vision, and in print.
    colour = matplotlib.colormaps["inferno"](heat)[..., :3]
    opacity = 0.65 * heat[..., None]
    blended = (1 - opacity) * grey[..., None] + opacity * colour
    buffer = io.BytesIO()
    Image.fromarray((255 * blended).round().astype(np.uint8)).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()
