"""The clusters nearest to each image: several labels an image."""

from pathlib import Path

import numpy as np
import pandas as pd

from cladeclip.encoders.fusion import normalise
from cladeclip.errors import DataError
from cladeclip.io.embeddings import rows_for

# Images whose distances to all centroids are in memory at once.
BLOCK = 4096


def nearest_clusters(embeddings: str | Path, clusters: pd.DataFrame, centroids: np.ndarray, top: int) -> pd.DataFrame:
    """The `nearest_clusters` table: the `top` centroids with the lowest Euclidean distance, an image's own cluster first.

    Args:
        embeddings: path of the embeddings table that was clustered.
        clusters: the `clusters` table.
        centroids: (k, d), of the normalised embeddings.

    Raises:
        DataError: there are not more clusters than that: none would be left to tell an image's own from.
    """
    if top >= len(centroids):
        raise DataError(
            f"labels of the nearest {top} of {len(centroids)} clusters: each image would have every cluster; ask for fewer "
            "(-topNUMBER), or for more clusters."
        )
    ids, own = list(clusters["image_id"]), clusters["label"].to_numpy()
    points, halves = normalise(rows_for(embeddings, ids)), 0.5 * np.einsum("kd,kd->k", centroids, centroids)
    labels, distances = [], []
    for start in range(0, len(ids), BLOCK):
        block = points[start : start + BLOCK]
        # Of unit vectors: |p - c|^2 = 1 - 2 (p . c - |c|^2 / 2).
        nearness = block @ centroids.T - halves
        squared = np.maximum(1.0 - 2.0 * nearness, 0.0)
        np.put_along_axis(nearness, own[start : start + BLOCK, None], np.inf, axis=1)
        chosen = np.sort(np.argpartition(-nearness, top - 1, axis=1)[:, :top], axis=1)
        order = np.argsort(-np.take_along_axis(nearness, chosen, axis=1), axis=1, kind="stable")
        chosen = np.take_along_axis(chosen, order, axis=1)
        labels.append(chosen)
        distances.append(np.sqrt(np.take_along_axis(squared, chosen, axis=1)))
    return pd.DataFrame(
        {
            "image_id": np.repeat(ids, top),
            "place": np.tile(np.arange(1, top + 1), len(ids)),
            "label": np.concatenate(labels).ravel(),
            "distance": np.concatenate(distances).ravel().astype(np.float32),
        }
    )
