"""Pictures that are there twice, and specimens under two names."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
import pandas as pd
import torch

from cladeclip.curation.correlation import correlation
from cladeclip.datasets.near_duplicates import with_near_duplicates
from cladeclip.datasets.store import PictureStore
from cladeclip.evaluation.search import nearest
from cladeclip.run.progress import progress
from cladeclip.tables import DUPLICATES

# Each picture is compared with so many that are nearest to it.
NEIGHBOURS = 5
SAME_PICTURE, SAME_SPECIMEN = "picture", "specimen"


def duplicates(
    images: pd.DataFrame, embeddings: np.ndarray, store: PictureStore, *, cosine: float, least: float, workers: int
) -> pd.DataFrame:
    """The `duplicates` table: groups of pictures that show the same, or one specimen that has several names.

    Two pictures show the same if their pixels are equal, or if the embedding of one is among those nearest to the other's,
    with at least this cosine, and their `correlation` is at least `least`.

    Args:
        images: the `images` table.
        embeddings: (n, d) in its order.
        workers: processes that compare.
    """
    pairs = alike(images["image_id"].to_numpy(), embeddings, store, cosine=cosine, workers=workers)
    pairs = pairs[pairs["correlation"] >= least]
    of_pair = pd.concat([pairs.set_index(column)["correlation"] for column in ("image_id", "other_image_id")])
    best = images["image_id"].map(of_pair.groupby(level=0).max())
    same = with_near_duplicates(images.assign(content_group=images["pixel_group"]), pairs)["content_group"]
    table = images[["image_id", "scientific_name"]].assign(group=same.to_numpy(), correlation=best)
    pictures = table[table.duplicated("group", keep=False)].assign(same=SAME_PICTURE)
    pictures["correlation"] = pictures["correlation"].fillna(1.0)  # of equal pixels
    rows = pd.concat([pictures, *_of_specimens(images, set(pictures["image_id"]))], ignore_index=True)
    return rows.rename(columns={"scientific_name": "name"})[list(DUPLICATES.columns)]


def alike(ids: np.ndarray, embeddings: np.ndarray, store: PictureStore, *, cosine: float, workers: int) -> pd.DataFrame:
    """Pairs of pictures of which one is among the nearest of the other, with at least this cosine.

    Args:
        ids: (n,) the pictures.
        embeddings: (n, d).

    Returns:
        image_id, other_image_id, correlation.
    """
    pairs = _pairs(embeddings, cosine)
    table = pd.DataFrame({"image_id": ids[pairs[:, 0]], "other_image_id": ids[pairs[:, 1]]})
    tasks = list(table.itertuples(index=False, name=None))
    with ProcessPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        found = pool.map(partial(_compare, store=store), tasks, chunksize=64)
        values = list(progress(found, total=len(tasks), desc="comparing", unit="pairs"))
    return table.assign(correlation=np.array(values, dtype=np.float64))


def _pairs(embeddings: np.ndarray, cosine: float) -> np.ndarray:
    """Rows (p, 2), the lower first, of pictures of which one is among the nearest of the other."""
    k = min(NEIGHBOURS + 1, len(embeddings))
    found, cosines = nearest(embeddings, embeddings, k)
    rows = np.repeat(np.arange(len(embeddings)), k)
    near = (cosines.ravel() >= cosine) & (found.ravel() != rows)
    pairs = np.sort(np.stack([rows[near], found.ravel()[near]], axis=1), axis=1)
    return np.unique(pairs, axis=0).reshape(-1, 2)


def _compare(pair: tuple[str, str], store: PictureStore) -> float:
    one, other = (store.read(image_id).convert("L") for image_id in pair)
    return correlation(one, other)


def _of_specimens(images: pd.DataFrame, elsewhere: set[str]) -> Iterator[pd.DataFrame]:
    """Content groups of several names, of pictures that no other group has."""
    left = images[~images["image_id"].isin(elsewhere) & (images["scientific_name"] != "")]
    n_names = left.groupby("content_group")["scientific_name"].transform("nunique")
    several = left[n_names > 1]
    yield several[["image_id", "scientific_name"]].assign(
        group=several["content_group"], correlation=np.nan, same=SAME_SPECIMEN
    )
