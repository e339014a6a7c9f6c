"""Darwin Core archives that are written, read by others and by ourselves."""

import xml.etree.ElementTree as ET
import zipfile

import pandas as pd
import pytest
from dwca.read import DwCAReader

from cladeclip.datasets.layouts.specs import read_listed
from cladeclip.io.darwin_core import DC, DWC, write_archive

OCCURRENCES = pd.DataFrame(
    {
        "occurrenceID": ["a/1.jpg", "b & c/2.png"],
        "scientificName": ["Aus albus", 'Bus "ruber"'],
        "taxonRank": ["species", "genus"],
        "identificationRemarks": ["one\ttwo\nthree", "<b>"],
        "genus": ["Aus", "Bus"],
    }
)
CC0 = "http://creativecommons.org/publicdomain/zero/1.0/"


@pytest.fixture
def archive(tmp_path):
    write_archive(tmp_path / "names.dwca.zip", OCCURRENCES, title="What <we> think", licence=CC0)
    return tmp_path / "names.dwca.zip"


def test_the_library_of_the_field_reads_it(archive):
    with DwCAReader(str(archive)) as reader:
        assert reader.descriptor.core.type == f"{DWC}Occurrence"
        rows = list(reader)
        pictures = [row.extensions for row in rows]
    assert [row.id for row in rows] == list(OCCURRENCES["occurrenceID"])
    for row, media, expected in zip(rows, pictures, OCCURRENCES.to_dict(orient="records"), strict=True):
        for name, value in expected.items():
            assert row.data[DWC + name] == " ".join(value.split())
        assert row.data[f"{DC}license"] == CC0
        (picture,) = media
        assert picture.data[f"{DC}identifier"] == row.id
        assert picture.data[f"{DC}type"] == "StillImage"
    assert [media[0].data[f"{DC}format"] for media in pictures] == ["image/jpeg", "image/png"]


def test_our_own_layout_reads_it_with_the_pictures_beside_it(archive, tmp_path):
    dataset = {"layout": "dwca", "dwca": {"archive": archive.name, "columns": {}}}
    paths = pd.DataFrame({"path": list(OCCURRENCES["occurrenceID"])})
    found = read_listed(tmp_path, paths, dataset).set_index("image_id")
    assert list(found.loc[OCCURRENCES["occurrenceID"], "scientific_name"]) == list(OCCURRENCES["scientificName"])
    assert list(found.loc[OCCURRENCES["occurrenceID"], "genus"]) == ["Aus", "Bus"]


def test_its_parts_are_well_formed_and_the_same_bytes_again(archive, tmp_path):
    with zipfile.ZipFile(archive) as packed:
        for name in ("meta.xml", "eml.xml"):
            ET.fromstring(packed.read(name))
        assert b"What &lt;we&gt; think" in packed.read("eml.xml")
        assert CC0.encode() in packed.read("eml.xml")
    write_archive(tmp_path / "again.zip", OCCURRENCES, title="What <we> think", licence=CC0)
    assert (tmp_path / "again.zip").read_bytes() == archive.read_bytes()


def test_without_a_licence_none_is_claimed_and_without_rows_it_is_an_archive(tmp_path):
    write_archive(tmp_path / "none.zip", OCCURRENCES.head(0), title="nothing")
    with zipfile.ZipFile(tmp_path / "none.zip") as packed:
        assert b"intellectualRights" not in packed.read("eml.xml")
        assert packed.read("occurrence.txt").decode().splitlines()[0].split("\t")[-1] == "license"
    with DwCAReader(str(tmp_path / "none.zip")) as reader:
        assert list(reader) == []
