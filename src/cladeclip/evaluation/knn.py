"""k-nearest-neighbour accuracy by cosine similarity: the field's standard read-out of a frozen encoder."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from cladeclip.evaluation.nearest import Points


def knn_accuracy(
    query: np.ndarray,
    query_labels: np.ndarray,
    gallery: np.ndarray,
    gallery_labels: np.ndarray,
    ks: Sequence[int] = (1, 5, 20),
) -> pd.DataFrame:
    """Names queries (q, d) by vote of their k nearest gallery items (g, d).

    `majority`: the label with the most votes; `similarity`: votes count as much as their cosine. Ties go to the label that
    sorts first. With fewer than k gallery items all of them vote.

    Returns:
        Columns k, weighting, micro (share of queries that are right) and macro (the mean over the queries' labels).

    Raises:
        ValueError: there is no query or no gallery.
    """
    if len(query) == 0 or len(gallery) == 0:
        raise ValueError(f"{len(query)} queries and {len(gallery)} gallery items: at least one of each is needed.")
    labels, codes = np.unique(np.asarray(gallery_labels), return_inverse=True)
    points = Points(gallery)
    most = min(max(ks), len(gallery))
    predicted: dict[tuple[int, str], list[np.ndarray]] = {}
    for block in points.blocks(len(query)):
        nearest = points.nearest(query[block], most)
        asked = np.repeat(np.arange(len(nearest)), most)
        cosines = points.cosines(query[block], asked, nearest.ravel()).reshape(nearest.shape)
        for k in ks:
            for weighting in ("majority", "similarity"):
                weights = np.ones_like(cosines[:, :k]) if weighting == "majority" else cosines[:, :k]
                votes = _votes(codes[nearest[:, :k]], weights, len(labels))
                predicted.setdefault((k, weighting), []).append(votes.argmax(axis=1))
    truth = np.asarray(query_labels)
    rows = []
    for (k, weighting), parts in predicted.items():
        right = pd.Series(labels[np.concatenate(parts)] == truth)
        rows.append(
            {"k": k, "weighting": weighting, "micro": right.mean(), "macro": right.groupby(truth).mean().mean()}
        )
    return pd.DataFrame(rows)


def _votes(codes: np.ndarray, weights: np.ndarray, n_labels: int) -> np.ndarray:
    """The sum of weights (q, k) for each label, (q, n_labels); labels without a vote are below all others."""
    votes = np.full((len(codes), n_labels), -np.inf)
    rows = np.arange(len(codes))[:, None]
    votes[rows, codes] = 0.0
    np.add.at(votes, (rows, codes), weights)
    return votes
