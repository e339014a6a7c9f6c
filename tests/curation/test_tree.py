"""Trees of pictures, and what naming their pictures costs."""

import numpy as np
import pytest

from cladeclip.curation.tree import MOST, best_height, decisions_needed, decisions_until, tree_of


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


def test_decisions_until_a_share_is_named_take_the_largest_groups_first():
    sizes, needed = [2, 10, 5, 3], [1, 4, 1, 2]
    # 10, 15, 18 and 20 pictures are named by 4, 5, 7 and 8 decisions.
    assert [decisions_until(share, sizes, needed) for share in (0.01, 0.5, 0.51, 0.75, 0.9, 0.91, 1.0)] == [
        4, 4, 5, 5, 7, 8, 8,
    ]  # fmt: skip


def test_the_height_is_the_one_that_names_most_pictures_by_the_fewest_decisions():
    rng = np.random.default_rng(0)
    middles = drawn(5, seed=9)
    names = np.repeat(np.arange(5), 12)
    points = middles[names] + 0.25 * rng.normal(size=(60, 8))
    tree = tree_of(points / np.linalg.norm(points, axis=1, keepdims=True))

    def cost(height):
        nodes = tree.cut(height)
        needed = decisions_needed(tree, names)[nodes]
        return decisions_until(MOST, [len(tree.leaves(node)) for node in nodes], needed)

    best = cost(best_height([(tree, names)]))
    assert best <= min(cost(height) for height in np.quantile(tree.heights, np.linspace(0, 1, 25)))
    assert best < min(cost(-1.0), cost(np.inf))
    assert [len(tree.leaves(node)) for node in range(2 * tree.n - 1)] == list(tree.sizes())
