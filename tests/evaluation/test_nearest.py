import numpy as np
import pytest
import torch

from cladeclip.evaluation import nearest
from cladeclip.evaluation.nearest import Points, candidates


def by_definition(similarity, k):
    return np.array([sorted(range(len(row)), key=lambda j: (-row[j], j))[:k] for row in similarity.tolist()])


@pytest.mark.parametrize("k", [1, 3, 20, 25])
@pytest.mark.parametrize("kind", ["all different", "many equal", "all equal", "few above", "negative zero"])
def test_the_k_largest_come_largest_first_and_equal_ones_in_column_order(k, kind):
    rng = np.random.default_rng(2)
    values = rng.normal(size=(9, 401)).astype(np.float32)
    if kind == "many equal":
        values = np.round(values)
    if kind == "all equal":
        values[:] = -1.0
    if kind == "few above":
        values[:, 5:] = -2.0
    if kind == "negative zero":
        values = np.where(values > 0, 0.0, -0.0).astype(np.float32)
    found, columns = candidates(torch.from_numpy(values), k)
    np.testing.assert_array_equal(columns[:, :k], by_definition(values, k))
    np.testing.assert_array_equal(found[:, :k], np.take_along_axis(values, columns[:, :k], axis=1))


def cosines(queries, points):
    q, p = queries.astype(np.float64), points.astype(np.float64)
    return (q @ p.T) / np.linalg.norm(q, axis=1)[:, None] / np.linalg.norm(p, axis=1)


@pytest.mark.parametrize("scale", [1.0, 1e12, 1e-12])
@pytest.mark.parametrize("k", [1, 5, 9, 40, 150])
def test_points_that_float32_cannot_tell_apart_come_in_the_right_order(k, scale):
    """Near-duplicates: their cosines differ in the eighth digit."""
    rng = np.random.default_rng(k)
    centre = rng.normal(size=32)
    points = (scale * (centre + 1e-4 * rng.normal(size=(150, 32)))).astype(np.float32)
    queries = (scale * (centre + 1e-4 * rng.normal(size=(20, 32)))).astype(np.float32)
    expected = by_definition(cosines(queries, points), k)
    in_float32 = by_definition(cosines(queries, points).astype(np.float32), k)
    assert k == 1 or (in_float32 != expected).any()  # or this test would show nothing
    np.testing.assert_array_equal(Points(points).nearest(queries, k), expected)


@pytest.mark.parametrize("each", [nearest.PAIRS_EACH, 1])
def test_equal_points_come_in_the_order_of_their_rows(each, monkeypatch):
    monkeypatch.setattr(nearest, "PAIRS_EACH", each)
    rng = np.random.default_rng(1)
    once = rng.normal(size=(30, 67)).astype(np.float32)
    which = rng.integers(30, size=400)
    queries = rng.normal(size=(9, 67)).astype(np.float32)
    found = Points(once[which]).nearest(queries, 400)
    by_value = np.argsort(-cosines(queries, once), axis=1)
    expected = [np.concatenate([np.flatnonzero(which == i) for i in order]) for order in by_value]
    np.testing.assert_array_equal(found, expected)


def test_a_collapsed_encoder_is_put_in_order_too():
    points = np.ones((500, 8), dtype=np.float32)
    np.testing.assert_array_equal(Points(points).nearest(points[:3], 20), np.tile(np.arange(20), (3, 1)))
    found = Points(points).nearest(points[:3], 2, itself=np.array([0, 1, 7]))
    np.testing.assert_array_equal(found, [[1, 2], [0, 2], [0, 1]])


def test_zero_rows_are_like_nothing():
    points = np.array([[0, 0], [-1, 0], [1, 0]], dtype=np.float32)
    np.testing.assert_array_equal(Points(points).nearest(np.array([[1, 0]]), 3), [[2, 0, 1]])
    np.testing.assert_array_equal(Points(points).nearest(np.array([[0, 0]]), 3), [[0, 1, 2]])


@pytest.mark.parametrize("k", [0, 4])
def test_more_than_there_are_cannot_be_asked_for(k):
    with pytest.raises(ValueError, match="between 1 and 3"):
        Points(np.eye(3)).nearest(np.eye(3), k)
    with pytest.raises(ValueError, match="between 1 and 2"):
        Points(np.eye(3)).nearest(np.eye(3), 3, itself=np.arange(3))
