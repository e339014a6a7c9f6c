import numpy as np
import pandas as pd
import pytest

from cladeclip.clustering.lloyd import kmeans
from cladeclip.clustering.quality import labels_table
from cladeclip.clustering.several import nearest_clusters
from cladeclip.encoders.fusion import normalise
from cladeclip.errors import DataError
from cladeclip.io.embeddings import write_embeddings
from cladeclip.io.parquet import write_table
from cladeclip.tables import NEAREST_CLUSTERS
from cladeclip.training.classes import nearest_classes


@pytest.fixture
def clustered(tmp_path):
    ids = [f"{i:03d}" for i in range(90)]
    rows = np.random.default_rng(0).normal(size=(90, 7)).astype(np.float32)
    write_embeddings(tmp_path / "embeddings.parquet", ids, rows, {})
    found = kmeans(normalise(rows), 12, seed=5)
    fit = pd.DataFrame({"image_id": ids})
    return tmp_path / "embeddings.parquet", normalise(rows), labels_table(fit, found.labels, found.distances), found


@pytest.mark.parametrize("top", [1, 4, 11])
def test_the_nearest_clusters_are_those_of_all_distances_the_own_first(clustered, top, monkeypatch):
    monkeypatch.setattr("cladeclip.clustering.several.BLOCK", 32)
    path, points, clusters, found = clustered
    table = nearest_clusters(path, clusters, found.centroids, top)
    distances = np.linalg.norm(points[:, None].astype(float) - found.centroids[None], axis=2)
    assert (table["place"].to_numpy().reshape(90, top) == np.arange(1, top + 1)).all()
    chosen = table["label"].to_numpy().reshape(90, top)
    np.testing.assert_array_equal(chosen, np.argsort(distances, axis=1)[:, :top])
    np.testing.assert_array_equal(chosen[:, 0], clusters["label"])
    np.testing.assert_allclose(table["distance"], np.take_along_axis(distances, chosen, axis=1).ravel(), atol=1e-5)


def test_an_image_that_was_given_another_cluster_keeps_it_as_its_first(clustered):
    """Which happens where a cluster would have been empty."""
    path, _, clusters, found = clustered
    moved = clusters.assign(label=(clusters["label"] + 1) % 12)
    table = nearest_clusters(path, moved, found.centroids, 3)
    assert (table[table["place"] == 1]["label"].to_numpy() == moved["label"].to_numpy()).all()
    assert not table.duplicated(["image_id", "label"]).any()


def test_a_student_is_given_them_as_classes_of_one_head(clustered, tmp_path):
    path, _, clusters, found = clustered
    table = nearest_clusters(path, clusters, found.centroids, 4)
    write_table(tmp_path / "top.parquet", NEAREST_CLUSTERS, table, {"n_classes": 12})
    targets = nearest_classes([str(tmp_path / "top.parquet")])
    assert targets.image_ids == list(clusters["image_id"])
    np.testing.assert_array_equal(targets.rows, table["label"].to_numpy().reshape(90, 4))
    assert targets.objective.args[0] == (12,)


def test_as_many_as_there_are_leave_none_to_be_told_from(clustered):
    path, _, clusters, found = clustered
    with pytest.raises(DataError, match="nearest 12 of 12 clusters"):
        nearest_clusters(path, clusters, found.centroids, 12)
