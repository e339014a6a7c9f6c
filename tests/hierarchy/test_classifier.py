import numpy as np
import pytest
from test_heads import images_of

from cladeclip.hierarchy.classifier import Settings, fit_classifier
from cladeclip.hierarchy.heads import HeadSettings
from cladeclip.hierarchy.novelty import SCORES
from cladeclip.hierarchy.taxonomy import Taxonomy

SETTINGS = Settings(HeadSettings(steps=100, batch_size=64))
NAMES = ["A a", "A b", "B a", "B b", "C a", "C b", "D a", "D b"]


@pytest.fixture(scope="module")
def collection():
    """Species around genera around categories; "B b" and "D b" are the last of their genera."""
    rng = np.random.default_rng(0)
    category = {"A": 0, "B": 0, "C": 1, "D": 1}
    tops, genera = 4 * rng.normal(size=(2, 24)), {letter: 2 * rng.normal(size=24) for letter in "ABCD"}
    species = {name: rng.normal(size=24) for name in NAMES}
    which = np.repeat(NAMES, 60)
    centres = np.stack([tops[category[name[0]]] + genera[name[0]] + species[name] for name in which])
    images = images_of(list(which))
    points = centres + 0.4 * rng.normal(size=centres.shape)
    return images.assign(content_group=images["image_id"]), points.astype(np.float32)


@pytest.fixture(scope="module")
def fitted(collection):
    """Fitted on two thirds of five species; the others are new, one of a genus that is known and two of one that is not."""
    images, points = collection
    new = images["scientific_name"].isin(["B b", "D a", "D b"]).to_numpy()
    query = np.arange(len(images)) % 3 == 0
    fit = ~new & ~query
    taxonomy = Taxonomy.of_images(images[fit])
    return fit_classifier(images[fit], points[fit], taxonomy, SETTINGS, seed=5), fit, ~new & query, new


@pytest.mark.parametrize("score", SCORES)
def test_known_images_are_named_to_the_species_about_as_often_as_the_quantile_says(collection, fitted, score):
    images, points = collection
    classifier, _, known, _ = fitted
    found = classifier.answers(points[known], score)
    truth = classifier.taxonomy.codes(images[known])
    # Three ranks may each turn away one image in twenty.
    assert 0.8 < (found.depth == 3).mean() <= 1.0
    right = found.codes == truth
    assert right[found.codes >= 0].mean() > 0.97


@pytest.mark.parametrize("score", ["centroid", "mahalanobis", "neighbour"])
def test_new_species_stop_above_the_species_and_are_right_where_they_stop(collection, fitted, score):
    images, points = collection
    classifier, _, _, new = fitted
    found = classifier.answers(points[new], score)
    of_known_genus = (images["genus"] == "B").to_numpy()[new]
    assert (found.depth < 3).mean() > 0.9
    truth = classifier.taxonomy.codes(images[new])
    assert (found.path[:, 0] == truth[:, 0]).mean() > 0.95  # the category is known, and is right
    assert (found.path[of_known_genus, 1] == truth[of_known_genus, 1]).mean() > 0.95
    assert (truth[~of_known_genus, 1] == -1).all()


def test_no_answer_contradicts_its_parent(collection, fitted):
    _, points = collection
    classifier = fitted[0]
    codes = classifier.answers(points, "max_logit").codes
    for place in (1, 2):
        answered = codes[:, place] >= 0
        parents = classifier.taxonomy.parents[place][codes[answered, place]]
        np.testing.assert_array_equal(parents, codes[answered, place - 1])


def test_the_same_seed_gives_the_same_classifier(collection, fitted):
    images, points = collection
    classifier, fit, known, _ = fitted
    again = fit_classifier(images[fit], points[fit], classifier.taxonomy, SETTINGS, seed=5)
    for score in SCORES:
        np.testing.assert_array_equal(
            classifier.answers(points[known], score).codes, again.answers(points[known], score).codes
        )


def test_limits_are_made_of_images_that_the_heads_had_not_seen(collection, fitted):
    """Of the images fitted on, fewer than the quantile says lie above a limit: they are too familiar."""
    _, points = collection
    classifier, fit, known, _ = fitted
    limits = classifier.limits["centroid"]

    def above(rows):
        path = classifier.answers(points[rows], "centroid").path
        return (classifier.novelties(points[rows])["centroid"][:, 2] > limits[2][path[:, 2]]).mean()

    assert above(fit) <= 0.05
    assert above(known) < 0.12


def test_one_image_a_species_and_one_genus_are_handled():
    images = images_of(["A a", "A b", "A c"])
    points = np.eye(3, 5, dtype=np.float32)
    images = images.assign(content_group=images["image_id"])
    classifier = fit_classifier(images, points, Taxonomy.of_images(images), SETTINGS, seed=5)
    for score in SCORES:
        found = classifier.answers(points, score)
        assert found.codes.shape == (3, 3)
    alone = fit_classifier(images[:1], points[:1], Taxonomy.of_images(images[:1]), SETTINGS, seed=5)
    assert alone.answers(points[:1], "energy").codes.shape == (1, 3)
