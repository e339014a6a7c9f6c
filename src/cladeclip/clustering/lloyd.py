"""k-means (Lloyd) with faiss: a k-means++ start, then iterations until the partition stands still."""

import logging
from dataclasses import dataclass

import faiss
import numpy as np
from scipy.sparse import csr_matrix

from cladeclip.errors import DataError

logger = logging.getLogger(__name__)

# The start is chosen on this many principal components: as good a start, found several times faster.
START_DIMENSIONS = 256
# An iteration that lowers the inertia by a smaller share than this is the last.
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
        device: `cpu`, `cuda`, or `auto` for the GPU where faiss sees one.

    Raises:
        DataError: k is not between 2 and the number of distinct rows, or a row is zero or holds NaN or infinity.
    """
    points = np.ascontiguousarray(embeddings, dtype=np.float32)
    _check(points, k)
    chosen = _plus_plus(_principal_components(points), k, np.random.default_rng(seed))
    centroids = points[chosen]
    labels = np.full(len(points), -1, dtype=np.int64)
    converged, iterations, before = False, 0, np.inf
    while not converged and iterations < max_iterations:
        squared, assigned = nearest_centroids(points, centroids, device)
        inertia = float(squared.sum(dtype=np.float64))
        assigned = fill_empty(k, squared, assigned)
        converged = bool((assigned == labels).all()) or before - inertia < tolerance * inertia
        labels, before = assigned, inertia
        centroids = _means(points, labels, k)
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


def _principal_components(points: np.ndarray) -> np.ndarray:
    """The points on their START_DIMENSIONS first principal components; as they are where they have no more than that."""
    if points.shape[1] <= START_DIMENSIONS:
        return points
    mean = points.mean(axis=0, dtype=np.float64)
    covariance = points.T @ points / len(points) - np.outer(mean, mean)
    _, directions = np.linalg.eigh(covariance)
    return points @ directions[:, -START_DIMENSIONS:].astype(np.float32)


def _plus_plus(points: np.ndarray, k: int, rng: np.random.Generator) -> list[int]:
    """Rows that greedy k-means++ chooses (Arthur and Vassilvitskii, SODA 2007; 2 + log k candidates a step, as
    scikit-learn does)."""
    n = len(points)
    candidates = 2 + int(np.log(k))
    square = np.einsum("nd,nd->n", points, points).astype(np.float64)
    chosen = [int(rng.integers(n))]
    closest = _squared_to(points, square, chosen)[:, 0]
    while len(chosen) < k:
        total = closest.sum()
        if total <= 0:  # all that is left repeats a chosen row
            rest = np.setdiff1d(np.arange(n), chosen)
            chosen.extend(int(i) for i in rng.choice(rest, k - len(chosen), replace=False))
            break
        draws = np.searchsorted(np.cumsum(closest), rng.random(candidates) * total)
        draws = np.minimum(draws, n - 1)
        after = np.minimum(closest[:, None], _squared_to(points, square, draws))
        best = int(np.argmin(after.sum(axis=0)))
        chosen.append(int(draws[best]))
        closest = after[:, best]
        closest[chosen[-1]] = 0.0
    return chosen


def _squared_to(points: np.ndarray, square: np.ndarray, chosen: np.ndarray | list[int]) -> np.ndarray:
    products = points @ points[chosen].T
    return np.maximum(square[:, None] + square[chosen][None, :] - 2.0 * products, 0.0)


def nearest_centroids(points: np.ndarray, centroids: np.ndarray, device: str) -> tuple[np.ndarray, np.ndarray]:
    """Squared distance (n,) float32 to, and number (n,) int64 of, each point's nearest centroid."""
    index: faiss.Index = faiss.IndexFlatL2(points.shape[1])
    if device == "cuda" or (device == "auto" and faiss.get_num_gpus() > 0):
        index = faiss.index_cpu_to_all_gpus(index)
    index.add(centroids)
    squared, labels = index.search(points, 1)
    return squared[:, 0], labels[:, 0].astype(np.int64)


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


def _means(points: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    sizes = np.bincount(labels, minlength=k)
    # One row a cluster with 1/size for each of its points: no copy of the points is needed.
    members = csr_matrix(
        (
            np.repeat(1.0 / sizes, sizes).astype(np.float32),
            np.argsort(labels, kind="stable"),
            np.append(0, sizes.cumsum()),
        ),
        shape=(k, len(points)),
    )
    return members @ points
