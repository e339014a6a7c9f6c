"""Candidate species, and what a curator is shown of the named ones."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from cladeclip.curation.candidates import ProvisionalNames, candidates, most_common, safe_answer
from cladeclip.curation.named import is_named, with_one_parent
from cladeclip.curation.outliers import outliers
from cladeclip.datasets.names import read_names
from cladeclip.errors import DataError
from cladeclip.hierarchy.classifier import Settings, fit_classifier
from cladeclip.hierarchy.heads import HeadSettings
from cladeclip.hierarchy.taxonomy import Taxonomy

D = 32


def middle_of(name):
    return np.random.default_rng(sum(map(ord, name))).normal(size=D)


def drawn(species, n, rng):
    """Pictures of the species of a genus: of one genus, they lie near one another."""
    rows, points = [], []
    for name in species:
        middle = 1.5 * middle_of(name.split()[0]) + middle_of(name)
        for one in range(n):
            rows.append((f"{name} {one}", name, name.split()[0], f"{name} {one}"))
            points.append(middle + 0.35 * rng.normal(size=D))
    images = pd.DataFrame(rows, columns=["image_id", "scientific_name", "genus", "content_group"])
    return images.assign(category="Bird"), np.array(points, dtype=np.float32)


@pytest.fixture(scope="module")
def known():
    species = [f"{genus} {name}" for genus in ("Aus", "Bus", "Cus") for name in ("albus", "ruber", "niger")]
    images, embeddings = drawn(species, 30, np.random.default_rng(0))
    taxonomy = Taxonomy.of_images(images, ["species"])
    settings = Settings(HeadSettings(steps=400))
    return images, embeddings, fit_classifier(images, embeddings, taxonomy, settings, seed=0)


def of_new(known, unnamed, embeddings):
    images, of_known, classifier = known
    return candidates(images, of_known, unnamed, embeddings, classifier, score="mahalanobis", seed=0)


@pytest.fixture(scope="module")
def new(known):
    """Three species that nobody knows, one of a genus that the data says, and one known species without its name."""
    rng = np.random.default_rng(1)
    images, embeddings = drawn(["Dus novus", "Dus alter", "Eus novus", "Aus albus"], 30, rng)
    truth = images["scientific_name"].to_numpy()
    images = images.assign(scientific_name="", genus=np.where(images["genus"] == "Eus", "Eus", ""))
    images["image_id"] = "new " + images["image_id"]
    return images, embeddings, truth


def test_every_picture_is_in_one_candidate_and_candidates_are_of_one_species(known, new):
    images, embeddings, truth = new
    found = of_new(known, images, embeddings)
    assert sorted(found["image_id"]) == sorted(images["image_id"])
    of = dict(zip(images["image_id"], truth, strict=True))
    for _, rows in found.groupby("candidate"):
        assert rows["image_id"].map(of).nunique() == 1
        assert (rows["n"] == len(rows)).all()
    sizes = found.drop_duplicates("candidate").sort_values("candidate")["n"]
    assert sizes.is_monotonic_decreasing
    # A known species is recognised, and no new one is taken for it.
    said = {(of[image_id], rank) for image_id, rank in zip(found["image_id"], found["rank"], strict=True)}
    assert ("Aus albus", "species") in said
    assert not {(name, "species") for name in ("Dus novus", "Dus alter", "Eus novus")} & said
    # The genus that the data says is that of the name.
    eus = found[found["image_id"].map(of) == "Eus novus"]
    assert eus["name"].str.match(r"Eus sp\. \d+").all()
    assert (eus["answer"] == "Eus").all()


def test_splitting_parts_a_candidate_until_single_pictures_or_far_enough(known, new):
    images, embeddings, _ = new
    found = of_new(known, images, embeddings)
    for _, rows in found.groupby("candidate"):
        parts = sorted(rows["part"])
        # No part is the beginning of another one, but for those that went as far as it goes.
        assert all(not b.startswith(a) or a == b for a, b in pairwise(parts))


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_few_pictures_are_no_fault(known, new, n):
    images, embeddings, _ = new
    found = of_new(known, images.head(n).reset_index(drop=True), embeddings[:n])
    assert len(found) == n
    assert list(found["candidate"]) == sorted(found["candidate"])


def test_two_known_species_do_as_well(new):
    images, embeddings = drawn(["Aus albus", "Aus ruber"], 6, np.random.default_rng(0))
    classifier = fit_classifier(
        images, embeddings, Taxonomy.of_images(images), Settings(HeadSettings(steps=50)), seed=0
    )
    found = of_new((images, embeddings, classifier), *new[:2])
    assert len(found) == len(new[0])
    assert 1 < found["candidate"].nunique() < len(found)


def test_names_are_given_out_once():
    names = ProvisionalNames(["Aus sp. 1", "Aus sp. 3", "Birdidae morph 1"])
    assert [names.next("Aus", "x") for _ in range(3)] == ["Aus sp. 2", "Aus sp. 4", "Aus sp. 5"]
    assert [names.next("", "Birdidae") for _ in range(2)] == ["Birdidae morph 2", "Birdidae morph 3"]
    assert names.next("", "") == "candidate 1"


@pytest.mark.parametrize(
    "group",
    ["Nymphalidae", "Bird", "birds", "butterflies", "insecta", "ground beetles", "Moths & co", "unknown", "a", ""],
)
@pytest.mark.parametrize("genus", ["", "Heliconius", "x"])
def test_provisional_names_are_read_as_they_are(genus, group):
    names = ProvisionalNames([])
    given = [names.next(genus, group) for _ in range(2)]
    read = read_names([(name, "") for name in given])
    assert [name.label for name in read.values()] == given
    assert len({name.genus for name in read.values()} - {"", genus}) == 0


def test_a_name_is_safe_unless_too_many_are_answered_otherwise():
    def answers(*species):
        return pd.DataFrame({"genus": ["Aus"] * len(species), "species": species})

    ranks = ("genus", "species")
    assert safe_answer(answers("a", "a", "a", "a"), ranks) == ("species", "a")
    assert safe_answer(answers(*["a"] * 18, "", "b"), ranks) == ("species", "a")
    assert safe_answer(answers(*["a"] * 12, *[""] * 8), ranks) == ("genus", "Aus")
    assert safe_answer(answers().assign(genus=[]), ranks) == ("", "")
    nothing = pd.DataFrame({"genus": [""] * 5, "species": [""] * 5})
    assert safe_answer(nothing, ranks) == ("", "")


def test_most_common_is_the_first_of_equals_and_never_blank():
    assert most_common(["b", "a", "", "", ""]) == "a"
    assert most_common(["", ""]) == ""


def test_a_genus_alone_is_no_name_of_a_species_and_a_provisional_one_is():
    names = ["Aus", "Aus sp.", "Aus spp.", "", "Aus sp. 1", "Aus albus", "Red fox", "Aus cf. albus"]
    genera = ["Aus"] * 3 + [""] + ["Aus"] * 2 + ["", "Aus"]
    images = pd.DataFrame({"scientific_name": names, "genus": genera})
    assert list(is_named(images)) == [False] * 4 + [True] * 4
    with pytest.raises(DataError, match="no picture has the name of a species"):
        is_named(images.head(4))


def test_a_name_with_two_parents_gets_the_more_frequent_one():
    images = pd.DataFrame(
        {
            "image_id": list("abcde"),
            "scientific_name": ["Aus a"] * 3 + ["Bus b"] * 2,
            "genus": ["Aus"] * 3 + ["Bus"] * 2,
            "category": ["Bird", "Bird", "Fish", "Fish", "Fish"],
        }
    )
    found = with_one_parent(images)
    assert list(found["category"]) == ["Bird"] * 3 + ["Fish"] * 2
    Taxonomy.of_images(found)
    with pytest.raises(DataError, match="two parents"):
        Taxonomy.of_images(images)


def test_a_blank_is_no_parent_and_no_child():
    images = pd.DataFrame(
        {
            "image_id": list("abcdef"),
            "scientific_name": ["Moth morph 1"] * 3 + ["Beetle morph 1"] * 2 + ["Aus albus"],
            "genus": [""] * 5 + ["Aus"],
            "family": ["Noctuidae", "", "Noctuidae", "Carabidae", "Carabidae", ""],
            "category": ["Moth"] * 3 + ["Beetle"] * 2 + ["Moth"],
        }
    )
    found = with_one_parent(images)
    assert list(found["genus"]) == [""] * 5 + ["Aus"]
    assert list(found["family"]) == ["Noctuidae"] * 3 + ["Carabidae"] * 2 + [""]
    assert list(found["category"]) == ["Moth"] * 3 + ["Beetle"] * 2 + ["Moth"]


def test_what_is_unlike_its_name_comes_first(known):
    images, embeddings, _ = known
    odd = embeddings.copy()
    odd[[5, 100]] += 4 * np.random.default_rng(2).normal(size=(2, D)).astype(np.float32)
    classifier = fit_classifier(images, odd, Taxonomy.of_images(images), Settings(HeadSettings(steps=400)), seed=0)
    found = outliers(images, classifier, score="mahalanobis", share=0.05)
    assert set(found["image_id"].head(2)) == set(images["image_id"].iloc[[5, 100]])
    assert (found["away"] >= 2).all()
    assert len(found) <= round(0.05 * len(images))


def test_names_of_one_specimen_are_not_judged_and_nothing_is_a_table_of_nothing():
    images, embeddings = drawn(["Aus albus", "Bus ruber"], 3, np.random.default_rng(0))
    images = images.assign(content_group=images["scientific_name"])
    classifier = fit_classifier(
        images, embeddings, Taxonomy.of_images(images), Settings(HeadSettings(steps=20)), seed=0
    )
    assert outliers(images, classifier, score="centroid", share=0.5).empty
