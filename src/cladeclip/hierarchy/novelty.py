"""Novelty scores of pictures, and their thresholds.

Every score is higher for what looks newer. `max_softmax`, `max_logit` and `energy` read a rank's calibrated logits
(Hendrycks and Gimpel, ICLR 2017; Hendrycks et al., ICML 2022; Liu et al., NeurIPS 2020); `centroid`, `mahalanobis` (Lee et
al., NeurIPS 2018) and `neighbour` (Sun et al., ICML 2022) read unit vectors of the embeddings.
"""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.special import logsumexp, softmax
from sklearn.covariance import ledoit_wolf_shrinkage, shrunk_covariance

from cladeclip.encoders.fusion import normalise
from cladeclip.evaluation.search import nearest
from cladeclip.hierarchy.taxonomy import Taxonomy

SCORES = ("max_softmax", "max_logit", "energy", "centroid", "mahalanobis", "neighbour")


class Known:
    """Statistics of the known images: centroids and within-class whitening at every rank, and the embeddings themselves.

    Args:
        embeddings: (n, d).
        codes: (n, R) of `taxonomy`.
        neighbour: k of the k-th neighbour's distance; with fewer images it is the last one's.
        device: where neighbours are searched.
    """

    def __init__(
        self,
        embeddings: np.ndarray,
        codes: np.ndarray,
        taxonomy: Taxonomy,
        *,
        neighbour: int = 5,
        device: str | torch.device = "cpu",
    ) -> None:
        self.device = device
        units = normalise(embeddings.astype(np.float64))
        self.embeddings, self.neighbour = embeddings, min(neighbour, len(embeddings))
        self.centroids, self.whitening = [], []
        for place, names in enumerate(taxonomy.names):
            centroids = centroids_of(units, codes[:, place], len(names))
            self.centroids.append(centroids)
            self.whitening.append(within_class_whitening(units - centroids[codes[:, place]]))

    def scores(self, name: str, embeddings: np.ndarray, logits: Sequence[np.ndarray], path: np.ndarray) -> np.ndarray:
        """The score (n, R) of embeddings (n, d) at each rank.

        Args:
            name: one of SCORES.
            logits: (n, n_r) of each rank, calibrated.
            path: (n, R) the name at each rank that an image is compared with; where that has no image, `centroid` and
                `mahalanobis` are infinite.

        Raises:
            ValueError: there is no such score.
        """
        match name:
            case "max_softmax":
                found = [1.0 - softmax(of_rank.astype(np.float64), axis=1).max(axis=1) for of_rank in logits]
            case "max_logit":
                found = [-of_rank.max(axis=1).astype(np.float64) for of_rank in logits]
            case "energy":
                found = [-logsumexp(of_rank.astype(np.float64), axis=1) for of_rank in logits]
            case "centroid":
                found = [np.linalg.norm(apart, axis=1) for apart in self._apart(embeddings, path)]
            case "mahalanobis":
                pairs = zip(self._apart(embeddings, path), self.whitening, strict=True)
                found = [np.linalg.norm(apart @ whitening, axis=1) for apart, whitening in pairs]
            case "neighbour":
                found = [self._distance_of_neighbour(embeddings)] * len(self.centroids)
            case _:
                raise ValueError(f"there is no novelty score {name!r}; known are {', '.join(SCORES)}.")
        return np.nan_to_num(np.stack(found, axis=1), nan=np.inf)

    def _apart(self, embeddings: np.ndarray, path: np.ndarray) -> list[np.ndarray]:
        units = normalise(embeddings.astype(np.float64))
        return [units - centroids[path[:, place]] for place, centroids in enumerate(self.centroids)]

    def _distance_of_neighbour(self, embeddings: np.ndarray) -> np.ndarray:
        _, cosines = nearest(embeddings, self.embeddings, self.neighbour, device=self.device)
        return np.sqrt(np.maximum(0.0, 2.0 - 2.0 * cosines[:, -1]))


def centroids_of(units: np.ndarray, codes: np.ndarray, n_names: int) -> np.ndarray:
    """The mean (n_names, d) of the rows (n, d) of each name; NaN where a name has no row, and so no distance from it."""
    counts = np.bincount(codes, minlength=n_names)
    sums = np.zeros((n_names, units.shape[1]))
    np.add.at(sums, codes, units)
    return np.divide(sums, counts[:, None], out=np.full_like(sums, np.nan), where=counts[:, None] > 0)


def within_class_whitening(residuals: np.ndarray) -> np.ndarray:
    """W (d, d) with W W^T the inverse of the within-class covariance of residuals (n, d).

    The covariance is shrunk towards a scaled identity (Ledoit and Wolf, 2004), by 1 / n at least: it is then invertible.
    """
    n, d = residuals.shape
    covariance = residuals.T @ residuals / n
    if not np.trace(covariance) > 0:  # every name has one image
        return np.eye(d)
    shrinkage = max(ledoit_wolf_shrinkage(residuals, assume_centered=True), 1 / n)
    return np.linalg.cholesky(np.linalg.inv(shrunk_covariance(covariance, shrinkage)))


def thresholds(
    scores: np.ndarray, codes: np.ndarray, taxonomy: Taxonomy, *, quantile: float, min_images: int
) -> list[np.ndarray]:
    """For each rank the novelty threshold (n_r,) of each name.

    It is a quantile of the scores of the name's own images. A name with fewer than `min_images` borrows its parent's; at the
    highest rank, that of all images.

    Args:
        scores, codes: (n, R), of images that were scored by heads that had not seen them. Infinite scores (of names that
            those heads had not seen either) say nothing and are left out.
    """
    found: list[np.ndarray] = []
    for place, names in enumerate(taxonomy.names):
        of_rank = scores[:, place]
        finite = np.isfinite(of_rank)
        if place == 0:
            everything = _quantile(of_rank[finite], quantile) if finite.any() else np.inf
            borrowed = np.full(len(names), everything)
        else:
            borrowed = found[-1][taxonomy.parents[place]]
        of_names = borrowed.copy()
        for code in np.flatnonzero(np.bincount(codes[finite, place], minlength=len(names)) >= max(1, min_images)):
            of_names[code] = _quantile(of_rank[finite & (codes[:, place] == code)], quantile)
        found.append(of_names)
    return found


def _quantile(values: np.ndarray, quantile: float) -> float:
    # From few values the default quantile is too low; this one is median-unbiased (Hyndman and Fan, 1996, type 8).
    return float(np.quantile(values, quantile, method="median_unbiased"))
