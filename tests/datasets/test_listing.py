import os
import shutil

import pytest

from cladeclip.datasets.listing import refresh_listing
from cladeclip.errors import DataError
from cladeclip.tables import LISTING, read_table


@pytest.fixture
def folder(specimens, tmp_path):
    copy = tmp_path / "data"
    shutil.copytree(specimens, copy)
    return copy


def test_the_listing_is_rewritten_only_when_names_or_contents_change(folder, tmp_path):
    listing = tmp_path / "listing.parquet"
    assert refresh_listing(folder, listing)
    before = listing.stat().st_mtime_ns, listing.read_bytes()
    picture = next((folder / "Fish" / "images").iterdir())

    assert not refresh_listing(folder, listing)
    for path in folder.rglob("*.jpg"):
        os.utime(path, (1, 1))
    assert not refresh_listing(folder, listing)
    assert (listing.stat().st_mtime_ns, listing.read_bytes()) == before

    picture.write_bytes(picture.read_bytes() + b"\0")
    assert refresh_listing(folder, listing)
    picture.rename(picture.with_name("renamed.jpg"))
    assert refresh_listing(folder, listing)
    (folder / "Fish" / "metadata" / "metadata_10k.csv").write_text("fileNameAsDelivered,scientificName\n")
    assert refresh_listing(folder, listing)
    picture.with_name("renamed.jpg").unlink()
    assert refresh_listing(folder, listing)
    assert "Fish/images/renamed.jpg" not in set(read_table(listing, LISTING)["path"])


def test_a_change_that_keeps_size_and_time_of_another_file_is_seen(folder, tmp_path):
    """Contents swapped between two files: the sizes and times move with them."""
    listing = tmp_path / "listing.parquet"
    refresh_listing(folder, listing)
    a, b = sorted((folder / "Bird" / "images").iterdir())[:2]
    a_bytes, b_bytes = a.read_bytes(), b.read_bytes()
    a.write_bytes(b_bytes)
    b.write_bytes(a_bytes)
    assert refresh_listing(folder, listing)


def test_an_absent_or_empty_folder_is_named(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        refresh_listing(tmp_path / "nowhere", tmp_path / "l.parquet")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no picture"):
        refresh_listing(tmp_path / "empty", tmp_path / "l.parquet")
