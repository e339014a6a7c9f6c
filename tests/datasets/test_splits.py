import numpy as np
import pandas as pd
import pytest

from cladeclip.datasets.splits import make_split, scored_images
from cladeclip.errors import DataError


@pytest.fixture
def images():
    """Species of 1 to 30 pictures; every fifth picture repeats the content of the one before."""
    rows = [(f"s{n:02d}", f"s{n:02d}/{i:03d}") for n in range(1, 31) for i in range(n)]
    frame = pd.DataFrame(rows, columns=["scientific_name", "image_id"])
    frame["content_group"] = [
        ids if i % 5 else frame["image_id"][max(i - 1, 0)] for i, ids in enumerate(frame["image_id"])
    ]
    frame["content_group"] = frame.groupby("content_group")["image_id"].transform("min")
    return frame


def test_all_fits_everything(images):
    assert set(make_split(images, "all", test_share=0.2, seed=5)["part"]) == {"fit"}


@pytest.mark.parametrize("fold", range(4))
def test_holdout_asks_about_every_species_that_has_two_groups_and_keeps_groups_together(images, fold):
    split = make_split(images, f"holdout-{fold}", test_share=0.2, seed=5)
    table = images.merge(split, on="image_id")
    assert (table.groupby("content_group")["part"].nunique() == 1).all()
    for _, rows in table.groupby("scientific_name"):
        own = rows[rows["content_group"].isin(rows["image_id"])]  # groups that belong to this species
        n = own["content_group"].nunique()
        n_query = own.loc[own["part"] == "query", "content_group"].nunique()
        if n < 2:
            assert n_query == 0
        else:
            assert n_query == max(1, round(0.2 * n))
            assert n_query < n


@pytest.fixture
def ranked(images):
    """The same species in two categories, three to a genus."""
    number = images["scientific_name"].str[1:].astype(int)
    genus = "g" + (number // 3).astype(str)
    return images.assign(category=np.where(number % 2, "Odd", "Even"), genus=genus)


@pytest.mark.parametrize(("rank", "column"), [("species", "scientific_name"), ("genus", "genus")])
def test_open_splits_hold_out_whole_species_or_genera_of_every_category(ranked, rank, column):
    # Without repeated contents, which may tie a picture of one species to another's group.
    ranked = ranked.assign(content_group=ranked["image_id"])
    if rank == "genus":  # a genus belongs to one category
        ranked["category"] = np.where(ranked["genus"] < "g4", "A", "B")
    split = make_split(ranked, "open-1", test_share=0.2, seed=5, unseen_share=0.25, unseen_rank=rank)
    table = ranked.merge(split, on="image_id")
    assert set(table["part"]) == {"fit", "query", "unseen"}
    for _, rows in table.groupby(column):
        assert (rows["part"] == "unseen").all() or not (rows["part"] == "unseen").any()
    for _, rows in table.groupby("category"):
        sizes = rows.groupby(column).size()
        n = (sizes >= 2).sum()
        assert rows.loc[rows["part"] == "unseen", column].nunique() == max(1, round(0.25 * n))
    holdout = ranked.merge(make_split(ranked, "holdout-1", test_share=0.2, seed=5), on="image_id")
    known = table["part"] != "unseen"
    assert (table.loc[known, "part"] == holdout.loc[known, "part"]).all()


def test_open_folds_hold_out_different_species(ranked):
    def unseen(fold):
        split = make_split(ranked, f"open-{fold}", test_share=0.2, seed=5)
        return set(ranked.merge(split[split["part"] == "unseen"], on="image_id")["scientific_name"])

    ranked = ranked.assign(content_group=ranked["image_id"])
    assert not unseen(0) & unseen(1)
    assert unseen(0) == unseen(0)


def test_an_open_split_of_one_species_is_refused(images):
    one = images[images["scientific_name"] == "s30"].assign(category="A", genus="g")
    with pytest.raises(DataError, match=r"split open-0: 0 of .* would be unseen"):
        make_split(one, "open-0", test_share=0.2, seed=5)


def test_folds_are_seeded_and_differ(images):
    def split(name, seed=5):
        return make_split(images, name, test_share=0.2, seed=seed)["part"].tolist()

    assert split("holdout-0") == split("holdout-0")
    assert split("holdout-0") != split("holdout-1")
    assert split("holdout-0") != split("holdout-0", seed=6)


def test_folds_of_a_large_species_are_disjoint(images):
    large = images[images["scientific_name"] == "s30"].assign(content_group=lambda t: t["image_id"])
    asked = [
        set(
            large["image_id"][(make_split(large, f"holdout-{f}", test_share=0.2, seed=1)["part"] == "query").to_numpy()]
        )
        for f in range(5)
    ]
    assert all(len(queries) == 6 for queries in asked)
    assert len(set.union(*asked)) == 30


def test_a_new_species_leaves_the_others_as_they_were(images):
    before = make_split(images, "holdout-0", test_share=0.2, seed=5)
    without = images[images["scientific_name"] != "s07"].reset_index(drop=True)
    after = make_split(without, "holdout-0", test_share=0.2, seed=5)
    kept = before.merge(after, on="image_id", suffixes=("_before", "_after"))
    own_group = set(without.loc[without["content_group"].isin(without["image_id"]), "image_id"])
    kept = kept[kept["image_id"].isin(own_group)]
    same = (kept["part_before"] == kept["part_after"]).mean()
    assert same > 0.98  # all but pictures that shared content with the species taken away
    assert np.isfinite(same)


@pytest.mark.parametrize("split", ["all", "holdout-0", "open-0"])
def test_pictures_without_a_species_are_never_fitted_and_never_asked(ranked, split):
    """They also leave the parts of all others as they would be without them, whatever group they are in."""
    nameless = ranked.sample(40, random_state=5).assign(scientific_name="", genus="")
    nameless["image_id"] = "0 first of its group/" + nameless["image_id"]
    both = pd.concat([nameless, ranked], ignore_index=True)
    found = make_split(both, split, test_share=0.2, seed=5).set_index("image_id")
    alone = make_split(ranked, split, test_share=0.2, seed=5).set_index("image_id")
    assert set(found.loc[nameless["image_id"], "part"]) == {"unnamed"}
    assert "unnamed" not in set(found.loc[ranked["image_id"], "part"])
    pd.testing.assert_frame_equal(found.loc[ranked["image_id"]], alone.loc[ranked["image_id"]])
    scored = scored_images(both, found.reset_index())
    assert list(scored["image_id"]) == list(ranked["image_id"])


@pytest.mark.parametrize("split", ["all", "holdout-1", "open-0"])
def test_parts_of_pictures_alone_are_those_without_groups(ranked, split):
    found = make_split(ranked, split, test_share=0.2, seed=5)
    apart = make_split(ranked.assign(content_group=ranked["image_id"]), split, test_share=0.2, seed=5)
    assert found["part_alone"].tolist() == apart["part"].tolist() == apart["part_alone"].tolist()
    assert split == "all" or found["part"].tolist() != apart["part"].tolist()


def test_no_group_with_a_picture_of_an_unseen_species_is_fitted(ranked):
    """As near-duplicates or specimens of several species make them; nothing is seen of a species that is new."""
    n = len(ranked)
    chained = ranked.assign(content_group=[ranked["image_id"][i % 90] for i in range(n)])
    for fold in range(3):
        split = make_split(chained, f"open-{fold}", test_share=0.2, seed=5)
        table = chained.merge(split, on="image_id")
        unseen = set(table.loc[table["part"] == "unseen", "scientific_name"])
        assert unseen
        assert not unseen & set(table.loc[table["part"] == "fit", "scientific_name"])
        for _, members in table.groupby("content_group"):
            assert set(members["part"]) == {"fit"} or "fit" not in set(members["part"])


@pytest.mark.parametrize("split", ["holdout-0", "holdout-1", "open-0", "open-2"])
def test_a_share_of_what_would_be_fitted_is_kept_to_choose_by(ranked, split):
    """Of known species alone, whole groups, never all of a species; what is asked stays what it was."""
    without = make_split(ranked, split, test_share=0.2, seed=5)
    kept = make_split(ranked, split, test_share=0.2, seed=5, validate_share=0.25)
    changed = without["part"] != kept["part"]
    assert set(without.loc[changed, "part"]) == {"fit"}
    assert set(kept.loc[changed, "part"]) == {"validate"}
    table = ranked.merge(kept, on="image_id")
    known = table[table["part"] != "unseen"]
    assert (known.groupby("content_group")["part"].nunique() == 1).all()
    for _, rows in table[table["part"].isin(["fit", "validate"])].groupby("scientific_name"):
        own = rows[rows["content_group"].isin(rows["image_id"])]
        n, n_kept = own["content_group"].nunique(), own.loc[own["part"] == "validate", "content_group"].nunique()
        assert n_kept == (max(1, round(0.25 * n)) if n >= 2 else 0)
        assert n_kept < max(n, 1)
    assert "validate" not in set(make_split(ranked, "all", test_share=0.2, seed=5, validate_share=0.25)["part"])
