"""The four columns against plain float64 loops, scikit-learn, and the slips of the original."""

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from cladeclip.evaluation import nearest_label_accuracy, predict_labels
from cladeclip.evaluation.nearest_label import COLUMNS


def by_definition(query, gallery, labels):
    """The predicted labels by the definitions, one pair at a time."""
    names = sorted(set(labels))
    found = {column: [] for column in COLUMNS}
    for q in query.astype(np.float64):
        cosines, distances = [], []
        for g in gallery.astype(np.float64):
            norms = np.sqrt((q * q).sum()) * np.sqrt((g * g).sum())
            cosines.append((q * g).sum() / norms if norms else 0.0)
            distances.append(np.sqrt(((q - g) ** 2).sum()))
        of = {name: [i for i, label in enumerate(labels) if label == name] for name in names}
        found["accuracy_individual"].append(max(names, key=lambda n: max(cosines[i] for i in of[n])))
        found["accuracy_avg"].append(max(names, key=lambda n: np.mean([cosines[i] for i in of[n]])))
        found["distance_individual"].append(min(names, key=lambda n: min(distances[i] for i in of[n])))
        found["distance_avg"].append(min(names, key=lambda n: np.mean([distances[i] for i in of[n]])))
    return found


def assert_all_columns_are_by_definition(query, gallery, labels):
    predicted = predict_labels(query, gallery, labels)
    for column, expected in by_definition(query, gallery, labels).items():
        assert list(getattr(predicted, column)) == expected, column


def data(seed, q=30, g=80, d=6, n_labels=9, scale=1.0):
    rng = np.random.default_rng(seed)
    gallery = rng.normal(size=(g, d)) * rng.uniform(0.2, 3, size=(g, 1)) * scale
    labels = np.array([f"label{i:02d}" for i in rng.integers(n_labels, size=g)])
    return (rng.normal(size=(q, d)) * scale).astype(np.float32), gallery.astype(np.float32), labels


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("scale", [1.0, 1e4, 1e-4])
def test_all_four_columns_are_those_of_the_definition(seed, scale):
    query, gallery, labels = data(seed, scale=scale)
    assert_all_columns_are_by_definition(query, gallery, labels)


def test_the_nearest_item_agrees_with_scikit_learn():
    query, gallery, labels = data(1, q=200, g=500, d=32)
    predicted = predict_labels(query, gallery, labels)
    for column, metric in (("accuracy_individual", "cosine"), ("distance_individual", "euclidean")):
        theirs = KNeighborsClassifier(1, metric=metric, algorithm="brute").fit(gallery, labels).predict(query)
        assert list(getattr(predicted, column)) == list(theirs)


def test_cosine_and_distance_are_not_the_same_column():
    """The original's distance_individual repeated the cosine argmax: here the two neighbours differ."""
    gallery = np.array([[10.0, 0.1], [1.0, 0.9]], np.float32)
    predicted = predict_labels(np.array([[1.0, 0.0]], np.float32), gallery, np.array(["far", "near"]))
    assert predicted.accuracy_individual[0] == "far"
    assert predicted.distance_individual[0] == "near"
    assert predicted.distance_avg[0] == "near"
    assert predicted.accuracy_avg[0] == "far"


def test_the_lowest_distance_is_not_the_lowest_similarity():
    """The original's "lowest distance score" was the smallest similarity."""
    gallery = np.eye(3, dtype=np.float32)
    assert nearest_label_accuracy(gallery, list("abc"), gallery, list("abc")).distance_individual == 1


def test_ties_go_to_the_label_that_sorts_first():
    gallery = np.array([[1, 0], [1, 0], [0, 1], [2, 0]], np.float32)
    labels = np.array(["z", "b", "a", "c"])
    predicted = predict_labels(np.array([[1, 0], [1, 1]], np.float32), gallery, labels)
    assert list(predicted.accuracy_individual) == ["b", "a"]
    assert list(predicted.distance_individual) == ["b", "a"]
    assert list(predicted.accuracy_avg) == ["b", "a"]
    assert predicted.nearest[0] == 1


@pytest.mark.parametrize("offset", [0.0, 30.0, 300.0])
def test_neighbours_that_float32_cannot_tell_apart_are_settled(offset):
    """Near-duplicates far from the origin: |q|^2 + |g|^2 - 2 q.g cancels almost all digits."""
    rng = np.random.default_rng(0)
    centre = rng.normal(size=16) + offset
    gallery = (centre + 1e-3 * rng.normal(size=(40, 16))).astype(np.float32)
    query = (centre + 1e-3 * rng.normal(size=(25, 16))).astype(np.float32)
    labels = np.array([f"{i // 2:02d}" for i in range(40)])
    assert_all_columns_are_by_definition(query, gallery, labels)


def test_one_near_duplicate_among_far_items_of_its_label():
    """The mean distance: float32 is off by the root of the rounding where q and g almost coincide."""
    rng = np.random.default_rng(4)
    for trial in range(20):
        q = rng.normal(size=8) * 50
        far = q + rng.normal(size=(8, 8)) * 10
        radius = np.linalg.norm(far - q, axis=1)
        near = q + rng.normal(size=8) * 1e-4
        # Label b's mean distance is a hair larger or smaller than label a's.
        a = np.vstack([far[:4], near])
        mean_a = (radius[:4].sum() + np.linalg.norm(near - q)) / 5
        direction = rng.normal(size=8)
        b = (q + direction / np.linalg.norm(direction) * mean_a * (1 + 2e-6 * (-1) ** trial))[None]
        gallery = np.vstack([a, b]).astype(np.float32)
        query, labels = q[None].astype(np.float32), np.array(["a"] * 5 + ["b"])
        assert (
            list(predict_labels(query, gallery, labels).distance_avg)
            == by_definition(query, gallery, labels)["distance_avg"]
        )


def test_rows_in_another_order_change_nothing():
    query, gallery, labels = data(2)
    order = np.random.default_rng(0).permutation(len(gallery))
    before, after = predict_labels(query, gallery, labels), predict_labels(query, gallery[order], labels[order])
    for column in COLUMNS:
        np.testing.assert_array_equal(getattr(before, column), getattr(after, column))
    np.testing.assert_array_equal(gallery[before.nearest], gallery[order][after.nearest])


def test_scaling_leaves_the_cosine_columns_alone():
    query, gallery, labels = data(3)
    factors = np.random.default_rng(0).choice([0.25, 1.0, 8.0], size=(len(gallery), 1)).astype(np.float32)
    before, after = predict_labels(query, gallery, labels), predict_labels(2 * query, gallery * factors, labels)
    np.testing.assert_array_equal(before.accuracy_individual, after.accuracy_individual)
    np.testing.assert_array_equal(before.accuracy_avg, after.accuracy_avg)
    assert (before.distance_individual != after.distance_individual).any()


def test_the_gallery_itself_as_queries_is_all_right():
    _, gallery, labels = data(4, g=60)
    accuracies = nearest_label_accuracy(gallery, labels, gallery, labels)
    assert accuracies.accuracy_individual == accuracies.distance_individual == 1


def test_a_label_that_the_gallery_lacks_counts_as_wrong():
    query, gallery, labels = data(5)
    accuracies = nearest_label_accuracy(query, np.array(["elsewhere"] * len(query)), gallery, labels)
    assert accuracies.accuracy_individual == accuracies.distance_avg == 0


def test_zero_vectors_have_a_definition():
    gallery = np.array([[0, 0], [1, 0]], np.float32)
    predicted = predict_labels(np.zeros((1, 2), np.float32), gallery, np.array(["b", "a"]))
    assert predicted.accuracy_individual[0] == "a"  # every cosine is 0: the label that sorts first
    assert predicted.distance_individual[0] == "b"
    assert predicted.nearest_cosine[0] == 0


def test_tiles_and_chunks_do_not_show(monkeypatch):
    query, gallery, labels = data(6, q=50)
    whole = predict_labels(query, gallery, labels)
    for name, value in (("QUERIES", 7), ("TILE", 32), ("GROUP", 16), ("SUMS_BYTES", 8 * 9 * 20)):
        monkeypatch.setattr(f"cladeclip.evaluation.nearest_label.{name}", value)
    tiled = predict_labels(query, gallery, labels)
    for column in COLUMNS:
        np.testing.assert_array_equal(getattr(whole, column), getattr(tiled, column))


@pytest.mark.parametrize(
    ("query", "gallery", "words"),
    [
        (np.ones((2, 3)), np.ones((2, 4)), "must be"),
        (np.ones((0, 3)), np.ones((2, 3)), "at least one"),
        (np.ones((2, 3)), np.full((2, 3), np.nan), "NaN"),
    ],
)
def test_what_does_not_fit_is_said(query, gallery, words):
    with pytest.raises(ValueError, match=words):
        predict_labels(query, gallery, np.array(["a", "b"]))


@pytest.mark.parametrize("noise", [1e-6, 1e-3])
def test_an_encoder_that_has_collapsed_is_answered_by_definition(noise):
    """All embeddings alike, or almost: nothing here can be decided in float32."""
    rng = np.random.default_rng(5)
    centre = rng.normal(size=24)
    points = (centre + noise * rng.normal(size=(330, 24))).astype(np.float32)
    query, gallery, labels = points[:20], points[20:], np.array([f"{i:02d}" for i in rng.integers(12, size=310)])
    assert_all_columns_are_by_definition(query, gallery, labels)


def test_what_rounding_alone_tells_apart_is_a_tie():
    """Means of equal cosines over different numbers of items, and cosines of a vector with multiples of another."""
    rng = np.random.default_rng(6)
    for _ in range(10):
        query, item = rng.normal(size=(2, 24)).astype(np.float32)
        labels = np.array(["d"] * 7 + ["b"] * 3 + ["c"] * 90)
        alike = predict_labels(query[None], np.tile(item, (100, 1)), labels)
        for column in COLUMNS:
            assert getattr(alike, column)[0] == "b", column
        assert alike.nearest[0] == 7
        multiples = np.arange(1, 101, dtype=np.float32)[:, None] * np.round(16 * item)  # exact
        assert predict_labels(query[None], multiples, labels).accuracy_individual[0] == "b"


@pytest.mark.parametrize("scale", [1e15, 1e-15])
def test_lengths_whose_squares_float32_cannot_hold(scale):
    query, gallery, labels = data(7, scale=scale)
    assert not np.isfinite(np.float32(1e30) ** 2)
    assert_all_columns_are_by_definition(query, gallery, labels)


def test_equal_items_of_many_groups_are_one_candidate(monkeypatch):
    """Of equal items the first by label, then by row, is the nearest, however many there are."""
    monkeypatch.setattr("cladeclip.evaluation.nearest_label.GROUP", 16)
    rng = np.random.default_rng(8)
    once = rng.normal(size=(5, 12)).astype(np.float32)
    which = rng.integers(5, size=300)
    labels = np.array([f"{i:02d}" for i in rng.integers(9, size=300)])
    predicted = predict_labels(once, once[which], labels)
    for i in range(5):
        equal = np.flatnonzero(which == i)
        assert predicted.nearest[i] == equal[np.argmin(labels[equal])]
        assert predicted.nearest_cosine[i] == pytest.approx(1.0)
