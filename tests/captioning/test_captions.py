import pandas as pd
import pytest

from cladeclip.captioning.captions import captions_table
from cladeclip.captioning.kinds import file, template
from cladeclip.captioning.specs import Place
from cladeclip.errors import ConfigError, DataError

NOWHERE = Place("")
IMAGES = pd.DataFrame({"image_id": ["a", "b"], "category": ["Fish", "Bird"]})


def test_template():
    assert template.captions(IMAGES, {"template": "a {category}."}, NOWHERE) == ["a Fish.", "a Bird."]
    with pytest.raises(ConfigError, match=r"known are \{image_id\}, \{category\}"):
        template.captions(IMAGES, {"template": "a {colour}"}, NOWHERE)


def test_equal_captions_have_equal_hashes():
    table = captions_table(["a", "b", "c"], ["x", "y", "x"])
    assert table["caption_hash"][0] == table["caption_hash"][2] != table["caption_hash"][1]


def test_file_in_any_order(tmp_path):
    pd.DataFrame({"image_id": ["b", "a"], "caption": ["bee", "ay"]}).to_csv(tmp_path / "c.csv")
    assert file.captions(IMAGES, {"path": str(tmp_path / "c.csv")}, NOWHERE) == ["ay", "bee"]
    pd.DataFrame({"image_id": ["b", "a"], "caption": ["bee", "ay"]}).to_parquet(tmp_path / "c.parquet")
    assert file.captions(IMAGES, {"path": str(tmp_path / "c.parquet")}, NOWHERE) == ["ay", "bee"]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"image_id": ["a"], "caption": ["ay"]}, "1 image(s) have no caption, the first is b"),
        ({"image_id": ["a", "b"], "caption": ["ay", " "]}, "the first is b"),
        ({"image_id": ["a", "a"], "caption": ["ay", "ay"]}, "a has more than one caption"),
        ({"image": ["a"], "caption": ["ay"]}, "no column 'image_id'"),
    ],
)
def test_a_file_that_lacks_something_is_named(tmp_path, table, words):
    pd.DataFrame(table).to_csv(tmp_path / "c.csv")
    with pytest.raises(DataError) as caught:
        file.captions(IMAGES, {"path": str(tmp_path / "c.csv")}, NOWHERE)
    assert words in str(caught.value)
    assert "c.csv" in str(caught.value)


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(DataError, match="no such file of captions"):
        file.captions(IMAGES, {"path": str(tmp_path / "c.csv")}, NOWHERE)
