import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from cladeclip.datasets.splits import make_split
from cladeclip.errors import DataError
from cladeclip.evaluation import mcnemar, nearest_label_accuracy
from cladeclip.evaluation.evaluate import evaluate


@pytest.fixture
def embeddings(images):
    rng = np.random.default_rng(0)
    centres = {name: rng.normal(size=8) for name in sorted(set(images["scientific_name"]))}
    return np.stack([centres[name] + rng.normal(size=8) for name in images["scientific_name"]]).astype(np.float32)


def table(images, embeddings, split_name, seed=5):
    split = make_split(images, split_name, query_share=0.34, seed=5)
    return evaluate(images, embeddings, split, protocol=split_name, query_share=0.34, seed=seed)


def test_rows_are_every_category_and_all_by_species_and_genus_and_taxa_for_all(images, embeddings):
    accuracy, _ = table(images, embeddings, "holdout-0")
    rows = set(zip(accuracy["taxa"], accuracy["column"], strict=True))
    expected = {(taxa, rank) for taxa in ("Fish", "Bird", "Butterfly", "All") for rank in ("species", "genus")}
    assert rows == expected | {("All", "taxa")}
    assert len(accuracy) == 9


def test_holdout_queries_are_the_held_out_part_and_the_gallery_is_what_was_fitted(images, embeddings):
    accuracy, predictions = table(images, embeddings, "holdout-0")
    split = make_split(images, "holdout-0", query_share=0.34, seed=5).set_index("image_id")["part"]
    in_all = predictions[(predictions["taxa"] == "All") & (predictions["column"] == "species")]
    assert set(in_all["image_id"]) == set(split.index[split == "query"])
    assert (split[in_all["nearest_image_id"]] == "fit").all()
    row = accuracy.set_index(["taxa", "column"]).loc[("Bird", "species")]
    birds = (images["category"] == "Bird").to_numpy()
    query, fit = birds & (split == "query").to_numpy(), birds & (split == "fit").to_numpy()
    names = images["scientific_name"].to_numpy(str)
    expected = nearest_label_accuracy(embeddings[query], names[query], embeddings[fit], names[fit])
    assert row["accuracy_avg"] == expected.accuracy_avg
    assert (row["n_query"], row["n_gallery"]) == (query.sum(), fit.sum())


def test_open_queries_and_gallery_are_drawn_within_the_unseen_species(images, embeddings):
    split = make_split(images, "open-0", query_share=0.34, seed=5, unseen_share=0.67)
    accuracy, predictions = evaluate(images, embeddings, split, protocol="open-0", query_share=0.34, seed=5)
    part = split.set_index("image_id")["part"]
    assert (part[predictions["image_id"]] == "unseen").all()
    assert (part[predictions["nearest_image_id"]] == "unseen").all()
    n = accuracy.set_index(["taxa", "column"]).loc[("All", "species")]
    assert n["n_query"] + n["n_gallery"] == (part == "unseen").sum()


def test_genus_only_names_can_be_left_out_of_species_scores_and_of_nothing_else(images, embeddings):
    genus_only = images["scientific_name"] == sorted(set(images["scientific_name"]))[0]
    images = images.assign(name_kind=np.where(genus_only, "genus", "species"))
    split = make_split(images, "holdout-0", query_share=0.34, seed=5)
    settings = {"protocol": "holdout-0", "query_share": 0.34, "seed": 5}
    kept, _ = evaluate(images, embeddings, split, **settings)
    left_out, predictions = evaluate(images, embeddings, split, **settings, genus_only_names="leave_out")
    ids = set(images.loc[genus_only, "image_id"])
    by_species = predictions[predictions["column"] == "species"]
    assert not ids & (set(by_species["image_id"]) | set(by_species["nearest_image_id"]))
    kept, left_out = (table.set_index(["taxa", "column"])["n_query"] for table in (kept, left_out))
    n = int((genus_only & (split.set_index("image_id")["part"][images["image_id"]] == "query").to_numpy()).sum())
    assert n > 0
    assert left_out["All", "species"] == kept["All", "species"] - n
    assert left_out["All", "genus"] == kept["All", "genus"]


def test_accuracies_are_shares_of_right_predictions(images, embeddings):
    accuracy, predictions = table(images, embeddings, "all")
    for row in accuracy.itertuples():
        own = predictions[(predictions["taxa"] == row.taxa) & (predictions["column"] == row.column)]
        assert len(own) == row.n_query
        assert row.distance_avg == pytest.approx((own["distance_avg"] == own["label"]).mean())


def test_the_transductive_draw_is_seeded_and_within_each_subset(images, embeddings):
    accuracy, predictions = table(images, embeddings, "all")
    again, _ = table(images, embeddings, "all")
    pd.testing.assert_frame_equal(accuracy, again)
    other = table(images, embeddings, "all", seed=6)[1]
    assert set(other["image_id"]) != set(predictions["image_id"])
    n = accuracy.set_index(["taxa", "column"])
    assert n.loc[("All", "species"), "n_query"] == round(0.34 * len(images))
    assert n.loc[("Fish", "species"), "n_query"] == round(0.34 * 18)


def test_pictures_of_the_same_content_are_on_one_side(images, embeddings):
    grouped = images.assign(content_group=[f"{i // 3:03d}" for i in range(len(images))])
    _, predictions = table(grouped, embeddings, "all")
    asked = set(predictions.loc[predictions["taxa"] == "All", "image_id"])
    for _, members in grouped.groupby("content_group"):
        assert len({image_id in asked for image_id in members["image_id"]}) == 1


def test_a_category_without_queries_is_said(images, embeddings):
    lonely = images.assign(category=["Lone", *images["category"][1:]])
    with pytest.raises(DataError, match="taxa Lone"):
        table(lonely, embeddings, "all")


def test_mcnemar_is_the_exact_binomial_test():
    a = np.array([1] * 12 + [0] * 4 + [1] * 50 + [0] * 9, bool)
    b = np.array([0] * 12 + [1] * 4 + [1] * 50 + [0] * 9, bool)
    test = mcnemar(a, b)
    assert (test.n, test.only_a, test.only_b) == (75, 12, 4)
    assert test.difference == pytest.approx(8 / 75)
    assert test.p_value == pytest.approx(2 * binom.cdf(4, 16, 0.5))
    assert mcnemar(b, a).p_value == test.p_value
    assert mcnemar(a, a).p_value == 1
    with pytest.raises(ValueError, match="cannot be paired"):
        mcnemar(a, b[:-1])
