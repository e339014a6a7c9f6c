"""Names that look wrong."""

import numpy as np
import pandas as pd
import pytest

from cladeclip.curation.suspects import doubts, suspects


@pytest.fixture(scope="module")
def drawn():
    """Twelve names of ten pictures each, well apart; two pictures a specimen."""
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(12), 10)
    embeddings = (rng.normal(size=(12, 24))[codes] + 0.5 * rng.normal(size=(120, 24))).astype(np.float32)
    return embeddings, codes, np.arange(120) // 2


def table(names, groups):
    return pd.DataFrame(
        {
            "image_id": [f"{place:03d}" for place in range(len(names))],
            "scientific_name": names,
            "content_group": [f"g{group}" for group in groups],
        }
    )


def test_names_that_were_exchanged_are_the_most_doubtful_and_the_right_ones_are_suggested(drawn):
    embeddings, codes, groups = drawn
    wrong = np.array([4, 37, 88, 119])
    given = codes.copy()
    given[wrong] = (codes[wrong] + 5) % 12
    found = suspects(table([f"Genus n{code:02d}" for code in given], groups), embeddings, share=0.1, seed=0)
    first = found.head(4).set_index("image_id")
    assert set(first.index) == {f"{place:03d}" for place in wrong}
    for place in wrong:
        row = first.loc[f"{place:03d}"]
        assert row["suggested"] == f"Genus n{codes[place]:02d}"
        assert given[int(row["nearest_of_name"])] == given[place]
        assert given[int(row["nearest_of_suggested"])] == codes[place]
        assert groups[int(row["nearest_of_suggested"])] != groups[place]
    assert (found["doubt"] > 0).all()
    assert found["doubt"].is_monotonic_decreasing


def test_where_all_names_are_right_and_apart_nothing_is_suspected(drawn):
    embeddings, codes, groups = drawn
    found = suspects(table([f"Genus n{code}" for code in codes], groups), embeddings, share=0.5, seed=0)
    assert found.empty


def test_a_picture_does_not_speak_for_itself_nor_one_of_its_specimen(drawn):
    """Both pictures of one specimen have the same wrong name: each is found, though the other is nearest and agrees."""
    embeddings, codes, groups = drawn
    embeddings = embeddings.copy()
    embeddings[21] = embeddings[20] + 1e-3
    given = codes.copy()
    given[[20, 21]] = 7
    doubt, suggested = doubts(embeddings, given, groups, seed=0)
    assert set(np.argsort(-doubt)[:2]) == {20, 21}
    assert list(suggested[[20, 21]]) == [2, 2]


def test_a_name_of_one_specimen_alone_is_not_judged(drawn):
    embeddings, codes, groups = drawn
    given = codes.copy()
    given[[0, 1]] = 12
    doubt, _ = doubts(embeddings, given, groups, seed=0)
    assert (doubt[[0, 1]] == -np.inf).all()
    assert np.isfinite(doubt[2:]).all()


def test_one_name_alone_leaves_nothing_to_doubt(drawn):
    embeddings, _, groups = drawn
    assert suspects(table(["Genus one"] * 120, groups), embeddings, share=0.5, seed=0).empty


def test_the_same_seed_gives_the_same_doubts(drawn):
    embeddings, codes, groups = drawn
    one, other = (doubts(embeddings, codes, groups, seed=3)[0] for _ in range(2))
    assert (one == other).all()
