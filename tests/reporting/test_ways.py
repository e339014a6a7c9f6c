"""What the report says of all ways to train, from tables that are drawn so that the answer is known."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY

from cladeclip.config.check import complete
from cladeclip.config.files import merged
from cladeclip.evaluation.significance import bootstrap_interval, holm, sign_flip_test
from cladeclip.io.parquet import write_table
from cladeclip.names import Model
from cladeclip.paths import Results
from cladeclip.reporting.ways import DRAWS, Asked, Findings, HeldOut, Way, all_at_once
from cladeclip.tables import HELD_OUT, IMAGES

STUDENT = "small-vit"
K, JOINT, DISTIL = "lite0-image-k75", "lite0-image-k25-75", "distil-lite0-image"
CONTROLS = ["species", f"shuffled-{K}"]
SPLITS = ["open-0", "open-1", "holdout-0", "all"]
# How much more often a student names unseen species and known ones right than before: of each way, at each share of it.
EFFECTS = {K: (0.0, 0.1), JOINT: (0.15, 0.0), DISTIL: (0.3, -0.3), "species": (0.4, 0.4), f"shuffled-{K}": (-0.2, -0.2)}
BEFORE = 0.5


@pytest.fixture
def config():
    config = merged([REPOSITORY / "config" / f"{name}.yaml" for name in ("config", "mini")])
    config["labels"] |= {"k": [75], "also": [JOINT, DISTIL], "controls": CONTROLS, "only": {}}
    config["splits"], config["seeds"]["training"] = SPLITS, [5, 6]
    config["folds"]["validate_share"], config["train"]["interpolate"] = 0.1, [0.5]
    config["report"]["primary"] |= {"k": 75, "split": "open-0"}
    complete(config)
    return config


@pytest.fixture
def results(config, tmp_path):
    """100 species of 8 pictures; each fold of `open` has another half of them unseen. A right answer is drawn for each."""
    rng = np.random.default_rng(0)
    species = np.repeat([f"G{n // 4} s{n:03d}" for n in range(100)], 8)
    images = pd.DataFrame({"image_id": [f"{i:04d}" for i in range(800)], "scientific_name": species})
    images["genus"] = images["scientific_name"].str.split().str[0]
    images = images.assign(category="c", content_hash="", width=1, height=1, pixel_group="", content_group="")
    results = Results(tmp_path / "results")
    write_table(results.table("images"), IMAGES, images, {})
    number = np.arange(800)
    for split in SPLITS:
        part = np.where(number % 8 < 4, "fit", np.where(number % 8 < 6, "query", "validate"))
        if split.startswith("open"):
            part[(number // 8) % 2 == int(split[-1])] = "unseen"
        asked = (part != "fit") & (split != "all")
        luck = {column: rng.random(800) for column in ("species", "genus")}
        models = {STUDENT: (0.0, 0.0)}
        for labels, effects in EFFECTS.items():
            for seed in (5, 6):
                for percent in (50, 100):
                    # Half of the way loses nothing where the whole does.
                    share = [effect if percent == 100 else max(effect / 2, 0.0) for effect in effects]
                    models[str(Model(STUDENT, labels, seed, percent))] = share
        for model, (unseen, known) in models.items():
            frames = []
            for column, source in (("species", "scientific_name"), ("genus", "genus")):
                chance = BEFORE + np.where(part == "unseen", unseen, known)
                label = images[source].to_numpy()
                answer = np.where(luck[column] < chance, label, "another")
                frame = pd.DataFrame({"part": part, "column": column, "image_id": images["image_id"]})
                frames.append(frame.assign(label=label, answer=answer)[asked])
            path = results.evaluation(split, model, "held_out")
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            write_table(path, HELD_OUT, pd.concat(frames), {})
    return results


def answers(results, split, model, part, column):
    table = pd.read_parquet(results.evaluation(split, model, "held_out"))
    table = table[(table["part"] == part) & (table["column"] == column)].set_index("image_id")
    return (table["answer"] == table["label"]).astype(float)


@pytest.fixture
def held(results, config):
    return HeldOut(results, config)


def way(labels, interpolated=False):
    return Way(STUDENT, labels, interpolated)


def test_a_gain_is_the_mean_over_folds_and_seeds_with_its_interval_over_species(results, held):
    found = Findings(held)
    asked = {(one.protocol, one.part) for of_way in found.gains.values() for one in of_way}
    assert asked == {("open", "unseen"), ("open", "query"), ("holdout", "query")}
    one = found.gains[way(JOINT)]["open", "unseen", "genus"]
    difference = {}
    for split in ("open-0", "open-1"):
        before, *after = (
            answers(results, split, model, "unseen", "genus")
            for model in (STUDENT, *(str(Model(STUDENT, JOINT, seed)) for seed in (5, 6)))
        )
        difference |= (sum(after) / 2 - before).to_dict()
    values = pd.Series(difference).sort_index()
    groups = held.species[values.index].to_numpy(str)
    assert (one.n_images, one.n_species) == (800, 100)
    assert one.gain == pytest.approx(values.mean())
    assert one.after - one.before == pytest.approx(one.gain)
    assert (one.low, one.high) == pytest.approx(bootstrap_interval(values.to_numpy(), groups=groups, draws=DRAWS))
    assert one.p_value == pytest.approx(sign_flip_test(values.to_numpy(), groups))
    # The known species' pictures of both folds of `open`, each asked where it was held out.
    assert found.gains[way(JOINT)]["open", "query", "species"].n_images == 200


def test_the_share_is_chosen_by_the_part_validate_and_of_equals_the_lowest(held):
    # Known species lose by the whole training and nothing by half of it: half and none are equal.
    assert held.chosen_percent("open-0", Model(STUDENT, DISTIL, 5), [50]) == 0
    assert held.chosen_percent("open-0", Model(STUDENT, K, 5), [50]) == 100
    assert held.chosen_percent("holdout-0", Model(STUDENT, JOINT, 6), [50]) == 0


def test_the_first_sentence_is_about_the_best_way_that_harms_nothing(held):
    found = Findings(held)
    said = found.advice()
    assert said.startswith("Train on clusters: small-vit on 25 and 75 clusters of lite0 (image) at once")
    assert "species never seen in training" in said
    rows = {row["words"]: row for row in found.rows()}
    joint = rows["small-vit on 25 and 75 clusters of lite0 (image) at once"]
    assert joint["harms_nothing"]
    assert not rows["small-vit on lite0's own embeddings (image)"]["harms_nothing"]
    # Corrected over the ways without names: three, each also interpolated.
    ways = [way(labels, interpolated) for labels in (K, JOINT, DISTIL) for interpolated in (False, True)]
    p_values = [found.gains[one]["open", "unseen", "species"].p_value for one in ways]
    assert joint["p_holm"] == dict(zip(ways, holm(p_values), strict=True))[way(JOINT)] < 0.05
    assert rows["small-vit on species labels"]["p_holm"] is None
    assert rows["small-vit on species labels"]["control"]
    deciding = [row["gains"]["species never seen in training, by species"]["gain"] for row in found.rows()]
    assert deciding == sorted(deciding, reverse=True)


def test_all_at_once_is_compared_with_the_best_single_number(held):
    (said,) = all_at_once(held, Findings(held))
    assert said.startswith(
        "small-vit on 25 and 75 clusters of lite0 (image) at once beats the best single number, small-vit on 75 clusters of "
        "lite0 (image): +"
    )
    asked = Asked("open", "unseen", "species")
    difference = held.answers(way(JOINT), asked)["after"] - held.answers(way(K), asked)["after"]
    assert f"{100 * difference.mean():+.1f} points" in said


def only(found, *labels):
    """Of these labels alone, not interpolated."""
    found.gains = {one: gains for one, gains in found.gains.items() if one.labels in labels and not one.interpolated}
    found.p_holm = {one: p for one, p in found.p_holm.items() if one in found.gains}
    return found


def test_a_way_that_gains_and_harms_is_no_advice(held, config):
    found = only(Findings(held), DISTIL)
    said = found.advice()
    assert said.startswith("Leave the encoder as it is, unless species never seen in training are all that matters")
    assert "it may name worse by" in said
    config["report"]["margin"] = 1.0
    assert found.advice().startswith("Distil the teacher: small-vit on lite0's own embeddings (image)")


def test_without_a_gain_the_encoder_is_left_as_it_is(held):
    found = only(Findings(held), K, "species")
    assert found.advice().startswith("Leave the encoder as it is: no way to train it without names gains")
    assert only(found, "species").advice() == ""


def test_without_open_splits_new_pictures_of_known_species_decide(results, config):
    config["splits"] = ["holdout-0", "all"]
    found = Findings(HeldOut(results, config))
    assert {(asked.protocol, asked.part) for of_way in found.gains.values() for asked in of_way} == {
        ("holdout", "query")
    }
    assert "new pictures of known species" in found.advice()
    config["splits"] = ["all"]
    nothing = Findings(HeldOut(results, config))
    assert (nothing.gains, nothing.rows(), nothing.advice()) == ({}, [], "")
    assert all_at_once(HeldOut(results, config), nothing) == []
