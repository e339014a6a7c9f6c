"""A tree of pictures by likeness, where to cut it, and what naming its pictures costs."""

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.sparse import csr_matrix
from sklearn.cluster import ward_tree

from cladeclip.evaluation.search import nearest

# A picture can be joined with those that are among the nearest of it, or it of theirs.
NEIGHBOURS = 10
# Heights that are tried as the one to cut at.
HEIGHTS = 60
# Share of the pictures that are to be named: the last ones take a decision each, however the tree is cut.
MOST = 0.9


@dataclass(frozen=True)
class Tree:
    """Of n pictures: nodes 0..n-1 are pictures, node n + i joins the two nodes `joined[i]` at height `heights[i]`.

    Attributes:
        joined: (n - 1, 2) int64; the last node is the whole.
        heights: (n - 1,).
    """

    joined: np.ndarray
    heights: np.ndarray

    @property
    def n(self) -> int:
        return len(self.joined) + 1

    def halves(self, node: int) -> tuple[int, int] | None:
        """The two nodes that a node joins; None for a picture."""
        return None if node < self.n else (int(self.joined[node - self.n, 0]), int(self.joined[node - self.n, 1]))

    def leaves(self, node: int) -> np.ndarray:
        """The pictures (m,) below a node."""
        found, left = [], [node]
        while left:
            halves = self.halves(one := left.pop())
            if halves is None:
                found.append(one)
            else:
                left += halves
        return np.array(sorted(found))

    def sizes(self) -> np.ndarray:
        """How many pictures are below each node (2 n - 1,)."""
        found = np.ones(2 * self.n - 1, dtype=np.int64)
        for node, (one, other) in enumerate(self.joined, start=self.n):
            found[node] = found[one] + found[other]
        return found

    def cut(self, height: float) -> list[int]:
        """The highest nodes that are not above a height."""
        found, left = [], [2 * self.n - 2]
        while left:
            node = left.pop()
            halves = self.halves(node)
            if halves is None or self.heights[node - self.n] <= height:
                found.append(node)
            else:
                left += halves
        return found


def tree_of(units: np.ndarray) -> Tree:
    """Ward's tree (1963) of unit vectors (n, d), n >= 1, in which only near neighbours are joined, until all are one."""
    n = len(units)
    if n == 1:
        return Tree(np.empty((0, 2), dtype=np.int64), np.empty(0))
    k = min(NEIGHBOURS + 1, n)
    found, _ = nearest(units.astype(np.float32), units.astype(np.float32), k)
    links = csr_matrix((np.ones(n * k), (np.repeat(np.arange(n), k), found.ravel())), shape=(n, n))
    with warnings.catch_warnings():
        # Where neighbours do not link all pictures, what is nearest is linked; that is meant, and warned of.
        warnings.filterwarnings("ignore", "the number of connected components")
        joined, _, _, _, heights = ward_tree(units, connectivity=links, return_distance=True)
    return Tree(np.asarray(joined, dtype=np.int64), np.asarray(heights))


def decisions_needed(tree: Tree, names: Sequence[str]) -> np.ndarray:
    """For each node (2 n - 1,) the fewest decisions by which all pictures below it get their right names.

    A decision names all of a node's pictures, or one picture, or parts a node in its two halves. So a node takes one and
    another for each picture that has not the most frequent name, or one and those of its halves.
    """
    codes = pd.factorize(np.asarray(names))[0]
    needed = np.ones(2 * tree.n - 1, dtype=np.int64)
    counts: dict[int, Counter[int]] = {leaf: Counter([int(codes[leaf])]) for leaf in range(tree.n)}
    for node, (one, other) in enumerate(tree.joined, start=tree.n):
        small, large = sorted((counts.pop(int(one)), counts.pop(int(other))), key=len)
        large.update(small)
        counts[node] = large
        wrong = large.total() - max(large.values())
        needed[node] = 1 + min(wrong, needed[one] + needed[other])
    return needed


def decisions_until(share: float, sizes: ArrayLike, needed: ArrayLike) -> int:
    """The decisions that it takes until a share of all pictures has its right names, the largest group first.

    Args:
        sizes: of the groups; needed: the decisions that each takes.
    """
    order = np.argsort(-np.asarray(sizes), kind="stable")
    named = np.cumsum(np.asarray(sizes)[order])
    enough = int(np.searchsorted(named, share * named[-1] - 1e-9))
    return int(np.cumsum(np.asarray(needed)[order])[enough])


def best_height(trees: Sequence[tuple[Tree, Sequence[str]]]) -> float:
    """The height to cut trees at so that naming MOST of their pictures, of known names, takes the fewest decisions."""
    heights = np.concatenate([tree.heights for tree, _ in trees])
    tried = np.unique(np.quantile(heights, np.linspace(0, 1, HEIGHTS)))
    costs = np.zeros(len(tried))
    for tree, names in trees:
        needed, sizes = decisions_needed(tree, names), tree.sizes()
        for place, height in enumerate(tried):
            nodes = tree.cut(height)
            costs[place] += decisions_until(MOST, sizes[nodes], needed[nodes])
    return float(tried[int(np.argmin(costs))])
