import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from cladeclip.datasets.splits import make_split
from cladeclip.errors import DataError
from cladeclip.evaluation.evaluate import evaluate, right_answers
from cladeclip.evaluation.measures import MEASURES
from cladeclip.evaluation.significance import mcnemar
from cladeclip.io.parquet import read_table, write_table
from cladeclip.tables import EVALUATION


@pytest.fixture
def embeddings(images):
    rng = np.random.default_rng(0)
    centres = {name: rng.normal(size=8) for name in sorted(set(images["scientific_name"]))}
    return np.stack([centres[name] + rng.normal(size=8) for name in images["scientific_name"]]).astype(np.float32)


def table(images, embeddings, split_name, seed=5):
    split = make_split(images, split_name, test_share=0.34, seed=5)
    found = evaluate(images, embeddings, split, protocol=split_name, query_share=0.34, seed=seed)
    return found.accuracy, found.predictions


def test_rows_are_every_category_and_all_by_species_and_genus_and_taxa_for_all(images, embeddings):
    accuracy, _ = table(images, embeddings, "holdout-0")
    rows = set(zip(accuracy["taxa"], accuracy["column"], strict=True))
    expected = {(taxa, rank) for taxa in ("Fish", "Bird", "Butterfly", "All") for rank in ("species", "genus")}
    assert rows == expected | {("All", "taxa")}
    assert len(accuracy) == 9


def test_holdout_queries_are_the_held_out_part_and_the_gallery_is_what_was_fitted(images, embeddings):
    accuracy, predictions = table(images, embeddings, "holdout-0")
    split = make_split(images, "holdout-0", test_share=0.34, seed=5).set_index("image_id")["part"]
    in_all = predictions[(predictions["taxa"] == "All") & (predictions["column"] == "species")]
    assert set(in_all["image_id"]) == set(split.index[split == "query"])
    assert (split[in_all["nearest_image_id"]] == "fit").all()
    row = accuracy.set_index(["taxa", "column"]).loc[("Bird", "species")]
    birds = (images["category"] == "Bird").to_numpy()
    query, fit = birds & (split == "query").to_numpy(), birds & (split == "fit").to_numpy()
    names = images["scientific_name"].to_numpy(str)
    units = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    gallery = pd.DataFrame((units[query] @ units[fit].T).T).groupby(names[fit]).mean()
    assert row["accuracy_avg"] == (gallery.idxmax().to_numpy() == names[query]).mean()
    assert (row["n_query"], row["n_gallery"]) == (query.sum(), fit.sum())


def test_open_queries_and_gallery_are_drawn_within_the_unseen_species(images, embeddings):
    split = make_split(images, "open-0", test_share=0.34, seed=5, unseen_share=0.67)
    found = evaluate(images, embeddings, split, protocol="open-0", query_share=0.34, seed=5)
    accuracy, predictions = found.accuracy, found.predictions
    part = split.set_index("image_id")["part"]
    assert (part[predictions["image_id"]] == "unseen").all()
    assert (part[predictions["nearest_image_id"]] == "unseen").all()
    n = accuracy.set_index(["taxa", "column"]).loc[("All", "species")]
    assert n["n_query"] + n["n_gallery"] == (part == "unseen").sum()


def test_genus_only_names_can_be_left_out_of_species_scores_and_of_nothing_else(images, embeddings):
    genus_only = images["scientific_name"] == sorted(set(images["scientific_name"]))[0]
    images = images.assign(name_kind=np.where(genus_only, "genus", "species"))
    split = make_split(images, "holdout-0", test_share=0.34, seed=5)
    settings = {"protocol": "holdout-0", "query_share": 0.34, "seed": 5}
    kept = evaluate(images, embeddings, split, **settings).accuracy
    found = evaluate(images, embeddings, split, **settings, genus_only_names="leave_out")
    left_out, predictions = found.accuracy, found.predictions
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


def evaluated(images, embeddings, split_name, **settings):
    split = make_split(images, split_name, test_share=0.34, seed=5, unseen_share=0.67)
    return evaluate(images, embeddings, split, protocol=split_name, query_share=0.34, seed=5, **settings)


@pytest.mark.parametrize("split_name", ["all", "holdout-0", "open-0"])
def test_every_table_keeps_its_contract_and_agrees_with_the_predictions(images, embeddings, split_name, tmp_path):
    found = evaluated(images, embeddings, split_name, repeats=2, probe={"c": 1.0, "max_iterations": 200})
    for name, contract in EVALUATION.items():
        write_table(tmp_path / f"{name}.parquet", contract, getattr(found, name), {})
        empty = ("one_by_one", "held_out") if split_name == "all" else ("one_by_one",)
        assert len(read_table(tmp_path / f"{name}.parquet", contract)) or name in empty
    accuracy = found.accuracy.set_index(["taxa", "column"])
    for (taxa, column), own in found.predictions.groupby(["taxa", "column"]):
        right = right_answers(own)
        row = accuracy.loc[(taxa, column)]
        for name in right:
            assert row[name] == pytest.approx(right[name].mean())
            assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]
            by_label = [right.loc[own["label"] == label, name].mean() for label in set(own["label"])]
            assert row[f"{name}_macro"] == pytest.approx(np.mean(by_label))
        # One neighbour by cosine is the first column once more.
        votes = found.knn.set_index(["taxa", "column", "k", "weighting"])["micro"]
        assert votes[taxa, column, 1, "majority"] == pytest.approx(row["accuracy_individual"])
        if taxa != "All" or column == "taxa":
            continue
        classes = found.classes[found.classes["column"] == column].set_index("label")
        assert classes["n_query"].sum() == row["n_query"]
        weighted = (classes["distance_avg"] * classes["n_query"]).sum() / row["n_query"]
        assert weighted == pytest.approx(row["distance_avg"])
        confused = found.confusions[found.confusions["column"] == column]
        assert confused["n"].sum() == (~right["accuracy_individual"]).sum()
        assert (confused["label"] != confused["predicted"]).all()
        share = confused["n"] / confused["label"].map(classes["n_query"])
        np.testing.assert_allclose(confused["share"], share)


def test_the_spread_over_draws_is_that_of_evaluations_with_other_seeds(images, embeddings):
    found = evaluated(images, embeddings, "all", repeats=3).accuracy
    draws = [table(images, embeddings, "all", seed=seed)[0] for seed in (5, 6, 7)]
    for name in MEASURES:
        expected = np.std([draw[name] for draw in draws], axis=0, ddof=1)
        order = found.set_index(["taxa", "column"]).loc[list(zip(draws[0]["taxa"], draws[0]["column"], strict=True))]
        np.testing.assert_allclose(order[f"{name}_sd_splits"], expected)
    assert evaluated(images, embeddings, "holdout-0", repeats=3).accuracy["accuracy_avg_sd_splits"].isna().all()


def test_retrieval_asks_what_the_split_holds_out_and_finds_all_others(images, embeddings):
    found = evaluated(images, embeddings, "holdout-0").retrieval.set_index(["taxa", "column"]).loc[("Fish", "species")]
    part = make_split(images, "holdout-0", test_share=0.34, seed=5).set_index("image_id")["part"][images["image_id"]]
    fish = np.flatnonzero(images["category"] == "Fish")
    names, queries = images["scientific_name"].to_numpy(str), [i for i in fish if part.iloc[i] == "query"]
    units = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    hits = []
    for i in queries:
        others = sorted((j for j in fish if j != i), key=lambda j: -float(units[i] @ units[j]))
        hits.append(any(names[j] == names[i] for j in others[:5]))
    assert found["recall_at_5"] == pytest.approx(np.mean(hits))
    assert found["n_queries"] == len(queries)
    everyone = evaluated(images, embeddings, "all").retrieval.set_index(["taxa", "column"]).loc[("All", "species")]
    assert everyone["n_queries"] == len(images)


def test_a_category_whose_species_have_one_picture_each_has_no_retrieval(images, embeddings):
    first = ~images.duplicated("scientific_name")
    keep = (images["category"] != "Fish") | first
    few, rows = images[keep].reset_index(drop=True), embeddings[keep.to_numpy()]
    found = evaluated(few, rows, "all").retrieval.set_index(["taxa", "column"])
    assert found.loc[("Fish", "species"), "n_queries"] == 0
    assert np.isnan(found.loc[("Fish", "species"), "map_at_r"])
    assert found.loc[("All", "species"), "n_without_match"] == 3


@pytest.mark.parametrize("name", ["all", "holdout-0", "open-0"])
def test_the_leak_is_what_drawing_pictures_one_by_one_would_give(images, embeddings, name):
    """The same figures as an evaluation of the same pictures that knows of no groups; here each has a twin."""
    twins = images.assign(image_id="twin of " + images["image_id"])
    both = pd.concat([images, twins], ignore_index=True).assign(content_group=[*images["image_id"]] * 2)
    points = np.concatenate([embeddings, embeddings + 1e-4]).astype(np.float32)
    drawn = {"test_share": 0.34, "seed": 5, "unseen_share": 0.67}
    asked = {"protocol": name, "one_by_one": True, "query_share": 0.34, "seed": 5}
    split = make_split(both, name, **drawn)
    apart = both.assign(content_group=both["image_id"])
    found = evaluate(both, points, split, **asked)
    of_apart = evaluate(apart, points, make_split(apart, name, **drawn), **asked)
    expected = of_apart.accuracy.query("taxa == 'All' and column == 'species'").iloc[0]
    (leak,) = found.one_by_one.to_dict("records")
    assert leak == {column: expected[column] for column in leak}
    together = found.accuracy.query("taxa == 'All' and column == 'species'").iloc[0]
    assert leak["accuracy_individual"] > together["accuracy_individual"]
    assert of_apart.one_by_one.empty
    without = evaluate(both, points, split, **asked | {"one_by_one": False})
    assert without.one_by_one.empty
    pd.testing.assert_frame_equal(without.accuracy, found.accuracy)


def test_what_is_no_scientific_name_is_not_scored_by_genus(images, embeddings):
    fish = images["category"] == "Fish"
    some = images.assign(genus=images["genus"].where(~fish, ""))
    split = make_split(some, "holdout-0", test_share=0.34, seed=5)
    settings = {"protocol": "holdout-0", "query_share": 0.34, "seed": 5}
    found = evaluate(some, embeddings, split, **settings)
    scored = set(zip(found.accuracy["taxa"], found.accuracy["column"], strict=True))
    assert ("Fish", "genus") not in scored
    assert {("Fish", "species"), ("Bird", "genus"), ("All", "genus")} <= scored
    by_genus = found.predictions.query("column == 'genus'")
    assert not set(by_genus["image_id"]) & set(images.loc[fish, "image_id"])
    assert not by_genus[["label", "accuracy_individual", "accuracy_avg", "distance_avg"]].eq("").any(axis=None)
    first = np.arange(len(images)) == np.flatnonzero(fish)[0]
    one = some.assign(genus=some["genus"].where(~first, images["genus"]))
    assert set(evaluate(one, embeddings, split, **settings).accuracy["column"]) == {"species", "genus", "taxa"}
    none = evaluate(some.assign(genus=""), embeddings, split, **settings, probe={"c": 1.0, "max_iterations": 50})
    assert set(none.accuracy["column"]) == {"species", "taxa"}
    assert set(none.probe["column"]) == {"species"}
