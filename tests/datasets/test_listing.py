import logging
import os
import shutil

import pytest
from PIL import Image

from cladeclip.datasets.listing import refresh_listing
from cladeclip.errors import DataError
from cladeclip.io.parquet import read_table
from cladeclip.tables import LISTING


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


def test_every_kind_of_picture_is_listed_and_the_rest_is_counted(tmp_path, caplog):
    root = tmp_path / "data"
    root.mkdir()
    picture = Image.new("RGB", (8, 8), "red")
    for name in ("a.jpg", "b.HEIC", "c.avif", "d.jp2", "e.jfif"):
        picture.save(root / name)
    picture.save(root / "IMG_0001", "JPEG")
    for name in ("notes", "f.mov", "g.mov", "h.csv.gz", "i.md", ".hidden.jpg"):
        (root / name).write_bytes(b"text")
    with caplog.at_level(logging.INFO):
        refresh_listing(root, tmp_path / "l.parquet")
    listed = set(read_table(tmp_path / "l.parquet", LISTING)["path"])
    assert listed == {"IMG_0001", "a.jpg", "b.HEIC", "c.avif", "d.jp2", "e.jfif", "h.csv.gz"}
    said = caplog.text
    for words in ("2 file(s) named *.mov are neither", "1 file(s) named *.md", "1 file(s) without a suffix"):
        assert words in said


def test_links_are_followed_and_loops_are_not(folder, tmp_path, caplog):
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "Fish").symlink_to(folder / "Fish")
    (folder / "Fish" / "images" / "back").symlink_to(folder / "Fish")
    (linked / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (linked / "itself").symlink_to(linked / "itself")
    refresh_listing(linked, tmp_path / "l.parquet")
    paths = set(read_table(tmp_path / "l.parquet", LISTING)["path"])
    expected = {f"Fish/{path.relative_to(folder / 'Fish')}" for path in (folder / "Fish").rglob("*.*")} | {"gone.jpg"}
    assert paths == expected
    assert "a link to a folder that it lies in is not followed" in caplog.text
    picture = next((folder / "Fish" / "images").glob("*.jpg"))
    picture.write_bytes(picture.read_bytes() + b"\0")
    assert refresh_listing(linked, tmp_path / "l.parquet")
