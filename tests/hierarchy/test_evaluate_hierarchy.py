import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score, roc_auc_score
from test_classifier import SETTINGS, collection  # noqa: F401 (a fixture)

from cladeclip.datasets.splits import make_split
from cladeclip.errors import DataError
from cladeclip.hierarchy.evaluate import evaluate_hierarchy
from cladeclip.hierarchy.measures import mistaken_for
from cladeclip.hierarchy.novelty import SCORES

ASKED = {"query_share": 0.2, "seed": 5, "score": "mahalanobis", "settings": SETTINGS}


@pytest.fixture(scope="module")
def open_split(collection):  # noqa: F811
    images, _ = collection
    part = np.where(np.arange(len(images)) % 3 == 0, "query", "fit").astype(object)
    part[images["scientific_name"].isin(["B b", "D a", "D b"])] = "unseen"
    return pd.DataFrame({"image_id": images["image_id"], "part": part})


@pytest.fixture(scope="module")
def evaluated(collection, open_split):  # noqa: F811
    images, points = collection
    return evaluate_hierarchy(images, points, open_split, protocol="open-0", **ASKED)


def test_the_measures_follow_from_the_answers(collection, evaluated):  # noqa: F811
    answers, hierarchy = evaluated.taxonomic_answers, evaluated.hierarchy.set_index(["part", "rank"])
    assert set(hierarchy.index) == {
        (part, rank) for part in ("known", "new") for rank in ("category", "genus", "species")
    }
    for part, members in answers.groupby("part"):
        for rank in ("category", "genus", "species"):
            row, given = hierarchy.loc[(part, rank)], members[members[rank] != ""]
            assert row["n"] == len(members)
            assert row["answered"] == pytest.approx(len(given) / len(members))
            assert row["accuracy"] == pytest.approx((given[rank] == given[f"true_{rank}"]).mean(), nan_ok=True)
            stopped = given[given["answered"] != "species"]
            assert row["n_stopped"] == len(stopped)
            assert row["accuracy_stopped"] == pytest.approx(
                (stopped[rank] == stopped[f"true_{rank}"]).mean(), nan_ok=True
            )
    known = answers[answers["part"] == "known"]
    names = sorted(set(known["true_species"]))
    theirs = f1_score(known["true_species"], known["species"], labels=names, average="macro")
    assert hierarchy.loc[("known", "species"), "f1"] == pytest.approx(theirs)
    assert hierarchy.loc[("new", "species"), "accuracy"] in (0.0,) or hierarchy.loc[("new", "species"), "answered"] == 0


def test_new_species_look_new(evaluated):
    novelty = evaluated.novelty.set_index(["score", "rank"])
    assert set(novelty.index.get_level_values(0)) == set(SCORES)
    assert novelty.loc[("mahalanobis", "species"), "auroc"] > 0.95
    answers = evaluated.taxonomic_answers
    assert (answers["novel_at"] != "")[answers["part"] == "new"].mean() > 0.9
    coarse = roc_auc_score(answers["part"] == "new", answers["novel_at"] != "")
    assert coarse <= novelty.loc[("mahalanobis", "species"), "auroc"] + 0.05


def test_answers_go_down_to_a_rank_and_name_a_known_neighbour(open_split, evaluated):
    parts = open_split.set_index("image_id")["part"]
    answers = evaluated.taxonomic_answers
    assert (parts[answers["nearest_image_id"]] == "fit").all()
    assert set(answers["image_id"]) == set(parts.index[parts != "fit"])
    for _, row in answers.iterrows():
        given = [rank for rank in ("category", "genus", "species") if row[rank]]
        assert row["answered"] == (given[-1] if given else "")
        assert given == ["category", "genus", "species"][: len(given)]
        assert (row["novel_at"] == "") == (len(given) == 3)
        assert np.isnan(row["confidence"]) == (not given)
        if row["species"]:
            assert row["species"].startswith(row["genus"])


@pytest.mark.parametrize("protocol", ["all", "holdout-0"])
def test_without_new_species_there_is_nothing_to_tell_apart(collection, open_split, protocol):  # noqa: F811
    images, points = collection
    parts = {"all": "fit", "holdout-0": open_split["part"].replace("unseen", "fit")}
    found = evaluate_hierarchy(images, points, open_split.assign(part=parts[protocol]), protocol=protocol, **ASKED)
    assert len(found.novelty) == 0
    assert set(found.hierarchy["part"]) == {"known"}
    assert found.hierarchy["accuracy"].min() > 0.9
    if protocol == "all":
        assert len(found.taxonomic_answers) == round(0.2 * len(images))


def test_the_dependence_can_be_switched_off_and_one_rank_is_enough(collection, open_split):  # noqa: F811
    images, points = collection
    found = evaluate_hierarchy(images, points, open_split, protocol="open-0", ranks=["species"], **ASKED)
    assert set(found.hierarchy["rank"]) == {"species"}


def test_nothing_to_ask_is_said(collection, open_split):  # noqa: F811
    images, points = collection
    with pytest.raises(DataError, match="480 images to fit on and 0 to ask about"):
        evaluate_hierarchy(images, points, open_split.assign(part="fit"), protocol="holdout-0", **ASKED)


def test_a_new_species_that_is_always_taken_for_a_known_one_is_found():
    said = ["A a", "A a", "A b", "", "", "", "A b", "A a"]
    true = ["N x", "N x", "N x", "N x", "N y", "N y", "N z", "K k"]
    answers = pd.DataFrame({"part": ["new"] * 7 + ["known"], "species": said, "true_species": true})
    found = mistaken_for(answers, "species").set_index("label")
    assert found.index.tolist() == ["N z", "N x", "N y"]
    assert found.loc["N x"].tolist() == [4, 0.75, "A a", 0.5]
    assert found.loc["N y"].tolist() == [2, 0.0, "", 0.0]
    assert found.loc["N z"].tolist() == [1, 1.0, "A b", 1.0]
    assert len(mistaken_for(answers[answers["part"] == "known"], "species")) == 0


@pytest.fixture(scope="module")
def blurred(collection):  # noqa: F811
    """Images and points of species that overlap: some answers are wrong, and no two are equally sure."""
    images, points = collection
    return images, points + 2 * np.random.default_rng(1).normal(size=points.shape).astype(np.float32)


def test_the_curves_hold_what_the_area_sums_up(blurred, open_split):
    found = evaluate_hierarchy(*blurred, open_split, protocol="open-0", **ASKED)
    hierarchy = found.hierarchy.set_index(["part", "rank"])
    for rank, curve in found.coverage[found.coverage["part"] == "known"].groupby("rank"):
        assert len(curve) == hierarchy.loc[("known", rank), "n"]
        np.testing.assert_allclose(curve["coverage"], np.arange(1, len(curve) + 1) / len(curve))
        assert hierarchy.loc[("known", rank), "aurc"] == pytest.approx(1 - curve["accuracy"].mean())


def test_a_long_curve_is_thinned_but_keeps_its_ends(blurred, open_split, monkeypatch):
    whole = evaluate_hierarchy(*blurred, open_split, protocol="open-0", **ASKED).coverage
    monkeypatch.setattr("cladeclip.hierarchy.evaluate.CURVE_POINTS", 10)
    thinned = evaluate_hierarchy(*blurred, open_split, protocol="open-0", **ASKED).coverage
    for (part, rank), curve in whole.groupby(["part", "rank"]):
        kept = thinned[(thinned["part"] == part) & (thinned["rank"] == rank)]
        assert len(kept) == 10 < len(curve)
        assert kept.iloc[[0, -1]].to_numpy().tolist() == curve.iloc[[0, -1]].to_numpy().tolist()
        assert set(kept["coverage"]) <= set(curve["coverage"])


def test_whole_genera_can_be_new(collection):  # noqa: F811
    images, points = collection
    split = make_split(images, "open-0", test_share=0.3, seed=5, unseen_rank="genus")
    parts = split.set_index("image_id")["part"].reindex(images["image_id"]).to_numpy()
    new_genera = set(images.loc[parts == "unseen", "genus"])
    assert new_genera
    assert not new_genera & set(images.loc[parts == "fit", "genus"])
    found = evaluate_hierarchy(images, points, split, protocol="open-0", **ASKED)
    answers = found.taxonomic_answers
    new = answers[answers["part"] == "new"]
    assert set(new["true_genus"]) == new_genera
    assert not (new["genus"] == new["true_genus"]).any()
    measures = found.hierarchy.set_index(["part", "rank"])
    assert measures.loc[("new", "genus"), "accuracy"] in (0.0,) or measures.loc[("new", "genus"), "answered"] == 0
    # The whole of a genus looks new already where genera are told apart.
    genus = found.novelty.set_index(["score", "rank"]).loc[("mahalanobis", "genus"), "auroc"]
    assert genus > 0.9
