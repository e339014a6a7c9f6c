import numpy as np
import pandas as pd
import pytest

from cladeclip.errors import DataError
from cladeclip.hierarchy.taxonomy import Taxonomy


@pytest.fixture
def images():
    species = ["Avis rubra", "Avis alba", "Piscis alba", "Unda magna", "Avis rubra"]
    return pd.DataFrame(
        {
            "image_id": list("abcde"),
            "scientific_name": species,
            "genus": [name.split()[0] for name in species],
            "family": ["Avidae", "Avidae", "Piscidae", "Piscidae", "Avidae"],
            "order": ["Aves", None, "Pisces", "Pisces", "Aves"],
            "category": ["Bird", "Bird", "Fish", "Fish", "Bird"],
        }
    )


def test_every_name_has_its_parent_at_the_rank_above(images):
    taxonomy = Taxonomy.of_images(images)
    assert taxonomy.ranks == ("category", "family", "genus", "species")  # not every picture has an order
    for place in range(1, 4):
        matrix = taxonomy.children(place)
        assert (matrix.sum(axis=0) == 1).all()
        codes = taxonomy.codes(images)
        assert (matrix[codes[:, place - 1], codes[:, place]] == 1).all()
    names = [[taxonomy.names[r][c] for r, c in enumerate(row)] for row in taxonomy.codes(images)]
    assert names[2] == ["Fish", "Piscidae", "Piscis", "Piscis alba"]


def test_names_that_the_taxonomy_lacks_have_no_number(images):
    taxonomy = Taxonomy.of_images(images.iloc[:2])
    np.testing.assert_array_equal(taxonomy.codes(images)[2], [-1, -1, -1, -1])


def test_one_rank_is_a_taxonomy(images):
    taxonomy = Taxonomy.of_images(images, ["species"])
    assert taxonomy.ranks == ("species",)
    assert len(taxonomy.names[0]) == 4


def test_two_parents_are_said_with_their_rows(images):
    images.loc[4, "category"] = "Fish"
    with pytest.raises(
        DataError, match=r"family 'Avidae' has two parents at the rank category: Bird \(a\) and Fish \(e\)"
    ):
        Taxonomy.of_images(images)


@pytest.mark.parametrize("ranks", [["order"], ["tribe"], ["species", "class"]])
def test_a_rank_that_is_not_there_is_said(images, ranks):
    with pytest.raises(DataError, match=f"no '{ranks[-1]}' for every picture; it has species, genus, family, category"):
        Taxonomy.of_images(images, ranks)


def test_no_rank_is_said(images):
    with pytest.raises(DataError, match="ranks is empty"):
        Taxonomy.of_images(images, [])
