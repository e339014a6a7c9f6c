import shutil

import pandas as pd
import pytest

from cladeclip.datasets.guess import guess_dataset, problems
from cladeclip.datasets.layouts import read_listed
from cladeclip.datasets.listing import METADATA_SUFFIXES, files_below
from cladeclip.datasets.pictures import SUFFIXES
from cladeclip.datasets.vlm4bio import read_metadata
from cladeclip.errors import DataError


def listed(dataset):
    return read_listed(dataset["root"], files_below(dataset["root"], SUFFIXES | METADATA_SUFFIXES), dataset)


def test_vlm4bios_layout_is_known_by_its_folders(specimens):
    dataset = guess_dataset(specimens)
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
        dataset = guess_dataset(given)
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
    ],
)
def test_ranks_are_read_off_the_names_of_folders(tmp_path, folders, ranks):
    for other in (folders, folders.replace("gulosus", "cyanellus")):
        (tmp_path / other).mkdir(parents=True)
        (tmp_path / other / "1.jpg").write_bytes(b"")
    dataset = guess_dataset(tmp_path)
    assert dataset["folders"] == {"ranks": ranks}
    assert set(listed(dataset)["scientific_name"]) == {"Lepomis gulosus", "Lepomis cyanellus"}


def test_what_cannot_be_arranged_is_said_in_one_sentence(tmp_path):
    with pytest.raises(DataError, match=r"nowhere: there is no such folder or table\."):
        guess_dataset(tmp_path / "nowhere")
    with pytest.raises(DataError, match="there is no picture in it"):
        guess_dataset(tmp_path)
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="neither folders named after species nor a table"):
        guess_dataset(tmp_path)
    (tmp_path / "notes.csv").write_text("date,place\n2026-01-01,here\n")
    with pytest.raises(DataError, match=r"notes\.csv has no column that holds paths of pictures and names of species"):
        guess_dataset(tmp_path)


def test_problems_are_counted():
    rows = [("a.jpg", "Lepomis gulosus"), ("a.jpg", "Lepomis gulosus"), ("b.jpg", ""), ("c.jpg", "Lepomis")]
    table = pd.DataFrame(rows, columns=["image_id", "scientific_name"])
    assert problems(table, ["a.jpg", "b.jpg", "d.jpg", "names.csv"]) == {
        "listed pictures are not there": 1,
        "pictures are there, but not listed": 1,
        "listed pictures have no name": 1,
        "pictures are listed more than once": 1,
        "pictures are named by a genus alone": 1,
        "species have fewer than 5 pictures": 2,
    }
