import base64
import io
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from test_report import CONFIG, HOSTILE, SPREAD, Page, results_of

from cladeclip.datasets.splits import make_split
from cladeclip.datasets.store import build_store
from cladeclip.evaluation.embeddings_map import on_the_plane
from cladeclip.evaluation.held_out import held_out
from cladeclip.hierarchy.classifier import Settings
from cladeclip.hierarchy.evaluate import evaluate_hierarchy
from cladeclip.hierarchy.heads import HeadSettings
from cladeclip.io.embeddings import rows_for
from cladeclip.io.parquet import read_table, write_table
from cladeclip.paths import Results
from cladeclip.reporting.findings import summarise
from cladeclip.reporting.report import render_report
from cladeclip.reporting.sections.hierarchy import hierarchy_section
from cladeclip.reporting.shown import models_mapped
from cladeclip.reporting.thumbnails import Thumbnails
from cladeclip.tables import (
    COMPARISON,
    COVERAGE,
    EMBEDDINGS_MAP,
    HELD_OUT,
    HIERARCHY,
    NOVELTY,
    SPLIT,
    TAXONOMIC_ANSWERS,
)

OPEN = CONFIG | {"splits": ["holdout-0", "open-0"]}
MODELS = list(SPREAD)


@pytest.fixture(scope="module")
def opened(images, specimens, tmp_path_factory):
    """A finished run with an open split, a store of its pictures, and a species whose name is markup."""
    folder = tmp_path_factory.mktemp("opened")
    hostile = images.assign(scientific_name=images["scientific_name"].replace({"Piscator rubra": HOSTILE}))
    results_of(folder, hostile, SPREAD)
    split = make_split(hostile, "open-0", test_share=0.34, seed=5)
    write_table(folder / "open-0" / "split.parquet", SPLIT, split, {})
    shutil.copytree(folder / "holdout-0" / "clusters", folder / "open-0" / "clusters")
    rng = np.random.default_rng(0)
    centres = {name: rng.normal(size=12) for name in sorted(set(hostile["scientific_name"]))}
    for model, width in SPREAD.items():
        noise = np.random.default_rng(1).normal(size=(len(hostile), 12))
        points = np.stack([centres[name] for name in hostile["scientific_name"]]) + (0.1 + width) * noise
        points = points.astype(np.float32)
        found = evaluate_hierarchy(
            hostile,
            points,
            split,
            protocol="open-0",
            query_share=0.34,
            seed=5,
            score="mahalanobis",
            settings=Settings(HeadSettings(steps=30)),
        )
        place = folder / "open-0" / "evaluation" / model
        write_table(place / "held_out.parquet", HELD_OUT, held_out(hostile, points, split), {})
        for contract in (HIERARCHY, COVERAGE, NOVELTY, TAXONOMIC_ANSWERS):
            write_table(place / f"{contract.name}.parquet", contract, getattr(found, contract.name), {})
    drawn = []
    for model in models_mapped(read_table(folder / "comparison.parquet", COMPARISON), OPEN):
        embeddings = rows_for(Results(folder).embeddings(model, "holdout-0"), list(images["image_id"]))
        places = on_the_plane(embeddings, seed=0, threads=1)
        drawn.append(places.assign(model=model, image_id=list(images["image_id"])))
    write_table(folder / "embeddings_map.parquet", EMBEDDINGS_MAP, pd.concat(drawn), {})
    px = OPEN["train"]["store_px"]
    build_store(specimens, list(images["image_id"]), folder / "store" / f"{px}.arrow", side=px, workers=1)
    return folder


def pictures_of(folder):
    return Thumbnails(folder / "store" / f"{OPEN['train']['store_px']}.arrow")


def answers_of(folder, model):
    return pd.read_parquet(folder / "open-0" / "evaluation" / model / "taxonomic_answers.parquet")


def test_there_is_no_section_without_an_open_split(opened):
    assert hierarchy_section(Results(opened), CONFIG, MODELS, None, pictures_of(opened)) is None
    assert "new species" not in render_report(Results(opened), CONFIG, summarise(Results(opened), CONFIG)).page


def test_its_figures_follow_from_the_answers(opened):
    section = hierarchy_section(Results(opened), OPEN, MODELS, None, pictures_of(opened))
    assert len(section["rows"]) == len(MODELS) * 2 * len(section["ranks"])
    assert [row["model"] for row in section["new"]] == MODELS
    for row in section["new"]:
        answers = answers_of(opened, row["model"])
        new = answers[answers["part"] == "new"]
        assert row["n"] == len(new)
        assert row["stopped"] == pytest.approx((new["answered"] != "species").mean())
        stopped = new[(new["answered"] != "species") & (new["genus"] != "")]
        assert row["n_stopped"]["genus"] == len(stopped)
        right = (stopped["genus"] == stopped["true_genus"]).mean()
        assert row["right"]["genus"] == pytest.approx(right, nan_ok=True)
        scores = pd.read_parquet(opened / "open-0" / "evaluation" / row["model"] / "novelty.parquet")
        at_species = scores[scores["rank"] == "species"].set_index("score")["auroc"]
        assert row["auroc"] == at_species.to_dict()


def test_the_pictures_are_of_the_model_that_goes_wrong_least(opened):
    section = hierarchy_section(Results(opened), OPEN, MODELS, None, pictures_of(opened))
    risk = {
        model: next(
            row["aurc"]
            for row in section["rows"]
            if (row["model"], row["part"], row["rank"]) == (model, "known", "species")
        )
        for model in MODELS
    }
    assert risk[section["shown"]] == min(risk.values())
    answers = answers_of(opened, section["shown"]).set_index("image_id")
    counted = 0
    for group in section["examples"]:
        members = answers[(answers["answered"] == group["rank"]) & (answers["part"] == group["part"])]
        assert group["n"] == len(members)
        assert len(group["pictures"]) == min(4, len(members))
        counted += len(members)
        for picture in group["pictures"]:
            row = members.loc[picture["image_id"]]
            assert picture["truth"] == row["true_species"]
            if group["rank"]:
                assert picture["right"] == (row[group["rank"]] == row[f"true_{group['rank']}"])
            image = Image.open(io.BytesIO(base64.b64decode(picture["picture"].partition(",")[2])))
            assert image.format == "WEBP"
            assert max(image.size) <= 96
    assert counted == len(answers)


def test_without_a_store_there_are_names_and_no_pictures(opened, tmp_path):
    section = hierarchy_section(Results(opened), OPEN, MODELS, None, Thumbnails(tmp_path / "none.arrow"))
    assert all(row["picture"] == "" for group in section["examples"] for row in group["pictures"])


def test_the_page_shows_the_section_and_no_name_is_markup(opened):
    text = render_report(Results(opened), OPEN, summarise(Results(opened), OPEN)).page
    assert HOSTILE not in text
    assert "Answers at each rank" in text
    assert text == render_report(Results(opened), OPEN, summarise(Results(opened), OPEN)).page
    page = Page(text)
    assert page.tags.count("script") == 5  # what pages share; tables and charts; the map's data, Vega, and the map
    pictures = [link for link in page.links if not link.startswith("#")]
    assert len(pictures) == page.tags.count("img") > 0
    assert all(re.fullmatch(r"data:image/webp;base64,[A-Za-z0-9+/=]+", link) for link in pictures)
