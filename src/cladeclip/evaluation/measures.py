"""What is measured, declared once: tables, comparison, report and docs take names, titles and meanings from here.

A retrieval measure is a function of what was found and its line in RETRIEVED. Without torch, since tables need the names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


# Minimum number of ranked items that a retrieval measure gets.
WIDTH = 10


@dataclass(frozen=True)
class Measure:
    """A column of tables.

    Attributes:
        title: in the report.
        meaning: in docs/columns.md.
    """

    name: str
    title: str
    meaning: str
    higher_is_better: bool = True


@dataclass(frozen=True)
class Ranked:
    """What was found for queries (m,) among all others.

    Attributes:
        relevant: (m, w) bool, whether the item at each place has the query's label, the nearest first; w is at least WIDTH,
            and as large as the largest of `matches`, if there are as many items.
        matches: (m,) int32 above 0, how many items have the query's label.
        places: (w,) int64, 1, 2, ... w.
    """

    relevant: Tensor
    matches: Tensor
    places: Tensor

    @cached_property
    def number_at_r(self) -> Tensor:
        """(m, w) int32: at each relevant item among the first R, the number of relevant items so far; 0 elsewhere."""
        relevant = self.relevant & (self.places <= self.matches[:, None])
        return relevant.cumsum(1, dtype=self.matches.dtype).mul_(relevant)


@dataclass(frozen=True, kw_only=True)
class Retrieved(Measure):
    """A retrieval measure.

    Attributes:
        of: the measure (m,) of each query.
        shown: among the report's read-outs.
    """

    of: Callable[[Ranked], Tensor]
    shown: bool = True


def recall_at(k: int) -> Callable[[Ranked], Tensor]:
    """A hit among the k nearest."""
    return lambda found: found.relevant[:, :k].any(1)


def r_precision(found: Ranked) -> Tensor:
    """Share of hits among the R nearest, where R is how many items are relevant."""
    return found.number_at_r.amax(1).double() / found.matches


def map_at_r(found: Ranked) -> Tensor:
    """Mean over the R nearest of the precision at each hit (Musgrave et al., ECCV 2020)."""
    return found.number_at_r.double() @ (1 / found.places.double()) / found.matches


def _recall(k: int, *, shown: bool = True) -> Retrieved:
    meaning = f"share with a picture of the same name among the nearest {k}"
    return Retrieved(f"recall_at_{k}", f"Recall@{k}", meaning, of=recall_at(k), shown=shown)


# The four ways to name a query; see evaluation/search.py.
NAMED = {
    measure.name: measure
    for measure in (
        Measure(
            "accuracy_individual",
            "nearest neighbour by cosine",
            "share of queries whose nearest gallery picture, by cosine, has the right name",
        ),
        Measure(
            "accuracy_avg",
            "highest mean cosine",
            "share of queries named rightly by the name whose pictures have the highest mean cosine",
        ),
        Measure(
            "distance_individual",
            "nearest neighbour by distance",
            "share of queries whose nearest gallery picture, by Euclidean distance, has the right name",
        ),
        Measure(
            "distance_avg",
            "lowest mean distance",
            "share of queries named rightly by the name whose pictures have the lowest mean distance",
        ),
    )
}
RETRIEVED = {
    measure.name: measure
    for measure in (
        _recall(1),
        _recall(5),
        _recall(10, shown=False),
        Retrieved(
            "r_precision",
            "R-precision",
            "share of the same name among the nearest R, where R is how many there are",
            of=r_precision,
        ),
        Retrieved("map_at_r", "mAP@R", "mean average precision at R (Musgrave et al. 2020)", of=map_at_r),
    )
}
MEASURES = tuple(NAMED)
