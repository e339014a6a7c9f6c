import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import ledoit_wolf
from sklearn.neighbors import NearestNeighbors
from test_heads import images_of, softmax

from cladeclip.hierarchy.novelty import SCORES, Known, thresholds
from cladeclip.hierarchy.taxonomy import Taxonomy


@pytest.fixture
def known():
    rng = np.random.default_rng(0)
    names = ["A a", "A b", "B a", "C a"]
    which = rng.integers(4, size=120)
    points = (rng.normal(size=(4, 6))[which] + 0.3 * rng.normal(size=(120, 6))).astype(np.float32)
    images = images_of([names[i] for i in which])
    taxonomy = Taxonomy.of_images(images)
    codes = taxonomy.codes(images)
    rng = np.random.default_rng(1)
    queries = rng.normal(size=(15, 6)).astype(np.float32)
    logits = [rng.normal(size=(15, len(of))).astype(np.float32) for of in taxonomy.names]
    path = np.stack([of.argmax(axis=1) for of in logits], axis=1)
    return taxonomy, points, codes, queries, logits, path


def units(points):
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def test_every_score_is_its_definition(known):
    taxonomy, points, codes, queries, logits, path = known
    found = {name: Known(points, codes, taxonomy, neighbour=3).scores(name, queries, logits, path) for name in SCORES}
    unit, asked = units(points.astype(float)), units(queries.astype(float))
    neighbours = NearestNeighbors(n_neighbors=3).fit(unit).kneighbors(asked)[0][:, -1]
    for r in range(3):
        means = np.stack([unit[codes[:, r] == c].mean(axis=0) for c in range(len(taxonomy.names[r]))])
        precision = np.linalg.inv(ledoit_wolf(unit - means[codes[:, r]], assume_centered=True)[0])
        for i in range(15):
            row, mean = logits[r][i].astype(float), means[path[i, r]]
            assert found["max_softmax"][i, r] == pytest.approx(1 - max(softmax(row)))
            assert found["max_logit"][i, r] == pytest.approx(-max(row))
            assert found["energy"][i, r] == pytest.approx(-np.log(sum(np.exp(row))))
            assert found["centroid"][i, r] == pytest.approx(np.sqrt(((asked[i] - mean) ** 2).sum()))
            assert found["mahalanobis"][i, r] == pytest.approx(mahalanobis(asked[i], mean, precision))
            assert found["neighbour"][i, r] == pytest.approx(neighbours[i], abs=1e-6)


def test_a_name_without_images_is_infinitely_far(known):
    taxonomy, points, codes, queries, logits, path = known
    here = codes[:, 2] != 3
    scored = Known(points[here], codes[here], taxonomy)
    path[:, 2] = 3
    for name in ("centroid", "mahalanobis"):
        assert np.isinf(scored.scores(name, queries, logits, path)[:, 2]).all()


def test_one_image_is_enough(known):
    taxonomy, points, codes, queries, logits, _ = known
    alone = Known(points[:1], codes[:1], taxonomy)
    path = np.tile(codes[:1], (15, 1))
    assert all(np.isfinite(alone.scores(name, queries, logits, path)).all() for name in SCORES)


def test_an_unknown_score_is_said(known):
    taxonomy, points, codes, queries, logits, path = known
    with pytest.raises(ValueError, match="no novelty score 'entropy'; known are max_softmax"):
        Known(points, codes, taxonomy).scores("entropy", queries, logits, path)


def test_thresholds_are_quantiles_and_few_images_borrow_their_parents():
    species = ["A a"] * 50 + ["A b"] * 3 + ["B a"] * 4 + ["C a"] * 30
    images = images_of(species)
    taxonomy = Taxonomy.of_images(images)
    codes = taxonomy.codes(images)
    scores = np.random.default_rng(0).normal(size=(len(species), 3))
    scores[0, 2] = np.inf
    category, genus, of_species = thresholds(scores, codes, taxonomy, quantile=0.9, min_images=5)

    def of(rank, members):
        values = scores[members, rank]
        return np.quantile(values[np.isfinite(values)], 0.9, method="median_unbiased")

    species = np.array(species)
    a = np.char.startswith(species, "A")
    birds = a | np.char.startswith(species, "B")
    assert category.tolist() == pytest.approx([of(0, birds), of(0, ~birds)])
    assert genus.tolist() == pytest.approx([of(1, a), category[0], of(1, species == "C a")])
    assert of_species.tolist() == pytest.approx(
        [of(2, species == "A a"), genus[0], category[0], of(2, species == "C a")]
    )


def test_thresholds_of_a_highest_rank_with_few_images_are_those_of_everything():
    images = images_of(["A a", "A b", "C a"])
    taxonomy = Taxonomy.of_images(images)
    scores = np.arange(9.0).reshape(3, 3)
    for limits in thresholds(scores, taxonomy.codes(images), taxonomy, quantile=0.5, min_images=5):
        np.testing.assert_allclose(limits, 3.0)
    nothing = thresholds(np.full((3, 3), np.inf), taxonomy.codes(images), taxonomy, quantile=0.5, min_images=1)
    assert all(np.isinf(limits).all() for limits in nothing)
