import numpy as np
import pytest

from cladeclip.clustering.lloyd import Clustering, kmeans
from cladeclip.clustering.streamed import assign_all, kmeans_of_file
from cladeclip.encoders.fusion import normalise
from cladeclip.errors import TableError
from cladeclip.io.embeddings import write_embeddings


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """An embeddings table of several row groups, its ids and its rows."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(12, 256))
    rows = (centres[rng.integers(12, size=9000)] * 3 + rng.normal(size=(9000, 256))).astype(np.float32)
    ids = [f"{i:05d}" for i in range(9000)]
    path = tmp_path_factory.mktemp("streamed") / "image.parquet"
    write_embeddings(path, ids, rows, {})
    return path, ids, rows


def test_with_room_for_all_points_it_is_kmeans_of_the_normalised_rows(table):
    path, ids, rows = table
    streamed = kmeans_of_file(path, ids, 12, seed=3, max_points=9000)
    whole = kmeans(normalise(rows), 12, seed=3)
    assert streamed.labels.tobytes() == whole.labels.tobytes()
    assert streamed.inertia == whole.inertia


def test_rows_are_assigned_to_their_nearest_centroid_in_the_order_asked_for(table):
    path, ids, rows = table
    order = np.random.default_rng(1).permutation(9000)[:5000]
    start = kmeans(normalise(rows[:2000]), 12, seed=0)
    found = assign_all(path, [ids[i] for i in order], start)
    distances = np.linalg.norm(normalise(rows[order]).astype(np.float64)[:, None] - start.centroids[None], axis=2)
    np.testing.assert_array_equal(found.labels, distances.argmin(axis=1))
    np.testing.assert_allclose(found.distances, distances.min(axis=1), atol=1e-4)
    assert found.inertia == pytest.approx((distances.min(axis=1) ** 2).sum(), rel=1e-5)


def test_a_sample_finds_the_same_groups_and_the_same_bytes_every_time(table):
    path, ids, _ = table
    # With more clusters than groups, chance does not leave two groups in one.
    full = kmeans_of_file(path, ids, 40, seed=3, max_points=9000)
    sampled = kmeans_of_file(path, ids, 40, seed=3, max_points=1500)
    assert len(sampled.labels) == 9000
    assert full.inertia < sampled.inertia < 1.05 * full.inertia
    again = kmeans_of_file(path, ids, 40, seed=3, max_points=1500)
    assert again.labels.tobytes() == sampled.labels.tobytes()
    assert again.centroids.tobytes() == sampled.centroids.tobytes()


def test_a_centroid_that_nobody_is_near_gets_the_farthest_row(table):
    path, ids, rows = table
    far = np.zeros((1, 256), dtype=np.float32)
    far[0, 0] = 100.0
    centroids = np.concatenate([normalise(rows[:3]), far])
    nothing = np.empty(0)
    found = assign_all(path, ids, Clustering(nothing, nothing, centroids, 0.0, 0, True))
    assert set(found.labels) == {0, 1, 2, 3}
    (row,) = np.flatnonzero(found.labels == 3)
    np.testing.assert_allclose(found.centroids[3], normalise(rows[row : row + 1])[0], atol=1e-6)
    assert found.distances[row] == 0
    before = np.linalg.norm(normalise(rows)[:, None] - centroids[None, :3], axis=2).min(axis=1)
    assert before[row] == pytest.approx(before.max(), abs=1e-5)


def test_an_image_without_embedding_is_named(table):
    path, ids, _ = table
    with pytest.raises(TableError, match="no embedding of image 'nobody'"):
        kmeans_of_file(path, [*ids, "nobody"], 3, seed=0, max_points=100_000)
    start = kmeans(np.eye(256, dtype=np.float32), 3, seed=0)
    with pytest.raises(TableError, match="no embedding of image 'nobody'"):
        assign_all(path, [*ids, "nobody"], start)
