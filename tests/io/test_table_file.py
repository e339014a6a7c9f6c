"""Tables in any form that people have them in give the same rows."""

import gzip
import io
import lzma
import zipfile

import pandas as pd
import pytest

from cladeclip.datasets.layouts.table import from_table
from cladeclip.errors import DataError
from cladeclip.io.table_file import find_column, is_table, read_table_file

ROWS = [("fish/ä b.jpg", "Lepomis gulosus (Cuvier, 1829)", "Centrarchidae"), ("c.jpg", "Ardea alba", "Ardeidae")]


def written(separator=",", header=("image", "scientificName", "family"), quote='"', end="\n", blank=""):
    rows = [(separator + blank).join(header)]
    rows += [separator.join(f"{quote}{value}{quote}" if "," in value else value for value in row) for row in ROWS]
    return end.join(rows) + end


def zipped(content):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("occurrence.csv", content)
        file.writestr("LICENCE", "none")
    return packed.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", written().encode()),
        ("t.csv", written(";").encode()),
        ("t.csv", written("|").encode()),
        ("t.txt", written("\t").encode()),
        ("t.txt", written("\t", quote="").encode()),
        ("t.csv", written(end="\r\n").encode()),
        ("t.csv", written(blank=" ").encode()),
        ("t.csv", written(header=("image ", " scientificName", "family\t")).encode()),
        ("t.csv", written(header=("image", "dwc:scientificName", "dwc:family")).encode()),
        ("t.csv", written(header=("Image", "http://rs.tdwg.org/dwc/terms/scientificName", "Family")).encode()),
        ("t.csv", written().encode("utf-8-sig")),
        ("t.csv", written().encode("latin-1")),
        ("t.csv", written().encode("utf-16")),
        ("t.csv.gz", gzip.compress(written().encode())),
        ("t.tsv.xz", lzma.compress(written("\t").encode())),
        ("t.csv", gzip.compress(written().encode())),
        ("t.zip", zipped(written())),
        ("t.csv", b"sep=;\r\n" + written(";").encode()),
        ("t.txt", b"\n\n" + written("\t").encode()),
        ("t.csv", written(end=",\n").encode()),
        (
            "t.csv",
            written(";", header=("image", "scientificName", "family"))
            .replace("family", "family;size, sex, age, site")
            .encode(),
        ),
    ],
)
def test_every_form_of_a_table_gives_the_same_rows(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    listed = from_table(tmp_path, file=name, columns={})
    found = listed[["image_id", "scientific_name", "family"]]
    assert [tuple(row) for row in found.itertuples(index=False)] == ROWS


def test_a_column_is_found_by_its_own_name_before_its_term():
    table = pd.DataFrame(columns=["dwc:family", "family", "Order"])
    assert find_column(table, ["family"]) == "family"
    assert find_column(table, ["dwc:family"]) == "dwc:family"
    assert find_column(table, ["genus", "order"]) == "Order"
    assert find_column(table, ["genus"]) is None


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("t.csv", b"", "cannot be read as a table"),
        ("t.csv", b"\0\1\2\3", "it is no text"),
        ("t.csv.gz", b"\x1f\x8bnothing", "cannot be read as a table"),
        ("t.csv", b"a,b\n1,2\n3,4,5\n", "a row has more values than there are headers"),
        ("t.csv", b"a,b\n1,2\n3,4,5,6\n", "Expected 3 fields in line 3, saw 4"),
        ("t.csv", b"image,image ,species\na,b,c\n", "has two columns called 'image'; rename one"),
        ("t.doc", b"image,species\na,b\n", "a table must be called by one of .csv"),
        ("t.zip", zipped("")[:-30], "cannot be read as a table"),
    ],
)
def test_what_is_no_table_is_said_in_one_sentence(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_table_file(tmp_path / name)
    assert words in str(caught.value)
    assert str(caught.value).count("\n") == 0


def test_tables_are_known_by_their_names():
    assert all(map(is_table, ("a.csv", "A.TSV", "b.txt.gz", "c.parquet", "d.tab")))
    assert not any(map(is_table, ("a.jpg", "b.gz", "c", "d.jpg.gz")))
