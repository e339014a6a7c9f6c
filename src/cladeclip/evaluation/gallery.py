"""A labelled gallery, sorted by label, and its scores for one query in float64."""

from collections.abc import Callable
from functools import cached_property

import numpy as np


class Gallery:
    """Items (g, d) sorted by label: a label is one slice, and the first of equal scores is the label that sorts first.

    A position is a place in that order.

    Args:
        squares: (g,) float64, the items' squared norms.

    Attributes:
        labels: (C,) sorted.
        order: (g,) int64, row of `items` at each position.
        codes: (g,) int64, number of the label at each position.
        starts, sizes: (C,) int64, the slice of each label.
        norms: (g,) float64.
        inverse: (g,) float64, see `inverse_or_zero`.
    """

    def __init__(self, items: np.ndarray, labels: np.ndarray, squares: np.ndarray) -> None:
        self.items = items
        self.labels, codes = np.unique(labels, return_inverse=True)
        self.order = np.argsort(codes, kind="stable")
        self.codes = codes[self.order]
        self.starts = np.searchsorted(self.codes, np.arange(len(self.labels)))
        self.sizes = np.diff(np.append(self.starts, len(self.codes)))
        self.norms = np.sqrt(squares)[self.order]
        self.inverse = inverse_or_zero(self.norms)

    def __len__(self) -> int:
        return len(self.items)

    def rows(self, positions: np.ndarray | slice) -> np.ndarray:
        """The items (m, d) float64 at these positions."""
        return self.items.take(self.order[positions], axis=0).astype(np.float64)

    @cached_property
    def first(self) -> np.ndarray:
        """For each position the first one (g,) int64 with an equal item. It takes a while; few galleries repeat items."""
        return first_equal(self.items, self.order)

    @cached_property
    def mean_directions(self) -> np.ndarray:
        """The mean unit vector (C, d) float64 of each label."""
        slices = [slice(start, start + size) for start, size in zip(self.starts, self.sizes, strict=True)]
        return np.stack([(self.rows(of) * self.inverse[of, None]).mean(axis=0) for of in slices])

    # The sums below are taken along rows, so that equal items have equal scores, wherever they stand.

    def cosines(self, query: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Cosines (m,) of a query (d,) float64, times the query's norm."""
        return (self.rows(positions) * query).sum(axis=1) * self.inverse[positions]

    def squared_distances(self, query: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Squared Euclidean distances (m,) of a query (d,) float64."""
        return ((self.rows(positions) - query) ** 2).sum(axis=1)

    def mean_cosines(self, query: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Mean cosines (m,) of a query (d,) float64 with the items of m labels, times the query's norm."""
        if len(codes) > 2:  # so many labels are as close only where most items are alike: for most queries, then
            return (self.mean_directions[codes] * query).sum(axis=1)
        return self._means(codes, lambda positions: self.cosines(query, positions))

    def mean_distances(self, query: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Mean Euclidean distances (m,) of a query (d,) float64 from the items of m labels."""
        return self._means(codes, lambda positions: np.sqrt(self.squared_distances(query, positions)))

    def _means(self, codes: np.ndarray, score: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        sizes = self.sizes[codes]
        ends = np.cumsum(sizes)
        positions = np.arange(ends[-1]) + np.repeat(self.starts[codes] - (ends - sizes), sizes)
        which = np.arange(len(positions))
        if len(codes) > 2:  # so many labels are as close only where many items are equal
            positions, which = np.unique(self.first[positions], return_inverse=True)
        return np.add.reduceat(score(positions)[which], ends - sizes) / sizes


def squared_norms(rows: np.ndarray) -> np.ndarray:
    """Squared Euclidean norms (n,) float64 of rows (n, d)."""
    return np.einsum("nd,nd->n", rows, rows, dtype=np.float64)


def inverse_or_zero(norms: np.ndarray) -> np.ndarray:
    """1 / norm (n,); 0 for a zero vector, so that its cosine is 0 with everything."""
    return np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)


def first_equal(items: np.ndarray, order: np.ndarray, piece: int = 1024) -> np.ndarray:
    """For each position the first one with an equal item, found by a hash of its bits, `piece` items at a time."""
    factors = np.random.default_rng(0).integers(2**63, size=items.shape[1], dtype=np.uint64) * 2 + 1
    hashes = np.empty(len(items), dtype=np.uint64)
    for start in range(0, len(items), piece):
        bits = (items[order[start : start + piece]] + np.float32(0)).view(np.uint32)  # + 0: of -0, 0
        hashes[start : start + piece] = bits.astype(np.uint64) @ factors
    _, where, which = np.unique(hashes, return_index=True, return_inverse=True)
    first = where[which]
    (later,) = np.nonzero(first != np.arange(len(items)))
    for start in range(0, len(later), piece):
        these = later[start : start + piece]
        equal = (items[order[these]] == items[order[first[these]]]).all(axis=1)
        first[these[~equal]] = these[~equal]
    return first
