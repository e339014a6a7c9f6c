"""Trees of pictures, and what naming their pictures costs."""

from itertools import combinations

import numpy as np
import pytest

from cladeclip.curation.tree import Tree, best_height, decisions_needed, tree_of


def drawn(n, d=8, seed=0):
    points = np.random.default_rng(seed).normal(size=(n, d))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


@pytest.mark.parametrize("n", [1, 2, 3, 12, 60])
def test_every_cut_holds_each_picture_once(n):
    tree = tree_of(drawn(n))
    assert tree.n == n
    for height in [-1.0, *tree.heights, np.inf]:
        leaves = np.concatenate([tree.leaves(node) for node in tree.cut(height)])
        assert sorted(leaves) == list(range(n))
    assert len(tree.cut(-1.0)) == n
    assert tree.cut(np.inf) == [2 * n - 2]


def test_groups_far_apart_are_a_cut_of_the_tree():
    middles = 10 * np.eye(4, 8)
    points = np.concatenate([middles[k] + 0.1 * drawn(9, seed=k) for k in range(4)])
    tree = tree_of(points / np.linalg.norm(points, axis=1, keepdims=True))
    # The three highest joints are those of the four groups.
    found = {frozenset(tree.leaves(node)) for node in tree.cut(np.sort(tree.heights)[-4])}
    assert found == {frozenset(range(9 * k, 9 * k + 9)) for k in range(4)}


def test_pictures_whose_neighbours_do_not_link_them_are_in_one_tree(recwarn):
    # Two groups of equal pictures, larger than the number of neighbours.
    tree = tree_of(np.repeat(np.eye(2, 8), 15, axis=0))
    assert len(tree.leaves(2 * tree.n - 2)) == 30
    assert not recwarn.list


def fewest(tree, node, names):
    """By trying: which of the nodes are accepted, all of which cover the pictures once."""
    members = tree.leaves(node)
    of_node = [names[member] for member in members]
    accept = 1 + len(of_node) - max(map(of_node.count, of_node))
    halves = tree.halves(node)
    return accept if halves is None else min(accept, 1 + sum(fewest(tree, half, names) for half in halves))


@pytest.mark.parametrize("seed", range(5))
def test_decisions_are_the_fewest_there_are(seed):
    rng = np.random.default_rng(seed)
    tree = tree_of(drawn(14, seed=seed))
    names = [str(name) for name in rng.integers(4, size=14)]
    needed = decisions_needed(tree, names)
    assert list(needed) == [fewest(tree, node, names) for node in range(2 * tree.n - 1)]
    assert (needed[: tree.n] == 1).all()


def test_the_height_is_the_one_that_takes_the_fewest_decisions():
    # Three pairs of names, each pair near one another: joined below 1 by name, at 2 by pair, at 3 and 4 all.
    joined = np.array([[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [10, 11]])
    tree = Tree(joined, np.array([0.5, 0.6, 0.7, 0.8, 2.0, 3.0, 4.0][:6]))
    names = ["a", "a", "b", "b", "c", "c", "d"][: tree.n]
    height = best_height([(tree, names)])
    costs = {h: int(decisions_needed(tree, names)[tree.cut(h)].sum()) for h in (0.1, *tree.heights)}
    assert costs[min(costs, key=lambda h: abs(h - height))] == min(costs.values())
    for one, other in combinations(costs, 2):
        assert costs[one] >= min(costs.values()) <= costs[other]
