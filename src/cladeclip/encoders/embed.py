"""Embeddings of pictures, of captions, and of both together."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cladeclip.datasets.pictures import open_picture
from cladeclip.encoders.encoder import Encoder, choose_device
from cladeclip.encoders.row_cache import RowCache
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
    batches = _embedded_batches(encoder, root, image_ids, batch_size, workers, decode, device)
    rows = [rows for _, rows in batches]
    return np.concatenate(rows) if rows else np.empty((0, encoder.dim), dtype=np.float32)


def embed_missing_images(
    encoder: Encoder,
    root: str | Path,
    image_ids: Sequence[str],
    content_hashes: Sequence[str],
    cache: RowCache,
    *,
    batch_size: int,
    workers: int,
    decode: str = "fast",
    device: str = "auto",
) -> np.ndarray:
    """As `embed_images`, but computes only the pictures whose content the cache does not know, and adds them to it."""
    missing = cache.missing(content_hashes)
    computed = 0
    wanted = [image_ids[i] for i in missing]
    for start, rows in _embedded_batches(encoder, root, wanted, batch_size, workers, decode, device):
        cache.add([content_hashes[i] for i in missing[start : start + len(rows)]], rows)
        computed += len(rows)
    cache.save()
    logger.info("embedded %s, reused %s", f"{computed:,}", f"{len(image_ids) - computed:,}")
    return cache.take(content_hashes)


def _embedded_batches(
    encoder: Encoder,
    root: str | Path,
    image_ids: Sequence[str],
    batch_size: int,
    workers: int,
    decode: str,
    device: str,
) -> Iterator[tuple[int, np.ndarray]]:
    """Pairs of a position in `image_ids` and the embeddings (b, dim) from there on."""
    if not image_ids:
        return
    where = choose_device(device)
    encoder = encoder.to(where)
    pictures = _Pictures(Path(root), image_ids, encoder, fast=decode == "fast")
    loader = DataLoader(pictures, batch_size, num_workers=workers, pin_memory=where.type == "cuda")
    bar = progress(total=len(image_ids), desc="embedding", unit="pictures")
    start = 0
    for batch in loader:
        n = len(batch)
        if n < batch_size:
            batch = torch.cat([batch, batch.new_zeros(batch_size - n, *batch.shape[1:])])
        yield start, encode_in_halves(encoder, batch.to(where, non_blocking=True))[:n].cpu().numpy()
        start += n
        bar.update(n)
    bar.close()


def encode_in_halves(encoder: Encoder, batch: Tensor) -> Tensor:
    """The batch's embeddings; where the GPU's memory does not hold it, half after half."""
    try:
        return encoder.encode_images(batch)
    except torch.cuda.OutOfMemoryError:
        if len(batch) == 1:
            raise
        logger.warning("the GPU's memory does not hold a batch of %d: halved; lower embed.batch_size.", len(batch))
    torch.cuda.empty_cache()
    middle = len(batch) // 2
    return torch.cat([encode_in_halves(encoder, half) for half in (batch[:middle], batch[middle:])])


def embed_texts(encoder: Encoder, captions: Sequence[str], *, batch_size: int, device: str = "auto") -> np.ndarray:
    """Embeddings (n, dim) float32 of captions, not normalised; equal captions are encoded once.

    Captions longer than the text tower's context are cut at a word, and the log says how many.

    Raises:
        ConfigError: the encoder has no text tower.
    """
    encoder = encoder.to(choose_device(device))
    encode = encoder.text_encoder()
    distinct = sorted(set(captions))
    cut = {caption: short for caption in distinct if (short := cut_to_context(caption, encoder)) != caption}
    if cut:
        n = sum(caption in cut for caption in captions)
        logger.info("%d of %d captions were longer than %d tokens and cut.", n, len(captions), encoder.context_length)
    rows = []
    starts = range(0, len(distinct), batch_size)
    for start in progress(starts, total=len(starts), desc="embedding captions", unit="batches"):
        batch = [cut.get(caption, caption) for caption in distinct[start : start + batch_size]]
        padded = batch + [""] * (batch_size - len(batch))
        rows.append(encode(padded)[: len(batch)].cpu().numpy())
    position = {caption: row for row, caption in enumerate(distinct)}
    return np.concatenate(rows)[[position[caption] for caption in captions]]


def cut_to_context(caption: str, encoder: Encoder) -> str:
    """The caption's longest run of whole words, from the first on, that the text tower sees whole."""
    if encoder.count_tokens is None or encoder.count_tokens(caption) <= encoder.context_length:
        return caption
    words = caption.split()
    fits, too_many = 0, len(words)
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        if encoder.count_tokens(" ".join(words[:middle])) <= encoder.context_length:
            fits = middle
        else:
            too_many = middle
    return " ".join(words[:fits]) or caption  # a single word that is too long: the tokenizer cuts it
