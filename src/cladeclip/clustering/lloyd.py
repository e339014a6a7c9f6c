"""k-means by Lloyd's algorithm: k-means++ initialisation, then iterations until convergence."""

import logging
from dataclasses import dataclass

import numpy as np

from cladeclip.clustering.nearest import Points, points_on
from cladeclip.errors import DataError

logger = logging.getLogger(__name__)

# Relative decrease of the inertia below which the iteration stops.
TOLERANCE = 1e-4
ROWS_PER_BLOCK = 4096


@dataclass(frozen=True)
class Clustering:
    """A partition of n embeddings into k clusters.

    Attributes:
        labels: (n,) int64, each of 0..k-1 used at least once.
        distances: (n,) float32, Euclidean distance of each row to its centroid.
        centroids: (k, d) float32, the mean of each cluster's rows.
        inertia: sum of squared distances.
        iterations: Lloyd iterations done.
        converged: whether the last iteration lowered the inertia by less than a share of `tolerance`.
    """

    labels: np.ndarray
    distances: np.ndarray
    centroids: np.ndarray
    inertia: float
    iterations: int
    converged: bool


def kmeans(
    embeddings: np.ndarray,
    k: int,
    *,
    seed: int,
    max_iterations: int = 100,
    tolerance: float = TOLERANCE,
    device: str = "auto",
) -> Clustering:
    """Clusters embeddings (n, d) float32 into k clusters; on the CPU, the same seed gives the same bytes.

    Args:
        tolerance: an iteration that lowers the inertia by a smaller share is the last; with 0 it iterates until no row
            changes its cluster.
        device: `cpu`, `cuda`, or `auto` for a GPU where torch sees one.

    Raises:
        DataError: k is not between 2 and the number of distinct rows, or a row is zero or holds NaN or infinity.
    """
    points = np.ascontiguousarray(embeddings, dtype=np.float32)
    _check(points, k)
    try:
        return _lloyd(points, points_on(device, points), k, seed, max_iterations, tolerance)
    except RuntimeError as error:
        # torch's error is known by its name: on the CPU torch is not imported.
        if type(error).__name__ != "OutOfMemoryError":
            raise
        logger.warning("k-means: the GPU's memory does not hold %d points; done on the CPU.", len(points))
    return _lloyd(points, points_on("cpu", points), k, seed, max_iterations, tolerance)


def _lloyd(points: np.ndarray, held: Points, k: int, seed: int, max_iterations: int, tolerance: float) -> Clustering:
    centroids = points[held.start(k, np.random.default_rng(seed))]
    labels = np.full(len(points), -1, dtype=np.int64)
    converged, iterations, before = False, 0, np.inf
    while not converged and iterations < max_iterations:
        squared, assigned = held.nearest(centroids)
        inertia = float(squared.sum(dtype=np.float64))
        assigned = fill_empty(k, squared, assigned)
        converged = bool((assigned == labels).all()) or before - inertia < tolerance * inertia
        labels, before = assigned, inertia
        centroids = held.means(labels, k)
        iterations += 1
    if not converged:
        logger.info("k-means with k = %d stopped after %d iterations before it converged.", k, iterations)
    squared = _squared_to_own(points, centroids, labels)
    return Clustering(labels, np.sqrt(squared), centroids, float(squared.sum(dtype=np.float64)), iterations, converged)


def _check(points: np.ndarray, k: int) -> None:
    if not np.isfinite(points).all():
        bad = int((~np.isfinite(points).all(axis=1)).sum())
        raise DataError(f"k-means: {bad} embedding(s) hold NaN or infinity; check the teacher's weights.")
    if zero := int((~points.any(axis=1)).sum()):
        raise DataError(
            f"k-means: {zero} embedding(s) are zero in every dimension and have no direction; check the teacher, "
            "or take those pictures out of the data."
        )
    if k < 2:
        raise DataError(f"k-means: k is {k}; at least 2 clusters are needed.")
    if k > len(points):
        raise DataError(f"k-means: k is {k}, but only {len(points)} images are there to cluster; lower labels.k.")
    distinct = len(np.unique(points, axis=0)) if k > len(points) // 2 else len(points)
    if k > distinct:
        raise DataError(f"k-means: k is {k}, but only {distinct} embeddings differ from each other; lower labels.k.")


def fill_empty(k: int, squared: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Gives every empty cluster the row that lies farthest from its own centroid, among clusters with rows to spare."""
    sizes = np.bincount(labels, minlength=k)
    empty = np.flatnonzero(sizes == 0)
    if len(empty) == 0:
        return labels
    logger.info("k-means: %d empty cluster(s) re-seeded with the rows farthest from their centroids.", len(empty))
    labels = labels.copy()
    farthest = iter(np.argsort(-squared, kind="stable"))
    for cluster in empty:
        row = next(row for row in farthest if sizes[labels[row]] > 1)
        sizes[labels[row]] -= 1
        labels[row] = cluster
        sizes[cluster] = 1
    return labels


def _squared_to_own(points: np.ndarray, centroids: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Squared distance (n,) of each point to its centroid, in blocks: no second copy of the points."""
    squared = np.empty(len(points), dtype=np.float32)
    for start in range(0, len(points), ROWS_PER_BLOCK):
        block = slice(start, start + ROWS_PER_BLOCK)
        difference = points[block] - centroids[labels[block]]
        squared[block] = np.einsum("nd,nd->n", difference, difference)
    return squared
