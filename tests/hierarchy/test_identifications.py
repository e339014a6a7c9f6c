"""Names as Darwin Core's terms, and a checklist of those allowed."""

import gzip

import numpy as np
import pandas as pd
import pytest

from cladeclip.errors import DataError
from cladeclip.hierarchy.checklist import on_checklist, read_checklist
from cladeclip.hierarchy.identifications import NO_NAME, of_candidates, of_identified

RANKS = ("category", "genus", "species")


def identified(**row):
    usual = {"reason": "", "answered": "", "novel_at": "", "confidence": np.nan} | dict.fromkeys(RANKS, "")
    return {"nearest_1": "k.jpg", "nearest_1_species": "Aus albus", **usual, **row}


def test_each_picture_that_was_read_is_an_occurrence_named_as_far_down_as_is_safe():
    table = pd.DataFrame(
        [
            identified(
                image_id="1", answered="species", category="Bird", genus="Aus", species="Aus albus", confidence=0.9
            ),
            identified(
                image_id="2", answered="genus", category="Bird", genus="Aus", novel_at="species", confidence=0.8
            ),
            identified(image_id="3", answered="category", category="Bird", novel_at="genus", confidence=0.7),
            identified(image_id="4", novel_at="category"),
            identified(image_id="5", reason="truncated: cut"),
        ]
    )
    found = of_identified(table, RANKS, model="m").set_index("occurrenceID")
    assert list(found.index) == ["1", "2", "3", "4"]
    assert list(found["scientificName"]) == ["Aus albus", "Aus", NO_NAME, NO_NAME]
    assert list(found["taxonRank"]) == ["species", "genus", "", ""]
    assert list(found["identificationQualifier"]) == ["", "sp.", "indet.", "indet."]
    assert list(found["genus"]) == ["Aus", "Aus", "", ""]
    assert set(found["identifiedBy"]) == {""}
    assert "category" not in found
    assert found.loc["2", "identificationRemarks"] == (
        "Named by m; genus Aus, probability 0.80; looks new at the rank species; "
        "most similar known picture k.jpg (Aus albus)"
    )
    assert "category Bird, probability 0.70" in found.loc["3", "identificationRemarks"]


def test_candidates_have_the_safe_rank_and_their_provisional_name_behind_it():
    usual = {"n": 3, "candidate": 1, "nearest_species": "Aus albus", "cosine": 0.7}
    table = pd.DataFrame(
        [
            usual | {"image_id": "1", "name": "Aus sp. 1", "rank": "genus", "answer": "Aus"},
            usual | {"image_id": "2", "name": "Aus albus", "rank": "species", "answer": "Aus albus"},
            usual | {"image_id": "3", "name": "Bird morph 1", "rank": "category", "answer": "Bird"},
            usual | {"image_id": "4", "name": "Nymphalidae morph 2", "rank": "family", "answer": "Nymphalidae"},
        ]
    )
    found = of_candidates(table, model="m")
    assert list(found["scientificName"]) == ["Aus", "Aus albus", NO_NAME, "Nymphalidae"]
    assert list(found["taxonRank"]) == ["genus", "species", "", "family"]
    assert list(found["identificationQualifier"]) == ["sp. 1", "", "", "morph 2"]
    assert list(found["verbatimIdentification"]) == ["Aus sp. 1", "", "Bird morph 1", "Nymphalidae morph 2"]
    assert of_candidates(table.head(0), model="m").empty
    assert "scientificName" in of_candidates(table.head(0), model="m")


@pytest.mark.parametrize(
    "text",
    [
        "taxonID,scientificName,family\n1,Aus albus (L. 1758),x\n2,Bus ruber,y\n",
        "Aus albus\nBus ruber\n",
        "scientificName\nAus_albus\nBus ruber\nunknown\n",
        "genus;species\nAus;Aus albus\nBus;Bus ruber\n",
        "scientificName\nAus albus (Linnaeus, 1758)\nBus ruber Smith; in Jones, 1900\n",
        "Aus albus (Linnaeus, 1758)\n\nBus ruber (Smith, 1900)\n",
        '"scientificName","family"\n"Aus albus (L., 1758)","x"\n"Bus ruber","y"\n',
    ],
)
@pytest.mark.parametrize(
    ("name", "encoding"), [("list.csv", "utf-8"), ("list.txt", "utf-8-sig"), ("list.tsv", "utf-8")]
)
def test_a_checklist_is_a_table_with_names_or_a_list_of_them(tmp_path, text, name, encoding):
    (tmp_path / name).write_text(text, encoding=encoding)
    assert read_checklist(tmp_path / name) == {"Aus albus", "Bus ruber"}


def test_a_checklist_may_be_in_utf_16_or_packed(tmp_path):
    text = "scientificName\tfamily\nAus albus\tx\n"
    (tmp_path / "list.csv").write_text(text, encoding="utf-16")
    (tmp_path / "list.csv.gz").write_bytes(gzip.compress(text.encode()))
    for name in ("list.csv", "list.csv.gz"):
        assert read_checklist(tmp_path / name) == {"Aus albus"}


def test_what_a_checklist_excludes_and_what_it_has_more_is_said(tmp_path, caplog):
    caplog.set_level("INFO")
    known = pd.DataFrame({"scientific_name": ["Aus albus", "Cus niger", "Aus albus"]})
    assert list(on_checklist(known, {"Aus albus", "Dus novus"}, file="f")) == [True, False, True]
    assert "1 species of the data are not on the checklist and no answer: 'Cus niger'" in caplog.text
    assert "1 names of the checklist have no picture in the data: 'Dus novus'" in caplog.text
    with pytest.raises(DataError, match=r"f: identify\.checklist names none of the 2 species"):
        on_checklist(known, {"Dus novus"}, file="f")


def test_a_checklist_without_names_is_said(tmp_path):
    (tmp_path / "list.csv").write_text("scientificName\nunknown\n")
    with pytest.raises(DataError, match=r"identify\.checklist holds no name of a species"):
        read_checklist(tmp_path / "list.csv")
    with pytest.raises(DataError, match=r"identify\.checklist"):
        read_checklist(tmp_path / "absent.csv")
