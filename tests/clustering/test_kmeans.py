import numpy as np
import pytest
import torch
from conftest import DEVICE
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score

from cladeclip.clustering import lloyd
from cladeclip.clustering.lloyd import kmeans
from cladeclip.clustering.nearest import PointsInMemory, points_on
from cladeclip.clustering.on_device import PointsOnDevice, running_sums
from cladeclip.errors import DataError


@pytest.fixture(autouse=True, params=["faiss", "torch"])
def library(request, monkeypatch):
    """Everything holds for what runs on the CPU, and for what runs on a GPU."""
    if request.param == "faiss":
        pytest.importorskip("faiss")
    else:
        monkeypatch.setattr(lloyd, "points_on", lambda _, points: PointsOnDevice(points, DEVICE))


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


@pytest.mark.parametrize("d", [12, 300])
def test_both_libraries_find_the_same_centroids_and_means(d):
    rng = np.random.default_rng(4)
    points = rng.normal(size=(20_000, d)).astype(np.float32)
    by_faiss, by_torch = PointsInMemory(points), PointsOnDevice(points, DEVICE)
    starts = [held.start(50, np.random.default_rng(1)) for held in (by_faiss, by_torch)]
    assert [len(np.unique(start)) for start in starts] == [50, 50]
    squared, labels = by_faiss.nearest(points[starts[0]])
    squared_too, labels_too = by_torch.nearest(points[starts[0]])
    assert (labels == labels_too).mean() > 0.9999
    np.testing.assert_allclose(squared, squared_too, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(by_faiss.means(labels, 50), by_torch.means(labels, 50), atol=1e-5)


def test_a_start_among_points_that_repeat_has_k_of_them():
    points = np.repeat(np.eye(4, dtype=np.float32), 5, axis=0)
    for held in (PointsInMemory(points), PointsOnDevice(points, DEVICE)):
        start = held.start(6, np.random.default_rng(0))
        assert len(np.unique(start)) == 6
        assert len(np.unique(points[start], axis=0)) == 4


def test_where_no_gpu_shows_itself_faiss_does_it(monkeypatch):
    assert isinstance(points_on("cpu", np.eye(3, dtype=np.float32)), PointsInMemory)
    if not torch.cuda.is_available():
        assert isinstance(points_on("auto", np.eye(3, dtype=np.float32)), PointsInMemory)
        # Nor where a driver does, and torch sees none.
        monkeypatch.setattr("cladeclip.clustering.nearest.DRIVERS", ("null",))
        assert isinstance(points_on("auto", np.eye(3, dtype=np.float32)), PointsInMemory)


def test_what_a_gpu_has_no_memory_for_is_done_on_the_cpu(blobs, monkeypatch):
    points, _ = blobs
    expected = kmeans(points, 10, seed=1, device="cpu")

    class Full(PointsInMemory):
        def nearest(self, centroids):
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(
        lloyd, "points_on", lambda device, points: (PointsInMemory if device == "cpu" else Full)(points)
    )
    found = kmeans(points, 10, seed=1, device="auto")
    assert adjusted_rand_score(found.labels, expected.labels) > 0.9
    monkeypatch.setattr(Full, "nearest", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        kmeans(points, 10, seed=1)


@pytest.mark.parametrize("n", [1, 2, 3, 1_000, 31_452])
def test_running_sums_are_numpys(n):
    values = np.random.default_rng(n).random(n) ** 4
    found = running_sums(torch.from_numpy(values).to(DEVICE)).cpu().numpy()
    np.testing.assert_allclose(found, values.cumsum(), rtol=1e-12)
    assert np.all(np.diff(found) >= -1e-12 * found[-1])
