"""Encoders and captioners from the stand-in of the hub, against what the libraries make of the same repositories."""

import pytest
import yaml
from conftest import REPOSITORY
from hub.client import call
from hub.repositories import models
from hub.stand_in import Hub

from cladeclip.config.files import merged
from cladeclip.encoders.hub_sources import captioner_source, encoder_source
from cladeclip.io.atomic import read_json

FROM_HUB = REPOSITORY / "tests" / "workflow" / "from_hub.yaml"
LIBRARIES = """
import json, sys
from pathlib import Path
import numpy as np, open_clip, timm, torch, transformers
from PIL import Image
from cladeclip.captioning.kinds.internvl import fetch
from cladeclip.encoders.load import load_encoder
from cladeclip.encoders.weights import make_encoder_folder

folder = Path(sys.argv[1])
picture = Image.fromarray(np.random.default_rng(5).integers(0, 255, (50, 90, 3), dtype=np.uint8))

def ours(name, definition):
    make_encoder_folder(name, definition, folder / name)
    encoder = load_encoder(folder / name)
    return encoder.encode_images(encoder.transform(picture)[None])

@torch.inference_mode()
def theirs(name):
    if name in ("bin", "safe"):
        model, _, transform = open_clip.create_model_and_transforms(DEFINITIONS[name]["architecture"])
        return model.eval().encode_image(transform(picture)[None])
    if name in ("timm-tag", "timm-hub"):
        full = "test_vit.r160_in1k" if name == "timm-tag" else "hf-hub:timm/test_vit.r160_in1k"
        model = timm.create_model(full, pretrained=True, num_classes=0).eval()
        data = timm.data.resolve_model_data_config(model)
        return model(timm.data.create_transform(**data, is_training=False)(picture)[None])
    repository = DEFINITIONS[name]["architecture"].removeprefix("hf-hub:")
    model = transformers.AutoModel.from_pretrained(repository).eval()
    pixels = transformers.AutoImageProcessor.from_pretrained(repository)(picture, return_tensors="pt")["pixel_values"]
    return model.get_image_features(pixels).pooler_output.mean(1)

DEFINITIONS = {
    "bin": {"family": "open_clip", "architecture": "hf-hub:apple/DFN5B-CLIP-ViT-H-14-378"},
    "safe": {"family": "open_clip", "architecture": "hf-hub:imageomics/bioclip-2"},
    "timm-tag": {"family": "timm", "architecture": "test_vit", "pretrained": "r160_in1k"},
    "timm-hub": {"family": "timm", "architecture": "hf-hub:timm/test_vit.r160_in1k"},
    "florence": {"family": "transformers", "architecture": "hf-hub:florence-community/Florence-2-base"},
}
same = {name: float((ours(name, definition) - theirs(name)).abs().max()) for name, definition in DEFINITIONS.items()}
captioner = {"model": "OpenGVLab/InternVL3-2B-hf", "prompt": "describe the animal"}
fetch("internvl", captioner, folder / "captioner")
print(json.dumps(same))
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with Hub(*models(tmp_path_factory.mktemp("hub"))) as hub:
        yield hub


@pytest.fixture(scope="module")
def made(hub, tmp_path_factory):
    """Largest differences of an embedding by the way it came, and the folder of the encoders."""
    folder = tmp_path_factory.mktemp("made")
    return call(hub, folder / "home", LIBRARIES, folder)[0], folder


def test_every_way_gives_the_embeddings_of_its_own_library(made):
    differences, _ = made
    assert len(differences) == 5
    assert set(differences.values()) == {0.0}


def test_the_record_says_which_commit_of_which_repository_it_was(made, hub):
    _, folder = made
    for name, repository in [
        ("bin/encoder", "apple/DFN5B-CLIP-ViT-H-14-378"),
        ("timm-tag/encoder", "timm/test_vit.r160_in1k"),
        ("florence/encoder", "florence-community/Florence-2-base"),
        ("captioner/captioner", "OpenGVLab/InternVL3-2B-hf"),
    ]:
        commit = hub.repositories["models", repository].commit
        assert read_json(folder / f"{name}.json")["sources"] == [{"repository": repository, "commit": commit}]


def test_nothing_of_a_download_stays_beside_what_was_made_of_it(made):
    _, folder = made
    assert not list(folder.glob("*/.download"))
    assert not list(folder.rglob("*.part"))


def test_a_tag_and_the_repository_it_stands_for_are_one_source(hub):
    """So that what is tried with small models under the repositories' names is what the default config asks for."""
    default, small = (merged([REPOSITORY / "config/config.yaml", *more])["encoders"] for more in ([], [FROM_HUB]))
    tags = [name for name, encoder in default.items() if "pretrained" in encoder]
    assert tags == ["vit-h", "vit-b-32", "openclip-b-32"]
    for name in tags:
        tag, by_name = encoder_source(default[name]), encoder_source(small[name])
        assert "pretrained" not in small[name]
        names = list(hub.repositories["models", tag.repository].files)
        weights = tag.choose(names)
        assert tag.repository == by_name.repository
        assert len(weights) == 1
        assert by_name.choose(names) == ["open_clip_config.json", *weights]


def test_the_stand_in_has_all_that_the_default_config_fetches(hub):
    config = yaml.safe_load((REPOSITORY / "config/config.yaml").read_text())
    sources = [encoder_source(one) for one in config["encoders"].values()]
    sources += [captioner_source(one) for one in config["captioners"].values()]
    found = {source.repository for source in sources if source}
    assert len(found) == 6
    assert {("models", name) for name in found} <= set(hub.repositories)
