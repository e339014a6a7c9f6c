"""Clustering against scikit-learn."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sklearn.cluster import KMeans

from benchmarks.measure import Row, compare
from benchmarks.synthetic import groups
from cladeclip.clustering.kmeans import kmeans


def our_kmeans(points: np.ndarray, k: int) -> None:
    kmeans(points, k, seed=0)


def their_kmeans(points: np.ndarray, k: int) -> None:
    KMeans(k, n_init=1, random_state=0).fit(points)


def clustering_data(n: int, d: int, k: int) -> tuple[np.ndarray, int]:
    return groups(n, d, 740)[0], k


our_kmeans.prepare = clustering_data  # type: ignore[attr-defined]
their_kmeans.prepare = clustering_data  # type: ignore[attr-defined]


def rows(small: bool, data: Path | None) -> Iterator[Row]:
    """The rows of stage `cluster`."""
    yield compare(
        "cluster", "k-means, k = 300, d = 256", 8000, our_kmeans, "scikit-learn", their_kmeans, 8000, 256, 300
    )
