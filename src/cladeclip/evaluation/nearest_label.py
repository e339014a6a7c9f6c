"""Four ways to name a query by a gallery of labelled embeddings, from one blocked matrix product.

    accuracy_individual   label of the gallery item with the highest cosine similarity
    accuracy_avg          label with the highest mean cosine similarity over its items
    distance_individual   label of the gallery item with the lowest Euclidean distance
    distance_avg          label with the lowest mean Euclidean distance over its items

All four come from the products q.g: cos = q.g / |q||g| and |q - g|^2 = |q|^2 + |g|^2 - 2 q.g. Decisions between
candidates that float32 cannot tell apart are settled in float64; exact ties go to the label that sorts first.
"""

from dataclasses import dataclass

import numpy as np

from cladeclip.tables import MEASURES

BLOCK_BYTES = 64 * 1024 * 1024
# How far below the best a float32 score may lie and still be the best in float64, relative to the scores' scale.
SLACK = 2e-6


@dataclass(frozen=True)
class Predictions:
    """For each of q queries, the label that each column predicts, and the nearest gallery item by cosine.

    Attributes:
        accuracy_individual, accuracy_avg, distance_individual, distance_avg: (q,) labels.
        nearest: (q,) int64, row of the gallery.
        nearest_cosine: (q,) float64.
    """

    accuracy_individual: np.ndarray
    accuracy_avg: np.ndarray
    distance_individual: np.ndarray
    distance_avg: np.ndarray
    nearest: np.ndarray
    nearest_cosine: np.ndarray


@dataclass(frozen=True)
class Accuracies:
    """Shares of queries whose predicted label is right, as fractions."""

    accuracy_individual: float
    accuracy_avg: float
    distance_individual: float
    distance_avg: float


COLUMNS = MEASURES


def nearest_label_accuracy(
    query: np.ndarray, query_labels: np.ndarray, gallery: np.ndarray, gallery_labels: np.ndarray
) -> Accuracies:
    """The four accuracies of queries (q, d) against a gallery (g, d); a label absent from the gallery counts as wrong.

    Raises:
        ValueError: shapes do not go together, or there is no query or no gallery.
    """
    predicted = predict_labels(query, gallery, gallery_labels)
    truth = np.asarray(query_labels)
    if len(truth) != len(query):
        raise ValueError(f"{len(query)} queries, but {len(truth)} query labels.")
    return Accuracies(**{column: float((getattr(predicted, column) == truth).mean()) for column in COLUMNS})


def predict_labels(query: np.ndarray, gallery: np.ndarray, gallery_labels: np.ndarray) -> Predictions:
    """Names every query (q, d) by the gallery (g, d) and its labels (g,), in all four ways.

    A zero vector has cosine 0 with everything.

    Raises:
        ValueError: shapes do not go together, there is no query or no gallery, or a value is not finite.
    """
    query, gallery = np.asarray(query, dtype=np.float32), np.asarray(gallery, dtype=np.float32)
    labels, codes = np.unique(np.asarray(gallery_labels), return_inverse=True)
    _check(query, gallery, codes)
    # Sorted by label: the items of a label are one slice, and the first of equal scores is the label that sorts first.
    order = np.argsort(codes, kind="stable")
    rows, codes = gallery[order], codes[order]
    starts = np.searchsorted(codes, np.arange(len(labels)))
    sizes = np.diff(np.append(starts, len(codes)))
    norms = np.linalg.norm(rows.astype(np.float64), axis=1)
    inverse = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
    # The mean cosine over a label is q/|q| times the mean of its unit vectors.
    means = np.add.reduceat(rows.astype(np.float64) * inverse[:, None], starts, axis=0) / sizes[:, None]
    exact = _Exact(query, rows, norms, inverse, means, starts, sizes)

    n = len(query)
    found = {name: np.empty(n, dtype=np.int64) for name in ("cosine", "mean_cosine", "distance", "mean_distance")}
    block = max(1, BLOCK_BYTES // (4 * len(rows)))
    transposed, squares, means32 = rows.T, (norms**2).astype(np.float32), means.T.astype(np.float32)
    inverse32 = inverse.astype(np.float32)
    for start in range(0, n, block):
        q = query[start : start + block]
        q_square = np.einsum("nd,nd->n", q, q, dtype=np.float64).astype(np.float32)
        products = q @ transposed
        q_norm = np.sqrt(q_square)
        where = slice(start, start + len(q))
        found["cosine"][where] = exact.settle("cosine", start, products * inverse32, SLACK * q_norm)
        found["mean_cosine"][where] = exact.settle("mean_cosine", start, q @ means32, SLACK * q_norm)
        products *= -2.0
        products += squares
        products += q_square[:, None]
        scale = q_square + squares.max()
        found["distance"][where] = exact.settle("distance", start, -products, 2 * SLACK * scale)
        distances = np.sqrt(np.maximum(products, 0.0, out=products), out=products)
        mean_distances = np.add.reduceat(distances, starts, axis=1, dtype=np.float64) / sizes
        # |q - g|^2 is off by the rounding of |q|^2 + |g|^2, and its root by at most the root of that.
        slack = np.sqrt(2 * SLACK * scale)
        found["mean_distance"][where] = exact.settle("mean_distance", start, -mean_distances, slack)

    nearest = found["cosine"]
    return Predictions(
        accuracy_individual=labels[codes[nearest]],
        accuracy_avg=labels[found["mean_cosine"]],
        distance_individual=labels[codes[found["distance"]]],
        distance_avg=labels[found["mean_distance"]],
        nearest=order[nearest],
        nearest_cosine=exact.cosine_to(nearest),
    )


class _Exact:
    """Settles, in float64, which of the candidates close to the best really is the best."""

    def __init__(self, query, rows, norms, inverse, means, starts, sizes) -> None:
        self.query, self.rows, self.norms, self.inverse = query, rows, norms, inverse
        self.means, self.starts, self.sizes = means, starts, sizes

    def settle(self, kind: str, start: int, scores: np.ndarray, slack: np.ndarray) -> np.ndarray:
        """Column (b,) of the highest score (b, c); scores within `slack` (b,) of the best are computed again."""
        best = scores.argmax(axis=1)
        top = scores[np.arange(len(scores)), best]
        near = scores >= (top - slack)[:, None]
        for i in np.flatnonzero(near.sum(axis=1) > 1):
            candidates = np.flatnonzero(near[i])
            q = self.query[start + i].astype(np.float64)
            best[i] = candidates[int(np.argmax(getattr(self, kind)(q, candidates)))]
        return best

    def cosine(self, q: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        return (self.rows[candidates].astype(np.float64) @ q) * self.inverse[candidates]

    def mean_cosine(self, q: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        return self.means[candidates] @ q

    def distance(self, q: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        return -((self.rows[candidates].astype(np.float64) - q) ** 2).sum(axis=1)

    def mean_distance(self, q: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        slices = [slice(self.starts[c], self.starts[c] + self.sizes[c]) for c in candidates]
        return np.array([-np.linalg.norm(self.rows[s].astype(np.float64) - q, axis=1).mean() for s in slices])

    def cosine_to(self, nearest: np.ndarray) -> np.ndarray:
        q = self.query.astype(np.float64)
        norms = np.linalg.norm(q, axis=1)
        products = np.einsum("nd,nd->n", q, self.rows[nearest].astype(np.float64))
        return products * self.inverse[nearest] / np.where(norms > 0, norms, 1.0)


def _check(query: np.ndarray, gallery: np.ndarray, codes: np.ndarray) -> None:
    if query.ndim != 2 or gallery.ndim != 2 or query.shape[1] != gallery.shape[1]:
        raise ValueError(f"queries {query.shape} and gallery {gallery.shape} must be (q, d) and (g, d).")
    if len(query) == 0 or len(gallery) == 0:
        raise ValueError(f"{len(query)} queries and {len(gallery)} gallery items: at least one of each is needed.")
    if len(codes) != len(gallery):
        raise ValueError(f"{len(gallery)} gallery items, but {len(codes)} gallery labels.")
    if not (np.isfinite(query).all() and np.isfinite(gallery).all()):
        raise ValueError("queries or gallery hold NaN or infinity.")
