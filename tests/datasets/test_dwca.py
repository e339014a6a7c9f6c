import re

import pandas as pd
import pytest
from PIL import Image
from sources.archives import AUDUBON, CORE, MEDIA, MULTIMEDIA, gbif, lines, meta, write

from cladeclip.datasets.addresses import picture_path
from cladeclip.datasets.guess import guess_dataset
from cladeclip.datasets.layouts.dwca import describe, is_archive, read_archive
from cladeclip.datasets.layouts.specs import metadata_files, read_listed
from cladeclip.datasets.listing import refresh_listing
from cladeclip.datasets.prepare import prepare
from cladeclip.errors import DataError
from cladeclip.io.parquet import read_table
from cladeclip.tables import LISTING

BY, NC = "http://creativecommons.org/licenses/by/4.0/legalcode", "http://creativecommons.org/licenses/by-nc/4.0/"
# Two pictures of one fish, one of a bird, a sound, and an occurrence without any.
OCCURRENCES = [
    ["1", "urn:a", "Lepomis gulosus (Cuvier, 1829)", "SPECIES", "Lepomis", "Family", "Teleostei", "3", "-9", BY, "X", ""],
    ["2", "urn:b", "Icterus galbula (Linnaeus, 1758)", "SPECIES", "Icterus", "Icteridae", "Aves", "", "", NC, "Y", ""],
    ["3", "urn:c", "Sialia sialis (Linnaeus, 1758)", "SPECIES", "Sialia", "Turdidae", "Aves", "1", "2", NC, "", ""],
]  # fmt: skip
MULTI = [
    ["1", "StillImage", "image/jpeg", "https://a.example.org/fish-1.jpg", "Ann", "CC0 1.0", ""],
    ["1", "StillImage", "image/jpeg", "https://a.example.org/fish-2.jpg", "Ann", NC, "Museum"],
    ["2", "", "", "https://b.example.org/media?id=7", "", "", ""],
    ["2", "Sound", "audio/mpeg", "https://b.example.org/song.mp3", "", "", ""],
]


def read(root, archive, paths=(), **columns):
    dataset = {"layout": "dwca", "dwca": {"archive": str(archive), "columns": columns}}
    return read_listed(root, pd.DataFrame({"path": list(paths)}, dtype=str), dataset).set_index("address")


@pytest.mark.parametrize(("name", "inside"), [("a.zip", ""), ("a.zip", "0012-download/"), ("folder", "")])
def test_an_archive_as_gbif_gives_it_out(tmp_path, name, inside):
    archive = gbif(tmp_path / name, OCCURRENCES, MULTI, inside)
    assert is_archive(archive)
    found = read(tmp_path, archive)
    assert list(found["image_id"]) == list(map(picture_path, found.index))
    assert len(found) == 3
    one, other, bird = (found.loc[row[3]] for row in MULTI[:3])
    assert one["scientific_name"] == "Lepomis gulosus (Cuvier, 1829)"
    assert (one["genus"], one["family"], one["class"], one["taxon_rank"]) == (
        "Lepomis",
        "Family",
        "Teleostei",
        "SPECIES",
    )
    assert (one["latitude"], one["longitude"], one["creator"]) == ("3", "-9", "Ann")
    # The licence and holder of an occurrence's record are not those of its pictures.
    assert (one["licence_as_written"], one["rights_holder"]) == ("CC0 1.0", "")
    assert (other["licence_as_written"], other["rights_holder"]) == (NC, "Museum")
    assert (bird["licence_as_written"], bird["rights_holder"]) == ("", "")
    assert set(one["specimen"]) & set(other["specimen"])
    assert not set(one["specimen"]) & set(bird["specimen"])


def test_names_are_read_from_the_term_that_the_config_says(tmp_path):
    columns = [*CORE, "acceptedScientificName"]
    rows = [[*row, f"Accepted name{row[0]}"] for row in OCCURRENCES]
    files = {
        "meta.xml": meta(("o.txt", columns), [(MULTIMEDIA, "m.txt", MEDIA)]),
        "o.txt": lines(columns, rows),
        "m.txt": lines(MEDIA, MULTI),
    }
    found = read(tmp_path, write(tmp_path / "a.zip", files), scientific_name="acceptedScientificName")
    assert set(found["scientific_name"]) == {"Accepted name1", "Accepted name2"}
    with pytest.raises(DataError, match=r"dataset\.dwca\.columns\.scientific_name"):
        read(tmp_path, tmp_path / "a.zip", scientific_name="nonsense")


def test_idigbios_archive_in_quoted_csv_with_audubon_core(tmp_path):
    core, media = ["coreid", "scientificName"], ["coreid", "identifier", "accessURI", "variant", "type", "UsageTerms"]
    files = {
        "meta.xml": meta(
            ("occurrence.csv", ["id", *core[1:]]), [(AUDUBON, "multimedia.csv", media)], enclosed='"', separator=","
        ),
        "occurrence.csv": 'id,scientificName\n"u-1","Morpho ""peleides"", Kollar"\n',
        "multimedia.csv": lines(media, [
            ["u-1", "m1", "https://x.org/thumb.jpg", "Thumbnail", "StillImage", "CC-BY"],
            ["u-1", "m1", "https://x.org/best.jpg", "ac:BestQuality", "StillImage", "CC-BY"],
            ["u-1", "m1", "https://x.org/good.jpg", "Good Quality", "StillImage", "CC-BY"],
            ["u-1", "m2", "https://x.org/other.jpg", "Medium Quality", "StillImage", "CC-BY"],
            ["u-1", "https://x.org/only-identifier.jpg", "", "", "StillImage", ""],
        ], ","),
    }  # fmt: skip
    found = read(tmp_path, write(tmp_path / "a.zip", files))
    assert list(found.index) == [f"https://x.org/{name}.jpg" for name in ("best", "other", "only-identifier")]
    assert set(found["scientific_name"]) == {'Morpho "peleides", Kollar'}


def test_addresses_in_associated_media_where_there_is_no_extension(tmp_path):
    columns = ["id", "scientificName", "associatedMedia"]
    rows = [["1", "Lepomis gulosus", "https://x.org/a.jpg | https://x.org/b,c.jpg"], ["2", "Sialia sialis", ""]]
    files = {"meta.xml": meta(("o.txt", columns), []), "o.txt": lines(columns, rows)}
    assert list(read(tmp_path, write(tmp_path / "a.zip", files)).index) == [
        "https://x.org/a.jpg",
        "https://x.org/b,c.jpg",
    ]


def test_defaults_and_columns_that_meta_xml_does_not_name(tmp_path):
    described = meta(("o.txt", ["id", "scientificName"]), [(MULTIMEDIA, "m.txt", ["coreid", "identifier"])])
    described = described.replace('index="1" term="http://rs.tdwg', 'index="3" term="http://rs.tdwg').replace(
        "</extension>", f'<field default="{BY}" term="http://purl.org/dc/terms/license"/></extension>'
    )
    files = {
        "meta.xml": described,
        "o.txt": "id\tx\ty\tname\tz\n1\tNo name\tno name\tLepomis gulosus\tno name\n",
        "m.txt": "id\tidentifier\n1\thttps://x.org/a.jpg\n",
    }
    (row,) = read(tmp_path, write(tmp_path / "a.zip", files)).to_dict("records")
    assert (row["scientific_name"], row["licence_as_written"]) == ("Lepomis gulosus", BY)


def test_pictures_that_lie_beside_an_archive_are_taken_from_there(tmp_path):
    media = [
        [*row[:3], *rest, *row[4:]]
        for row, rest in zip(MULTI, (["pics/a.jpg"], [MULTI[1][3]], [MULTI[2][3]], ["x.mp3"]), strict=True)
    ]
    archive = gbif(tmp_path / "a.zip", OCCURRENCES, media)
    paths = ["pics/a.jpg", "down/fish-2.jpg", "down/media", "other/media"]
    found = read(tmp_path, archive, paths)
    # By its path; by its address's last part; not where what stands behind that may tell pictures apart.
    assert list(found["image_id"]) == ["pics/a.jpg", "down/fish-2.jpg", picture_path(MULTI[2][3])]


def test_no_row_disappears(tmp_path):
    media = [
        *MULTI,
        ["9", "StillImage", "", "https://a.example.org/orphan.jpg", "", "", ""],
        ["2", "StillImage", "", "", "", "", ""],
    ]
    archive = gbif(tmp_path / "a.zip", OCCURRENCES, media)
    root = tmp_path / "data"
    (root / "pictures").mkdir(parents=True)
    for row in MULTI[:2]:
        (root / picture_path(row[3])).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 10), (len(row[3]), 90, 200)).save(root / picture_path(row[3]))
    refresh_listing(root, tmp_path / "l.parquet")
    dataset = {"layout": "dwca", "dwca": {"archive": str(archive), "columns": {}}, "max_rejected": 1.0}
    dataset["licences"] = ["cc0", "unknown"]
    images, quarantine, _ = prepare(root, read_table(tmp_path / "l.parquet", LISTING), dataset, workers=1)
    assert dict(zip(images["address"], images["licence"], strict=True)) == {MULTI[0][3]: "cc0"}
    reasons = quarantine.set_index("image_id")["reason"]
    assert reasons[picture_path(MULTI[1][3])] == "licence"
    assert reasons[picture_path(MULTI[2][3])] == "missing_file"
    assert reasons[picture_path(media[4][3])] == "no_species"
    assert sorted(reasons) == ["licence", "missing_file", "no_address", "no_species"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"meta.xml": None}, "meta.xml"),
        ({"multimedia.txt": None}, "multimedia.txt"),
        ({"meta.xml": "<archive"}, "cannot be read"),
        ({"meta.xml": "<archive/>"}, "cannot be read"),
        ({"occurrence.txt": lines(CORE, [OCCURRENCES[0], OCCURRENCES[0]])}, "two rows of its core have the id '1'"),
        ({"multimedia.txt": lines(MEDIA, [MULTI[3]])}, "no still image"),
        ({"meta.xml": meta(("occurrence.txt", CORE), [], kind="Event")}, "whose core is occurrences"),
        ({"occurrence.txt": b"gbifID\n\xff\xfe\n"}, "cannot be read"),
    ],
)
def test_what_is_wrong_with_an_archive_is_said(tmp_path, change, said):
    folder = gbif(tmp_path / "a", OCCURRENCES, MULTI)
    for name, content in change.items():
        (folder / name).unlink()
        if content is not None:
            (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match="/a") as error:
        read(tmp_path, folder)
    assert said in str(error.value)


def test_what_is_no_archive_is_said(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04 cut off")
    for name in ("a.zip", "none.zip"):
        assert not is_archive(tmp_path / name)
        with pytest.raises(DataError, match=name):
            read(tmp_path, tmp_path / name)


def test_make_new_knows_an_archive_and_says_what_it_holds(tmp_path):
    (tmp_path / "down").mkdir()
    archive = gbif(tmp_path / "down/a.zip", OCCURRENCES, MULTI)
    for data in (archive, archive.parent):
        dataset, _ = guess_dataset(data, tmp_path / "fetched")
        assert (dataset["layout"], dataset["source"], dataset["root"]) == (
            "dwca",
            "addresses",
            str(tmp_path / "fetched"),
        )
        assert metadata_files(dataset) == [str(archive)]
    said = "\n".join(describe(read_archive(archive)))
    for words in (
        "3 occurrences, 1 of them without a picture; 1 names have none: 'Sialia sialis (Linnaeus, 1758)'",
        "4 media by type: StillImage 2, Sound 1, no type given 1; 3 of them are pictures",
        "pictures by licence: cc-by-nc 1, cc0 1, unknown 1",
        "pictures by host: a.example.org 2, b.example.org 1",
    ):
        assert words in said
    gbif(archive, OCCURRENCES, MULTI[:2])
    for row in MULTI[:2]:
        Image.new("RGB", (20, 10)).save(archive.parent / f"{row[3].split('/')[-1].split('?')[0]}", "JPEG")
    dataset, _ = guess_dataset(archive.parent, tmp_path / "fetched")
    assert dataset == {
        "root": str(archive.parent),
        "layout": "dwca",
        "source": "folder",
        "dwca": {"archive": "a.zip", "columns": {}},
    }
    assert metadata_files(dataset) == []


def test_an_unpacked_archive_elsewhere_is_watched_file_by_file(tmp_path):
    folder = gbif(tmp_path / "unpacked", OCCURRENCES, MULTI)
    dataset, _ = guess_dataset(folder, tmp_path / "fetched")
    assert [path.split("/")[-1] for path in metadata_files(dataset)] == sorted(path.name for path in folder.iterdir())


def test_a_large_archive_is_read_in_little_time(tmp_path):
    # 31,452 occurrences with two pictures each.
    occurrences = [[str(n), f"urn:{n}", *OCCURRENCES[n % 3][2:]] for n in range(31_452)]
    media = [[str(n // 2), "StillImage", "", f"https://a.example.org/{n}.jpg", "", "", ""] for n in range(62_904)]
    archive = gbif(tmp_path / "a.zip", occurrences, media)
    assert len(read(tmp_path, archive)) == len(media)


def simple(tmp_path, described, core, media, name="a.zip"):
    """An archive of these bytes, with `id`, `scientificName` and `coreid`, `identifier` as its columns."""
    return write(tmp_path / name, {"meta.xml": described, "o.txt": core, "m.txt": media})


DESCRIBED = meta(("o.txt", ["id", "scientificName"]), [(MULTIMEDIA, "m.txt", ["coreid", "identifier"])])
ONE, TWO = "https://x.org/1.jpg", "https://x.org/2.jpg"
ROWS = "id\tname\n1\tAus bus\n2\tCus dus\n"
FILES = f"id\tidentifier\n1\t{ONE}\n2\t{TWO}\n"


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.replace('encoding="UTF-8" ', ""),
        lambda d: d.replace("o.txt", "./o.txt"),
        lambda d: d.replace("<coreid ", "<coreId "),
        lambda d: d.replace('xmlns="http://rs.tdwg.org/dwc/text/"', "xmlns='http://rs.tdwg.org/dwc/text/'"),
        lambda d: "\ufeff" + d,
        lambda d: ('<?xml version="1.0" encoding="UTF-16"?>' + d).encode("utf-16"),
    ],
)
@pytest.mark.parametrize("name", ["a.zip", "folder"])
def test_meta_xml_in_every_form_that_the_standard_allows(tmp_path, change, name):
    found = read(tmp_path, simple(tmp_path, change(DESCRIBED), ROWS, FILES, name))
    assert found["scientific_name"].to_dict() == {ONE: "Aus bus", TWO: "Cus dus"}


def test_what_meta_xml_does_not_say_is_as_the_standard_says(tmp_path):
    described = re.sub(r' (encoding|fieldsTerminatedBy|fieldsEnclosedBy|linesTerminatedBy)="[^"]*"', "", DESCRIBED)
    core, media = 'id,name\n1,"Aus bus, 1800"\n', f'id,identifier\n1,"{ONE}"\n'
    found = read(tmp_path, simple(tmp_path, described, core, media))
    assert found["scientific_name"].to_dict() == {ONE: "Aus bus, 1800"}


@pytest.mark.parametrize(
    ("core", "media"),
    [
        # Rows with fewer columns, the first of all; blank lines; Windows' line ends; a carriage return in a value.
        ("id\tname\n3\n1\tAus bus\n2\tCus dus\n", FILES),
        (ROWS + "\n\n", FILES),
        (ROWS.replace("\n", "\r\n"), FILES.replace("\n", "\r\n")),
        ("id\tname\n3\tA\rb\n1\tAus bus\n2\tCus dus\n", FILES),
        ("\ufeff" + ROWS, "\ufeff" + FILES),
        # A quote that is none.
        ('id\tname\n3\t"A\n1\tAus bus\n2\tCus dus\n', FILES),
        # Columns beyond those of meta.xml, all blank.
        (ROWS.replace("\n", "\t\n"), FILES),
    ],
)
def test_tables_as_publishers_write_them(tmp_path, core, media):
    found = read(tmp_path, simple(tmp_path, DESCRIBED, core, media))
    assert found["scientific_name"].to_dict() == {ONE: "Aus bus", TWO: "Cus dus"}


@pytest.mark.parametrize(
    ("described", "core", "said"),
    [
        (DESCRIBED.replace("UTF-8", "ANSI"), ROWS, "ANSI"),
        (DESCRIBED, "id\tname\n1\tA\tb\n", "row 2 of o.txt has 3 values"),
    ],
)
def test_what_would_be_misread_is_said(tmp_path, described, core, said):
    with pytest.raises(DataError, match=said):
        read(tmp_path, simple(tmp_path, described, core, FILES))


def test_a_damaged_zip_file_is_said(tmp_path):
    content = simple(tmp_path, DESCRIBED, ROWS * 500, FILES).read_bytes()
    for place in range(60, len(content), 41):
        broken = bytearray(content)
        broken[place : place + 4] = b"\xff\xff\xff\xff"
        (tmp_path / "a.zip").write_bytes(bytes(broken))
        try:
            read(tmp_path, tmp_path / "a.zip")
        except DataError:  # and no other error
            continue


def test_an_empty_extension_beside_another_changes_nothing(tmp_path):
    both = [(MULTIMEDIA, "m.txt", ["coreid", "identifier"]), (AUDUBON, "n.txt", ["coreid", "accessURI"])]
    for empty in ("coreid\taccessURI\n", ""):
        files = {
            "meta.xml": meta(("o.txt", ["id", "scientificName"]), both),
            "o.txt": ROWS,
            "m.txt": FILES,
            "n.txt": empty,
        }
        assert list(read(tmp_path, write(tmp_path / "a.zip", files)).index) == [ONE, TWO]


def test_associated_media_of_occurrences_that_the_extension_does_not_have(tmp_path):
    columns = ["id", "scientificName", "associatedMedia"]
    core = lines(columns, [["1", "Aus bus", "https://x.org/other.jpg"], ["2", "Cus dus", f"{TWO};https://x.org/3.jpg"]])
    described = meta(("o.txt", columns), [(MULTIMEDIA, "m.txt", ["coreid", "identifier"])])
    found = read(tmp_path, simple(tmp_path, described, core, f"id\tidentifier\n1\t{ONE}\n"))
    assert list(found.index) == [ONE, TWO, "https://x.org/3.jpg"]


def test_several_pictures_under_one_identifier_all_stay(tmp_path):
    media = ["coreid", "identifier", "accessURI", "variant"]
    rows = [["1", "barcode", ONE, "Best Quality"], ["1", "barcode", TWO, "Best Quality"]]
    rows += [["1", "barcode", "https://x.org/small.jpg", "Thumbnail"]]
    described = meta(("o.txt", ["id", "scientificName"]), [(AUDUBON, "m.txt", media)])
    archive = simple(tmp_path, described, ROWS, lines(media, rows))
    assert list(read(tmp_path, archive).index) == [ONE, TWO]
    assert "1 files of which there is a better variant" in "\n".join(describe(read_archive(archive)))


@pytest.mark.parametrize(
    ("kind", "form", "address", "is_picture"),
    [
        ("StillImage", "", ONE, True),
        ("http://purl.org/dc/dcmitype/StillImage", "", "https://x.org/a.php?b", True),
        ("Photograph", "", "https://x.org/a", True),
        ("MultimediaObject", "image/jpeg", "https://x.org/a", True),
        ("PhysicalObject", "", ONE, True),
        ("", "image/tiff", "https://x.org/a", True),
        ("", "jpg", "https://x.org/a", True),
        ("", "", "https://x.org/media?id=7", True),
        ("Sound", "", ONE, False),
        ("MovingImage", "", "https://x.org/a.mp4", False),
        ("", "", "https://x.org/a.mp3", False),
        ("", "audio/mpeg", "https://x.org/a", False),
        ("", "", "https://x.org/a.pdf", False),
        ("MultimediaObject", "", "https://x.org/a", False),
    ],
)
def test_what_counts_as_a_picture(tmp_path, kind, form, address, is_picture):
    columns = ["coreid", "type", "format", "identifier"]
    described = meta(("o.txt", ["id", "scientificName"]), [(MULTIMEDIA, "m.txt", columns)])
    archive = simple(tmp_path, described, ROWS, lines(columns, [["1", kind, form, address]]))
    assert len(read_archive(archive).pictures) == is_picture


def test_addresses_of_one_last_part_are_never_taken_for_one_file(tmp_path):
    addresses = [f"https://x.org/{n}/original.jpg" for n in range(3)]
    media = "id\tidentifier\n" + "".join(f"{1 + n % 2}\t{one}\n" for n, one in enumerate(addresses))
    found = read(tmp_path, simple(tmp_path, DESCRIBED, ROWS, media), ["holiday/original.jpg"])
    assert list(found["image_id"]) == list(map(picture_path, addresses))


def test_addresses_that_are_none_of_the_web_stop_nothing(tmp_path):
    media = "id\tidentifier\n1\thttps://x.org/My Image.jpg\n1\tftp://x.org/a.jpg\n1\t\n2\t//x.org/b.jpg\n"
    archive = simple(tmp_path, DESCRIBED, ROWS, media)
    found = read(tmp_path, archive)
    assert list(found.index) == ["https://x.org/My%20Image.jpg", "ftp://x.org/a.jpg", "", "https://x.org/b.jpg"]
    root = tmp_path / "data"
    path = root / picture_path("https://x.org/b.jpg")
    path.parent.mkdir(parents=True)
    Image.new("RGB", (20, 10)).save(path)
    refresh_listing(root, tmp_path / "l.parquet")
    fetched = pd.DataFrame(
        {"image_id": found["image_id"], "address": found.index, "reason": ["HTTP 404", "no address of http", "", ""]}
    )
    dataset = {"layout": "dwca", "dwca": {"archive": str(archive), "columns": {}}, "max_rejected": 0.0}
    listing = read_table(tmp_path / "l.parquet", LISTING)
    images, quarantine, _ = prepare(root, listing, dataset, fetched=fetched, workers=1)
    assert list(images["image_id"]) == [picture_path("https://x.org/b.jpg")]
    assert sorted(quarantine["reason"]) == ["no_address", "not_fetched", "not_fetched"]


def test_an_archive_among_the_pictures_is_watched_where_they_are_fetched(tmp_path):
    dataset = {"root": str(tmp_path), "layout": "dwca", "dwca": {"archive": "a.zip"}}
    assert metadata_files({**dataset, "source": "addresses"}) == [str(tmp_path / "a.zip")]
    assert metadata_files({**dataset, "source": "folder"}) == []
