"""Clusters of a teacher's embeddings: the labels, their centroids, and how good they are."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cladeclip.clustering.quality import label_quality, labels_table, silhouette, stability
from cladeclip.clustering.streamed import kmeans_of_file
from cladeclip.encoders.fusion import normalise
from cladeclip.io.embeddings import rows_for

# Sample size of the silhouette, which takes quadratic time.
SILHOUETTE_IMAGES = 4000


@dataclass(frozen=True)
class Clusters:
    """The `clusters` table, the centroids (k, d), and what quality.json holds."""

    table: pd.DataFrame
    centroids: np.ndarray
    quality: dict[str, Any]


def clusters_of(
    embeddings: str | Path,
    fit: pd.DataFrame,
    k: int,
    *,
    seed: int,
    restarts: int,
    max_points: int,
    max_iterations: int,
) -> Clusters:
    """k-means of the images `fit` (rows of the `images` table) from `seed`; further restarts say how stable it is.

    Args:
        embeddings: path of the embeddings table.
        max_points: see `kmeans_of_file`.
    """
    ids = list(fit["image_id"])
    bounds: dict[str, Any] = {"max_points": max_points, "max_iterations": max_iterations}
    runs = [kmeans_of_file(embeddings, ids, k, seed=seed + i, **bounds) for i in range(restarts)]
    found = runs[0]
    sample = fit.sample(min(len(fit), SILHOUETTE_IMAGES), random_state=seed).index
    quality = label_quality(found.labels, fit) | {
        "k": k,
        "inertia": found.inertia,
        "iterations": found.iterations,
        "converged": found.converged,
        "stability": stability([run.labels for run in runs]),
        "silhouette": silhouette(normalise(rows_for(embeddings, [ids[i] for i in sample])), found.labels[sample]),
    }
    return Clusters(labels_table(fit, found.labels, found.distances), found.centroids, quality)
