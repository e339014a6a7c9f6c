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

    Two pictures show the same if their pixels are equal, or if each of their embeddings is among the nearest of the other's
    with at least this cosine, and their `correlation` is at least `least`.

    Args:
        images: the `images` table.
        embeddings: (n, d) in its order.
        workers: processes that compare.
    """
    pairs = _pairs(embeddings, cosine)
    ids = images["image_id"].to_numpy()
    compare = partial(_compare, store=store)
    tasks = [(ids[one], ids[other]) for one, other in pairs]
    with ProcessPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        found = pool.map(compare, tasks, chunksize=64)
        values = np.fromiter(progress(found, total=len(tasks), desc="comparing", unit="pairs"), np.float64, len(tasks))
    alike = pd.DataFrame(tasks, columns=["image_id", "other_image_id"])[values >= least]
    best = np.zeros(len(ids))
    np.maximum.at(best, pairs[values >= least].ravel(), np.repeat(values[values >= least], 2))
    same = with_near_duplicates(images.assign(content_group=images["pixel_group"]), alike)["content_group"]
    table = images[["image_id", "scientific_name"]].assign(group=same.to_numpy(), correlation=best)
    pictures = table[table.duplicated("group", keep=False)].assign(same=SAME_PICTURE)
    pictures.loc[pictures["correlation"] == 0, "correlation"] = 1.0  # of equal pixels
    rows = pd.concat([pictures, *_of_specimens(images, set(pictures["image_id"]))], ignore_index=True)
    return rows.rename(columns={"scientific_name": "name"})[list(DUPLICATES.columns)]


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
