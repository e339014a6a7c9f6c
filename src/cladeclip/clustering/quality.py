"""How well a set of labels agrees with species and genera."""

import warnings
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import (
    adjusted_mutual_info_score,
    adjusted_rand_score,
    homogeneity_score,
    normalized_mutual_info_score,
    silhouette_score,
)

from cladeclip.ranks import COLUMN_OF_RANK


def fit_images(images: pd.DataFrame, split: pd.DataFrame) -> pd.DataFrame:
    """The rows of the `images` table that may be clustered and trained on."""
    fit = split.loc[split["part"] == "fit", "image_id"]
    return images[images["image_id"].isin(fit)].reset_index(drop=True)


def labels_table(fit: pd.DataFrame, labels: np.ndarray, distances: np.ndarray | None = None) -> pd.DataFrame:
    """The `clusters` table of labels (n,); controls have no centroid, so their distance is 0."""
    distance = np.zeros(len(labels), dtype=np.float32) if distances is None else distances
    return pd.DataFrame({"image_id": fit["image_id"], "label": labels, "distance": distance})


def label_quality(labels: np.ndarray, fit: pd.DataFrame) -> dict[str, Any]:
    """Sizes of the classes, and how they agree with species and genus.

    For each rank that all images have: NMI, AMI, ARI, purity, homogeneity, and `split`, the number of species (genera, ...)
    whose images lie in more than one class. `mixed_categories` counts the classes that hold more than one category.

    Args:
        labels: (n,) class of each image.
        fit: rows of the `images` table, in the same order.
    """
    sizes = np.bincount(np.unique(labels, return_inverse=True)[1])
    quantiles = np.quantile(sizes, [0, 0.25, 0.5, 0.75, 1])
    quality: dict[str, Any] = {
        "n_images": len(labels),
        "n_labels": len(sizes),
        "singletons": int((sizes == 1).sum()),
        "size": dict(zip(("min", "q25", "median", "q75", "max"), map(float, quantiles), strict=True)),
    }
    for rank, column in COLUMN_OF_RANK.items():
        # Otherwise all images without a name at this rank would form one class.
        if column not in fit or fit[column].isna().any() or (fit[column] == "").any():
            continue
        names = fit[column].to_numpy(dtype=str)
        with warnings.catch_warnings():
            # Many small classes look like a continuous target to scikit-learn.
            warnings.simplefilter("ignore", UserWarning)
            quality[rank] = {
                "nmi": float(normalized_mutual_info_score(names, labels)),
                "ami": float(adjusted_mutual_info_score(names, labels)),
                "ari": float(adjusted_rand_score(names, labels)),
                "purity": purity(labels, names),
                "homogeneity": float(homogeneity_score(names, labels)),
                "split": int((_distinct(names, labels) > 1).sum()),
            }
    quality["mixed_categories"] = int((_distinct(labels, fit["category"].to_numpy(dtype=str)) > 1).sum())
    return quality


def stability(runs: Sequence[np.ndarray]) -> float | None:
    """Mean ARI over all pairs of partitions (n,) of the same images; None with fewer than two."""
    scores = [adjusted_rand_score(a, b) for a, b in combinations(runs, 2)]
    return float(np.mean(scores)) if scores else None


def silhouette(points: np.ndarray, labels: np.ndarray) -> float | None:
    """Mean silhouette of points (n, d); None where they have one cluster, or only singletons. Takes n * n time."""
    if not 2 <= len(np.unique(labels)) < len(points):
        return None
    return float(silhouette_score(points, labels))


def elbow(ks: Sequence[int], inertias: Sequence[float]) -> int | None:
    """The k at which the inertia curve bends most: farthest below the chord between its ends, both axes scaled to 0..1.

    Satopaa et al., "Finding a Kneedle in a Haystack" (2011). None with fewer than three values of k, or no bend.
    """
    order = np.argsort(ks)
    x, y = np.asarray(ks, dtype=float)[order], np.asarray(inertias, dtype=float)[order]
    if len(x) < 3 or y[0] <= y[-1]:
        return None
    below = 1 - (x - x[0]) / (x[-1] - x[0]) - (y - y[-1]) / (y[0] - y[-1])
    best = int(np.argmax(below))
    return int(x[best]) if below[best] > 0 else None


def _distinct(groups: np.ndarray, values: np.ndarray) -> np.ndarray:
    """How many different values each group has."""
    pairs = pd.DataFrame({"group": groups, "value": values}).drop_duplicates()
    return pairs.groupby("group").size().to_numpy()


def purity(labels: np.ndarray, names: np.ndarray) -> float:
    """Share of images whose name is the most frequent one of their class."""
    classes = np.unique(labels, return_inverse=True)[1]
    codes = np.unique(names, return_inverse=True)[1]
    counts = np.bincount(classes * (codes.max() + 1) + codes, minlength=(classes.max() + 1) * (codes.max() + 1))
    return float(counts.reshape(classes.max() + 1, -1).max(axis=1).sum() / len(labels))
