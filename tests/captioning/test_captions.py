import pandas as pd
import pytest

from cladeclip.captioning.captions import captions_table, from_file, from_template
from cladeclip.errors import ConfigError, DataError

IMAGES = pd.DataFrame({"image_id": ["a", "b"], "category": ["Fish", "Bird"]})


def test_template():
    assert from_template(IMAGES, "a {category}.") == ["a Fish.", "a Bird."]
    with pytest.raises(ConfigError, match=r"known are \{image_id\}, \{category\}"):
        from_template(IMAGES, "a {colour}")


def test_equal_captions_have_equal_hashes():
    table = captions_table(["a", "b", "c"], ["x", "y", "x"])
    assert table["caption_hash"][0] == table["caption_hash"][2] != table["caption_hash"][1]


def test_file_in_any_order(tmp_path):
    pd.DataFrame({"image_id": ["b", "a"], "caption": ["bee", "ay"]}).to_csv(tmp_path / "c.csv")
    assert from_file(IMAGES, tmp_path / "c.csv") == ["ay", "bee"]
    pd.DataFrame({"image_id": ["b", "a"], "caption": ["bee", "ay"]}).to_parquet(tmp_path / "c.parquet")
    assert from_file(IMAGES, tmp_path / "c.parquet") == ["ay", "bee"]


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
        from_file(IMAGES, tmp_path / "c.csv")
    assert words in str(caught.value)
    assert "c.csv" in str(caught.value)


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(DataError, match="no such file of captions"):
        from_file(IMAGES, tmp_path / "c.csv")
