import shutil

import pandas as pd
import pytest
from PIL import Image

from cladeclip.datasets.layouts.folders import from_folders
from cladeclip.datasets.layouts.table import from_table
from cladeclip.datasets.listing import refresh_listing
from cladeclip.datasets.prepare import prepare
from cladeclip.errors import DataError
from cladeclip.io.parquet import read_table
from cladeclip.tables import LISTING

GBIF = (
    "gbifID\tidentifier\tkingdom\tphylum\tclass\torder\tfamily\tgenus\tscientificName\n"
    "1\tfish/a.jpg\tAnimalia\tChordata\tTeleostei\tPerciformes\tCentrarchidae\tLepomis\tLepomis gulosus (Cuvier, 1829)\n"
    '2\tbirds/b "1".jpg\tAnimalia\tChordata\tAves\tPasseriformes\tIcteridae\tIcterus\tIcterus galbula (Linnaeus, 1758)\n'
)


@pytest.fixture
def root(tmp_path):
    for name in ("fish/a.jpg", 'birds/b "1".jpg'):
        (tmp_path / "data" / name).parent.mkdir(parents=True)
        Image.new("RGB", (20, 10), (len(name), 90, 200)).save(tmp_path / "data" / name)
    return tmp_path / "data"


def prepared(root, tmp_path, **dataset):
    refresh_listing(root, tmp_path / "l.parquet")
    listing = read_table(tmp_path / "l.parquet", LISTING)
    return prepare(root, listing, {"max_rejected": 0.0, **dataset}, workers=1)


def test_a_gbif_export_works_as_it_comes(root, tmp_path):
    (root / "occurrence.txt").write_text(GBIF)
    table = {"file": "occurrence.txt", "columns": {"image": "identifier"}}
    images, quarantine, _ = prepared(root, tmp_path, layout="table", table=table)
    assert quarantine.empty
    fish = images.set_index("image_id").loc["fish/a.jpg"]
    assert (fish["scientific_name"], fish["genus"], fish["family"]) == ("Lepomis gulosus", "Lepomis", "Centrarchidae")
    assert fish["name_as_written"] == "Lepomis gulosus (Cuvier, 1829)"
    assert dict(zip(images["image_id"], images["category"], strict=True)) == {
        "fish/a.jpg": "Teleostei",
        'birds/b "1".jpg': "Aves",
    }
    assert set(images["class"]) == {"Teleostei", "Aves"}


def test_columns_of_other_names_are_mapped(root):
    frame = pd.DataFrame({"pic": ["fish\\a.jpg"], "taxon": ["Lepomis gulosus"], "group": ["Fish"], "fam": ["X"]})
    columns = {"image": "pic", "scientific_name": "taxon", "category": "group", "family": "fam"}
    frame.to_csv(root / "m.csv")
    frame.to_parquet(root / "m.parquet")
    for file in ("m.csv", "m.parquet"):
        listed = from_table(root, file=file, columns=columns)
        assert listed.to_dict("records") == [
            {"image_id": "fish/a.jpg", "scientific_name": "Lepomis gulosus", "category": "Fish", "family": "X"}
        ]


def test_without_any_category_there_is_one(root):
    pd.DataFrame({"path": ["a.jpg"], "species": ["A b"]}).to_csv(root / "m.csv")
    assert list(from_table(root, file="m.csv", columns={})["category"]) == ["Specimens"]


@pytest.mark.parametrize(
    ("text", "columns", "words"),
    [
        (None, {}, "there is no such table; correct dataset.table.file"),
        ("pic,scientificName\na,b\n", {}, "dataset.table.columns.image. It has pic, scientificName"),
        ("image,name\na,b\n", {}, "scientificName or scientific_name or species"),
        ("image,scientificName\na,b\n", {"family": "fam"}, "no column 'fam', which dataset.table.columns.family names"),
    ],
)
def test_a_table_that_lacks_something_says_what_to_change(tmp_path, text, columns, words):
    if text is not None:
        (tmp_path / "m.csv").write_text(text)
    with pytest.raises(DataError) as caught:
        from_table(tmp_path, file="m.csv", columns=columns)
    assert words in str(caught.value)
    assert "m.csv" in str(caught.value)


def test_one_folder_a_species(specimens, images, tmp_path):
    """The drawn pictures in folders give the same tables as in VLM4Bio's layout."""
    root = tmp_path / "data"
    for row in images.itertuples():
        target = root / row.category / row.genus / row.scientific_name.replace(" ", "_") / row.image_id.rsplit("/")[-1]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(specimens / row.image_id, target)
    folders = {"ranks": ["category", "genus"]}
    found, quarantine, _ = prepared(root, tmp_path, layout="folders", folders=folders)
    assert quarantine.empty
    columns = ["content_hash", "category", "scientific_name", "genus", "width", "height"]
    key = "content_hash"
    pd.testing.assert_frame_equal(
        found[columns].sort_values(key, ignore_index=True), images[columns].sort_values(key, ignore_index=True)
    )
    higher, *_ = prepared(root, tmp_path, layout="folders", folders={"ranks": ["order", "family"]})
    assert set(higher["order"]) == set(higher["category"]) == {"Fish", "Bird", "Butterfly"}
    assert "Piscator" in set(higher["family"])


def test_a_picture_outside_the_named_ranks_is_said():
    listing = pd.DataFrame({"path": ["Fish/Lepomis_gulosus/a.jpg"]})
    with pytest.raises(
        DataError, match=r"a\.jpg: lies in 1 folder\(s\) above its species folder.*names 2 \(class, family\)"
    ):
        from_folders(listing, ranks=["class", "family"])
    with pytest.raises(DataError, match="no picture lies in a folder"):
        from_folders(pd.DataFrame({"path": ["notes.csv"]}), ranks=[])
