import shutil

import pandas as pd
import pytest

from cladeclip.datasets.addresses import picture_path
from cladeclip.datasets.guess import guess_dataset, problems
from cladeclip.datasets.layouts.specs import read_listed
from cladeclip.datasets.layouts.vlm4bio import read_metadata
from cladeclip.datasets.listing import files_below
from cladeclip.datasets.naming import name_pictures
from cladeclip.errors import DataError


def listed(dataset):
    return read_listed(dataset["root"], files_below(dataset["root"], tables=True)[0], dataset)


def test_vlm4bios_layout_is_known_by_its_folders(specimens):
    dataset, _ = guess_dataset(specimens)
    assert dataset == {"root": str(specimens), "layout": "vlm4bio", "source": "folder"}
    assert len(listed(dataset)) == 54


@pytest.mark.parametrize("header", [("image_path", "scientificName"), ("Bilddatei", "Art")])
@pytest.mark.parametrize("name", ["list.csv", "occurrence.txt", "list.parquet"])
def test_a_table_is_known_by_what_its_columns_hold(specimens, tmp_path, header, name):
    shutil.copytree(specimens, tmp_path / "data")
    for metadata in (tmp_path / "data").glob("*/metadata"):
        shutil.rmtree(metadata)
    rows = read_metadata(specimens)
    table = pd.DataFrame({"id": rows.index, header[0]: rows["image_id"], header[1]: rows["scientific_name"]})
    path = tmp_path / "data" / name
    if path.suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False, sep="\t" if path.suffix == ".txt" else ",")
    for given in (tmp_path / "data", path):
        dataset, _ = guess_dataset(given)
        assert dataset["layout"] == "table"
        usual = header[0] == "image_path"
        expected = {} if usual else {"image": header[0], "scientific_name": header[1]}
        assert dataset["table"] == {"file": name, "columns": expected}
        found = listed(dataset)
        assert dict(zip(found["image_id"], found["scientific_name"], strict=True)) == dict(
            zip(rows["image_id"], rows["scientific_name"], strict=True)
        )


@pytest.mark.parametrize(
    ("folders", "ranks"),
    [
        ("Lepomis_gulosus", []),
        ("Lepomis/Lepomis_gulosus", ["genus"]),
        ("Centrarchidae/Lepomis_gulosus", ["family"]),
        ("Animalia/Actinopterygii/Perciformes/Centrarchidae/Lepomis gulosus", ["kingdom", "class", "order", "family"]),
        ("fish/Centrarchidae/Lepomis/Lepomis_gulosus", ["category", "family", "genus"]),
        ("fish/from the river/Lepomis_gulosus", ["category"]),
        ("Lepomis/gulosus", ["genus"]),
        ("fish/Lepomis/gulosus", ["category", "genus"]),
        ("00000_Animalia_Chordata_Actinopterygii_Perciformes_Centrarchidae_Lepomis_gulosus", []),
    ],
)
def test_ranks_are_read_off_the_names_of_folders(tmp_path, folders, ranks):
    for other in (folders, folders.replace("gulosus", "cyanellus")):
        (tmp_path / other).mkdir(parents=True)
        (tmp_path / other / "1.jpg").write_bytes(b"")
    dataset, _ = guess_dataset(tmp_path)
    assert dataset["folders"] == {"ranks": ranks}
    assert set(name_pictures(listed(dataset))[0]["scientific_name"]) == {"Lepomis gulosus", "Lepomis cyanellus"}


def test_what_cannot_be_arranged_is_said_in_one_sentence(tmp_path):
    with pytest.raises(DataError, match=r"nowhere: there is no such folder or table\."):
        guess_dataset(tmp_path / "nowhere")
    with pytest.raises(DataError, match="there is no picture in it"):
        guess_dataset(tmp_path)
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="neither folders named after species nor a table"):
        guess_dataset(tmp_path)
    (tmp_path / "notes.csv").write_text("date,place\n2026-01-01,here\n")
    with pytest.raises(
        DataError, match=r"notes\.csv has no column that holds paths of pictures below .* neither folders"
    ):
        guess_dataset(tmp_path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("README.txt", "Pictures of fish.\n\nTaken by hand; all rights, reserved.\n"),
        ("classes.txt", "1 001.Black_footed_Albatross\n2 002.Laysan_Albatross\n"),
        ("citations.txt", 'When using this dataset: "GBIF.org, a\n\x0b'),
        ("blank.csv", ""),
        ("zip.csv", "PK\x03\x04 no zip file"),
        ("dump.csv", "\0\1\2"),
    ],
)
def test_a_file_that_is_not_the_table_does_not_stop_the_search(tmp_path, specimens, name, text):
    pictures = read_metadata(specimens)
    for row in pictures.itertuples():
        folder = tmp_path / "folders" / row.scientific_name.replace(" ", "_")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(specimens / row.image_id, folder)
        shutil.copy(specimens / row.image_id, tmp_path)
    (tmp_path / "folders" / name).write_text(text)
    dataset, faults = guess_dataset(tmp_path / "folders")
    assert dataset["layout"] == "folders"
    assert len(faults) == 1
    assert name in faults[0]
    (tmp_path / name).write_text(text)
    files = [image_id.rsplit("/")[-1] for image_id in pictures["image_id"]]
    pd.DataFrame({"file": files, "species": pictures["scientific_name"]}).to_csv(tmp_path / "zz.csv", index=False)
    dataset, faults = guess_dataset(tmp_path)
    assert dataset["table"] == {"file": "zz.csv", "columns": {}}
    assert len(faults) == 1


def test_genus_and_epithet_in_columns_of_their_own_are_joined(tmp_path):
    rows = [
        ("a.jpg", "Tyto", "alba", "barn owl"),
        ("b.jpg", "Ardea", "alba", "egret"),
        ("c.jpg", "Quercus", "alba", "oak"),
    ]
    for name, *_ in rows:
        (tmp_path / name).write_bytes(b"")
    pd.DataFrame(rows, columns=["file", "genus", "species", "common"]).to_csv(tmp_path / "t.csv", index=False)
    dataset, _ = guess_dataset(tmp_path)
    assert dataset["table"] == {"file": "t.csv", "columns": {}}
    assert list(listed(dataset)["scientific_name"]) == ["Tyto alba", "Ardea alba", "Quercus alba"]


def test_problems_are_counted():
    rows = [
        ("a.jpg", "Lepomis gulosus"),
        ("a.jpg", "Lepomis gulosus"),
        ("b.jpg", ""),
        ("c.jpg", "Lepomis"),
        ("e", "Red_Fox"),
    ]
    table, _ = name_pictures(pd.DataFrame(rows, columns=["image_id", "scientific_name"]))
    assert problems(table, ["a.jpg", "b.jpg", "d.jpg", "names.csv"]) == {
        "listed pictures are not there": 2,
        "pictures are there, but not listed": 1,
        "listed pictures have no name of a species (left out, unless dataset.unnamed is keep)": 1,
        "pictures are listed more than once": 1,
        "pictures are named by a genus alone": 1,
        "species have fewer than 5 pictures": 3,
    }


@pytest.mark.parametrize("column", ["identifier", "Foto"])
@pytest.mark.parametrize("beside", [{}, {"file_name": "not there.jpg"}])
def test_a_table_of_addresses_is_known(tmp_path, column, beside):
    addresses = [f"https://x.example.org/{n}.jpg" for n in range(12)]
    rows = {column: addresses, "scientificName": "Lepomis gulosus", **beside}
    pd.DataFrame(rows).to_csv(tmp_path / "t.csv", index=False)
    dataset, _ = guess_dataset(tmp_path / "t.csv", tmp_path / "fetched")
    assert dataset == {
        "layout": "table",
        "root": str(tmp_path / "fetched"),
        "source": "addresses",
        "addresses": {"contact": ""},
        "table": {"file": str(tmp_path / "t.csv"), "columns": {"address": column}},
    }
    found = read_listed(dataset["root"], pd.DataFrame({"path": []}), dataset)
    assert list(found["address"]) == addresses
    assert list(found["image_id"]) == list(map(picture_path, addresses))
