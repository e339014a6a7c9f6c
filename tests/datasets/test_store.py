import pickle

import numpy as np
import pytest
from PIL import Image

from cladeclip.datasets.store import PictureStore, build_store
from cladeclip.errors import TableError


@pytest.fixture
def store(specimens, images, tmp_path):
    build_store(specimens, list(images["image_id"]), tmp_path / "s.arrow", side=32, workers=2)
    return PictureStore(tmp_path / "s.arrow")


def test_pictures_come_back_reduced(store, specimens, images):
    for image_id in images["image_id"][::9]:
        stored = store.read(image_id)
        assert min(stored.size) == 32
        expected = Image.open(specimens / image_id).convert("RGB").resize(stored.size, Image.Resampling.BICUBIC)
        assert np.abs(np.asarray(stored, float) - np.asarray(expected, float)).mean() < 3


def test_smaller_pictures_keep_their_size(specimens, images, tmp_path):
    build_store(specimens, list(images["image_id"][:3]), tmp_path / "s.arrow", side=500, workers=1)
    assert PictureStore(tmp_path / "s.arrow").read(images["image_id"][0]).size == (48, 48)


def test_a_store_travels_to_workers_and_is_the_same_whatever_their_number(store, specimens, images, tmp_path):
    image_id = images["image_id"][5]
    store.read(image_id)
    assert pickle.loads(pickle.dumps(store)).read(image_id).tobytes() == store.read(image_id).tobytes()
    build_store(specimens, list(images["image_id"]), tmp_path / "one.arrow", side=32, workers=1)
    assert (tmp_path / "one.arrow").read_bytes() == (tmp_path / "s.arrow").read_bytes()


def test_a_missing_picture_and_a_damaged_store_are_named(store, tmp_path):
    with pytest.raises(TableError, match="no picture nobody"):
        store.read("nobody")
    (tmp_path / "bad.arrow").write_bytes(b"ARROW1 no")
    with pytest.raises(TableError, match=r"bad.arrow: not a picture store"):
        PictureStore(tmp_path / "bad.arrow")
