import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cladeclip.datasets.layouts.vlm4bio import read_metadata
from cladeclip.datasets.listing import refresh_listing
from cladeclip.datasets.prepare import check_picture, prepare
from cladeclip.errors import DataError
from cladeclip.io.parquet import read_table
from cladeclip.tables import LISTING


def prepared(root, tmp_path, max_rejected=1.0, **dataset):
    refresh_listing(root, tmp_path / "listing.parquet")
    listing = read_table(tmp_path / "listing.parquet", LISTING)
    return prepare(root, listing, {"layout": "vlm4bio", "max_rejected": max_rejected, **dataset}, workers=1)


@pytest.fixture
def hostile(specimens, tmp_path):
    """The drawn fish, with one file of every bad kind listed beside them."""
    root = tmp_path / "data"
    shutil.copytree(specimens / "Fish", root / "Fish")
    folder, metadata = root / "Fish" / "images", root / "Fish" / "metadata" / "metadata_10k.csv"
    good = sorted(folder.iterdir())[0]
    (folder / "empty.jpg").touch()
    (folder / "Fish").mkdir()
    (folder / "text.jpg").write_text("not a picture")
    (folder / "cut.jpg").write_bytes(good.read_bytes()[:-400])
    Image.new("L", (2, 20_000)).save(folder / "strip.png")
    (folder / "twin.jpg").write_bytes(good.read_bytes())
    Image.new("1", (30_000, 30_000)).save(folder / "bomb.png")
    shutil.copy(good, folder / "nameless.jpg")
    shutil.copy(good, folder / "torn.jpg")
    shutil.copy(good, folder / "unlisted.jpg")
    listed = pd.read_csv(metadata, index_col=0)
    bad = {
        "empty.jpg": "Piscator rubra",
        "text.jpg": "Piscator rubra",
        "cut.jpg": "Piscator rubra",
        "bomb.png": "Piscator rubra",
        "strip.png": "Piscator rubra",
        "Fish": "Piscator rubra",
        "gone.jpg": "Piscator rubra",
        "nameless.jpg": "  ",
        "../../outside.jpg": "Piscator rubra",
        "twin.jpg": " piscator   rubra ",
    }
    rows = [*bad.items(), ("torn.jpg", "Piscator rubra"), ("torn.jpg", "Undalis rubra")]
    more = pd.DataFrame(rows, columns=["fileNameAsDelivered", "scientificName"])
    pd.concat([listed, more]).to_csv(metadata)
    return root


def test_every_listed_picture_ends_in_one_of_the_two_tables(hostile, tmp_path):
    images, quarantine, _ = prepared(hostile, tmp_path)
    listed = set(read_metadata(hostile)["image_id"])
    assert set(images["image_id"]) | set(quarantine["image_id"]) == listed
    assert not set(images["image_id"]) & set(quarantine["image_id"])
    assert dict(zip(quarantine["image_id"], quarantine["reason"], strict=True)) == {
        "Fish/images/empty.jpg": "zero_bytes",
        "Fish/images/text.jpg": "not_an_image",
        "Fish/images/cut.jpg": "truncated",
        "Fish/images/bomb.png": "decompression_bomb",
        "Fish/images/strip.png": "too_slim",
        "Fish/images/Fish": "unreadable",
        "Fish/images/gone.jpg": "missing_file",
        "Fish/images/nameless.jpg": "no_species",
        "Fish/images/../../outside.jpg": "path_leaves_root",
        "Fish/images/torn.jpg": "conflicting_species",
    }


def test_names_are_normalised_and_equal_pictures_share_a_group(hostile, tmp_path):
    images, *_ = prepared(hostile, tmp_path)
    twin = images.set_index("image_id").loc["Fish/images/twin.jpg"]
    assert (twin["scientific_name"], twin["genus"], twin["name_as_written"]) == (
        "Piscator rubra",
        "Piscator",
        " piscator   rubra ",
    )
    group = images[images["content_group"] == twin["content_group"]]
    assert len(group) == 2
    assert twin["content_group"] == group["image_id"].min()


def test_the_same_pixels_in_another_file_share_a_group(specimens, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(specimens / "Fish", root / "Fish")
    first, second = sorted((root / "Fish" / "images").iterdir())[:2]
    pixels = np.asarray(Image.open(first).convert("RGB"))
    Image.fromarray(pixels).save(second.with_suffix(".png"))
    second.unlink()
    second.with_suffix(".png").rename(second)  # a PNG called .jpg, as they come
    images, quarantine, _ = prepared(root, tmp_path)
    assert quarantine.empty
    groups = images.set_index("image_id")["content_group"]
    assert groups[f"Fish/images/{first.name}"] == groups[f"Fish/images/{second.name}"]


def test_too_many_rejected_pictures_stop_the_run_with_a_summary(hostile, tmp_path):
    with pytest.raises(
        DataError, match=r"10 of 29 listed pictures \(34.5%\).*truncated 1.*dataset.max_rejected = 0.05"
    ):
        prepared(hostile, tmp_path, max_rejected=0.05)


def test_metadata_without_the_two_columns_is_named(specimens, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(specimens / "Fish", root / "Fish")
    (root / "Fish" / "metadata" / "metadata_10k.csv").write_text("file,name\na.jpg,b\n")
    with pytest.raises(DataError, match="fileNameAsDelivered and scientificName"):
        read_metadata(root)
    with pytest.raises(DataError, match="no folder below it has an images"):
        read_metadata(tmp_path)


def test_the_real_pictures_are_all_accepted(real_pictures, tmp_path):
    images, quarantine, _ = prepared(real_pictures, tmp_path)
    assert quarantine.empty
    assert images.groupby("category").size().to_dict() == {"Bird": 229, "Butterfly": 255, "Fish": 205}
    assert images.groupby("category")["scientific_name"].nunique().to_dict() == {
        "Bird": 27,
        "Butterfly": 22,
        "Fish": 25,
    }


def test_pictures_without_a_species_are_kept_where_that_is_asked_for(hostile, tmp_path):
    images, quarantine, names = prepared(hostile, tmp_path, unnamed="keep")
    nameless = images.set_index("image_id").loc["Fish/images/nameless.jpg"]
    assert (nameless["scientific_name"], nameless["genus"], nameless["name_kind"]) == ("", "", "placeholder")
    assert "no_species" not in set(quarantine["reason"])
    assert names.set_index("name_as_written").loc["  ", ["label", "kind", "n"]].tolist() == ["", "placeholder", 1]


def test_every_listed_name_is_in_the_table_of_names(hostile, tmp_path):
    _, _, names = prepared(hostile, tmp_path)
    written = read_metadata(hostile)["scientific_name"].value_counts()
    assert names.set_index("name_as_written")["n"].to_dict() == written.to_dict()


@pytest.mark.parametrize("image_id", ["nul\0.png", "a" * 5000, ".", "a.png/b.png"])
def test_a_path_that_no_file_can_have_is_that_pictures_fault(tmp_path, image_id):
    (tmp_path / "a.png").touch()
    check = check_picture(image_id, str(tmp_path))
    assert check.reason in ("unreadable", "missing_file")
    assert check.detail
