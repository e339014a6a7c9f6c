import shutil

import pandas as pd
import pytest

from cladeclip.datasets.decisions import Decisions, read_decisions
from cladeclip.datasets.listing import refresh_listing
from cladeclip.datasets.prepare import prepare
from cladeclip.errors import DataError
from cladeclip.io.parquet import read_table
from cladeclip.tables import LISTING


def written(tmp_path, text):
    (tmp_path / "decisions.csv").write_text(text)
    return tmp_path / "decisions.csv"


def test_the_last_decision_on_a_picture_counts(tmp_path):
    text = (
        "image_id,decision,name,note,when\n"
        "a.jpg,name,Lepomis gulosus,,2026-01-01\n"
        "b.jpg,exclude,,a label,\n"
        "a.jpg,name, Lepomis auritus ,,\n"
        "c.jpg,name,Lepomis auritus,,\n"
        "c.jpg,keep,,,\n"
        "d.jpg,exclude,,,\n"
        "d.jpg,name,Lepomis sp. 1,,\n"
    )
    names = {"a.jpg": "Lepomis auritus", "d.jpg": "Lepomis sp. 1"}
    assert read_decisions(written(tmp_path, text)) == Decisions(names, {"b.jpg": "a label"}, frozenset(["c.jpg"]))
    assert read_decisions("") == Decisions()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image_id,name\na.jpg,B c\n", "has no column 'decision'"),
        ("image_id,decision\na.jpg,rename\n", "row 2 decides 'rename'"),
        ("image_id,decision\na.jpg,keep\na.jpg,exclud\n", r"row 3 decides 'exclud' \(did you mean 'exclude'"),
        ("image_id,decision,name\na.jpg,name,\n", "row 2 gives a.jpg a name, but its column `name` is blank"),
        ("image_id,decision\n,keep\n", "row 2 names no picture"),
    ],
)
def test_a_table_of_decisions_that_cannot_be_is_said(tmp_path, text, said):
    with pytest.raises(DataError, match=said):
        read_decisions(written(tmp_path, text))


@pytest.fixture
def root(specimens, tmp_path):
    """The drawn specimens as a table with families, so that ranks are there."""
    root = tmp_path / "data"
    shutil.copytree(specimens, root)
    for metadata in root.glob("*/metadata"):
        shutil.rmtree(metadata)
    return root


def prepared(root, images, tmp_path, decisions):
    table = images[["image_id", "category"]].assign(
        scientificName=images["scientific_name"], genus=images["genus"], family=images["genus"] + "idae"
    )
    table.rename(columns={"image_id": "image"}).to_csv(root / "t.csv", index=False)
    refresh_listing(root, tmp_path / "l.parquet")
    dataset = {"layout": "table", "table": {"file": "t.csv", "columns": {}}, "max_rejected": 0.0}
    return prepare(root, read_table(tmp_path / "l.parquet", LISTING), dataset, decisions=decisions, workers=1)


def test_decided_names_stand_in_the_place_of_the_datas(root, images, tmp_path, caplog):
    species = images.groupby("genus")["scientific_name"].unique()
    (one, first), (other, second) = list(species.items())[:2]
    of_one = images.loc[images["scientific_name"] == first[0], "image_id"].tolist()
    decisions = Decisions(
        {of_one[0]: second[0], of_one[1]: f"{other} sp. 1", of_one[2]: "Nowhere known", of_one[4]: first[0], "gone": ""},
        {of_one[3]: "a label"},
        frozenset([of_one[5]]),
    )  # fmt: skip
    found, quarantine, names = prepared(root, images, tmp_path, decisions)
    found = found.set_index("image_id")
    shown = found.loc[of_one[:3], ["scientific_name", "genus", "family"]].to_numpy().tolist()
    assert shown == [
        [second[0], other, f"{other}idae"],
        [f"{other} sp. 1", other, f"{other}idae"],
        # The data has this genus nowhere: no family is made up for it.
        ["Nowhere known", "Nowhere", ""],
    ]
    assert quarantine.to_dict("records") == [{"image_id": of_one[3], "reason": "excluded", "detail": "a label"}]
    rest = found.drop(index=of_one[:3])
    before = images.set_index("image_id").loc[rest.index]
    assert (rest["scientific_name"] == before["scientific_name"]).all()
    assert (rest["family"] == before["genus"] + "idae").all()
    assert {second[0], f"{other} sp. 1", "Nowhere known"} <= set(names["name_as_written"])
    assert "does not list 'gone'" in caplog.text
    assert one in set(rest["genus"])


def test_a_decision_ends_a_conflict_and_names_the_unnamed(root, images, tmp_path):
    table = images.assign(scientificName=images["scientific_name"])[["image_id", "scientificName"]]
    twice, blank = table["image_id"][0], table["image_id"][1]
    table.loc[1, "scientificName"] = ""
    table = pd.concat([table, pd.DataFrame({"image_id": [twice], "scientificName": ["Another name"]})])
    table.rename(columns={"image_id": "image"}).to_csv(root / "t.csv", index=False)
    refresh_listing(root, tmp_path / "l.parquet")
    dataset = {"layout": "table", "table": {"file": "t.csv", "columns": {}}, "max_rejected": 0.0}
    decisions = Decisions({twice: "Aus bus", blank: "Cus dus"})
    found = prepare(root, read_table(tmp_path / "l.parquet", LISTING), dataset, decisions=decisions, workers=1).images
    named = found.set_index("image_id")["scientific_name"]
    assert (named[twice], named[blank]) == ("Aus bus", "Cus dus")


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("", "Papilioidae morph 1"),
        ("unknown", "Papilioidae morph 1"),
        ("", "Papilio sp. 1"),
        ("Papilio", "Papilio sp. 1"),
        ("Papilio sp.", "Papilio sp. 1"),
    ],
)
def test_a_picture_that_had_no_name_of_another_genus_keeps_its_own_ranks(root, images, tmp_path, written, name):
    first = images["image_id"][0]
    nameless = images.assign(
        scientific_name=images["scientific_name"].where(images["image_id"] != first, written),
        genus=images["genus"].where(images["image_id"] != first, ""),
    )
    found = prepared(root, nameless, tmp_path, Decisions({first: name})).images.set_index("image_id")
    assert found.loc[first, "scientific_name"] == name
    # `prepared` writes the family of each genus; the blank genus of this picture has "idae".
    assert found.loc[first, "family"] == "idae"
