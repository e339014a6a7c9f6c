"""The k nearest of many points by cosine, in a defined order.

For few of many, the points are dealt into groups, and the k-th largest of the groups' maxima is a bound that at least k
points reach. What reaches it is little more than k points a query; only these are sorted. Points that float32 cannot tell
apart are put in order in float64; equal ones come in the order of their rows.
"""

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from cladeclip.evaluation.gallery import first_equal, inverse_or_zero, squared_norms
from cladeclip.evaluation.rounding import FLOAT32, rounding

if TYPE_CHECKING:
    import torch

# Groups for each point wanted: the more, the closer the bound lies to the k-th largest value itself.
GROUPS_EACH = 8
# Where more than one in so many is wanted, all are sorted.
FEW = 16
# Similarities of one block of queries to all points take at most this much.
BLOCK_BYTES = 32 * 1024 * 1024
# Pairs whose products are summed one by one, at once; and for how many of a query the product of all is faster.
PAIRS, PAIRS_EACH = 4096, 256
# Points whose products are taken at once in float64.
TILE = 4096


class Points:
    """Points (n, d) float32 that can be found; a zero row has cosine 0 with everything."""

    def __init__(self, points: np.ndarray) -> None:
        import torch  # takes seconds, which readers of tables need not wait for

        self.points = np.ascontiguousarray(points, dtype=np.float32)
        self.inverse = inverse_or_zero(np.sqrt(squared_norms(self.points)))
        self.units = torch.from_numpy(self.points * self.inverse.astype(np.float32)[:, None])
        self._rows = max(1, BLOCK_BYTES // (4 * len(points)))
        self._buffer = torch.empty(self._rows * len(points))

    def __len__(self) -> int:
        return len(self.points)

    @cached_property
    def first(self) -> np.ndarray:
        """The first row (n,) int64 that is equal to each."""
        return first_equal(self.points, np.arange(len(self)))

    def blocks(self, n: int) -> Iterator[slice]:
        """Slices of n queries, as many at once as memory is set aside for."""
        for start in range(0, n, self._rows):
            yield slice(start, min(start + self._rows, n))

    def nearest(
        self, queries: np.ndarray, k: int, *, itself: np.ndarray | None = None, sides: np.ndarray | None = None
    ) -> np.ndarray:
        """Rows (b, k) of the points with the highest cosine to each query (b, d) of a block, nearest first.

        Args:
            itself: (b,) the row that each query is, which is not its own neighbour.
            sides: (b, n) bool. Where it only matters which of two sides a neighbour is on, points of one side that float32
                cannot tell apart may stay in any order.

        Raises:
            ValueError: k is not between 1 and the number of points that can be found.
        """
        import torch

        n = len(self) - (itself is not None)
        if not 1 <= k <= n:
            raise ValueError(f"{k} nearest of {n} points: between 1 and {n} can be asked for.")
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        if k * FEW > len(self):
            return self._nearest_in_float64(queries, k, itself)
        inverse = inverse_or_zero(np.sqrt(squared_norms(queries)))
        units = torch.from_numpy(queries * inverse.astype(np.float32)[:, None])
        similarity = self._buffer[: len(queries) * len(self)].view(len(queries), len(self))
        torch.mm(units, self.units.T, out=similarity)
        if itself is not None:
            similarity[torch.arange(len(queries)), torch.from_numpy(itself)] = -2.0
        slack = 2 * rounding(self.points.shape[1], FLOAT32)
        values, rows = candidates(similarity, k, slack)
        runs = _close_runs(values, slack, None if sides is None else np.take_along_axis(sides, rows, axis=1))
        number, place = np.nonzero(runs)
        if len(number) > PAIRS_EACH * len(queries):
            return self._nearest_in_float64(queries, k, itself)
        here = rows[number, place]
        order = np.lexsort((here, -self.cosines(queries, number, here), runs[number, place]))
        rows[number, place] = here[order]
        return rows[:, :k]

    def nearest_of_all(self, queries: np.ndarray, k: int) -> np.ndarray:
        """The same (q, k) for any number of queries (q, d), a block at a time."""
        found = np.empty((len(queries), k), dtype=np.int64)
        for block in self.blocks(len(queries)):
            found[block] = self.nearest(queries[block], k)
        return found

    def cosines(self, queries: np.ndarray, number: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Cosines (m,) float64 of queries (b, d), by number (m,), with points, by row (m,); equal for equal points."""
        inverse = inverse_or_zero(np.sqrt(squared_norms(queries)))
        pieces = [slice(start, start + PAIRS) for start in range(0, len(rows), PAIRS)]
        found = np.concatenate(
            [(queries[number[p]].astype(np.float64) * self.points[rows[p]]).sum(axis=1) for p in pieces] or [[]]
        )
        return found * inverse[number] * self.inverse[rows]

    def _nearest_in_float64(self, queries: np.ndarray, k: int, itself: np.ndarray | None) -> np.ndarray:
        """The same from one sort of all points: numpy sorts whole numbers many times faster than pairs of value and row."""
        import torch

        inverse = torch.from_numpy(inverse_or_zero(np.sqrt(squared_norms(queries))))
        asked = torch.from_numpy(queries).double() * inverse[:, None]
        cosines = torch.empty(len(queries), len(self), dtype=torch.float64)
        for start in range(0, len(self), TILE):
            here = slice(start, start + TILE)
            cosines[:, here] = asked @ torch.from_numpy(self.points[here] * self.inverse[here, None]).T
        # The last digits of a product may depend on where a point stands: the first of equal points stands for all.
        (repeated,) = np.nonzero(self.first != np.arange(len(self)))
        cosines[:, repeated] = cosines[:, self.first[repeated]]
        if itself is not None:
            cosines[torch.arange(len(queries)), torch.from_numpy(itself)] = -2.0
        # A key's upper bits are 1 - cosine, to 2^-41 or better for up to a million points; the lower ones are the row.
        bits = max(1, (len(self) - 1).bit_length())
        shifted = cosines.neg_().add_(1.0).mul_(2.0 ** (61 - bits)).to(torch.int64).bitwise_left_shift_(bits)
        keys = shifted.bitwise_or_(torch.arange(len(self))).numpy()
        keys.sort(axis=1)
        return keys[:, :k] & ((1 << bits) - 1)


def candidates(similarity: "torch.Tensor", k: int, slack: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Values and columns (n, w) of each row of (n, c) that may be among its k largest, when each is off by slack / 2.

    Largest first, equal ones in column order. At least k; rows with fewer than w are padded with -inf.
    """
    import torch

    n, c = similarity.shape
    groups = GROUPS_EACH * k
    if c < 2 * groups:
        raise ValueError(f"{k} candidates of {c} columns: at most {c // GROUPS_EACH // 2} can be told from the others.")
    # Columns that do not fill the groups are left out of the bound, not of the search.
    width = c // groups
    maxima = similarity[:, : width * groups].view(n, width, groups).amax(1)
    bound = maxima.topk(k, dim=1, sorted=False).values.amin(1, keepdim=True)
    rows, columns = torch.nonzero(similarity >= bound - slack, as_tuple=True)
    # The candidates of each row side by side, in column order, for a stable sort.
    counts = torch.bincount(rows, minlength=n)
    place = torch.arange(len(rows)) - (counts.cumsum(0) - counts)[rows]
    values = torch.full((n, int(counts.max())), -torch.inf)
    values[rows, place] = similarity[rows, columns]
    found = torch.zeros(values.shape, dtype=torch.int64)
    found[rows, place] = columns
    values, order = values.sort(dim=1, descending=True, stable=True)
    return values.numpy(), found.gather(1, order).numpy()


def _close_runs(values: np.ndarray, slack: float, sides: np.ndarray | None) -> np.ndarray:
    """Runs in values (b, w), largest first, of which none is further than slack from the next, numbered from 1; 0 elsewhere.

    Only runs with both sides (b, w), where sides are given.
    """
    close = (values[:, 1:] >= values[:, :-1] - slack) & (values[:, 1:] > -np.inf)
    # A run begins where a value is not close to the one before it.
    begins = np.ones(values.shape, dtype=bool)
    begins[:, 1:] = ~close
    (starts,) = np.nonzero(begins.ravel())
    lengths = np.diff(np.append(starts, values.size))
    unsure = lengths > 1
    if sides is not None:
        flat = sides.ravel()
        unsure &= np.logical_and.reduceat(flat, starts) != np.logical_or.reduceat(flat, starts)
    return np.repeat(np.where(unsure, np.arange(1, len(starts) + 1), 0), lengths).reshape(values.shape)
