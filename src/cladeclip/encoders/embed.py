"""Embeddings of pictures, of captions, and of both together."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cladeclip.datasets.pictures import open_picture
from cladeclip.encoders.encoder import Encoder, choose_device
from cladeclip.errors import DataError
from cladeclip.progress import progress

logger = logging.getLogger(__name__)


class _Pictures(Dataset[Tensor]):
    def __init__(self, root: Path, image_ids: Sequence[str], encoder: Encoder, fast: bool) -> None:
        self.root, self.image_ids = root, list(image_ids)
        self.transform = encoder.transform
        # Twice the side that the tower sees leaves the resize something to average over.
        self.reduce_to = 2 * encoder.image_px if fast else None

    def __len__(self) -> int:
        return len(self.image_ids)

    def __getitem__(self, index: int) -> Tensor:
        image_id = self.image_ids[index]
        try:
            return self.transform(open_picture(self.root / image_id, self.reduce_to))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise DataError(
                f"{image_id}: could be read when the data was prepared, but not now ({error}); "
                "restore the file, or run snakemake again to have it quarantined."
            ) from error


def embed_images(
    encoder: Encoder,
    root: str | Path,
    image_ids: Sequence[str],
    *,
    batch_size: int,
    workers: int,
    decode: str = "fast",
    device: str = "auto",
) -> np.ndarray:
    """Embeddings (n, dim) float32 of the pictures `image_ids` below `root`, not normalised.

    Every batch has the same shape (the last one is padded), so that a row does not depend on its neighbours.

    Args:
        workers: processes that decode and transform; 0 does it in this one. The result does not depend on it.
        decode: `fast` lets the JPEG decoder reduce large pictures; `exact` decodes them at full size.

    Raises:
        DataError: a picture cannot be read any more.
    """
    where = choose_device(device)
    encoder = encoder.to(where)
    embeddings = np.empty((len(image_ids), encoder.dim), dtype=np.float32)
    pictures = _Pictures(Path(root), image_ids, encoder, fast=decode == "fast")
    loader = DataLoader(pictures, batch_size, num_workers=workers, pin_memory=where.type == "cuda")
    bar = progress(total=len(image_ids), desc="embedding", unit="pictures")
    start = 0
    for batch in loader:
        n = len(batch)
        if n < batch_size:
            batch = torch.cat([batch, batch.new_zeros(batch_size - n, *batch.shape[1:])])
        embeddings[start : start + n] = encoder.encode_images(batch.to(where, non_blocking=True))[:n].cpu().numpy()
        start += n
        bar.update(n)
    bar.close()
    return embeddings


def embed_texts(encoder: Encoder, captions: Sequence[str], *, batch_size: int, device: str = "auto") -> np.ndarray:
    """Embeddings (n, dim) float32 of captions, not normalised; equal captions are encoded once.

    Raises:
        ConfigError: the encoder has no text tower.
    """
    encoder = encoder.to(choose_device(device))
    encode = encoder.text_encoder()
    distinct = sorted(set(captions))
    rows = []
    starts = range(0, len(distinct), batch_size)
    for start in progress(starts, total=len(starts), desc="embedding captions", unit="batches"):
        batch = distinct[start : start + batch_size]
        padded = batch + [""] * (batch_size - len(batch))
        rows.append(encode(padded)[: len(batch)].cpu().numpy())
    position = {caption: row for row, caption in enumerate(distinct)}
    return np.concatenate(rows)[[position[caption] for caption in captions]]
