import pytest

from cladeclip.datasets.names import name_kind, normalise_name


@pytest.mark.parametrize(
    ("written", "name", "kind"),
    [
        ("Lepomis gulosus ", "Lepomis gulosus", "species"),
        ("  lepomis \t gulosus", "Lepomis gulosus", "species"),
        ("Lepomis_gulosus", "Lepomis gulosus", "species"),
        ("LEPOMIS GULOSUS", "Lepomis gulosus", "species"),
        ("Lepomis gulosus (Cuvier, 1829)", "Lepomis gulosus", "species"),
        ("Lepomis gulosus Cuvier in Cuvier & Valenciennes, 1829", "Lepomis gulosus", "species"),
        ("Heliconius erato de Geer 1773", "Heliconius erato", "species"),
        ("Lepomis Rafinesque, 1819", "Lepomis", "genus"),
        ("Lepomis", "Lepomis", "genus"),
        ("Lepomis sp.", "Lepomis sp.", "genus"),
        ("Lepomis gulosus x cyanellus", "Lepomis gulosus x cyanellus", "hybrid"),
        ("Lepomis gulosus × cyanellus", "Lepomis gulosus x cyanellus", "hybrid"),
        ("Salmo trutta x Salvelinus fontinalis", "Salmo trutta x Salvelinus fontinalis", "hybrid"),
        ("Lepomis auritus x L. cyanellus", "Lepomis auritus x L. cyanellus", "hybrid"),
        ("Lepomis F2", "Lepomis F2", "hybrid"),
        ("Heliconius melpomene rosina Boisduval, 1870", "Heliconius melpomene rosina", "other"),
        ("Salmo trutta f. fario", "Salmo trutta f. fario", "other"),
    ],
)
def test_names(written, name, kind):
    assert normalise_name(written) == name
    assert name_kind(name) == kind
    assert normalise_name(name) == name


@pytest.mark.parametrize("written", ["", " ", "\t"])
def test_no_name_is_no_name(written):
    assert normalise_name(written) == ""


def test_vlm4bios_names_are_what_is_known_of_them(real_pictures):
    """All 31,452 names as written: two are blank, 35 are no binomials, and trimming merges three pairs of fish."""
    import pandas as pd

    tables = (real_pictures.parent / "vlm4bio-names").glob("*/metadata/*.csv")
    written = {path.parts[-3]: pd.read_csv(path, dtype=str, keep_default_na=False)["scientificName"] for path in tables}
    names = {category: series.map(normalise_name) for category, series in written.items()}
    assert sum(map(len, names.values())) == 31_452
    assert {category: int((series == "").sum()) for category, series in names.items()} == {
        "Fish": 2,
        "Bird": 0,
        "Butterfly": 0,
    }
    assert names["Bird"].nunique() == 188
    assert names["Butterfly"].nunique() == 60
    kinds = names["Fish"][names["Fish"] != ""].map(name_kind).value_counts()
    assert set(kinds.index) == {"species", "genus", "hybrid"}
