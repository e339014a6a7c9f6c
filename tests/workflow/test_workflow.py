"""Snakemake itself, run as a user runs it, in a copy of the workflow."""

import html
import os
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml
from checkout import MODEL, PLAIN, TINY, Checkout

from cladeclip.io.atomic import read_json, sha256_of_file
from cladeclip.io.embeddings import read_embeddings
from cladeclip.io.parquet import read_table
from cladeclip.tables import CLUSTERS, COMPARISON, EMBEDDINGS_MAP, EVALUATION, IMAGES, SALIENCY, SPLIT

# What is made again when any model's answers may have changed.
ALONE = {"compare": 1, "embeddings_map": 1, "saliency": 1, "report": 1, "manifest": 1}


def test_after_a_complete_run_there_is_nothing_to_do(checkout):
    assert checkout.plan() == {}


def test_jobs_that_start_warm_write_what_those_of_plain_snakemake_write(checkout, tmp_path):
    plain = Checkout(tmp_path)
    plain.SNAKEMAKE = PLAIN
    plain.run(f"results/tiny/holdout-0/evaluation/{MODEL}/accuracy.parquet")
    manifest = read_json(checkout.results / "manifest.json")
    written = {name for name in manifest if (plain.results / name).exists()}
    assert {Path(name).name for name in written} >= {"model.safetensors", "fused-template.parquet", "accuracy.parquet"}
    for name in written:
        assert sha256_of_file(plain.results / name) == manifest[name], name


def test_a_plan_without_the_pictures_says_so(checkout):
    dataset = {"name": "elsewhere", "root": "nowhere", "source": "folder"}
    said = checkout.run("-n", config=checkout.with_config(dataset=dataset))
    assert "nowhere: no such folder. A plan can be made without it, a run cannot: set dataset.root." in said
    assert "nowhere: no such folder" not in checkout.run("-n")


def test_every_product_lies_where_its_name_says_with_its_columns(checkout):
    results, split = checkout.results, checkout.results / "holdout-0"
    images = read_table(results / "images.parquet", IMAGES)
    assert len(images) == 72
    parts = read_table(split / "split.parquet", SPLIT)
    assert set(parts["image_id"]) == set(images["image_id"])
    fit = set(parts.loc[parts["part"] == "fit", "image_id"])
    labels = read_table(split / "clusters" / "tiny-clip-fused-template-k4.parquet", CLUSTERS)
    assert set(labels["image_id"]) == fit
    assert set(labels["label"]) == set(range(4))
    assert read_embeddings(split / "clusters" / "tiny-clip-fused-template-k4.centroids.parquet")[1].shape == (4, 16)
    assert read_json(split / "clusters" / "tiny-clip-fused-template-k4.quality.json")["inertia"] > 0
    for features in ("image", "text-template", "fused-template"):
        ids, _ = read_embeddings(results / "embeddings" / "tiny-clip" / f"{features}.parquet")
        assert ids == sorted(images["image_id"])
    assert read_embeddings(split / "embeddings" / MODEL / "image.parquet")[1].shape == (72, 16)
    for table, contract in EVALUATION.items():
        rows = len(read_table(split / "evaluation" / MODEL / f"{table}.parquet", contract))
        # What was trained on the split has no meaning one by one.
        assert (rows > 0) == (table != "one_by_one")
    models = {"tiny-clip", "tiny-timm", "handmade"} | {
        f"{student}.{labels}.seed5"
        for student in ("tiny-clip", "tiny-timm")
        for labels in ("tiny-clip-fused-template-k4", "species")
    }
    assert set(read_table(results / "comparison.parquet", COMPARISON)["model"]) == models
    assert set(pd.read_csv(results / "comparison.csv")["model"]) == models
    clip, timm = (split / "checkpoints" / f"{student}.species.seed5" for student in ("tiny-clip", "tiny-timm"))
    assert {path.name for path in clip.iterdir()} == {
        "encoder.json",
        "model.safetensors",
        "open_clip_config.json",
        "training.csv",
    }
    assert {path.name for path in timm.iterdir()} == {
        "encoder.json",
        "model.safetensors",
        "config.json",
        "training.csv",
    }
    assert (results / "report.html").stat().st_size > 10_000
    best = read_json(results / "summary.json")["best"]
    student, labels, _ = best.split(".")
    assert labels == "tiny-clip-fused-template-k4"
    mapped = read_table(results / "embeddings_map.parquet", EMBEDDINGS_MAP)
    assert mapped["model"].value_counts().to_dict() == dict.fromkeys([best, student, "tiny-clip"], 72)
    overlays = read_table(results / "saliency.parquet", SALIENCY)
    assert set(overlays["model"]) == {best, student}
    assert all(overlay.startswith(b"\xff\xd8") for overlay in overlays["overlay"])  # JPEG
    figures = {path.name for path in (results / "figures").iterdir() if not path.name.startswith(".")}
    names = {name.partition(".")[0] for name in figures}
    assert figures == {f"{name}.{kind}" for name in names for kind in ("svg", "pdf", "csv")}
    assert {"accuracy-against-k", "accuracy-by-category", "cluster-sizes", "training", "map-of-embeddings"} <= names
    assert not list(results.rglob("*.partial*"))


def test_the_settings_that_the_report_shows_make_the_same_run(checkout):
    page = (checkout.results / "report.html").read_text()
    settings = html.unescape(re.search(r'<pre id="settings"[^>]*>(.*?)</pre>', page, re.DOTALL)[1])
    path = checkout.folder / "settings.json"
    path.write_text(settings)
    assert checkout.plan(config=path) == {}


def test_another_run_beside_this_one_writes_the_report_alone(checkout):
    report = yaml.safe_load(TINY.read_text())["report"]
    other = checkout.folder / "results" / "last-week"
    other.mkdir()
    shutil.copy(checkout.results / "comparison.parquet", other)
    config = checkout.with_config(report={**report, "also": ["results/last-week"]})
    assert checkout.plan(config=config) == {"report": 1}
    checkout.run(config=config)
    assert "<td>results/last-week</td>" in (checkout.results / "report.html").read_text()
    code, output = checkout.snakemake(config=checkout.with_config(report={**report, "also": ["results/nowhere"]}))
    assert code != 0
    assert "config: report.also names results/nowhere, but results/nowhere/comparison.parquet is not there" in output
    assert "Traceback" not in output
    code, output = checkout.snakemake("-n", config=checkout.with_config(report={**report, "import": ["old.csv"]}))
    assert code != 0
    assert "config: report.import names old.csv, which is not there." in output
    assert checkout.plan() == {"report": 1}
    checkout.run()


def test_every_job_that_may_run_beside_another_has_a_cache_of_its_own(checkout):
    """An encoder's pictures, its captions by one captioner: a folder that two jobs write to would lose chunks."""
    written = {path.parents[1] for path in (checkout.results / "cache").rglob("*.arrow")}
    cache = checkout.results / "cache"
    images = {cache / "images" / encoder for encoder in ("tiny-clip", "tiny-timm", "handmade")}
    assert written == images | {cache / "texts" / "tiny-clip" / "template"}


def test_the_manifest_holds_the_checksum_of_every_result(checkout):
    manifest = read_json(checkout.results / "manifest.json")
    assert f"holdout-0/checkpoints/{MODEL}/model.safetensors" in manifest
    assert "comparison.csv" in manifest
    # The list of pictures is renewed by every command; what is drawn, and what the report says of it, may differ a little.
    others = {
        "listing.parquet",
        "embeddings_map.parquet",
        "saliency.parquet",
        "summary.json",
        "report.html",
        "credits.csv",
    }
    made = [path.relative_to(checkout.results) for path in checkout.results.rglob("[!.]*") if path.is_file()]
    made = {path.as_posix() for path in made if path.parts[0] not in ("logs", "benchmarks", "cache", "figures")}
    beside = {}
    # What a student's library reads beside the weights has its checksum in encoder.json.
    for record in [path for path in manifest if path.endswith("/encoder.json")]:
        listed = read_json(checkout.results / record)["files"]
        beside |= {record.replace("encoder.json", name): about["sha256"] for name, about in listed.items()}
    assert beside
    assert {*manifest, *beside} == made - others - {"manifest.json"}
    for path, digest in (beside | manifest).items():
        assert sha256_of_file(checkout.results / path) == digest


def test_no_table_holds_a_path_of_this_machine(checkout):
    for path in checkout.results.rglob("*.parquet"):
        if not path.name.startswith("."):
            assert str(checkout.folder).encode() not in path.read_bytes(), path


def test_a_deleted_checkpoint_is_noticed_and_rebuilt_alone_by_name_with_the_same_bytes(checkout):
    target = f"results/tiny/holdout-0/checkpoints/{MODEL}/model.safetensors"
    path = checkout.folder / target
    before = sha256_of_file(path)
    path.unlink()
    assert checkout.plan() == {"train": 1, "embed": 1, "evaluate": 1, **ALONE}
    assert checkout.plan(target) == {"train": 1}
    checkout.run(target)
    assert sha256_of_file(path) == before
    assert checkout.plan() == {}


def test_one_k_more_builds_what_belongs_to_it_and_nothing_else(checkout):
    labels = {"teachers": ["tiny-clip"], "features": ["fused-template"], "k": [4, 7], "controls": ["species"]}
    config = checkout.with_config(labels=labels)
    expected = {"cluster": 1, "train": 2, "embed": 2, "evaluate": 2, **ALONE}
    assert checkout.plan(config=config) == expected
    output = checkout.run(config=config)
    assert "13 of 13  All results are up to date." in output
    assert checkout.plan(config=config) == {}
    assert "k7" in (checkout.results / "comparison.csv").read_text()
    # One k fewer again: the comparison and what is made of it, and no job of the k that went.
    assert checkout.plan() == ALONE
    checkout.run()


def test_touched_pictures_make_nothing_stale_and_a_changed_one_does(checkout):
    pictures = sorted((checkout.folder / "data" / "tiny").rglob("*.jpg"))
    for path in pictures:
        os.utime(path)
    assert checkout.plan() == {}
    before = pictures[0].read_bytes()
    pictures[0].write_bytes(before + b"\0")
    assert checkout.plan()["prepare"] == 1
    pictures[0].write_bytes(before)
    checkout.run()
    assert checkout.plan() == {}


def test_what_does_not_change_a_result_makes_nothing_stale(checkout):
    train = yaml.safe_load(TINY.read_text())["train"]
    assert checkout.plan(config=checkout.with_config(train={**train, "workers": 1, "threads": 2})) == {}
    script = checkout.folder / "workflow" / "scripts" / "train.py"
    text = script.read_text()
    script.write_text(text + "\n# A comment.\n")
    assert checkout.plan() == {}
    script.write_text(text)


def test_another_learning_rate_trains_again_and_keeps_the_clusters(checkout):
    train = yaml.safe_load(TINY.read_text())["train"]
    plan = checkout.plan(config=checkout.with_config(train={**train, "lr": 2.0e-3}))
    assert plan == {"train": 4, "embed": 4, "evaluate": 4, **ALONE}


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"trian": {}}, "trian is not a known key (did you mean 'train'?)"),
        ({"labels": {"teachers": ["tiny-clip"], "features": ["image"], "k": [1], "controls": []}}, "labels.k[0] is 1"),
    ],
)
def test_a_faulty_config_is_one_sentence_without_traceback(checkout, overrides, words):
    code, output = checkout.snakemake("-n", config=checkout.with_config(**overrides))
    assert code != 0
    assert words in output
    assert "Traceback" not in output


def test_a_failing_job_says_its_sentence_and_leaves_nothing_half_written(checkout):
    """More clusters than pictures."""
    labels = {"teachers": ["tiny-clip"], "features": ["fused-template"], "k": [4, 500], "controls": ["species"]}
    code, output = checkout.snakemake(config=checkout.with_config(labels=labels))
    assert code != 0
    assert "k is 500, but only 54 images are there to cluster; lower labels.k" in output
    assert "Traceback" not in output
    assert re.search(r"^Logfile .*k500\.log:\n=+\nError: k-means: k is 500", output, re.MULTILINE)
    assert "the same command\ngoes on from there" in output
    assert not list(checkout.results.rglob("*k500*.parquet"))
    assert checkout.plan() == {}


def test_weights_replaced_under_the_same_name_make_their_embeddings_stale(checkout):
    weights = checkout.folder / "weights" / "tiny-timm" / "model.safetensors"
    before = weights.read_bytes()
    os.utime(weights)
    assert checkout.plan() == {}
    weights.write_bytes(before + b"\0")
    plan = checkout.plan()
    # As it is, and the two students that start from it.
    assert (plan["embed"], plan["train"]) == (3, 2)
    weights.write_bytes(before)
    assert checkout.plan() == {}


def test_shards_are_jobs_of_their_own_and_give_the_same_bytes(checkout):
    target = "results/tiny/embeddings/handmade/image.parquet"
    before = sha256_of_file(checkout.folder / target)
    embed = yaml.safe_load(TINY.read_text())["embed"]
    config = checkout.with_config(embed={**embed, "shards": 3})
    assert checkout.plan(target, config=config) == {"embed": 3, "join_shards": 1}
    checkout.run(target, config=config)
    assert sha256_of_file(checkout.folder / target) == before
    log = "\n".join(path.read_text() for path in (checkout.results / "logs/embed").glob("handmade.*-of-3.log"))
    assert "embedded 0, reused" in log
    assert not list((checkout.results / "shards").rglob("*.parquet"))


def test_the_default_config_plans_the_whole_experiment_without_data(tmp_path):
    checkout = Checkout(tmp_path)
    plan = checkout.plan(config=checkout.folder / "config" / "config.yaml")
    # Two splits of four k each; six encoders untrained.
    assert plan["train"] == plan["cluster"] == 8
    assert plan["fetch_weights"] == 6
    assert plan["fetch_vlm4bio"] == plan["fetch_captioner"] == plan["caption"] == plan["fuse"] == 1
    assert plan["evaluate"] == 2 * (4 + 6)
    fetch = checkout.plan("fetch", config=checkout.folder / "config" / "config.yaml")
    assert fetch == {"fetch": 1, "fetch_captioner": 1, "fetch_vlm4bio": 1, "fetch_weights": 6}
