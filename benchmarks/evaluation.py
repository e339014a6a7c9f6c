"""Evaluation against the seed report's way of doing it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics.pairwise import cosine_similarity, euclidean_distances

from benchmarks.measure import Row, compare
from benchmarks.synthetic import groups
from cladeclip.evaluation import predict_labels


def query_and_gallery(q: int, g: int, d: int, n_labels: int) -> tuple[np.ndarray, ...]:
    points, labels = groups(q + g, d, n_labels)
    names = np.array([f"species {i:04d}" for i in range(n_labels)])[labels]
    return points[:q], points[q:], names[q:]


def four_columns(query: np.ndarray, gallery: np.ndarray, labels: np.ndarray) -> None:
    predict_labels(query, gallery, labels)


def pairwise_frames(query: np.ndarray, gallery: np.ndarray, labels: np.ndarray) -> None:
    """The report's way: the whole similarity matrix flattened into a DataFrame, then grouped."""
    q, g = len(query), len(gallery)
    for score, matrix in (("max", cosine_similarity(query, gallery)), ("min", euclidean_distances(query, gallery))):
        frame = pd.DataFrame(
            {"query": np.repeat(np.arange(q), g), "label": np.tile(labels, q), "score": matrix.ravel()}
        )
        best = frame.groupby("query")["score"]
        frame.loc[best.idxmax() if score == "max" else best.idxmin(), "label"]
        means = frame.groupby(["query", "label"])["score"].mean().reset_index().groupby("query")["score"]
        means.idxmax() if score == "max" else means.idxmin()


four_columns.prepare = query_and_gallery  # type: ignore[attr-defined]
pairwise_frames.prepare = query_and_gallery  # type: ignore[attr-defined]


def rows(small: bool, data: Path | None) -> Iterator[Row]:
    """The rows of stage `evaluate`; all are quick, whatever `small` says."""
    case, frames = "four accuracies, 800 x 3200 x 512", "DataFrame of all pairs"
    yield compare("evaluate", case, 800, four_columns, frames, pairwise_frames, 800, 3200, 512, 100)
