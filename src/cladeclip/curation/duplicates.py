"""Pictures that are there twice, and specimens under two names."""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
import pandas as pd
import torch
from PIL import Image
from scipy.fft import dctn

from cladeclip.curation.correlation import CONTRAST, correlation
from cladeclip.datasets.near_duplicates import with_near_duplicates
from cladeclip.datasets.store import PictureStore
from cladeclip.evaluation.search import nearest
from cladeclip.run.progress import progress
from cladeclip.tables import DUPLICATES

# Each picture is compared with so many that are nearest to it, and with those whose hash differs in so few bits.
NEIGHBOURS, BITS = 5, 2
# Of these a picture has so many at most, however many labels or blank cards look the same.
MOST = 20
# Hashes that are compared with all at once.
BLOCK = 512
SAME_PICTURE, SAME_SPECIMEN = "picture", "specimen"


def duplicates(
    images: pd.DataFrame, embeddings: np.ndarray, store: PictureStore, *, cosine: float, least: float, workers: int
) -> pd.DataFrame:
    """The `duplicates` table: groups of pictures that show the same, or one specimen that has several names.

    Two pictures show the same if their pixels are equal, or if their `correlation` is at least `least`. Compared are those
    of which one's embedding is among the nearest to the other's, with at least this cosine, and those of nearly the same
    perceptual hash: a copy of few pixels may lie far away.

    Args:
        images: the `images` table.
        embeddings: (n, d) in its order.
        workers: processes that compare.
    """
    # Of pictures with equal pixels one is compared with the others.
    once = ~images["pixel_group"].duplicated().to_numpy()
    pairs = alike(images["image_id"].to_numpy()[once], embeddings[once], store, cosine=cosine, workers=workers)
    pairs = pairs[pairs["correlation"] >= least]
    of_pair = pd.concat([pairs.set_index(column)["correlation"] for column in ("image_id", "other_image_id")])
    best = images["image_id"].map(of_pair.groupby(level=0).max())
    same = with_near_duplicates(images.assign(content_group=images["pixel_group"]), pairs)["content_group"]
    table = images[["image_id", "scientific_name"]].assign(group=same.to_numpy(), correlation=best)
    pictures = table[table.duplicated("group", keep=False)].assign(same=SAME_PICTURE)
    pictures["correlation"] = pictures["correlation"].fillna(1.0)  # of equal pixels
    rows = pd.concat([pictures, _of_specimens(images, set(pictures["image_id"]))], ignore_index=True)
    return rows.rename(columns={"scientific_name": "name"})[list(DUPLICATES.columns)]


def alike(ids: np.ndarray, embeddings: np.ndarray, store: PictureStore, *, cosine: float, workers: int) -> pd.DataFrame:
    """Pairs of pictures that may show the same, by embeddings with at least this cosine or by hashes.

    Args:
        ids: (n,) the pictures.
        embeddings: (n, d).

    Returns:
        image_id, other_image_id, correlation.
    """
    with ProcessPoolExecutor(workers) as pool:
        hashed = pool.map(partial(_hash, store=store), ids, chunksize=64)
        hashes = list(progress(hashed, total=len(ids), desc="hashing", unit="pictures"))
    pairs = np.unique(np.concatenate([_near_pairs(embeddings, cosine), _pairs_of_hashes(hashes)]), axis=0)
    table = pd.DataFrame({"image_id": ids[pairs[:, 0]], "other_image_id": ids[pairs[:, 1]]})
    tasks = list(table.itertuples(index=False, name=None))
    with ProcessPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        found = pool.map(partial(_compare, store=store), tasks, chunksize=64)
        values = list(progress(found, total=len(tasks), desc="comparing", unit="pairs"))
    return table.assign(correlation=np.array(values, dtype=np.float64))


def _near_pairs(embeddings: np.ndarray, cosine: float) -> np.ndarray:
    """Rows (p, 2), the lower first, of pictures of which one is among the nearest of the other."""
    k = min(NEIGHBOURS + 1, len(embeddings))
    found, cosines = nearest(embeddings, embeddings, k)
    rows = np.repeat(np.arange(len(embeddings)), k)
    near = (cosines.ravel() >= cosine) & (found.ravel() != rows)
    return np.sort(np.stack([rows[near], found.ravel()[near]], axis=1), axis=1)


def _pairs_of_hashes(of_pictures: Sequence[int | None]) -> np.ndarray:
    """Rows (p, 2), the lower first, of pictures whose hashes differ in BITS bits at most; of one picture MOST at most."""
    rows = np.array([place for place, value in enumerate(of_pictures) if value is not None], dtype=np.int64)
    hashes = np.array([value for value in of_pictures if value is not None], dtype=np.uint64)
    pairs = [np.empty((0, 2), dtype=np.int64)]
    for first in range(0, len(hashes), BLOCK):
        near = np.bitwise_count(hashes[first : first + BLOCK, None] ^ hashes[None, :]) <= BITS
        near &= np.arange(len(hashes)) > np.arange(first, first + len(near))[:, None]
        ones, others = np.nonzero(near & (near.cumsum(axis=1) <= MOST))
        pairs.append(np.stack([rows[ones + first], rows[others]], axis=1))
    return np.concatenate(pairs)


def _hash(image_id: str, store: PictureStore) -> int | None:
    """The perceptual hash (pHash, Zauner 2010), 64 bits: which of the lowest frequencies are above their median.

    None of a picture that is all but plain: its hash is chance, or that of all others.
    """
    grey = store.read(image_id).convert("L").resize((32, 32), Image.Resampling.BOX)
    pixels = np.asarray(grey, dtype=np.float64)
    if pixels.std() < CONTRAST:
        return None
    lowest = dctn(pixels, norm="ortho")[:8, :8].ravel()
    return int("".join("1" if value > np.median(lowest) else "0" for value in lowest), 2)


def _compare(pair: tuple[str, str], store: PictureStore) -> float:
    one, other = (store.read(image_id).convert("L") for image_id in pair)
    return correlation(one, other)


def _of_specimens(images: pd.DataFrame, elsewhere: set[str]) -> pd.DataFrame:
    """Content groups of several names, of pictures that no other group has."""
    left = images[~images["image_id"].isin(elsewhere) & (images["scientific_name"] != "")]
    n_names = left.groupby("content_group")["scientific_name"].transform("nunique")
    several = left[n_names > 1]
    return several[["image_id", "scientific_name"]].assign(
        group=several["content_group"], correlation=np.nan, same=SAME_SPECIMEN
    )
