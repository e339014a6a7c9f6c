"""Embeddings of pictures and of captions."""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cladeclip.datasets.pictures import open_prepared
from cladeclip.devices import choose_device
from cladeclip.encoders.encoder import Encoder, half_precision
from cladeclip.io.embeddings import EmbeddingsWriter, embedding_column, embedding_rows, rows_per_piece
from cladeclip.io.row_cache import RowCache
from cladeclip.run.progress import progress

logger = logging.getLogger(__name__)

# Pictures that a core encodes at once: the activations of more do not fit its cache (three times slower at 64).
CPU_BATCH = 4

Batch = TypeVar("Batch", Tensor, list[str], list[Image.Image])
Made = TypeVar("Made")


class Pictures(Dataset[Tensor]):
    """Pictures of a folder as an encoder takes them."""

    def __init__(self, root: Path, image_ids: Sequence[str], encoder: Encoder, fast: bool) -> None:
        self.root, self.image_ids = root, list(image_ids)
        self.transform = encoder.transform
        # Twice the side that the tower sees leaves the resize something to average over.
        self.reduce_to = 2 * encoder.image_px if fast else None

    def __len__(self) -> int:
        return len(self.image_ids)

    def __getitem__(self, index: int) -> Tensor:
        return self.transform(open_prepared(self.root, self.image_ids[index], self.reduce_to))


def embed_images(
    encoder: Encoder,
    root: str | Path,
    image_ids: Sequence[str],
    *,
    batch_size: int,
    workers: int,
    decode: str = "fast",
    precision: str = "auto",
    device: str = "auto",
) -> np.ndarray:
    """Embeddings (n, dim) float32 of the pictures `image_ids` below `root`, not normalised.

    Every batch has the same shape (the last one is padded), so that a row does not depend on its neighbours.

    Args:
        batch_size: pictures that a GPU encodes at once; a CPU encodes CPU_BATCH.
        workers: with a GPU, processes that decode; without, threads that decode and encode. The result does not depend
            on their number.
        decode: `fast` lets the JPEG decoder reduce large pictures; `exact` decodes them at full size.
        precision: `auto` is fp16 autocast on CUDA and fp32 elsewhere; `fp32` is fp32 everywhere.

    Raises:
        DataError: a picture cannot be read any more.
    """
    rows = list(_embedded_images(encoder, root, image_ids, batch_size, workers, decode, precision, device))
    return np.concatenate(rows) if rows else np.empty((0, encoder.dim), dtype=np.float32)


def add_missing_images(
    encoder: Encoder,
    root: str | Path,
    image_ids: Sequence[str],
    content_hashes: Sequence[str],
    cache: RowCache,
    *,
    batch_size: int,
    workers: int,
    decode: str = "fast",
    precision: str = "auto",
    device: str = "auto",
) -> None:
    """As `embed_images`, for those pictures whose content the cache lacks; adds the rows to the cache."""

    def make(positions: list[int]) -> Iterator[pa.Array]:
        wanted = [image_ids[i] for i in positions]
        batches = _embedded_images(encoder, root, wanted, batch_size, workers, decode, precision, device)
        return map(embedding_column, batches)

    cache.fill(content_hashes, make, "embedded")


def embed_texts(
    encoder: Encoder, captions: Sequence[str], *, batch_size: int, precision: str = "auto", device: str = "auto"
) -> np.ndarray:
    """Embeddings (n, dim) float32 of captions, not normalised; equal captions are encoded once.

    Captions longer than the text tower's context are cut at a word.

    Raises:
        ConfigError: the encoder has no text tower.
    """
    distinct = sorted(set(captions))
    rows = list(_embedded_texts(encoder, distinct, batch_size, precision, device))
    position = {caption: row for row, caption in enumerate(distinct)}
    return np.concatenate(rows)[[position[caption] for caption in captions]]


def add_missing_texts(
    encoder: Encoder,
    captions: Sequence[str],
    caption_hashes: Sequence[str],
    cache: RowCache,
    *,
    batch_size: int,
    precision: str = "auto",
    device: str = "auto",
) -> None:
    """As `embed_texts`, for those captions that the cache lacks; adds the rows to the cache."""

    def make(positions: list[int]) -> Iterator[pa.Array]:
        wanted = [captions[i] for i in positions]
        return map(embedding_column, _embedded_texts(encoder, wanted, batch_size, precision, device))

    cache.fill(caption_hashes, make, "captions embedded")


def write_cached(
    path: str | Path,
    image_ids: Sequence[str],
    contents: Sequence[str],
    cache: RowCache,
    dim: int,
    metadata: Mapping[str, str],
) -> None:
    """Writes the embeddings table of images (sorted) from the cache's rows of `contents`, a piece at a time."""
    with EmbeddingsWriter(path, dim, metadata) as writer:
        for start in range(0, len(image_ids), rows_per_piece(dim)):
            piece = slice(start, start + rows_per_piece(dim))
            writer.write(image_ids[piece], embedding_rows(cache.take(contents[piece])))


def _embedded_images(
    encoder: Encoder,
    root: str | Path,
    image_ids: Sequence[str],
    batch_size: int,
    workers: int,
    decode: str,
    precision: str,
    device: str,
) -> Iterator[np.ndarray]:
    """The embeddings (b, dim) of a batch after the other."""
    if not image_ids:
        return
    where = choose_device(device)
    encoder = encoder.to(where)
    # Convolutions are up to twice as fast with a picture's channels side by side in memory.
    encoder.tower.to(memory_format=torch.channels_last)
    pictures = Pictures(Path(root), image_ids, encoder, fast=decode == "fast")
    if where.type == "cuda":
        batches = _on_gpu(encoder, pictures, batch_size, workers, precision, where)
    else:
        batches = _on_cpu(encoder, pictures, max(1, workers))
    with progress(total=len(image_ids), desc="embedding", unit="pictures") as bar:
        for rows in batches:
            yield rows
            bar.update(len(rows))


def _on_gpu(
    encoder: Encoder, pictures: Pictures, batch_size: int, workers: int, precision: str, where: torch.device
) -> Iterator[np.ndarray]:
    """Workers decode and transform, this process runs the model."""
    for batch in DataLoader(pictures, batch_size, num_workers=workers, pin_memory=True):
        whole = _padded(batch, batch_size).to(where, non_blocking=True)
        with half_precision(where, precision):
            rows = torch.cat(in_halves(encoder.encode_images, whole))
        yield rows[: len(batch)].cpu().numpy()


def _on_cpu(encoder: Encoder, pictures: Pictures, threads: int) -> Iterator[np.ndarray]:
    """Each thread decodes a few pictures and encodes them on one core.

    There is no transfer between processes and no synchronisation between cores: the throughput is 0.85 to 1.0 of that of
    decoding and encoding in perfect overlap, against 0.7 with decoding processes. Image decoders and torch release the GIL.
    """

    def encoded(start: int) -> np.ndarray:
        few = [pictures[i] for i in range(start, min(start + CPU_BATCH, len(pictures)))]
        return encoder.encode_images(_padded(torch.stack(few), CPU_BATCH))[: len(few)].numpy()

    threads_before = torch.get_num_threads()
    torch.set_num_threads(1)
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    try:
        starts = iter(range(0, len(pictures), CPU_BATCH))
        # At most twice as many tasks as threads are submitted at a time, so that memory does not grow with n.
        running = deque(pool.submit(encoded, start) for start in islice(starts, 2 * threads))
        while running:
            yield running.popleft().result()
            running.extend(pool.submit(encoded, start) for start in islice(starts, 1))
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads_before)


def _padded(batch: Tensor, size: int) -> Tensor:
    """The batch padded with zeros to `size` pictures."""
    return torch.cat([batch, batch.new_zeros(size - len(batch), *batch.shape[1:])])


def _embedded_texts(
    encoder: Encoder, captions: Sequence[str], batch_size: int, precision: str, device: str
) -> Iterator[np.ndarray]:
    """The embeddings (b, dim) of a batch after the other."""
    where = choose_device(device)
    encode = encoder.to(where).text_encoder()
    starts = range(0, len(captions), batch_size)
    for start in progress(starts, total=len(starts), desc="embedding captions", unit="batches"):
        batch = [cut_to_context(caption, encoder) for caption in captions[start : start + batch_size]]
        padded = batch + [""] * (batch_size - len(batch))
        with half_precision(where, precision):
            yield torch.cat(in_halves(encode, padded))[: len(batch)].cpu().numpy()


def in_halves(make: Callable[[Batch], Made], batch: Batch) -> list[Made]:
    """`make` of the batch; if that exceeds the GPU's memory, of each half in turn."""
    try:
        return [make(batch)]
    except torch.cuda.OutOfMemoryError:
        if len(batch) == 1:
            raise
        logger.warning("the GPU's memory does not hold a batch of %d: halved; lower the batch size.", len(batch))
    torch.cuda.empty_cache()
    middle = len(batch) // 2
    return in_halves(make, batch[:middle]) + in_halves(make, batch[middle:])


def captions_cut(encoder: Encoder, captions: Sequence[str]) -> int:
    """How many of the captions are longer than the text tower's context; the log says so, too."""
    cut = {caption for caption in set(captions) if cut_to_context(caption, encoder) != caption}
    n = sum(caption in cut for caption in captions)
    if n:
        logger.info("%d of %d captions were longer than %d tokens and cut.", n, len(captions), encoder.context_length)
    return n


def cut_to_context(caption: str, encoder: Encoder) -> str:
    """The caption's longest prefix of whole words that fits the text tower's context."""
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
