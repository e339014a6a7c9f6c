import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score
from sklearn.neighbors import KNeighborsClassifier

from cladeclip.evaluation import nearest
from cladeclip.evaluation.knn import knn_accuracy


@pytest.fixture
def data():
    rng = np.random.default_rng(4)
    centres = rng.normal(size=(9, 5))
    labels = np.array([f"species {i}" for i in rng.integers(9, size=150)])
    points = np.stack([centres[int(name[-1])] + rng.normal(size=5) for name in labels]).astype(np.float32)
    return points[:40], labels[:40], points[40:], labels[40:]


@pytest.mark.parametrize("block_bytes", [nearest.BLOCK_BYTES, 4 * 110 * 7])
def test_it_agrees_with_scikit_learn(data, monkeypatch, block_bytes):
    monkeypatch.setattr(nearest, "BLOCK_BYTES", block_bytes)
    query, truth, gallery, labels = data
    found = knn_accuracy(query, truth, gallery, labels).set_index(["k", "weighting"])
    assert len(found) == 6
    for k in (1, 5, 20):
        for weighting, weights in (("majority", "uniform"), ("similarity", lambda distance: 1 - distance)):
            theirs = KNeighborsClassifier(k, metric="cosine", weights=weights).fit(gallery, labels).predict(query)
            assert found.loc[(k, weighting), "micro"] == pytest.approx((theirs == truth).mean())
            assert found.loc[(k, weighting), "macro"] == pytest.approx(balanced_accuracy_score(truth, theirs))


def test_a_small_gallery_votes_as_a_whole_and_ties_go_to_the_first_label():
    gallery = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9]], dtype=np.float32)
    found = knn_accuracy(gallery[:1], np.array(["a"]), gallery, np.array(["b", "b", "a", "a"]), ks=(20,))
    by = found.set_index("weighting")["micro"]
    assert (by["majority"], by["similarity"]) == (1.0, 0.0)


def test_labels_of_the_query_alone_count_as_wrong():
    points = np.eye(3, dtype=np.float32)
    found = knn_accuracy(points, np.array(["a", "b", "z"]), points[:2], np.array(["a", "b"]), ks=(1,))
    assert found["micro"].tolist() == pytest.approx([2 / 3, 2 / 3])
    assert found["macro"].tolist() == pytest.approx([2 / 3, 2 / 3])


def test_nothing_to_ask_is_said():
    with pytest.raises(ValueError, match="0 queries and 3 gallery items"):
        knn_accuracy(np.zeros((0, 2)), np.array([]), np.eye(3, 2), np.array(["a", "b", "c"]))
