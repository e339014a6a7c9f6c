"""VLM4Bio from the stand-in of the hub: pictures in chunks, no birds; and what people have put beside them."""

import shutil
import tarfile

import pytest
from hub.client import call
from hub.repositories import PINNED, vlm4bio
from hub.stand_in import Hub

from cladeclip.datasets.fetch import fetch_vlm4bio, what_is_there
from cladeclip.datasets.layouts.vlm4bio import read_metadata
from cladeclip.errors import CladeclipError, DataError

REVISION = {"repository": "imageomics/VLM4Bio", "revision": PINNED}
FETCH = """
import json, logging, sys
logging.basicConfig(level=logging.INFO)
from cladeclip.datasets.fetch import fetch_vlm4bio
from cladeclip.errors import CladeclipError
try:
    print(json.dumps(fetch_vlm4bio(sys.argv[1], repository="imageomics/VLM4Bio", revision=sys.argv[2])))
except CladeclipError as error:
    print(json.dumps({"error": str(error)}))
"""
CUB = "CUB_200_2011/images"


@pytest.fixture(scope="module")
def hub(specimens, tmp_path_factory):
    with Hub(vlm4bio(tmp_path_factory.mktemp("hub"), specimens)) as hub:
        yield hub


@pytest.fixture
def fetch(hub, tmp_path):
    """Fetches into an empty folder; the first fetch brings what the hub has, and asks for the birds."""
    hub.requests.clear()
    hub.faults.clear()

    def fetch(**options):
        return call(hub, tmp_path / "home", FETCH, tmp_path / "data", PINNED, **options)[0]

    return fetch


def unpack_birds(specimens, root):
    """The birds as CUB's archive unpacks them: a folder a class."""
    for number, path in enumerate(sorted((specimens / "Bird" / "images").iterdir())):
        folder = root / "Bird" / CUB / f"{number % 3:03}.A_Bird"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder)


def pictures(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.glob("*/images/*")}


def test_chunks_and_birds_become_the_layout_and_nothing_is_fetched_twice(fetch, hub, specimens, tmp_path):
    error = fetch()["error"]
    assert "18 listed pictures are missing, the first is Bird/images/" in error
    assert "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz" in error
    assert f"{tmp_path}/data/Bird" in error
    assert "\n" not in error
    # It asks before hours go into the rest.
    assert not hub.served(r"/resolve/.*chunk")
    unpack_birds(specimens, tmp_path / "data")
    assert fetch() == {**REVISION, "pictures": 54}
    assert pictures(tmp_path / "data") == pictures(specimens)
    assert sorted(read_metadata(tmp_path / "data")["image_id"]) == sorted(read_metadata(specimens)["image_id"])
    assert len(hub.served(r"GET /datasets/.*resolve/.*chunk")) == 36
    hub.requests.clear()
    fetch()
    assert not hub.requests


@pytest.mark.parametrize("ending", ["tgz", "tar.gz"])
def test_cubs_archive_is_taken_as_it_comes(fetch, specimens, tmp_path, ending):
    root = tmp_path / "data"
    unpack_birds(specimens, tmp_path / "unpacked")
    (root / "Bird").mkdir(parents=True)
    with tarfile.open(root / "Bird" / f"CUB_200_2011.{ending}", "w:gz") as archive:
        archive.add(tmp_path / "unpacked" / "Bird" / "CUB_200_2011", "CUB_200_2011")
    assert fetch() == {**REVISION, "pictures": 54}
    assert pictures(root) == pictures(specimens)


def test_a_part_of_the_birds_is_not_enough(fetch, specimens, tmp_path):
    unpack_birds(specimens, tmp_path / "data")
    next((tmp_path / "data" / "Bird").rglob("*.jpg")).unlink()
    assert "1 listed pictures are missing, the first is Bird/images/" in fetch()["error"]
    listed, there, hint = what_is_there(tmp_path / "data")
    assert (listed, there) == (54, 17)
    assert "CUB_200_2011.tgz" in hint


def test_two_birds_of_one_name_are_not_one(specimens, tmp_path):
    root = tmp_path / "datasets"
    shutil.copytree(specimens, root)
    bird = next((root / "Bird" / "images").iterdir())
    for folder in ("here", "there"):
        (root / "Bird" / folder).mkdir()
        (root / "Bird" / folder / bird.name).write_bytes(folder.encode())
    bird.unlink()
    with pytest.raises(DataError, match=r"here/.* and .*there/.* are two pictures of one name"):
        fetch_vlm4bio(root, **REVISION)


def test_a_damaged_archive_is_one_sentence(specimens, tmp_path):
    root = tmp_path / "datasets"
    shutil.copytree(specimens, root)
    next((root / "Bird" / "images").iterdir()).unlink()
    (root / "Bird" / "CUB_200_2011.tgz").write_bytes(b"<html>")
    with pytest.raises(DataError, match=r"CUB_200_2011.tgz: cannot be unpacked .* download it again"):
        fetch_vlm4bio(root, **REVISION)


def test_the_repositorys_own_tree_is_taken_where_somebody_cloned_it(specimens, hub, tmp_path):
    root = tmp_path / "datasets"
    shutil.copytree(hub.repositories["datasets", "imageomics/VLM4Bio"].folder / "datasets", root)
    unpack_birds(specimens, root)
    assert fetch_vlm4bio(root, **REVISION) == {**REVISION, "pictures": 54}
    assert pictures(root) == pictures(specimens)


def test_a_fetch_that_was_cut_off_goes_on_with_what_is_missing(fetch, hub, specimens, tmp_path):
    unpack_birds(specimens, tmp_path / "data")
    hub.fault("Fish/chunk_0", 404, times=float("inf"))
    assert "could not be downloaded" in fetch()["error"]
    hub.faults.clear()
    before = set(hub.served(r"GET /cdn/.*chunk"))
    hub.requests.clear()
    assert fetch() == {**REVISION, "pictures": 54}
    assert pictures(tmp_path / "data") == pictures(specimens)
    assert not before & set(hub.served(r"GET /cdn/.*chunk"))


def test_the_hubs_cache_is_enough_without_a_network(fetch, hub, specimens, tmp_path):
    code = f"""
import huggingface_hub
huggingface_hub.snapshot_download("imageomics/VLM4Bio", repo_type="dataset", revision="{PINNED}")
print(1)
"""
    call(hub, tmp_path / "home", code)
    unpack_birds(specimens, tmp_path / "data")
    hub.requests.clear()
    assert fetch(offline="1") == {**REVISION, "pictures": 54}
    assert not hub.requests


def test_pictures_that_already_lie_there_are_used_as_they_are(specimens):
    assert fetch_vlm4bio(specimens, **REVISION) == {**REVISION, "pictures": 54}


def test_without_network_it_says_what_to_put_where(tmp_path):
    with pytest.raises(CladeclipError) as caught:
        fetch_vlm4bio(tmp_path / "datasets", **REVISION)
    message = str(caught.value)
    assert "HF_HUB_OFFLINE is set" in message
    assert f"{tmp_path}/datasets/CATEGORY/images/" in message
    assert "\n" not in message
