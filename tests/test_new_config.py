"""`make new`: a config that validates, and words about what was found."""

import pytest
import yaml
from conftest import copy_configs

from cladeclip.config import merged, validate
from cladeclip.errors import ConfigError, DataError
from cladeclip.new_config import new_config


@pytest.fixture
def folder(tmp_path):
    return copy_configs(tmp_path / "config")


def test_drawn_pictures_get_a_config_that_validates(specimens, folder):
    said = "\n".join(new_config("mine", str(specimens), folder))
    assert "54 pictures are listed" in said
    assert "9 species, 6 to 6 pictures each" in said
    assert "3 categories: Bird 18" in said
    config = merged([folder / "config.yaml", folder / "mini.yaml", folder / "mine.yaml"])
    validate(config, folder / "schema.yaml")
    assert config["dataset"]["root"] == str(specimens)
    assert config["labels"]["k"] == [4, 9, 16]  # no more clusters than pairs of pictures
    assert config["splits"] == ["holdout-0"]  # three species a category are too few to hold some out
    assert all(f"{key}:" in (folder / "mine.yaml").read_text() for key in ("dataset", "labels", "splits", "report"))


def test_the_real_pictures(real_pictures, folder):
    said = "\n".join(new_config("mine", str(real_pictures), folder))
    assert "689 pictures are listed" in said
    assert "74 species" in said
    config = merged([folder / "config.yaml", folder / "mini.yaml", folder / "mine.yaml"])
    assert config["splits"] == ["holdout-0", "open-0"]
    assert config["labels"]["k"] == [37, 74, 148]


def test_nothing_is_overwritten_and_names_are_checked(specimens, folder):
    before = (folder / "demo.yaml").read_text()
    with pytest.raises(ConfigError, match=r"demo\.yaml is a config of CladeCLIP itself; take another NAME"):
        new_config("demo", str(specimens), folder)
    assert (folder / "demo.yaml").read_text() == before
    (folder / "mine.yaml").write_text("")
    with pytest.raises(ConfigError, match=r"mine\.yaml: is there already"):
        new_config("mine", str(specimens), folder)
    assert (folder / "mine.yaml").read_text() == ""
    with pytest.raises(ConfigError, match="NAME=My Fish: a name has small letters"):
        new_config("My Fish", str(specimens), folder)


def test_too_few_pictures_and_one_category_of_many_are_refused(specimens, folder, tmp_path):
    with pytest.raises(DataError, match=f"is one category of VLM4Bio's layout; give the folder above it, {specimens}"):
        new_config("mine", str(specimens / "Bird"), folder)
    source = next((specimens / "Bird" / "images").iterdir())
    (tmp_path / "few" / "Danio rerio").mkdir(parents=True)
    (tmp_path / "few" / "Danio rerio" / source.name).write_bytes(source.read_bytes())
    with pytest.raises(ConfigError, match=r"lists 1 picture\(s\); 10 are the fewest to cluster and to learn from"):
        new_config("mine", str(tmp_path / "few"), folder)
    assert not (folder / "mine.yaml").exists()


def test_a_tilde_is_the_home_folder(specimens, folder, monkeypatch):
    monkeypatch.setenv("HOME", str(specimens.parent))
    new_config("mine", f"~/{specimens.name}", folder)
    assert yaml.safe_load((folder / "mine.yaml").read_text())["dataset"]["root"] == str(specimens)
