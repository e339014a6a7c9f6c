"""Trainings as jobs of the workflow: several processes, killed and run again, other students, and what is made of them."""

import os
import shutil
import signal
from pathlib import Path

import numpy as np
import open_clip
import pandas as pd
import psutil
import pytest
import torch
import yaml
from checkout import MODEL, TINY, Checkout
from conftest import until
from dwca.read import DwCAReader

from cladeclip.encoders.load import load_encoder
from cladeclip.hierarchy.novelty import SCORES
from cladeclip.io.atomic import read_json, sha256_of_file
from cladeclip.io.parquet import read_table
from cladeclip.tables import ACCURACY, HIERARCHY, IDENTIFIED, IMAGES, NOVELTY, TAXONOMIC_ANSWERS, ZERO_SHOT

SPLIT = "results/tiny/holdout-0"
CHECKPOINT = f"{SPLIT}/checkpoints/{MODEL}/model.safetensors"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    checkout = Checkout(tmp_path_factory.mktemp("trainings"))
    checkout.run(CHECKPOINT)
    return checkout


def with_training(checkout, **changes):
    return checkout.with_config(train=yaml.safe_load(TINY.read_text())["train"] | changes)


def test_a_release_is_the_checkpoint_with_a_card(checkout):
    checkout.run(f"{SPLIT}/release/{MODEL}/README.md")
    folder = checkout.folder / SPLIT / "release" / MODEL
    card = (folder / "README.md").read_text()
    head = yaml.safe_load(card.split("---")[1])
    assert (head["license"], head["library_name"]) == ("other", "open_clip")
    quality = read_json(checkout.folder / SPLIT / "clusters" / "tiny-clip-fused-template-k4.quality.json")
    accuracy = read_table(checkout.folder / SPLIT / "evaluation" / MODEL / "accuracy.parquet", ACCURACY)
    species = accuracy[(accuracy["taxa"] == "All") & (accuracy["column"] == "species")].iloc[0]
    for fact in (
        "4 clusters of tiny-clip (fused-template) (`tiny-clip-fused-template-k4`)",
        f"NMI {quality['species']['nmi']:.3f}",
        "72 pictures of 9 species in 9 genera",
        f"| All | species | {100 * species['accuracy_individual']:.2f} (",
        "margin_loss_m2: 0.3",
        "The student started from random weights",
    ):
        assert fact in " ".join(card.split())
    files = {path.name for path in folder.iterdir()}
    assert files == {"README.md", "encoder.json", "model.safetensors", "open_clip_config.json", "training.csv"}
    for name in files - {"README.md"}:
        assert f"| `{name}` | `{sha256_of_file(folder / name)}` |" in card
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    assert transform is not None
    trained = load_encoder((checkout.folder / CHECKPOINT).parent).model.state_dict()
    assert all(torch.equal(value, trained[name]) for name, value in model.state_dict().items())
    assert checkout.plan(f"{SPLIT}/release/{MODEL}/README.md") == {}


def test_training_with_two_gpus_is_two_processes_in_one_job(checkout):
    config = with_training(checkout, gpus=2, batch_size=8, log_every=1)
    alone = with_training(checkout, batch_size=16, log_every=1)
    labels = f"{SPLIT}/checkpoints/tiny-clip.species.seed5"
    checkout.run(f"{labels}/training.csv", config=alone)
    one = pd.read_csv(checkout.folder / labels / "training.csv")
    output = checkout.run(f"{labels}/training.csv", config=with_training(checkout, gpus=2, batch_size=8, log_every=1))
    assert "Training tiny-clip on species, seed 5 (holdout-0)." in output
    two = pd.read_csv(checkout.folder / labels / "training.csv")
    np.testing.assert_allclose(two, one, rtol=5e-3)
    log = (checkout.results / "logs/train/holdout-0/tiny-clip.species.seed5.log").read_text()
    assert "train.gpus is 2, but no GPU was found: training on the CPU." in log
    assert list((checkout.results / "logs/train/holdout-0/tiny-clip.species.seed5").glob("events*"))
    processes = [process.info for process in psutil.process_iter(["cwd", "cmdline"])]
    ours = [info["cmdline"] or [] for info in processes if info["cwd"] == str(checkout.folder)]
    assert not [command for command in ours if "cladeclip.training.job" in command]
    assert config.exists()


def test_a_training_job_killed_with_snakemake_goes_on_and_ends_with_the_same_bytes(checkout):
    target = f"{SPLIT}/checkpoints/tiny-clip.tiny-clip-fused-template-k4.seed9/model.safetensors"
    config = with_training(checkout, epochs=100, batch_size=8, checkpoint_minutes=0.001)
    checkout.run(target, config=config)
    expected = sha256_of_file(checkout.folder / target)
    (checkout.folder / target).unlink()
    process = checkout.start(target, config=config)
    state = (checkout.folder / target).parent.with_name(f".{Path(target).parent.name}.state")
    until(lambda: (state / "state.json").exists(), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (checkout.folder / target).exists()
    reached = read_json(state / "state.json")["step"]
    assert reached < 100 * 6
    checkout.run("--unlock", config=config)
    checkout.run(target, config=config)
    assert sha256_of_file(checkout.folder / target) == expected
    assert (
        f"Going on after step {reached}"
        in (checkout.results / "logs/train/holdout-0/tiny-clip.tiny-clip-fused-template-k4.seed9.log").read_text()
    )
    assert not state.exists()


def test_unicoms_own_tower_is_trained_embedded_and_evaluated_like_any_other(checkout):
    architecture = {"image_px": 32, "patch_px": 8, "width": 24, "layers": 2, "heads": 2, "dim": 16}
    encoders = yaml.safe_load(TINY.read_text())["encoders"]
    encoders["tiny-unicom"] = {"family": "unicom", "architecture": architecture, "seed": 5}
    config = checkout.with_config(encoders=encoders)
    model = "tiny-unicom.species.seed5"
    checkout.run(f"{SPLIT}/release/{model}/README.md", config=config)
    accuracy = read_table(checkout.folder / SPLIT / "evaluation" / model / "accuracy.parquet", ACCURACY)
    assert accuracy["accuracy_individual"].between(0, 1).all()
    files = {path.name for path in (checkout.folder / SPLIT / "release" / model).iterdir()}
    assert files == {
        "README.md",
        "encoder.json",
        "model.safetensors",
        "training.csv",
        "unicom_config.json",
        "unicom_vit.py",
    }
    assert "not an open_clip model" in (checkout.folder / SPLIT / "release" / model / "README.md").read_text()


def test_a_trained_student_names_pictures_by_their_names_with_its_own_text_tower(checkout):
    checkout.run(f"{SPLIT}/evaluation/{MODEL}/zero_shot.parquet")
    found = read_table(checkout.folder / SPLIT / "evaluation" / MODEL / "zero_shot.parquet", ZERO_SHOT)
    assert found.set_index(["taxa", "column"]).loc[("All", "species"), "n_labels"] == 9
    assert (found["top1"] <= found["top5"]).all()


def test_a_model_names_pictures_at_several_ranks_and_says_which_are_new(checkout):
    config = checkout.with_config(splits=["open-0"], report={"primary": {"k": 4, "split": "open-0"}})
    place = "results/tiny/open-0/evaluation/handmade"
    checkout.run(f"{place}/hierarchy.parquet", config=config)
    hierarchy = read_table(checkout.folder / place / "hierarchy.parquet", HIERARCHY)
    assert set(hierarchy["rank"]) == {"category", "genus", "species"}
    assert set(hierarchy["part"]) == {"known", "new"}
    novelty = read_table(checkout.folder / place / "novelty.parquet", NOVELTY)
    assert set(novelty["score"]) == set(SCORES)
    answers = read_table(checkout.folder / place / "taxonomic_answers.parquet", TAXONOMIC_ANSWERS)
    parts = pd.read_parquet(checkout.folder / "results/tiny/open-0/split.parquet").set_index("image_id")["part"]
    assert set(answers["image_id"]) == set(parts.index[parts != "fit"])
    assert ((answers["part"] == "new").to_numpy() == (parts[answers["image_id"]] == "unseen").to_numpy()).all()


def test_new_pictures_are_named_by_a_model_fitted_on_a_split(checkout):
    folder = checkout.folder / "new pictures"
    folder.mkdir()
    known = sorted((checkout.folder / "data/tiny").rglob("*.jpg"))[:3]
    for picture in known:
        shutil.copy(picture, folder)
    (folder / "broken.jpg").write_bytes(known[0].read_bytes()[:500])
    config = checkout.with_config(identify={"images": "new pictures"})
    target = "results/tiny/holdout-0/identify/handmade"
    checkout.run(f"{target}.parquet", config=config)
    found = read_table(checkout.folder / f"{target}.parquet", IDENTIFIED).set_index("image_id")
    assert set(found.index) == {"broken.jpg", *(picture.name for picture in known)}
    assert found.loc["broken.jpg", "reason"] != ""
    assert (found["nearest_1"] != "").sum() == 3
    assert len(pd.read_csv(checkout.folder / f"{target}.csv")) == 4
    assert checkout.plan(f"{target}.parquet", config=config) == {}
    shutil.copy(known[0], folder / "another.jpg")
    assert checkout.plan(f"{target}.parquet", config=config) == {"identify": 1}
    with DwCAReader(str(checkout.folder / f"{target}.dwca.zip")) as archive:
        assert [row.id for row in archive] == [picture.name for picture in known]
    # With a checklist of one species all others are no answer, and it is said of which they would be.
    images = read_table(checkout.folder / "results/tiny/images.parquet", IMAGES).set_index("image_id")
    species = images["scientific_name"].iloc[-1]
    (checkout.folder / "region.txt").write_text(f"{species}\n")
    config = checkout.with_config(identify={"images": "new pictures", "checklist": "region.txt"})
    checkout.run(f"{target}.parquet", config=config)
    found = read_table(checkout.folder / f"{target}.parquet", IDENTIFIED)
    assert set(found["species"]) <= {species, ""}
    excluded = found.loc[found["reason"] == "", "not_on_checklist"]
    assert set(excluded) == {images.loc[images.index.str.endswith(known[0].name), "scientific_name"].iloc[0]}
    assert "not on the checklist" in (checkout.folder / "results/tiny/logs/identify/holdout-0/handmade.log").read_text()


def test_the_range_test_gives_a_table_and_its_plot(checkout):
    stem = f"results/tiny/lr_range/holdout-0/{MODEL}"
    config = with_training(checkout, lr_range={"lowest": 1e-5, "highest": 1.0, "steps": 20})
    checkout.run(f"{stem}.svg", config=config)
    assert 2 < len(pd.read_csv(checkout.folder / f"{stem}.csv")) <= 20
    assert (checkout.folder / f"{stem}.svg").read_text().startswith("<svg")


def test_more_seeds_are_more_trainings_and_nothing_else_again(checkout):
    assert checkout.plan(CHECKPOINT) == {}
    config = checkout.with_config(seeds={"training": [5, 6, 7]})
    planned = checkout.plan(config=config)
    # Two students on two labels with three seeds; one of them is there (the other tests changed the settings of theirs).
    assert planned["train"] == 2 * 2 * 3 - 1
