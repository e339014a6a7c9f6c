"""Initialisation, assignment and means of k-means on the CPU (assignment by faiss); see on_device.py."""

from pathlib import Path
from typing import Protocol

import numpy as np
from scipy.sparse import csr_matrix

# k-means++ runs on this many principal components: equally good, and several times faster.
START_DIMENSIONS = 256
# Device files of GPU drivers: without any of these, torch is not imported, which would take seconds.
DRIVERS = ("nvidia[0-9]*", "dxg", "kfd")


class Points(Protocol):
    """Points (n, d) on the device that clusters them; centroids (k, d) and results are float32 or int64 on the CPU."""

    def start(self, k: int, rng: np.random.Generator) -> np.ndarray:
        """Rows (k,) that greedy k-means++ chooses."""

    def nearest(self, centroids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Squared distance (n,) to, and number (n,) of, each point's nearest centroid."""

    def means(self, labels: np.ndarray, k: int) -> np.ndarray:
        """The mean (k, d) of each cluster's points; no cluster is empty."""


def points_on(device: str, points: np.ndarray) -> Points:
    """The points where `device` says: `cpu`, `cuda`, or `auto` for a GPU where torch sees one."""
    if device == "auto" and not any(found for driver in DRIVERS for found in Path("/dev").glob(driver)):
        device = "cpu"
    if device != "cpu":
        from cladeclip.clustering.on_device import PointsOnDevice
        from cladeclip.devices import choose_device

        where = choose_device(device)
        if where.type != "cpu":
            return PointsOnDevice(points, where)
    return PointsInMemory(points)


class PointsInMemory:
    """Points that faiss searches; the same start and labels give the same bytes."""

    def __init__(self, points: np.ndarray) -> None:
        self.points = points

    def start(self, k: int, rng: np.random.Generator) -> np.ndarray:
        return np.array(_plus_plus(_principal_components(self.points), k, rng))

    def nearest(self, centroids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        import faiss  # not needed on a GPU

        index = faiss.IndexFlatL2(self.points.shape[1])
        index.add(centroids)
        squared, labels = index.search(self.points, 1)
        return squared[:, 0], labels[:, 0].astype(np.int64)

    def means(self, labels: np.ndarray, k: int) -> np.ndarray:
        sizes = np.bincount(labels, minlength=k)
        # One row a cluster with 1/size for each of its points: no copy of the points is needed.
        members = csr_matrix(
            (
                np.repeat(1.0 / sizes, sizes).astype(np.float32),
                np.argsort(labels, kind="stable"),
                np.append(0, sizes.cumsum()),
            ),
            shape=(k, len(self.points)),
        )
        return members @ self.points


def candidates_of(k: int) -> int:
    """How many candidates a step of k-means++ tries, as scikit-learn does."""
    return 2 + int(np.log(k))


def _principal_components(points: np.ndarray) -> np.ndarray:
    """The points on their START_DIMENSIONS first principal components; as they are where they have no more than that."""
    if points.shape[1] <= START_DIMENSIONS:
        return points
    mean = points.mean(axis=0, dtype=np.float64)
    covariance = points.T @ points / len(points) - np.outer(mean, mean)
    _, directions = np.linalg.eigh(covariance)
    return points @ directions[:, -START_DIMENSIONS:].astype(np.float32)


def _plus_plus(points: np.ndarray, k: int, rng: np.random.Generator) -> list[int]:
    """Rows that greedy k-means++ chooses (Arthur and Vassilvitskii, SODA 2007; 2 + log k candidates a step)."""
    n = len(points)
    square = np.einsum("nd,nd->n", points, points).astype(np.float64)
    chosen = [int(rng.integers(n))]
    closest = _squared_to(points, square, chosen)[:, 0]
    while len(chosen) < k:
        total = closest.sum()
        if total <= 0:  # all that is left repeats a chosen row
            rest = np.setdiff1d(np.arange(n), chosen)
            chosen.extend(int(i) for i in rng.choice(rest, k - len(chosen), replace=False))
            break
        draws = np.searchsorted(np.cumsum(closest), rng.random(candidates_of(k)) * total)
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
