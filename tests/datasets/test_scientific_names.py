"""Names as labels: what each says, and the law that two names become one label only if both parse to the same taxon."""

import nameparser
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cladeclip.datasets.names import genus_of, joined, plain, rank_of, read_name, read_names
from cladeclip.datasets.naming import KINDS, name_pictures
from cladeclip.datasets.synonyms import read_synonyms
from cladeclip.errors import DataError

INATURALIST = "00000_Animalia_Annelida_Clitellata_Haplotaxida_Lumbricidae_Lumbricus_terrestris"


@pytest.mark.parametrize(
    ("written", "label", "genus", "kind"),
    [
        ("Lepomis gulosus ", "Lepomis gulosus", "Lepomis", "species"),
        ("  lepomis \t gulosus", "Lepomis gulosus", "Lepomis", "species"),
        ("Lepomis_gulosus", "Lepomis gulosus", "Lepomis", "species"),
        ("LEPOMIS GULOSUS", "Lepomis gulosus", "Lepomis", "species"),
        ('"Lepomis gulosus (Cuvier, 1829)"', "Lepomis gulosus", "Lepomis", "species"),
        ("Lepomis gulosus, Cuvier", "Lepomis gulosus", "Lepomis", "species"),
        ("Lepomis gulosus Cuvier in Cuvier & Valenciennes, 1829", "Lepomis gulosus", "Lepomis", "species"),
        ("Heliconius erato de Geer 1773", "Heliconius erato", "Heliconius", "species"),
        ("Bombus (Pyrobombus) impatiens Cresson, 1863", "Bombus impatiens", "Bombus", "species"),
        ("Bombus (Bombus) terrestris (Linnaeus, 1758)", "Bombus terrestris", "Bombus", "species"),
        ("Coccinella 7-punctata", "Coccinella 7-punctata", "Coccinella", "species"),
        ("Solanum o'donellii", "Solanum o'donellii", "Solanum", "species"),
        (INATURALIST, "Lumbricus terrestris", "Lumbricus", "species"),
        ("Heliconius melpomene rosina Boisduval, 1870", "Heliconius melpomene rosina", "Heliconius", "other"),
        ("Salmo trutta f. fario", "Salmo trutta f. fario", "Salmo", "other"),
        ("Lepomis cf. gulosus", "Lepomis cf. gulosus", "Lepomis", "other"),
        ("Lepomis gulosus?", "Lepomis ? gulosus", "Lepomis", "other"),
        ("Larus argentatus agg.", "Larus argentatus agg.", "Larus", "other"),
        ("Turdus [merula]", "Turdus [merula]", "Turdus", "other"),
        ("Æschna grandis", "Æschna grandis", "Æschna", "species"),
        ("Turdus-merula", "Turdus-merula", "", "words"),
        ("Lepomis gulosus or cyanellus", "Lepomis gulosus or cyanellus", "", "words"),
        ("Lepomis Rafinesque, 1819", "Lepomis", "Lepomis", "genus"),
        ("Lepomis", "Lepomis", "Lepomis", "genus"),
        ("Lepomis sp.", "Lepomis sp.", "Lepomis", "genus"),
        ("Lepomis gulosus x cyanellus", "Lepomis gulosus x cyanellus", "Lepomis", "hybrid"),
        ("Lepomis gulosus × cyanellus", "Lepomis gulosus x cyanellus", "Lepomis", "hybrid"),
        ("Salmo trutta x Salvelinus fontinalis", "Salmo trutta x Salvelinus fontinalis", "Salmo", "hybrid"),
        ("Lepomis auritus x L. cyanellus", "Lepomis auritus x L. cyanellus", "Lepomis", "hybrid"),
        ("Lepomis F2", "Lepomis F2", "Lepomis", "hybrid"),
        ("Fallopia ×bohemica (Chrtek & Chrtková) J.P.Bailey", "Fallopia x bohemica", "Fallopia", "hybrid"),
        ("×Cupressocyparis leylandii", "x Cupressocyparis leylandii", "Cupressocyparis", "hybrid"),
        ("x Cupressocyparis leylandii", "x Cupressocyparis leylandii", "Cupressocyparis", "hybrid"),
        ("Red_Fox", "Red_Fox", "", "words"),
        ("Class_A", "Class_A", "", "words"),
        ("morph_1", "morph_1", "", "words"),
        ("001.Black_footed_Albatross", "001.Black_footed_Albatross", "", "words"),
        ("Larus argentatus/fuscus", "Larus argentatus/fuscus", "", "words"),
        ("Noctuidae", "", "", "higher"),
        ("Noctuidae sp.", "", "", "higher"),
        ("Lepidoptera", "", "", "higher"),
        ("???", "", "", "placeholder"),
        ("NA", "", "", "placeholder"),
        ("unknown", "", "", "placeholder"),
        ("indet.", "", "", "placeholder"),
        ("sp.", "", "", "placeholder"),
        ("\t", "", "", "placeholder"),
        ("BOLD:AAA1234", "", "", "identifier"),
    ],
)
def test_names(written, label, genus, kind):
    found = read_names([(written, "")])[written, ""]
    assert (found.label, found.genus, found.kind) == (label, genus, kind)
    assert kind in KINDS
    if label:
        again = read_name(label)
        assert (again.label, again.genus, again.kind) == (label, genus, kind)


# fmt: off
WORDS = [
    "Lepomis", "gulosus", "Red", "Fox", "Deer", "alba", "Quercus", "Class", "A", "B", "morph", "1", "2", "sp.",
    "cf.", "x", "×", "(Pyrobombus)", "impatiens", "Cresson,", "1863", "L.", "var.", "NA", "unknown", "Noctuidae",
    "F2", "?", "'Tristis'", "Albatross", "footed", "Black", "/", "&", "ex", "de", "BOLD:AAA1", "é", "Ångström",
    "001.Black",
]
# fmt: on
NAMES = st.builds(
    lambda words, by: by.join(words), st.lists(st.sampled_from(WORDS), min_size=1, max_size=5), st.sampled_from(" _")
)


def taxon_of(written):
    """What the parser alone takes a name for; a name that it cannot read is only itself."""
    text = plain(written).strip("\"'")
    text = text if " " in text else " ".join(text.split("_"))
    try:
        parsed = nameparser.parse(text)
    except nameparser.UnparsableNameError:
        return "formula" if "×" in text or " x " in text else "unread", text.replace("×", "x").replace(" ", "")
    if isinstance(parsed, nameparser.Informal):
        return "informal", text
    return (
        parsed.uninomial or parsed.genus,
        parsed.specific_epithet,
        parsed.infraspecific_epithet,
        parsed.rank if parsed.infraspecific_epithet else "",
        tuple(parsed.notho or ()),
        parsed.cultivar_epithet,
        parsed.phrase,
        str(parsed.epithet_qualifier),
    )


@settings(max_examples=600, deadline=None)
@given(st.lists(NAMES, min_size=2, max_size=6, unique=True))
def test_two_names_become_one_label_only_if_both_parse_to_the_same_taxon(names):
    found = read_names((name, "") for name in names)
    for i, a in enumerate(names):
        for b in names[:i]:
            if found[a, ""].label and found[a, ""].label == found[b, ""].label:
                assert taxon_of(a) == taxon_of(b), (found[a, ""], found[b, ""])


@example("Lepomis gulosus gulosus cf.")
@example("Lepomis x gulosus gulosus cf.")
@example("missing_f")
@settings(max_examples=400, deadline=None)
@given(st.one_of(NAMES, st.text(max_size=30)))
def test_a_label_is_its_own_label_and_no_text_is_an_error(written):
    found = read_names([(written, "")])[written, ""]
    if found.label:
        assert read_names([(found.label, "")])[found.label, ""].label == found.label
    assert bool(found.label) == (found.kind not in ("higher", "placeholder", "identifier"))


def test_names_that_differ_only_in_what_may_be_an_author_stay_apart():
    written = ["Black footed Albatross", "Black footed Penguin"]
    found = read_names((name, "") for name in written)
    assert [found[name, ""].label for name in written] == written
    assert {found[name, ""].genus for name in written} == {""}


def test_a_bare_spelling_says_that_what_stands_behind_the_others_are_authors():
    written = ["Parus major", "Parus major L.", "Parus major L", "Parus major Linnaeus", "Parus major Linnaeus, 1758"]
    found = read_names((name, "") for name in written)
    assert {found[name, ""].label for name in written} == {"Parus major"}


def test_the_datas_own_columns_say_rank_genus_and_epithet():
    assert (rank_of("FAMILY"), rank_of("subtribe"), rank_of("Genus"), rank_of("species")) == (
        "above genus",
        "above genus",
        "genus",
        "",
    )
    for genus, name, whole in [
        ("Tyto", "alba", "Tyto alba"),
        ("Tyto", "Tyto alba", "Tyto alba"),
        ("Tyto", "alba alba", "Tyto alba alba"),
        ("Tyto", "alba (Scopoli, 1769)", "Tyto alba (Scopoli, 1769)"),
        ("Motacilla", "alba Linnaeus", "Motacilla alba Linnaeus"),
        ("Lepomis", "sp. 1", "Lepomis sp. 1"),
        ("Lepomis", "cf. gulosus", "Lepomis cf. gulosus"),
        ("Lepomis", "sp.", "sp."),
        ("Lepomis", "NA", "NA"),
        ("", "alba", "alba"),
        ("unknown", "alba", "alba"),
    ]:
        assert joined(genus, name) == whole
    assert [genus_of(said) for said in ("Lepomis Rafinesque, 1819", "unknown", "NA", "", "lepomis")] == [
        "Lepomis",
        *[""] * 4,
    ]
    rows = [
        ("a", "NA", "Lepomis", "", "Centrarchidae"),
        ("b", "Noctua", "", "FAMILY", ""),
        ("c", "Aves", "", "", "Aves"),
        ("d", "Drosophilinae", "Drosophilinae", "", ""),
        ("e", "Red_Fox", "Vulpes", "", ""),
    ]
    listed = pd.DataFrame(rows, columns=["image_id", "scientific_name", "genus", "taxon_rank", "family"])
    named, names = name_pictures(listed)
    assert list(named["scientific_name"]) == ["", "", "", "Drosophilinae", "Red_Fox"]
    assert list(named["genus"]) == ["Lepomis", "", "", "Drosophilinae", "Vulpes"]
    assert list(named["name_kind"]) == ["placeholder", "higher", "higher", "genus", "words"]
    assert names["n"].sum() == len(listed)


def test_synonyms_stand_in_the_place_of_names_in_any_spelling(tmp_path):
    (tmp_path / "s.csv").write_text(
        "name,accepted\nChaenobryttus gulosus,Lepomis gulosus\nLepomis gulosus,\nAmeiurus albidus,Ameiurus catus\n"
    )
    synonyms = read_synonyms(tmp_path / "s.csv")
    written = ["Chaenobryttus_gulosus", "Chaenobryttus gulosus (Cuvier, 1829)", "Lepomis gulosus", "Ameiurus natalis"]
    found = read_names(((name, "") for name in written), synonyms)
    assert [found[name, ""].label for name in written] == [*["Lepomis gulosus"] * 3, "Ameiurus natalis"]
    assert [found[name, ""].accepted for name in written] == ["Lepomis gulosus", "Lepomis gulosus", "", ""]
    assert read_synonyms("") == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\nA b,C d\nA b,E f\n", "gives 'A b' two accepted names, 'C d' and 'E f'; keep one"),
        ("name\nA b\n", "dataset.synonyms needs two columns"),
        (None, "there is no such table; correct dataset.synonyms"),
    ],
)
def test_a_table_of_synonyms_that_cannot_be_is_said(tmp_path, text, words):
    if text is not None:
        (tmp_path / "s.csv").write_text(text)
    with pytest.raises(DataError) as caught:
        read_synonyms(tmp_path / "s.csv")
    assert words in str(caught.value)


def test_a_checklist_whose_accepted_names_stand_for_themselves_is_no_circle():
    synonyms = {"Parus caeruleus": "Cyanistes caeruleus", "Cyanistes caeruleus": "Cyanistes caeruleus (Linnaeus, 1758)"}
    found = read_names([("Parus caeruleus", ""), ("Cyanistes caeruleus", "")], synonyms)
    assert {name.label for name in found.values()} == {"Cyanistes caeruleus"}


def test_two_spellings_of_a_name_with_two_accepted_ones_are_said():
    synonyms = {"Lepomis gulosus": "Aus bus", "Lepomis gulosus (Cuvier, 1829)": "Cus dus"}
    with pytest.raises(
        DataError, match="gives 'Lepomis gulosus' two accepted names, 'Aus bus' and 'Cus dus'; keep one"
    ):
        read_names([("Lepomis gulosus", "")], synonyms)


def test_synonyms_in_a_circle_are_said():
    with pytest.raises(DataError, match="goes round in a circle: Aus bus -> Cus dus -> Aus bus; break it"):
        read_names([("Aus bus", "")], {"Aus bus": "Cus dus", "Cus dus": "Aus bus"})


def test_vlm4bios_names_are_what_is_known_of_them(real_pictures):
    """All 31,452 names as written: two are blank, 33 are no binomials, and white space and letter case alone are mended."""
    tables = (real_pictures.parent / "vlm4bio-names").glob("*/metadata/*.csv")
    written = {path.parts[-3]: pd.read_csv(path, dtype=str, keep_default_na=False)["scientificName"] for path in tables}
    everything = pd.concat(written.values(), ignore_index=True)
    assert len(everything) == 31_452
    found = read_names((name, "") for name in everything)
    labels = {name: said.label for (name, _), said in found.items()}
    assert all(
        label == plain(name).capitalize() or " x " in label or label == "Lepomis F2" for name, label in labels.items()
    )
    assert {category: names.map(labels).nunique() for category, names in written.items() if category != "Fish"} == {
        "Bird": 188,
        "Butterfly": 60,
    }
    kinds = everything.map(lambda name: found[name, ""].kind).value_counts()
    assert kinds.to_dict() == {"species": 31_417, "genus": 27, "hybrid": 6, "placeholder": 2}
