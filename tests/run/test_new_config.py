"""`make new`: a config that validates, and words about what was found."""

import pytest
import yaml
from conftest import copy_configs

from cladeclip.config.check import complete
from cladeclip.config.files import merged
from cladeclip.errors import ConfigError, DataError
from cladeclip.run.new_config import new_config


@pytest.fixture
def folder(tmp_path):
    return copy_configs(tmp_path / "config")


def test_drawn_pictures_get_a_config_that_validates(specimens, folder):
    said = "\n".join(new_config("mine", str(specimens), folder))
    assert "54 pictures are listed" in said
    assert "9 species, 6 to 6 pictures each" in said
    assert "3 categories: Bird 18" in said
    config = merged([folder / "config.yaml", folder / "mini.yaml", folder / "mine.yaml"])
    complete(config)
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


def test_what_became_of_names_and_what_is_not_used_is_said(specimens, images, folder, tmp_path):
    root = tmp_path / "data"
    names = sorted(set(images["scientific_name"]))
    called = {names[0]: "Red_Fox", names[1]: "unknown", names[2]: "Noctuidae"}
    for row in images.itertuples():
        name = called.get(row.scientific_name, row.scientific_name)
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name / row.image_id.rsplit("/")[-1]).write_bytes((specimens / row.image_id).read_bytes())
    spelling = root / f"{names[3].replace(' ', '_')}_(Cuvier,_1829)"
    spelling.mkdir()
    next((root / names[3]).iterdir()).rename(spelling / "a.jpg")
    (root / "README.txt").write_text("Pictures, of fish.")
    (root / "clip.mov").write_bytes(b"film")
    said = "\n".join(new_config("mine", str(root), folder))
    for words in (
        "6 pictures: not a scientific name, kept as it is, without a genus: 'Red_Fox'",
        "6 pictures: stands for no name, no species: 'unknown'",
        "6 pictures: a rank above the genus, no species: 'Noctuidae'",
        f"{names[3]}: written as '{names[3]}', '{spelling.name}'",
        "12 listed pictures have no name of a species",
        "1 file(s) named *.mov: neither pictures nor tables",
        "README.txt has no column that holds paths of pictures",
    ):
        assert words in said, said


def test_a_table_with_specimens_says_how_many(specimens, images, folder, tmp_path):
    for row in images.itertuples():
        (tmp_path / row.image_id.rsplit("/")[-1]).write_bytes((specimens / row.image_id).read_bytes())
    table = images.assign(file=images["image_id"].str.rsplit("/", n=1).str[-1])[["file", "scientific_name"]]
    table["occurrenceID"] = [f"urn:{place // 3}" for place in range(len(table))]
    table.to_csv(tmp_path / "t.csv", index=False, sep=";", encoding="latin-1")
    said = "\n".join(new_config("mine", str(tmp_path), folder))
    assert "54 pictures are listed" in said
    assert "18 specimens; pictures of one never stand on both sides of a split" in said
