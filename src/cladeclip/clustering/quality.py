"""How well a set of labels agrees with species and genera."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score, normalized_mutual_info_score

TRUTH = {"species": "scientific_name", "genus": "genus"}


def fit_images(images: pd.DataFrame, split: pd.DataFrame) -> pd.DataFrame:
    """The rows of the `images` table that may be clustered and trained on."""
    fit = split.loc[split["part"] == "fit", "image_id"]
    return images[images["image_id"].isin(fit)].reset_index(drop=True)


def labels_table(fit: pd.DataFrame, labels: np.ndarray, distances: np.ndarray | None = None) -> pd.DataFrame:
    """The `clusters` table of labels (n,); controls have no centroid, so their distance is 0."""
    distance = np.zeros(len(labels), dtype=np.float32) if distances is None else distances
    return pd.DataFrame({"image_id": fit["image_id"], "label": labels, "distance": distance})


def label_quality(labels: np.ndarray, fit: pd.DataFrame) -> dict[str, Any]:
    """Sizes of the classes, and NMI, AMI, ARI and purity against species and genus.

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
    for rank, column in TRUTH.items():
        names = fit[column].to_numpy(dtype=str)
        with warnings.catch_warnings():
            # Many small classes look like a continuous target to scikit-learn.
            warnings.simplefilter("ignore", UserWarning)
            quality[rank] = {
                "nmi": float(normalized_mutual_info_score(names, labels)),
                "ami": float(adjusted_mutual_info_score(names, labels)),
                "ari": float(adjusted_rand_score(names, labels)),
                "purity": purity(labels, names),
            }
    return quality


def purity(labels: np.ndarray, names: np.ndarray) -> float:
    """Share of images whose name is the most frequent one of their class."""
    classes = np.unique(labels, return_inverse=True)[1]
    codes = np.unique(names, return_inverse=True)[1]
    counts = np.bincount(classes * (codes.max() + 1) + codes, minlength=(classes.max() + 1) * (codes.max() + 1))
    return float(counts.reshape(classes.max() + 1, -1).max(axis=1).sum() / len(labels))
