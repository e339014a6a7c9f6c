import shutil

import pytest

from cladeclip.datasets.fetch import fetch_vlm4bio
from cladeclip.errors import CladeclipError

REVISION = {"repository": "imageomics/VLM4Bio", "revision": "0" * 40}


@pytest.fixture
def offline(monkeypatch):
    from huggingface_hub import HfApi

    def fail(*_, **__):
        raise ConnectionError("no network")

    monkeypatch.setattr(HfApi, "dataset_info", fail)


def test_pictures_that_already_lie_there_are_used_as_they_are(specimens, offline):
    assert fetch_vlm4bio(specimens, **REVISION) == {**REVISION, "pictures": 54}


def test_without_network_it_says_what_to_put_where(tmp_path, offline):
    with pytest.raises(CladeclipError) as caught:
        fetch_vlm4bio(tmp_path / "datasets", **REVISION)
    message = str(caught.value)
    assert "no network" in message
    assert f"{tmp_path}/datasets/CATEGORY/images/" in message
    assert "\n" not in message


def test_birds_that_the_repository_does_not_have_are_named_with_their_source(specimens, tmp_path, monkeypatch):
    import huggingface_hub

    root = tmp_path / "datasets"
    shutil.copytree(specimens, root)
    next((root / "Bird" / "images").iterdir()).unlink()
    downloads = []
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda *_, **__: type("Info", (), {"siblings": []})())
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *args, **kwargs: downloads.append(kwargs))
    with pytest.raises(CladeclipError, match=r"1 listed pictures are missing, the first is Bird/images/.*CUB-200-2011"):
        fetch_vlm4bio(root, **REVISION)
    assert downloads[0]["local_dir"] == str(tmp_path)
    assert downloads[0]["revision"] == REVISION["revision"]
    assert "datasets/*/images/*" in downloads[0]["allow_patterns"]
