"""Tables of embeddings; only rows that a cache lacks are computed."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from cladeclip.devices import choose_device
from cladeclip.encoders.embed import add_missing_images, add_missing_texts, captions_cut, write_cached
from cladeclip.encoders.encoder import Encoder, precision_used
from cladeclip.encoders.load import load_encoder
from cladeclip.encoders.weights import folder_fingerprint, made_with
from cladeclip.io.embeddings import embedding_kind
from cladeclip.io.row_cache import WHOLE, RowCache


def embed_image_table(
    path: str | Path,
    images: pd.DataFrame,
    folder: Path,
    root: str,
    cache_folder: str,
    code: str,
    made_by: Mapping[str, str],
    *,
    batch_size: int,
    decode: str,
    precision: str,
    workers: int,
    shard: str = WHOLE,
) -> RowCache:
    """Writes the embeddings of the `images` table by the encoder of a folder, and returns the cache of its rows.

    Args:
        code: fingerprint of what makes a row.
        made_by: further metadata of the file.
        batch_size, decode, precision, workers: see `embed_images`; shard: see `shards.py`.
    """
    encoder, how = load_encoder(folder), {"decode": decode}
    cache, made = _cache_of(encoder, folder, cache_folder, code, batch_size, precision, how, shard)
    ids, contents = list(images["image_id"]), list(images["content_hash"])
    add_missing_images(
        encoder,
        root,
        ids,
        contents,
        cache,
        batch_size=batch_size,
        workers=workers,
        decode=decode,
        precision=precision,
    )
    write_cached(path, ids, contents, cache, encoder.dim, {**made, **made_by})
    return cache


def embed_caption_table(
    path: str | Path,
    table: pd.DataFrame,
    folder: Path,
    cache_folder: str,
    code: str,
    made_by: Mapping[str, str],
    *,
    batch_size: int,
    precision: str,
) -> None:
    """The same of the `captions` table, by the encoder's text tower."""
    encoder = load_encoder(folder)
    cache, made = _cache_of(encoder, folder, cache_folder, code, batch_size, precision, {}, WHOLE)
    captions, contents = list(table["caption"]), list(table["caption_hash"])
    add_missing_texts(encoder, captions, contents, cache, batch_size=batch_size, precision=precision)
    made["captions_cut"] = str(captions_cut(encoder, captions))
    write_cached(path, list(table["image_id"]), contents, cache, encoder.dim, {**made, **made_by})


def _cache_of(
    encoder: Encoder,
    folder: Path,
    cache_folder: str,
    code: str,
    batch_size: int,
    precision: str,
    how: Mapping[str, str],
    shard: str,
) -> tuple[RowCache, dict[str, str]]:
    """The cache under a key that says what makes its rows, and the same for a file's metadata."""
    made = {**how, "precision": precision_used(choose_device(), precision)}
    # The batch size changes the last digits of a row.
    key = f"{folder_fingerprint(folder)} {made} batch {batch_size} rows {code}"
    return RowCache(cache_folder, key, embedding_kind(encoder.dim), shard), made | made_with(folder)
