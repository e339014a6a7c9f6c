"""How well each image finds the others of its class: Recall@k, R-precision and mAP@R."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cladeclip.encoders.fusion import normalise
from cladeclip.evaluation.nearest import nearest_columns

if TYPE_CHECKING:
    import torch

# Similarities of one block of queries to everything take at most this much.
BLOCK_BYTES = 32 * 1024 * 1024


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
    import torch  # takes seconds, which readers of tables need not wait for

    names, classes = np.unique(np.asarray(labels), return_inverse=True)
    if embeddings.ndim != 2 or len(classes) != len(embeddings):
        raise ValueError(f"embeddings of shape {embeddings.shape} do not go with {len(classes)} labels.")
    others = np.bincount(classes)[classes] - 1
    asked = np.arange(len(classes)) if queries is None else np.asarray(queries)
    # Queries with as many matches stand together: a block needs no more neighbours than its largest class.
    queries = asked[np.argsort(others[asked], kind="stable")]
    queries = queries[others[queries] > 0]
    if len(queries) == 0:
        raise ValueError("no class has two images; there is nothing to retrieve.")
    points = torch.from_numpy(normalise(embeddings).astype(np.float32))
    rows = max(1, BLOCK_BYTES // (4 * len(points)))
    scores = pd.concat(
        _scores(points, classes, others, queries[start : start + rows], ks) for start in range(0, len(queries), rows)
    )
    scores["label"] = names[classes[scores.index]]
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
    points: "torch.Tensor", classes: np.ndarray, others: np.ndarray, queries: np.ndarray, ks: Sequence[int]
) -> pd.DataFrame:
    """The measures of each query, indexed by its row."""
    import torch

    similarity = points[queries] @ points.T
    similarity[torch.arange(len(queries)), torch.from_numpy(queries)] = -2.0  # not its own match
    n_nearest = min(len(points) - 1, max(int(others[queries].max()), *ks))
    nearest = nearest_columns(similarity, n_nearest)
    relevant = classes[nearest] == classes[queries][:, None]
    rank = np.arange(1, n_nearest + 1)
    within = rank <= others[queries][:, None]
    precision = relevant.cumsum(axis=1) / rank
    n_others = others[queries]
    return pd.DataFrame(
        {
            **{f"recall_at_{k}": relevant[:, :k].any(axis=1).astype(float) for k in ks},
            "r_precision": (relevant & within).sum(axis=1) / n_others,
            "map_at_r": np.where(relevant & within, precision, 0.0).sum(axis=1) / n_others,
        },
        index=queries,
    )
