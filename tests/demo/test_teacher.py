"""The tiny CLIP that the demo's pictures and captions are embedded with."""

import pandas as pd
import pytest
import torch
import yaml
from conftest import REPOSITORY
from PIL import Image

from cladeclip.demo import tiny_clip
from cladeclip.demo.specimens import CATEGORIES, EPITHETS, taxonomy
from cladeclip.demo.tiny_clip import FOLDER, other_species, write_tokenizer
from cladeclip.encoders.families.open_clip import load
from cladeclip.encoders.load import load_encoder
from cladeclip.encoders.weights import WEIGHTS, make_encoder_folder
from cladeclip.io.atomic import read_json

DEFINITION = yaml.safe_load((REPOSITORY / "config" / "demo.yaml").read_text())["encoders"]["drawn-clip"]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher")
    make_encoder_folder("drawn-clip", DEFINITION, folder)  # checks the sha256 that the config gives
    return load_encoder(folder)


@pytest.fixture(scope="module")
def captions(specimens):
    return pd.read_csv(specimens / "captions.csv").set_index("image_id")["caption"]


def test_it_is_small():
    assert "sha256" in DEFINITION
    assert (FOLDER / WEIGHTS).stat().st_size <= 2e6


def test_captions_say_what_was_drawn_and_never_the_name(captions):
    names = {genus for genera in CATEGORIES.values() for genus in genera} | set(EPITHETS)
    words = {word for caption in captions for word in caption.split()}
    assert not {name.lower() for name in names} & {word.lower() for word in words}
    for image_id, caption in captions.items():
        assert image_id.partition("/")[0].lower() in caption


def test_its_tokenizer_knows_every_word_of_the_demos_captions(teacher, captions):
    vocabulary = set(read_json(FOLDER / "tokenizer.json")["model"]["vocab"])
    assert {word for caption in captions for word in caption.split()} <= vocabulary
    assert all(
        teacher.count_tokens(caption) == len(caption.split()) + 2 <= teacher.context_length for caption in captions
    )


def test_it_was_trained_on_other_species():
    def traits(species):
        return species.category, round(species.slenderness, 6), round(species.hue, 6), species.pattern

    others = [other_species(number, tiny_clip.SEED) for number in range(tiny_clip.SPECIES)]
    ours = taxonomy(3, seed=5)
    assert not {species.name for species in ours} & {species.name for species in others}
    assert not {traits(species) for species in ours} & {traits(species) for species in others}


def test_pictures_find_their_own_captions_among_those_of_all_others(teacher, specimens, captions):
    pictures = torch.stack([teacher.transform(Image.open(specimens / image_id)) for image_id in captions.index])
    seen = torch.nn.functional.normalize(teacher.encode_images(pictures), dim=1)
    read = torch.nn.functional.normalize(teacher.text_encoder()(list(captions)), dim=1)
    own = [int(row.argmax()) for row in seen @ read.T]
    found = sum(captions.iloc[answer] == caption for answer, caption in zip(own, captions, strict=True))
    assert found > len(captions) / 4  # chance is one in dozens


def test_the_script_makes_such_a_model(monkeypatch, tmp_path, capsys):
    for name, value in {"SPECIES": 6, "INDIVIDUALS": 2, "EPOCHS": 2, "BATCH": 4}.items():
        monkeypatch.setattr(tiny_clip, name, value)
    tiny_clip.main(tmp_path / "it")
    assert "sha256" in capsys.readouterr().out
    encoder = load(tmp_path / "it")
    assert encoder.text_encoder()(["a small fish"]).shape == (1, encoder.dim)
    assert write_tokenizer(["a b", "b c"], tmp_path) == 4 + 3
