"""Clusters of embeddings that need not fit into memory: k-means on a sample, then every row to its nearest centroid."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cladeclip.clustering.lloyd import Clustering, fill_empty, kmeans
from cladeclip.clustering.nearest import points_on
from cladeclip.encoders.fusion import normalise
from cladeclip.io.embeddings import EmbeddingsFile, rows_for

logger = logging.getLogger(__name__)


def kmeans_of_file(
    path: str | Path,
    image_ids: Sequence[str],
    k: int,
    *,
    seed: int,
    max_points: int,
    max_iterations: int = 100,
    device: str = "auto",
) -> Clustering:
    """k-means of the normalised embeddings of `image_ids` in an embeddings table.

    On the unit sphere, as in the students' loss: there Euclidean distances rank as cosines do. With more images than
    `max_points`, the centroids are those of a sample of that size, drawn from `seed`, and the rows are assigned a piece at
    a time.

    Raises:
        DataError: as `kmeans`.
        TableError: an image has no embedding in this file.
    """

    def clusters(ids: Sequence[str]) -> Clustering:
        points = normalise(rows_for(path, ids))
        return kmeans(points, k, seed=seed, max_iterations=max_iterations, device=device)

    if len(image_ids) <= max_points:
        return clusters(image_ids)
    sample = np.sort(np.random.default_rng(seed).choice(len(image_ids), max_points, replace=False))
    logger.info(
        "k-means on a sample of %s of %s images (cluster.max_points).", f"{max_points:,}", f"{len(image_ids):,}"
    )
    return assign_all(path, image_ids, clusters([image_ids[i] for i in sample]), device=device)


def assign_all(path: str | Path, image_ids: Sequence[str], found: Clustering, *, device: str = "auto") -> Clustering:
    """`found` with the labels and distances of all of `image_ids`, read from the table a piece at a time.

    A cluster that no row is nearest to gets the row farthest from its own centroid, which becomes its centroid.

    Raises:
        TableError: an image has no embedding in this file.
    """
    position = {image_id: row for row, image_id in enumerate(image_ids)}
    found_rows = 0
    labels = np.empty(len(image_ids), dtype=np.int64)
    squared = np.empty(len(image_ids), dtype=np.float32)
    for ids, rows in EmbeddingsFile(path).pieces():
        here = [(row, position[image_id]) for row, image_id in enumerate(ids) if image_id in position]
        if here:
            source, target = np.array(here).T
            found_rows += len(here)
            squared[target], labels[target] = points_on(device, normalise(rows[source])).nearest(found.centroids)
    if found_rows < len(image_ids):
        rows_for(path, image_ids)  # says which image is missing
    centroids = found.centroids.copy()
    filled = fill_empty(len(centroids), squared, labels)
    moved = np.flatnonzero(filled != labels).tolist()
    if moved:
        centroids[filled[moved]] = normalise(rows_for(path, [image_ids[i] for i in moved]))
        squared[moved] = 0.0
    inertia = float(squared.sum(dtype=np.float64))
    return replace(
        found, labels=filled, distances=np.sqrt(np.maximum(squared, 0)), centroids=centroids, inertia=inertia
    )
