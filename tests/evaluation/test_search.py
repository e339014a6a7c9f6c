"""The search against plain float64 loops, scikit-learn, pytorch-metric-learning, and the slips of the original."""

import numpy as np
import pandas as pd
import pytest
import torch
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from sklearn.neighbors import KNeighborsClassifier

from cladeclip.evaluation import scores
from cladeclip.evaluation.measures import RETRIEVED
from cladeclip.evaluation.protocol import Subset
from cladeclip.evaluation.search import VOTERS, nearest, search
from cladeclip.tables import MEASURES

TIE = 1e-12


def named_by(query, gallery, labels, query_labels=None):
    """Answers for queries (q, d) by a labelled gallery (g, d)."""
    q, g = len(query), len(gallery)
    names = np.array([*(query_labels if query_labels is not None else [""] * q), *labels])
    points = np.concatenate([np.asarray(query, np.float32), np.asarray(gallery, np.float32)])
    rows = np.arange(q, q + g)
    (found,) = search(points, [Subset("All", "species", names, np.arange(q), rows, rows[:0], rows)])
    return found


def retrieved(embeddings, labels, asked=None):
    """The measures (a, number of RETRIEVED) of rows that ask for all others."""
    everyone = np.arange(len(labels))
    asked = everyone if asked is None else asked
    names = np.asarray(labels)
    (found,) = search(np.asarray(embeddings), [Subset("All", "", names, everyone[:1], everyone[1:], asked, everyone)])
    return found.retrieval


def scores_of(query, gallery):
    """Cosines and Euclidean distances (q, g), one pair at a time."""
    cosines, distances = np.empty((len(query), len(gallery))), np.empty((len(query), len(gallery)))
    for i, q in enumerate(query.astype(np.float64)):
        for j, g in enumerate(gallery.astype(np.float64)):
            norms = np.sqrt((q * q).sum()) * np.sqrt((g * g).sum())
            cosines[i, j] = (q * g).sum() / norms if norms else 0.0
            distances[i, j] = np.sqrt(((q - g) ** 2).sum())
    return cosines, distances


def by_definition(query, gallery, labels):
    """For each column the labels (a set a query) that may be answered: what comes first of what ties with the best.

    There is more than one only where a difference is that of a tie, to one percent.
    """
    names = sorted(set(labels))
    members = [np.flatnonzero(np.asarray(labels) == name) for name in names]
    cosines, distances = scores_of(query, gallery)
    centre = scores.centre(torch.from_numpy(np.concatenate([query, gallery])).double()).numpy()
    scale = ((query - centre) ** 2).sum(1)[:, None] + ((gallery - centre) ** 2).sum(1)
    of_closest = np.take_along_axis(scale, distances.argmin(1)[:, None], 1)
    mean_distances = np.stack([distances[:, of].mean(1) for of in members], 1)
    columns = {
        "accuracy_individual": (np.stack([cosines[:, of].max(1) for of in members], 1), 1.0),
        "accuracy_avg": (np.stack([cosines[:, of].mean(1) for of in members], 1), 1.0),
        "distance_individual": (-np.stack([(distances[:, of] ** 2).min(1) for of in members], 1), of_closest),
        "distance_avg": (-mean_distances, mean_distances.min(1, keepdims=True)),
    }
    allowed = {}
    for measure, (values, of_tie) in columns.items():
        below = values.max(1, keepdims=True) - values
        first = (below <= 0.99 * TIE * of_tie).argmax(1)
        perhaps = below <= 1.01 * TIE * of_tie
        allowed[measure] = [{names[k] for k in np.flatnonzero(perhaps[i]) if k <= last} for i, last in enumerate(first)]
    return allowed


def assert_all_columns_are_by_definition(query, gallery, labels):
    found = named_by(query, gallery, labels).labels
    for measure, allowed in by_definition(query, gallery, labels).items():
        wrong = [i for i, (label, among) in enumerate(zip(found[measure], allowed, strict=True)) if label not in among]
        assert not wrong, (measure, wrong)


def data(seed, q=30, g=80, d=6, n_labels=9, scale=1.0):
    rng = np.random.default_rng(seed)
    gallery = rng.normal(size=(g, d)) * rng.uniform(0.2, 3, size=(g, 1)) * scale
    labels = np.array([f"label{i:02d}" for i in rng.integers(n_labels, size=g)])
    return (rng.normal(size=(q, d)) * scale).astype(np.float32), gallery.astype(np.float32), labels


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("scale", [1.0, 1e4, 1e-4, 1e15, 1e-15])
def test_all_four_columns_are_those_of_the_definition(seed, scale):
    """At any scale: at the last two, float32 cannot hold the squares."""
    assert_all_columns_are_by_definition(*data(seed, scale=scale))


def test_the_nearest_item_agrees_with_scikit_learn():
    query, gallery, labels = data(1, q=200, g=500, d=32)
    found = named_by(query, gallery, labels).labels
    for measure, metric in (("accuracy_individual", "cosine"), ("distance_individual", "euclidean")):
        theirs = KNeighborsClassifier(1, metric=metric, algorithm="brute").fit(gallery, labels).predict(query)
        assert list(found[measure]) == list(theirs)


def test_cosine_and_distance_are_not_the_same_column():
    """The original's distance_individual repeated the cosine argmax: here the two neighbours differ."""
    gallery = np.array([[10.0, 0.1], [1.0, 0.9]], np.float32)
    found = named_by(np.array([[1.0, 0.0]]), gallery, ["far", "near"]).labels
    assert [found[measure][0] for measure in MEASURES] == ["far", "far", "near", "near"]


def test_the_lowest_distance_is_not_the_lowest_similarity():
    """The original's "lowest distance score" was the smallest similarity."""
    assert list(named_by(np.eye(3), np.eye(3), list("abc")).labels["distance_individual"]) == list("abc")


def test_ties_go_to_the_label_that_sorts_first():
    gallery = np.array([[1, 0], [1, 0], [0, 1], [2, 0]], np.float32)
    found = named_by(np.array([[1, 0], [1, 1]]), gallery, np.array(["z", "b", "a", "c"]))
    for measure in ("accuracy_individual", "distance_individual", "accuracy_avg"):
        assert list(found.labels[measure]) == ["b", "a"]
    assert found.nearest[0] == 2 + 1


@pytest.mark.parametrize("offset", [0.0, 30.0, 300.0])
def test_near_duplicates_far_from_the_origin(offset):
    """|q|^2 + |g|^2 - 2 q.g would cancel almost all digits."""
    rng = np.random.default_rng(0)
    centre = rng.normal(size=16) + offset
    gallery = (centre + 1e-3 * rng.normal(size=(40, 16))).astype(np.float32)
    query = (centre + 1e-3 * rng.normal(size=(25, 16))).astype(np.float32)
    assert_all_columns_are_by_definition(query, gallery, np.array([f"{i // 2:02d}" for i in range(40)]))


def test_one_near_duplicate_among_far_items_of_its_label():
    """Its distance is lost beside the lengths, but not so much that the mean is off."""
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
        assert_all_columns_are_by_definition(q[None].astype(np.float32), gallery, np.array(["a"] * 5 + ["b"]))


@pytest.mark.parametrize("noise", [1e-6, 1e-5, 1e-3])
def test_an_encoder_that_has_collapsed_is_answered_by_definition(noise):
    """All embeddings alike, or almost: nothing here can be decided in float32."""
    rng = np.random.default_rng(5)
    centre = rng.normal(size=24)
    points = (centre + noise * rng.normal(size=(330, 24))).astype(np.float32)
    labels = np.array([f"{i:02d}" for i in rng.integers(12, size=310)])
    assert_all_columns_are_by_definition(points[:20], points[20:], labels)


def test_rows_in_another_order_change_nothing():
    query, gallery, labels = data(2)
    order = np.random.default_rng(0).permutation(len(gallery))
    before, after = named_by(query, gallery, labels), named_by(query, gallery[order], labels[order])
    for measure in MEASURES:
        np.testing.assert_array_equal(before.labels[measure], after.labels[measure])
    np.testing.assert_array_equal(before.nearest - 30, order[after.nearest - 30])


def test_scaling_leaves_the_cosine_columns_alone():
    query, gallery, labels = data(3)
    factors = np.random.default_rng(0).choice([0.25, 1.0, 8.0], size=(len(gallery), 1)).astype(np.float32)
    before, after = (
        found.labels for found in (named_by(query, gallery, labels), named_by(2 * query, gallery * factors, labels))
    )
    for measure in ("accuracy_individual", "accuracy_avg"):
        np.testing.assert_array_equal(before[measure], after[measure])
    assert (before["distance_individual"] != after["distance_individual"]).any()


def test_zero_vectors_have_a_definition():
    found = named_by(np.zeros((1, 2)), np.array([[0, 0], [1, 0]]), np.array(["b", "a"]))
    assert found.labels["accuracy_individual"][0] == "a"  # every cosine is 0: the label that sorts first
    assert found.labels["distance_individual"][0] == "b"
    assert found.cosines[0, 0] == 0
    rows, _ = nearest(np.array([[1, 0], [0, 0]]), np.array([[0, 0], [-1, 0], [1, 0]]), 3)
    np.testing.assert_array_equal(rows, [[2, 0, 1], [0, 1, 2]])


def test_what_rounding_alone_tells_apart_is_a_tie():
    """Means of equal cosines over different numbers of items, and cosines of a vector with multiples of another."""
    rng = np.random.default_rng(6)
    for _ in range(10):
        query, item = rng.normal(size=(2, 24)).astype(np.float32)
        alike = named_by(query[None], np.tile(item, (100, 1)), np.array(["d"] * 7 + ["b"] * 3 + ["c"] * 90))
        assert [alike.labels[measure][0] for measure in MEASURES] == ["b"] * 4
        assert alike.nearest[0] == 1 + 7
        multiples = np.arange(1, 101, dtype=np.float32)[:, None] * np.round(16 * item)  # exact
        found = named_by(query[None], multiples, np.array(["d"] * 7 + ["b"] * 3 + ["c"] * 90))
        assert found.labels["accuracy_individual"][0] == "b"


def test_of_equal_items_the_first_of_the_label_that_sorts_first_is_nearest():
    """However many there are, so that the first look does not show them all."""
    rng = np.random.default_rng(8)
    once = rng.normal(size=(5, 12)).astype(np.float32)
    which = rng.integers(5, size=900)
    labels = np.array([f"{i:02d}" for i in rng.integers(9, size=900)])
    found = named_by(once, once[which], labels)
    for i in range(5):
        equal = np.flatnonzero(which == i)
        assert found.nearest[i] - 5 == equal[np.argmin(labels[equal])]
        assert found.labels["distance_individual"][i] == sorted(labels[equal])[0]
        np.testing.assert_array_equal(found.neighbours[i] - 5, equal[:20])
        assert found.cosines[i, 0] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("query", "gallery", "words"),
    [
        (np.ones((0, 3)), np.ones((2, 3)), "at least one"),
        (np.ones((2, 3)), np.full((2, 3), np.nan), "NaN"),
    ],
)
def test_what_does_not_fit_is_said(query, gallery, words):
    with pytest.raises(ValueError, match=words):
        named_by(query, gallery, np.array(["a", "b"]))


@pytest.mark.parametrize("scale", [1.0, 1e12, 1e-12])
@pytest.mark.parametrize("k", [1, 9, 40, 150])
def test_neighbours_that_float32_cannot_tell_apart_come_in_the_right_order(k, scale):
    """Near-duplicates: their cosines differ in the eighth digit."""
    rng = np.random.default_rng(k)
    centre = rng.normal(size=32)
    gallery = (scale * (centre + 1e-4 * rng.normal(size=(150, 32)))).astype(np.float32)
    queries = (scale * (centre + 1e-4 * rng.normal(size=(20, 32)))).astype(np.float32)
    cosines, _ = scores_of(queries, gallery)

    def first(values):
        return np.argsort(-values, axis=1, kind="stable")[:, :k]

    assert k == 1 or (first(cosines.astype(np.float32)) != first(cosines)).any()  # or this test would show nothing
    rows, found = nearest(queries, gallery, k)
    in_order = np.take_along_axis(cosines, first(cosines), 1)
    np.testing.assert_allclose(found, in_order, rtol=1e-13)
    np.testing.assert_allclose(np.take_along_axis(cosines, rows, 1), in_order, rtol=1e-14)


def test_equal_neighbours_come_in_the_order_of_their_rows():
    rng = np.random.default_rng(1)
    once = rng.normal(size=(30, 67)).astype(np.float32)
    which = rng.integers(30, size=400)
    queries = rng.normal(size=(9, 67)).astype(np.float32)
    rows, _ = nearest(queries, once[which], 400)
    by_value = np.argsort(-scores_of(queries, once)[0], axis=1)
    expected = [np.concatenate([np.flatnonzero(which == i) for i in order]) for order in by_value]
    np.testing.assert_array_equal(rows, expected)


def test_a_collapsed_encoder_is_put_in_order_too():
    rows, _ = nearest(np.ones((3, 8)), np.ones((500, 8)), 20)
    np.testing.assert_array_equal(rows, np.tile(np.arange(20), (3, 1)))


@pytest.mark.parametrize("k", [0, 4])
def test_more_than_there_are_cannot_be_asked_for(k):
    with pytest.raises(ValueError, match="between 1 and 3"):
        nearest(np.eye(3), np.eye(3), k)


def test_votes_agree_with_scikit_learn():
    rng = np.random.default_rng(4)
    centres = rng.normal(size=(9, 5))
    labels = np.array([f"species {i}" for i in rng.integers(9, size=150)])
    points = np.stack([centres[int(name[-1])] + rng.normal(size=5) for name in labels]).astype(np.float32)
    query, gallery = points[:40], points[40:]
    votes = named_by(query, gallery, labels[40:]).votes
    assert len(votes) == 6
    for k in VOTERS:
        for weighting, weights in (("majority", "uniform"), ("similarity", lambda distance: 1 - distance)):
            theirs = KNeighborsClassifier(k, metric="cosine", weights=weights).fit(gallery, labels[40:]).predict(query)
            assert list(votes[k, weighting]) == list(theirs)


def test_a_small_gallery_votes_as_a_whole_and_ties_go_to_the_first_label():
    gallery = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9]])
    votes = named_by(gallery[:1], gallery, np.array(["b", "b", "a", "a"])).votes
    assert votes[20, "majority"][0] == "a"
    assert votes[20, "similarity"][0] == "b"


def test_labels_without_a_vote_are_below_those_with_negative_ones():
    gallery = np.array([[-1.0, 0.0]] * 20 + [[-1.0, -0.1]] * 20)
    votes = named_by(np.array([[1.0, 0.2]]), gallery, np.array(["b"] * 20 + ["a"] * 20)).votes
    assert votes[20, "similarity"][0] == "b"


@pytest.fixture(params=[0, 1])
def classes(request):
    """Classes of very different sizes, some of one image."""
    rng = np.random.default_rng(request.param)
    labels = np.concatenate([np.repeat(np.arange(12), [40, 25, 17, 9, 5, 4, 3, 3, 2, 2, 1, 1])])
    rng.shuffle(labels)
    centres = rng.normal(size=(12, 6))
    points = (centres[labels] + rng.normal(size=(len(labels), 6))).astype(np.float32)
    return points, np.array([f"{label:02d}" for label in labels])


def retrieval_by_definition(embeddings, labels):
    """Plain loops in float64."""
    units = embeddings.astype(np.float64)
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    rows = np.full((len(units), len(RETRIEVED)), np.nan)
    for i in range(len(units)):
        r = int((labels == labels[i]).sum()) - 1
        if r == 0:
            continue
        ranked = sorted((j for j in range(len(units)) if j != i), key=lambda j: (-(units[i] @ units[j]), j))
        hits = [labels[j] == labels[i] for j in ranked]
        precisions = [sum(hits[: rank + 1]) / (rank + 1) if hits[rank] else 0.0 for rank in range(r)]
        found = {f"recall_at_{k}": any(hits[:k]) for k in (1, 5, 10)}
        found |= {"r_precision": sum(hits[:r]) / r, "map_at_r": sum(precisions) / r}
        rows[i] = [found[name] for name in RETRIEVED]
    return rows


@pytest.mark.parametrize("block", [scores.BLOCK, 112 * 7])
def test_retrieval_is_its_definition_for_each_that_asks(classes, monkeypatch, block):
    monkeypatch.setattr(scores, "BLOCK", block)
    expected = retrieval_by_definition(*classes)
    np.testing.assert_allclose(retrieved(*classes), expected, rtol=1e-12)
    some = np.arange(0, 112, 3)
    np.testing.assert_allclose(retrieved(*classes, asked=some), expected[some], rtol=1e-12)


def test_retrieval_agrees_with_pytorch_metric_learning(classes):
    embeddings, labels = classes
    units = torch.from_numpy(embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True))
    theirs = AccuracyCalculator(
        include=("precision_at_1", "r_precision", "mean_average_precision_at_r"), k="max_bin_count"
    )
    expected = theirs.get_accuracy(units, torch.from_numpy(labels.astype(int)))
    found = dict(zip(RETRIEVED, np.nanmean(retrieved(embeddings, labels), axis=0), strict=True))
    recall, r_precision, map_at_r = (found[name] for name in ("recall_at_1", "r_precision", "map_at_r"))
    assert recall == pytest.approx(expected["precision_at_1"], abs=1e-6)
    assert r_precision == pytest.approx(expected["r_precision"], abs=1e-6)
    assert map_at_r == pytest.approx(expected["mean_average_precision_at_r"], abs=1e-6)


def test_order_of_rows_and_length_of_vectors_do_not_change_retrieval(classes):
    embeddings, labels = classes
    order = np.random.default_rng(5).permutation(len(labels))
    lengths = np.random.default_rng(6).uniform(0.1, 50, size=(len(labels), 1)).astype(np.float32)
    other = retrieved((embeddings * lengths)[order], labels[order])
    np.testing.assert_allclose(other, retrieved(embeddings, labels)[order], rtol=1e-12)


def test_equal_similarities_are_retrieved_in_the_order_of_rows():
    # Row 0 sees 1, 2, 3; row 1 sees 0, 2, 3; row 2 sees 0, 1, 3; row 3 sees 0, 1, 2.
    assert list(retrieved(np.ones((4, 3)), list("abab"))[:, 0]) == [0, 0, 1, 0]


def test_zero_rows_and_negative_similarities_have_their_place():
    embeddings = np.array([[1, 0], [0, 0], [-1, 0], [-1, 0.1]])
    # The zero row is similar to all (0): row 0 finds it before those that point away; it finds row 0 first, being first.
    assert list(retrieved(embeddings, list("aabb"))[:, 0]) == [1, 1, 1, 1]


def several_subsets(rng, n=300):
    """Ranks that nest, categories and two draws, over rows in any order; some rows are nobody's."""
    species = rng.integers(20, size=n)
    names = {"species": species, "genus": species // 3, "taxa": species // 9}
    names = {column: np.array([f"{column} {code:02d}" for code in codes]) for column, codes in names.items()}
    category, inside = names["taxa"], rng.random(n) < 0.9
    found = []
    for _ in range(2):
        for taxa in [*np.unique(category), "All"]:
            members = inside & ((category == taxa) | (taxa == "All"))
            is_query = members & (rng.random(n) < 0.3)
            query, gallery = np.flatnonzero(is_query), np.flatnonzero(members & ~is_query)
            rows = np.flatnonzero(members)
            found += [Subset(taxa, column, names[column], query, gallery, rows, rows) for column in names]
    return species, found[: len(found) // 2], found[len(found) // 2 :]


@pytest.mark.parametrize("block", [scores.BLOCK, 300 * 11])
def test_ranks_categories_and_draws_that_share_a_search_are_answered_as_if_alone(monkeypatch, block):
    monkeypatch.setattr(scores, "BLOCK", block)
    rng = np.random.default_rng(3)
    species, subsets, draws = several_subsets(rng)
    points = (rng.normal(size=(20, 8))[species] + 0.8 * rng.normal(size=(300, 8))).astype(np.float32)
    points[50:60] = points[40:50]
    together = search(points, subsets, draws)
    assert len(together) == len(subsets) + len(draws)
    for i, subset in enumerate([*subsets, *draws]):
        (alone,) = search(points, [subset])
        rows = subset.query
        expected = named_by(points[rows], points[subset.gallery], subset.names[subset.gallery])
        for measure in MEASURES:
            np.testing.assert_array_equal(together[i].labels[measure], expected.labels[measure])
            np.testing.assert_array_equal(alone.labels[measure], expected.labels[measure])
        np.testing.assert_array_equal(together[i].nearest, subset.gallery[expected.nearest - len(rows)])
        if i >= len(subsets):
            assert together[i].retrieval.shape == (0, len(RETRIEVED))
            assert not together[i].votes
            continue
        np.testing.assert_array_equal(together[i].neighbours, subset.gallery[expected.neighbours - len(rows)])
        for vote, labels in expected.votes.items():
            np.testing.assert_array_equal(together[i].votes[vote], labels)
        by_loops = retrieval_by_definition(points[subset.found], subset.names[subset.found])
        np.testing.assert_allclose(together[i].retrieval, by_loops, rtol=1e-12)


def test_keys_hold_cosines_and_places():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(50, 7)).astype(np.float32)
    block = next(scores.Points(points, np.arange(10, 50), "cpu").blocks(np.arange(10)))
    expected, distances = scores_of(points[:10], points[10:])
    np.testing.assert_array_equal(block.items(block.keys), np.tile(np.arange(40), (10, 1)))
    np.testing.assert_allclose(block.cosines(block.keys), expected, atol=1e-14)
    np.testing.assert_allclose(block.distances.numpy(), distances, rtol=1e-12)


@pytest.mark.parametrize("width", [1, 5, 30, 59, 60])
def test_the_lowest_keys_are_moved_to_the_beginning_and_none_is_lost(width):
    keys = torch.from_numpy(np.random.default_rng(width).integers(-(2**62), 2**62, size=(5, 60)))
    before = keys.sort(1).values
    np.testing.assert_array_equal(scores.first_in_order(keys, width), before[:, :width])
    np.testing.assert_array_equal(keys.sort(1).values, before)


def test_draws_of_object_names_and_of_text_are_the_same():
    query, gallery, labels = data(7)
    as_text, as_objects = named_by(query, gallery, labels), named_by(query, gallery, pd.Series(labels).to_numpy(object))
    for measure in MEASURES:
        assert list(as_text.labels[measure]) == list(as_objects.labels[measure])


def test_draws_alone_can_be_asked():
    query, gallery, labels = data(8)
    names, rows = np.array([*[""] * 30, *labels]), np.arange(30, 110)
    draw = Subset("All", "species", names, np.arange(30), rows, rows[:0], rows)
    (found,) = search(np.concatenate([query, gallery]), [], [draw])
    for measure, expected in named_by(query, gallery, labels).labels.items():
        np.testing.assert_array_equal(found.labels[measure], expected)
