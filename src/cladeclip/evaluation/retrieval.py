"""How well each image finds the others of its class: Recall@k, R-precision and mAP@R."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cladeclip.evaluation.nearest import Points


@dataclass(frozen=True)
class RetrievalMetrics:
    """Leave-one-out retrieval within one set of images.

    Attributes:
        recall_at: for each k, the share of queries with an image of their class among the k nearest.
        r_precision: mean over queries of the share of their class among the R nearest, R being the number of other
            images of their class.
        map_at_r: mean over queries of (1/R) * sum over ranks i <= R of precision at i where rank i is of their class.
        n_queries: images that have another of their class; the means are over them.
        n_without_match: images that are alone in their class: they are nobody's match and ask no question.
        per_class: a row a class with n, recall_at_{k}, r_precision and map_at_r, means over the class's queries.
        macro: the same columns, averaged over classes.
    """

    recall_at: dict[int, float]
    r_precision: float
    map_at_r: float
    n_queries: int
    n_without_match: int
    per_class: pd.DataFrame
    macro: dict[str, float]


def retrieval_metrics(
    embeddings: np.ndarray,
    labels: Sequence[str] | np.ndarray,
    ks: Sequence[int] = (1, 5, 10),
    *,
    queries: np.ndarray | None = None,
) -> RetrievalMetrics:
    """Every image of (n, d) asks for the others, by cosine similarity; a zero row is similar to nothing (0).

    Musgrave et al., "A Metric Learning Reality Check" (ECCV 2020). Equal similarities come in the order of the rows.

    Args:
        queries: (q,) rows that ask; all of them where not given. All others can be found.

    Raises:
        ValueError: the shapes do not go together, or no class has two images.
    """
    names, classes = np.unique(np.asarray(labels), return_inverse=True)
    if embeddings.ndim != 2 or len(classes) != len(embeddings):
        raise ValueError(f"embeddings of shape {embeddings.shape} do not go with {len(classes)} labels.")
    others = np.bincount(classes)[classes] - 1
    asked = np.arange(len(classes)) if queries is None else np.asarray(queries)
    # Queries with as many matches stand together: a block needs no more neighbours than its largest class. The largest come
    # first, so that what a block needs fits where the one before it was.
    queries = asked[np.argsort(-others[asked], kind="stable")]
    queries = queries[others[queries] > 0]
    if len(queries) == 0:
        raise ValueError("no class has two images; there is nothing to retrieve.")
    points = Points(embeddings)
    # In one piece from the start: small results between the blocks' large arrays would keep memory from being used again.
    found = np.empty((len(queries), len(ks) + 2))
    for block in points.blocks(len(queries)):
        found[block] = _scores(points, classes, others, queries[block], ks)
    scores = pd.DataFrame(found, columns=[*(f"recall_at_{k}" for k in ks), "r_precision", "map_at_r"])
    scores["label"] = names[classes[queries]]
    per_class = scores.groupby("label").mean()
    per_class.insert(0, "n", scores.groupby("label").size())
    measures = scores.drop(columns="label").mean()
    return RetrievalMetrics(
        recall_at={k: float(measures[f"recall_at_{k}"]) for k in ks},
        r_precision=float(measures["r_precision"]),
        map_at_r=float(measures["map_at_r"]),
        n_queries=len(queries),
        n_without_match=len(asked) - len(queries),
        per_class=per_class.reset_index(),
        macro=per_class.drop(columns="n").mean().to_dict(),
    )


def _scores(
    points: Points, classes: np.ndarray, others: np.ndarray, queries: np.ndarray, ks: Sequence[int]
) -> np.ndarray:
    """Recall at each of ks, R-precision and mAP@R of each query: (b, len(ks) + 2)."""
    n_others = others[queries]
    n_nearest = min(len(points) - 1, max(int(n_others.max()), *ks))
    of_class = classes[queries][:, None] == classes
    nearest = points.nearest(points.points[queries], n_nearest, itself=queries, sides=of_class)
    relevant = np.take_along_axis(of_class, nearest, axis=1)
    recalls = [relevant[:, :k].any(axis=1) for k in ks]
    rank = np.arange(1, n_nearest + 1)
    relevant &= rank <= n_others[:, None]
    precision = relevant.cumsum(axis=1) / rank
    map_at_r = np.where(relevant, precision, 0.0).sum(axis=1) / n_others
    return np.stack([*recalls, relevant.sum(axis=1) / n_others, map_at_r], axis=1)
