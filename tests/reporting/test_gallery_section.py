import re

import numpy as np
import pandas as pd
import pytest
from test_hierarchy_section import opened, pictures_of  # noqa: F401 (a fixture)
from test_report import CONFIG, SPREAD

from cladeclip.errors import ConfigError
from cladeclip.io.embeddings import rows_for
from cladeclip.paths import Results
from cladeclip.reporting.findings import summarise
from cladeclip.reporting.report import render_report
from cladeclip.reporting.sections.gallery import clusters, neighbours

BEST = "vit-b-32.handmade-image-k9.seed5"
EVALUATED = CONFIG | {"eval": {**CONFIG["eval"], "query_share": 0.34, "seed": 5}}


@pytest.fixture(scope="module")
def groups(opened):  # noqa: F811
    return neighbours(Results(opened), EVALUATED, BEST, pictures_of(opened))


def test_every_query_is_of_one_kind(opened, groups):  # noqa: F811
    right = {}
    for model in (BEST, "vit-b-32"):
        table = pd.read_parquet(opened / "holdout-0" / "evaluation" / model / "predictions.parquet")
        table = table[(table["taxa"] == "All") & (table["column"] == "species")].set_index("image_id")
        right[model] = table["accuracy_individual"] == table["label"]
    assert sum(group["n"] for group in groups) == len(right[BEST])
    words = {"Became right": (False, True), "Became wrong": (True, False), "Stayed wrong": (False, False)}
    for group in groups:
        was, now = words.get(group["kind"], (True, True))
        assert group["n"] == ((right["vit-b-32"] == was) & (right[BEST] == now)).sum()
        assert 0 < len(group["queries"]) <= 3
        for query in group["queries"]:
            assert right["vit-b-32"][query["image_id"]] == was
            assert right[BEST][query["image_id"]] == now
            assert query["before"][0]["right"] == was
            assert query["after"][0]["right"] == now


def test_the_pictures_are_the_nearest_of_the_gallery_by_a_plain_loop(opened, groups):  # noqa: F811
    split = pd.read_parquet(opened / "holdout-0" / "split.parquet").set_index("image_id")["part"]
    names = pd.read_parquet(opened / "images.parquet").set_index("image_id")["scientific_name"]
    gallery = [image_id for image_id in names.index if split[image_id] == "fit"]
    for when, model in (("before", "vit-b-32"), ("after", BEST)):
        table = dict(
            zip(names.index, rows_for(Results(opened).embeddings(model, "holdout-0"), list(names.index)), strict=True)
        )
        for query in (query for group in groups for query in group["queries"]):
            one = table[query["image_id"]].astype(float)

            def cosine(other, one=one, table=table):
                return one @ table[other] / np.linalg.norm(one) / np.linalg.norm(table[other])

            expected = sorted(gallery, key=cosine, reverse=True)[:5]
            assert [row["label"] for row in query[when]] == [names[image_id] for image_id in expected]
            assert [row["right"] for row in query[when]] == [names[i] == query["label"] for i in expected]
            assert all(row["picture"].startswith("data:image/webp;base64,") for row in query[when])


def test_clusters_show_the_pictures_nearest_to_their_centroid(opened):  # noqa: F811
    found = clusters(Results(opened), CONFIG, BEST, pictures_of(opened))
    table = pd.read_parquet(opened / "holdout-0" / "clusters" / "handmade-image-k9.parquet")
    names = pd.read_parquet(opened / "images.parquet").set_index("image_id")["scientific_name"]
    assert len(found) == 8
    for cluster in found:
        members = table[table["label"] == cluster["label"]].sort_values(["distance", "image_id"])
        assert cluster["n"] == len(members)
        assert cluster["species"] == names[members["image_id"]].nunique()
        assert [row["name"] for row in cluster["pictures"]] == list(names[members["image_id"].head(8)])


def test_nothing_is_shown_where_nothing_was_trained(opened):  # noqa: F811
    pictures = pictures_of(opened)
    assert (
        neighbours(Results(opened), CONFIG, None, pictures) == clusters(Results(opened), CONFIG, None, pictures) == []
    )
    assert clusters(Results(opened), CONFIG, next(model for model in SPREAD if "random" in model), pictures) == []


def test_the_page_stays_below_its_limit_and_says_what_it_left_out(opened):  # noqa: F811
    config = EVALUATED | {"splits": ["holdout-0", "open-0"]}
    summary = summarise(Results(opened), config)
    whole = render_report(Results(opened), config, summary).page
    urls = re.findall(r"data:image/webp;base64,[A-Za-z0-9+/=]+", whole)
    n_pictures = len(urls)
    assert "were left out" not in whole
    for share in (0.2, 0.6):
        limit = (len(whole.encode()) - share * sum(map(len, urls))) / 1e6
        page = render_report(Results(opened), config | {"report": {**config["report"], "max_mb": limit}}, summary).page
        assert len(page.encode()) <= 1e6 * limit
        kept = page.count("data:image/webp;base64,")
        assert 0 < kept < n_pictures
        assert f"{n_pictures - kept} pictures were left out" in page
    with pytest.raises(ConfigError, match=r"report.max_mb is 0.01, but the report takes .* MB without any picture"):
        render_report(Results(opened), config | {"report": {**config["report"], "max_mb": 0.01}}, summary)
