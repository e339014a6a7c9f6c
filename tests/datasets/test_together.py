"""Pictures of one specimen are recognised, and stay on one side of every split."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cladeclip.datasets.listing import refresh_listing
from cladeclip.datasets.prepare import prepare
from cladeclip.datasets.specimens import together
from cladeclip.datasets.splits import make_split
from cladeclip.io.parquet import read_table
from cladeclip.tables import LISTING

VIEWS, SPECIMENS = 3, 12


@given(st.lists(st.sets(st.integers(0, 12), max_size=3), min_size=1, max_size=12))
def test_what_shares_something_is_together_through_any_chain(shared):
    ids = [f"p{i:02d}" for i in range(len(shared))]
    found = together(ids, [[f"k{key}" for key in of_one] for of_one in shared])
    groups = [{i} for i in range(len(ids))]
    for i, keys in enumerate(shared):
        linked = [group for group in groups if i in group or any(keys & shared[j] for j in group)]
        groups = [group for group in groups if group not in linked] + [set().union(*linked)]
    for group in groups:
        assert {found[i] for i in group} == {ids[min(group)]}


@pytest.fixture
def table(tmp_path):
    """Three views each of twelve specimens of four species; the columns that tell them apart are for the test to add."""
    rng = np.random.default_rng(5)
    rows = []
    for specimen in range(SPECIMENS):
        for view in range(VIEWS):
            name = f"{view}-{specimen}.png"
            Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(tmp_path / name)
            rows.append((name, "Lepomis " + ("gulosus", "auritus", "humilis", "cyanellus")[specimen % 4], specimen))
    return pd.DataFrame(rows, columns=["file", "scientificName", "specimen"])


def prepared(root, table, columns=None):
    table.drop(columns="specimen").to_csv(root / "t.csv", index=False)
    refresh_listing(root, root / "l.parquet")
    dataset = {"layout": "table", "max_rejected": 0.0, "table": {"file": "t.csv", "columns": columns or {}}}
    return prepare(root, read_table(root / "l.parquet", LISTING), dataset, workers=1).images


@pytest.mark.parametrize(
    "column", ["occurrenceID", "gbifID", "organismID", "dwc:organismID", "burst_id", "seq_id", "my column"]
)
def test_no_split_parts_the_pictures_of_a_specimen(tmp_path, table, column):
    table[column] = "S" + table["specimen"].astype(str)
    images = prepared(tmp_path, table, {"specimen": column} if column == "my column" else None)
    assert images["specimen"].nunique() == images["content_group"].nunique() == SPECIMENS
    assert images["pixel_group"].nunique() == len(images)
    specimen = table.set_index("file").loc[images["image_id"], "specimen"].to_numpy()
    for split in ("holdout-0", "holdout-1"):
        part = make_split(images, split, test_share=0.3, seed=5)["part"].to_numpy()
        assert {"fit", "query"} == set(part)
        for of_one in range(SPECIMENS):
            assert len(set(part[specimen == of_one])) == 1


def test_a_catalogue_number_is_of_one_collection(tmp_path, table):
    table["catalogNumber"] = (table["specimen"] // 2).astype(str)
    table["institutionCode"] = np.where(table["specimen"] % 2, "FMNH", "USNM")
    assert prepared(tmp_path, table)["content_group"].nunique() == SPECIMENS
    table["institutionCode"] = "FMNH"
    assert prepared(tmp_path, table)["content_group"].nunique() == SPECIMENS // 2


@pytest.mark.parametrize("nothing", ["", " ", "NA", "null", "unknown"])
def test_missing_values_group_nothing(tmp_path, table, nothing):
    for column in ("occurrenceID", "catalogNumber", "institutionCode"):
        table[column] = nothing
    images = prepared(tmp_path, table)
    assert images["content_group"].nunique() == len(images)
    table["organismID"] = ["one" if i < 6 else nothing for i in range(len(table))]
    assert prepared(tmp_path, table)["content_group"].nunique() == len(images) - 5


def test_equal_pixels_and_identifiers_join_through_each_other(tmp_path, table):
    (tmp_path / "2-1.png").write_bytes((tmp_path / "0-0.png").read_bytes())
    table["organismID"] = table["specimen"].astype(str)
    images = prepared(tmp_path, table).set_index("image_id")
    assert images["content_group"].nunique() == SPECIMENS - 1
    assert images.loc["1-0.png", "content_group"] == images.loc["1-1.png", "content_group"] == "0-0.png"
    assert images["specimen"].nunique() == SPECIMENS


def test_a_picture_listed_twice_links_the_specimens_of_both_rows(tmp_path, table):
    table["organismID"] = table["specimen"].astype(str)
    again = table.iloc[[0]].assign(organismID="1")
    images = prepared(tmp_path, pd.concat([table, again])).set_index("image_id")
    assert images["content_group"].nunique() == SPECIMENS - 1
    assert images.loc["2-0.png", "content_group"] == images.loc["2-1.png", "content_group"]


def test_a_row_without_a_name_takes_none_away(tmp_path, table):
    nameless = table.iloc[[0]].assign(scientificName="")
    images = prepared(tmp_path, pd.concat([nameless, table]))
    assert len(images) == len(table)
    assert "" not in set(images["scientific_name"])
