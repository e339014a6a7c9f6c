"""Every way that a student learns, in one run: joint, several, distilled, shuffled, and between before and after."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import yaml
from checkout import TINY, Checkout
from conftest import REPOSITORY

from cladeclip.config.files import update
from cladeclip.names import Model
from cladeclip.reporting.words import describe_model

WAYS = TINY.with_name("every_way.yaml")
LABELS = [
    "tiny-clip-image-k4",
    "tiny-clip-image-k4-9",
    "tiny-clip-image-k9-top3",
    "distil-tiny-clip-image",
    "species",
    "shuffled-tiny-clip-image-k9-top3",
    "shuffled-distil-tiny-clip-image",
]


@pytest.fixture(scope="module")
def ways(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ways")
    settings = yaml.safe_load(TINY.read_text())
    update(settings, yaml.safe_load(WAYS.read_text()))
    config = folder / "both.yaml"
    config.write_text(yaml.safe_dump(settings))
    checkout = Checkout(folder, config)
    checkout.results = folder / "results" / "ways"
    checkout.run()
    return checkout


def test_each_way_gives_a_student_of_its_own_and_half_of_one(ways):
    for split in ("open-0", "holdout-0"):
        found = {path.name for path in (ways.results / split / "checkpoints").iterdir()}
        models = [Model("tiny-clip", labels, 5, percent) for labels in LABELS for percent in (100, 50)]
        assert found == set(map(str, models))
        hashes = set()
        for name in found:
            record = json.loads((ways.results / split / "checkpoints" / name / "encoder.json").read_text())
            hashes.add(record["files"]["model.safetensors"]["sha256"])
        assert len(hashes) == len(models)


def test_the_clusters_that_ways_are_made_of_are_there_once_and_in_the_report(ways):
    tables = {path.name for path in (ways.results / "open-0" / "clusters").glob("*.quality.json")}
    assert tables == {f"{name}.quality.json" for name in ("tiny-clip-image-k4", "tiny-clip-image-k9", "species")}
    listed = json.loads((ways.results / "manifest.json").read_text())
    assert any("k9-top3.parquet" in path for path in json.dumps(listed).split('"'))


def test_the_steps_of_a_head_start_come_first(ways):
    history = pd.read_csv(ways.results / "open-0" / "checkpoints" / "tiny-clip.species.seed5" / "training.csv")
    of_start = history["epoch"] == 1
    assert (history.loc[of_start, "lr_encoder"] == 0).all()
    assert (history.loc[~of_start, "lr_encoder"] > 0).all()
    assert history["epoch"].max() == 4


def test_the_report_says_which_way_gains(ways):
    summary = json.loads((ways.results / "summary.json").read_text())
    assert summary["advice"]
    page = (ways.results / "report.html").read_text()
    assert re.sub(r"\s+", " ", summary["advice"])[:60].replace("'", "&#39;") in page
    config = yaml.safe_load((REPOSITORY / "config" / "config.yaml").read_text())
    update(config, yaml.safe_load(ways.config.read_text()))
    rows = {row["words"]: row for row in summary["ways"]}
    assert len(rows) == 2 * len(LABELS)
    for labels in LABELS:
        assert describe_model(f"tiny-clip.{labels}.seed5", config).replace(" trained", "") in rows
    for row in rows.values():
        for gain in row["gains"].values():
            assert gain["low"] <= gain["gain"] <= gain["high"]
            assert gain["gain"] == pytest.approx(gain["after"] - gain["before"])


def test_what_is_kept_to_choose_by_is_neither_fitted_nor_asked(ways):
    for split in ("open-0", "holdout-0"):
        parts = pd.read_parquet(ways.results / split / "split.parquet").set_index("image_id")["part"]
        kept = set(parts.index[parts == "validate"])
        assert kept
        assert not kept & set(pd.read_parquet(ways.results / split / "clusters" / "species.parquet")["image_id"])
        for table in ("predictions", "neighbours"):
            asked = pd.read_parquet(ways.results / split / "evaluation" / "tiny-clip" / f"{table}.parquet")
            assert not kept & set(np.ravel(asked.filter(like="image_id")))


@pytest.mark.parametrize(
    ("file", "stale"),
    [
        ("training/distillation.py", {"distil-tiny-clip-image", "shuffled-distil-tiny-clip-image"}),
        ("clustering/several.py", {"tiny-clip-image-k9-top3", "shuffled-tiny-clip-image-k9-top3"}),
        ("training/losses.py", set(LABELS) - {"distil-tiny-clip-image", "shuffled-distil-tiny-clip-image"}),
    ],
)
def test_code_of_one_way_makes_no_other_stale(ways, file, stale):
    """An edit of a function that the way calls."""
    path = ways.folder / "src" / "cladeclip" / file
    before = path.read_text()
    edits = {
        "training/distillation.py": ("NOT_ITSELF = -1e9", "NOT_ITSELF = -2e9"),
        "clustering/several.py": ("np.maximum(1.0 - 2.0 * nearness, 0.0)", "np.maximum(1.0 - 2.0 * nearness, 1e-9)"),
        "training/losses.py": ("EXACT_CLAMP = 1.0 - 1e-7", "EXACT_CLAMP = 1.0 - 2e-7"),
    }
    assert edits[file][0] in before
    try:
        path.write_text(before.replace(*edits[file]))
        said = ways.run("-n")
    finally:
        path.write_text(before)
    assert set(re.findall(r"Training tiny-clip on (\S+), seed 5 \(open-0\)", said)) == stale


def test_a_student_between_before_and_after_can_be_released(ways):
    model = "tiny-clip.distil-tiny-clip-image.seed5.alpha50"
    ways.run(f"results/ways/open-0/release/{model}/README.md")
    card = (ways.results / "open-0" / "release" / model / "README.md").read_text()
    assert "tiny-clip's own embeddings (image)" in card
