"""The best gallery item of each query: what float32 cannot rule out is kept on the way, and decided in float64."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from cladeclip.evaluation.gallery import Gallery

if TYPE_CHECKING:
    import torch

# float64 scores of m queries (their numbers) with the items at a slice of positions, (m, w), and their rounding error (m,).
Scores = Callable[[np.ndarray, slice], tuple[np.ndarray, np.ndarray]]

# Which of some candidates, positions or labels in order, is the best for a query (its number); the first one in a tie.
Settle = Callable[[int, np.ndarray], int]


class BestItems:
    """For n queries, the groups of `width` positions in which a float32 score came within `slack` of the best so far.

    Args:
        slack: (n,) float32, twice the rounding error of a score: how far below another the best one may seem to lie.
        asks: (n,) bool; for the other queries every item is as good, and position 0 is the answer.

    Attributes:
        best: (n,) float32, the highest score so far.
    """

    def __init__(self, slack: "torch.Tensor", width: int, asks: "torch.Tensor") -> None:
        import torch  # takes seconds, which readers of tables need not wait for

        self.slack, self.width = slack, width
        self.best = torch.where(asks, -torch.inf, torch.inf)
        nothing = torch.empty(0, dtype=torch.int64)
        self._n_kept = 0
        self._kept: list[tuple[torch.Tensor, ...]] = [(nothing, nothing, slack[:0])]

    def add(self, first_query: int, first_group: int, scores: "torch.Tensor") -> None:
        """Takes the highest scores (m, groups) of m queries in each of some groups."""
        import torch

        where = slice(first_query, first_query + len(scores))
        best = torch.maximum(self.best[where], scores.amax(1), out=self.best[where])
        queries, groups = torch.nonzero(scores >= (best - self.slack[where])[:, None], as_tuple=True)
        self._kept.append((queries + first_query, groups + first_group, scores[queries, groups]))
        self._n_kept += len(queries)
        if self._n_kept > 4 * len(self.slack):
            self._forget_beaten()

    def _forget_beaten(self) -> None:
        """Lets go of the groups that have been beaten since they were added, so that little is kept."""
        import torch

        queries, groups, scores = (torch.cat(parts) for parts in zip(*self._kept, strict=True))
        alive = scores >= self.best[queries] - self.slack[queries]
        self._kept = [(queries[alive], groups[alive], scores[alive])]
        self._n_kept = len(self._kept[0][0])

    def positions(self, gallery: Gallery, scores: Scores, settle: Settle) -> np.ndarray:
        """The best position (n,) of each query; the first one of those with equal scores.

        Args:
            settle: decides between those that `scores` cannot tell apart.
        """
        self._forget_beaten()
        queries, groups, _ = (part.numpy() for part in self._kept[0])
        order = np.argsort(groups, kind="stable")
        hot, starts = np.unique(groups[order], return_index=True)
        stops = np.append(starts[1:], len(order))
        found = [(queries[:0], groups[:0], np.empty(0), np.empty(0))]
        for group, start, stop in zip(hot, starts, stops[: len(hot)], strict=True):
            members = queries[order[start:stop]]
            here = slice(group * self.width, (group + 1) * self.width)
            values, error = scores(members, here)
            close = values >= (values.max(axis=1) - 2 * error)[:, None]
            if np.count_nonzero(close) > 2 * len(members):  # of equal items only the first can be the answer
                close &= gallery.first[here] == np.arange(here.start, here.start + values.shape[1])
            row, column = np.nonzero(close)
            found.append((members[row], column + here.start, values[row, column], error[row]))
        query, position, value, error = (np.concatenate(parts) for parts in zip(*found, strict=True))
        best = np.full(len(self.slack), -np.inf)
        np.maximum.at(best, query, value)
        close = value >= best[query] - 2 * error
        order = np.lexsort((position[close], query[close]))
        query, position = query[close][order], position[close][order]
        counts = np.bincount(query, minlength=len(best))
        ends = counts.cumsum()
        chosen = np.zeros(len(best), dtype=np.int64)
        chosen[counts > 0] = position[(ends - counts)[counts > 0]]
        for i in np.flatnonzero(counts > 1):
            candidates = position[ends[i] - counts[i] : ends[i]]
            chosen[i] = candidates[settle(int(i), candidates)]
        return chosen
