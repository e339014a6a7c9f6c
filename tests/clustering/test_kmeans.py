import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score

from cladeclip.clustering import kmeans
from cladeclip.errors import DataError


@pytest.fixture(scope="module")
def blobs():
    points, truth = make_blobs(n_samples=900, n_features=12, centers=20, cluster_std=1.5, random_state=3)
    return points.astype(np.float32), truth


def test_well_separated_groups_are_found(blobs):
    points, truth = blobs
    assert adjusted_rand_score(truth, kmeans(points, 20, seed=1).labels) > 0.95


def test_the_result_is_a_fixed_point_of_lloyds_iteration(blobs):
    points, _ = blobs
    found = kmeans(points, 15, seed=2, tolerance=0)
    assert found.converged
    distances = np.linalg.norm(points[:, None].astype(np.float64) - found.centroids[None], axis=2)
    np.testing.assert_array_equal(distances.argmin(axis=1), found.labels)
    for label in range(15):
        np.testing.assert_allclose(found.centroids[label], points[found.labels == label].mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(found.distances, distances.min(axis=1), atol=1e-3)
    assert found.inertia == pytest.approx((distances.min(axis=1) ** 2).sum(), rel=1e-5)


def test_from_the_same_start_it_ends_where_scikit_learn_does(blobs):
    points, _ = blobs
    found = kmeans(points, 15, seed=2, tolerance=0)
    theirs = KMeans(15, init=found.centroids, n_init=1, tol=0).fit(points)
    assert found.inertia == pytest.approx(theirs.inertia_, rel=1e-4)
    assert adjusted_rand_score(found.labels, theirs.labels_) == pytest.approx(1)


@pytest.mark.parametrize("k", [10, 40, 150])
def test_the_inertia_is_about_scikit_learns(blobs, k):
    points, _ = blobs
    ours = np.mean([kmeans(points, k, seed=seed).inertia for seed in range(5)])
    theirs = np.mean([KMeans(k, n_init=1, random_state=seed).fit(points).inertia_ for seed in range(5)])
    assert ours <= 1.03 * theirs


def test_more_dimensions_than_the_start_looks_at_are_no_worse():
    points, _ = make_blobs(n_samples=600, n_features=400, centers=60, cluster_std=6.0, random_state=3)
    ours = np.mean([kmeans(points, 60, seed=seed).inertia for seed in range(4)])
    theirs = np.mean([KMeans(60, n_init=1, random_state=seed).fit(points).inertia_ for seed in range(4)])
    assert ours <= 1.02 * theirs


def test_the_same_seed_gives_the_same_bytes(blobs):
    points, _ = blobs
    a, b = kmeans(points, 30, seed=7), kmeans(points, 30, seed=7)
    assert a.labels.tobytes() == b.labels.tobytes()
    assert a.centroids.tobytes() == b.centroids.tobytes()


def test_a_rotation_changes_nothing(blobs):
    points, _ = blobs
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(12, 12)))[0].astype(np.float32)
    plain, rotated = kmeans(points, 20, seed=4), kmeans(points @ rotation, 20, seed=4)
    assert adjusted_rand_score(plain.labels, rotated.labels) == pytest.approx(1)
    assert rotated.inertia == pytest.approx(plain.inertia, rel=1e-5)


def test_the_order_of_rows_is_no_more_than_another_seed(blobs):
    """The start draws rows by their position; the best of several seeds is the same partition in either order."""
    points, _ = blobs
    order = np.random.default_rng(1).permutation(len(points))
    plain, shuffled = (
        min((kmeans(rows, 20, seed=seed) for seed in range(6)), key=lambda found: found.inertia)
        for rows in (points, points[order])
    )
    assert shuffled.inertia == pytest.approx(plain.inertia, rel=1e-5)
    assert adjusted_rand_score(plain.labels[order], shuffled.labels) == pytest.approx(1)


@pytest.mark.parametrize("k", [2, 57, 118, 120])
def test_every_label_is_used(k):
    """Sixty pairs of equal rows, then as many clusters as there are distinct rows or fewer."""
    rng = np.random.default_rng(0)
    distinct = rng.normal(size=(120, 4)).astype(np.float32)
    points = np.concatenate([distinct, distinct[:60]])
    found = kmeans(points, k, seed=1)
    assert set(found.labels) == set(range(k))
    if k == 120:
        assert found.inertia == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("points", "k", "words"),
    [
        (np.ones((5, 2)), 6, "k is 6, but only 5 images"),
        (np.eye(5), 1, "at least 2"),
        (np.ones((5, 2)), 3, "only 1 embeddings differ"),
        (np.concatenate([np.eye(5), np.zeros((2, 5))]), 3, "2 embedding(s) are zero in every dimension"),
        (np.array([[1, np.nan], [0, 1]]), 2, "1 embedding(s) hold NaN"),
    ],
)
def test_what_cannot_be_clustered_is_said(points, k, words):
    with pytest.raises(DataError) as caught:
        kmeans(points, k, seed=1)
    assert words in str(caught.value)
