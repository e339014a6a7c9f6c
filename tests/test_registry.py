"""What another package adds: an encoder family, a kind of captioner, a loss; each one file and one entry point."""

import sys
from dataclasses import replace
from textwrap import dedent

import numpy as np
import pandas as pd
import pytest
from conftest import RECIPE, REPOSITORY

from cladeclip import registry
from cladeclip.captioning.specs import Place, kind_named
from cladeclip.config.check import complete
from cladeclip.config.files import merged
from cladeclip.datasets.layouts.specs import layout_named, read_listed
from cladeclip.encoders.embed import embed_images
from cladeclip.encoders.load import load_encoder
from cladeclip.encoders.specs import family_named
from cladeclip.encoders.weights import family_of, make_encoder_folder
from cladeclip.errors import ConfigError
from cladeclip.run import staleness
from cladeclip.training.checkpoint import save_checkpoint
from cladeclip.training.classes import of_classes
from cladeclip.training.loop import train
from cladeclip.training.losses import loss_named
from cladeclip.training.specs import loss_place

# The mean of an image's patches through one linear layer.
FAMILY = """
    import json
    import torch
    from torchvision.transforms.v2.functional import normalize, pil_to_tensor, resize
    from cladeclip.encoders.encoder import Encoder
    from cladeclip.encoders.specs import Family
    from cladeclip.encoders.weights import save_weights as save

    FAMILY = Family(
        "linear", "mine", "one layer", keys=("architecture", "seed"), architectures=("name",), files=("linear.json",)
    )

    def source(definition):
        return None

    def make(name, definition, folder):
        torch.manual_seed(definition["seed"])
        (folder / "linear.json").write_text(json.dumps({"dim": int(definition["architecture"])}))
        save(network(int(definition["architecture"])), folder / "model.safetensors")
        return []

    def load(folder):
        from safetensors.torch import load_file
        dim = json.loads((folder / "linear.json").read_text())["dim"]
        model = network(dim)
        model.load_state_dict(load_file(folder / "model.safetensors"))
        half = (0.5, 0.5, 0.5)
        def transform(image):
            return normalize(pil_to_tensor(image.resize((32, 32))).float() / 255, half, half)
        return Encoder("linear", dim, 32, half, half, "bicubic", transform, model, model)

    def network(dim):
        return torch.nn.Sequential(torch.nn.AvgPool2d(8), torch.nn.Flatten(), torch.nn.Linear(48, dim))
"""
KIND = """
    from dataclasses import dataclass
    from cladeclip.captioning.specs import Kind
    from cladeclip.config.described import key

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        word: str = key("that it shouts")

    KIND = Kind("shout", "shouting", "it shouts", Settings)

    def captions(images, captioner, place):
        return [f"{captioner['word'].upper()} {category}!" for category in images["category"]]
"""
LOSS = """
    class Square:
        def __init__(self, settings):
            self.weight = settings.margin_loss_s

        def __call__(self, cosines, targets, weights, processes):
            own = cosines.gather(1, targets.clamp(min=0))
            here = self.weight * ((1 - own).square() * weights * (targets >= 0)).sum() / len(cosines)
            return processes.total(here)
"""
LAYOUT = """
    from dataclasses import dataclass
    from pathlib import PurePath
    import pandas as pd
    from cladeclip.config.described import key
    from cladeclip.datasets.layouts.specs import Layout

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        separator: str = key("between a picture's species and its number", "__")

    LAYOUT = Layout("loose", "loose", "pictures called after their species", Settings)

    def read(root, listing, settings):
        names = [PurePath(path).name.split(settings["separator"])[0] for path in listing["path"]]
        return pd.DataFrame({"image_id": listing["path"], "category": "Birds", "scientific_name": names})
"""
ENTRY_POINTS = """
    [cladeclip.encoder_families]
    linear = mine:FAMILY

    [cladeclip.captioner_kinds]
    shout = shouting:KIND

    [cladeclip.losses]
    square = squared:Square

    [cladeclip.layouts]
    loose = loose:LAYOUT
"""
DEFINITION = {"family": "linear", "architecture": "24", "seed": 3}


@pytest.fixture
def another_package(tmp_path, monkeypatch):
    folder = tmp_path / "site"
    (folder / "mine-1.0.dist-info").mkdir(parents=True)
    (folder / "mine-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (folder / "mine-1.0.dist-info" / "entry_points.txt").write_text(dedent(ENTRY_POINTS))
    (folder / "mine.py").write_text(dedent(FAMILY))
    (folder / "shouting.py").write_text(dedent(KIND))
    (folder / "squared.py").write_text(dedent(LOSS))
    (folder / "loose.py").write_text(dedent(LAYOUT))
    monkeypatch.syspath_prepend(folder)
    kept = (registry._installed, registry._of_all_groups, staleness.code_of_script)
    for one in kept:
        one.cache_clear()
    yield folder
    for one in kept:
        one.cache_clear()
    for module in ("mine", "shouting", "squared", "loose"):
        sys.modules.pop(module, None)


def test_a_family_of_another_package_is_made_loaded_embeds_and_is_kept(another_package, specimens, images, tmp_path):
    make_encoder_folder("it", DEFINITION, tmp_path / "it")
    encoder, ids = load_encoder(tmp_path / "it"), list(images["image_id"][:4])
    embeddings = embed_images(encoder, specimens, ids, batch_size=2, workers=0)
    assert embeddings.shape == (4, 24)
    save_checkpoint(encoder, tmp_path / "it", tmp_path / "trained", pd.DataFrame({"step": [1]}))
    assert family_of(tmp_path / "trained") is family_named("linear")
    again = embed_images(load_encoder(tmp_path / "trained"), specimens, ids, batch_size=2, workers=0)
    np.testing.assert_array_equal(again, embeddings)


def test_its_config_is_checked_as_that_of_any_family(another_package):
    config = merged([REPOSITORY / "config" / "config.yaml"])
    config["encoders"]["mine"] = DEFINITION
    config["captioners"]["loud"] = {"kind": "shout", "word": "look"}
    config |= {"students": ["mine"], "baselines": ["mine"]}
    config["train"]["loss"] = "square"
    complete(config)
    config["encoders"]["mine"] = DEFINITION | {"pretrained": "tag"}
    with pytest.raises(ConfigError, match=r"encoders.mine.pretrained has no meaning for linear"):
        complete(config)


def test_its_code_makes_its_own_results_stale(another_package):
    embed = REPOSITORY / "workflow" / "scripts" / "embed.py"
    caption = REPOSITORY / "workflow" / "scripts" / "caption.py"
    train = REPOSITORY / "workflow" / "scripts" / "train.py"
    prepare = REPOSITORY / "workflow" / "scripts" / "prepare.py"

    def codes():
        staleness.code_of_script.cache_clear()
        staleness.fingerprint_of.__globals__["definitions_of"].cache_clear()
        found = {name: staleness.code_of_script(embed, frozenset([name])) for name in ("linear", "timm")}
        kinds = {name: kind_named(name).door("captions") for name in ("shout", "template")}
        chosen = {name: (caption, door) for name, door in kinds.items()}
        chosen |= {name: (train, loss_place(name)) for name in ("square", "arcface")}
        chosen |= {name: (prepare, layout_named(name).door("read")) for name in ("loose", "table")}
        return found | {name: staleness.code_of_script(path, chosen=(at,)) for name, (path, at) in chosen.items()}

    before = codes()
    for file, edited, name in (
        ("mine.py", "AvgPool2d(8)", "linear"),
        ("shouting.py", "upper()", "shout"),
        ("squared.py", "square()", "square"),
        ("loose.py", '"Birds"', "loose"),
    ):
        path = another_package / file
        text = path.read_text()
        assert edited in text
        path.write_text(text.replace(edited, f"{edited} + 1"))
        assert {one for one, code in codes().items() if code != before[one]} == {name}
        path.write_text(text)


def test_a_kind_of_another_package_captions(another_package):
    images = pd.DataFrame({"image_id": ["a", "b"], "category": ["Fish", "Bird"]})
    found = kind_named("shout").code().captions(images, {"kind": "shout", "word": "look"}, Place(""))
    assert found == ["LOOK Fish!", "LOOK Bird!"]


def test_a_layout_of_another_package_has_its_section_and_lists(another_package):
    config = merged([REPOSITORY / "config" / "config.yaml"])
    config["dataset"]["layout"] = "loose"
    complete(config)
    assert config["dataset"]["loose"] == {"separator": "__"}
    config["dataset"]["loose"] = {"separator": "-"}
    complete(config)
    listed = read_listed("", pd.DataFrame({"path": ["a/Avis rubra-1.jpg"]}), config["dataset"])
    assert listed.to_dict("records") == [
        {"image_id": "a/Avis rubra-1.jpg", "category": "Birds", "scientific_name": "Avis rubra"}
    ]
    config["dataset"]["loose"] = {"seperator": "-"}
    with pytest.raises(ConfigError, match=r"dataset.loose.seperator is not a known key \(did you mean 'separator'\?\)"):
        complete(config)


def test_a_loss_of_another_package_trains_and_learns(another_package, student, store, images):
    settings = replace(RECIPE, loss="square", epochs=8, batch_size=12, lr=1e-3, log_every=1)
    labels = np.arange(len(images)) % 3
    targets = of_classes(images["image_id"], labels, 3)
    history = train(load_encoder(student), store, targets, settings, seed=5, workers=0)
    assert history["loss"].iloc[-3:].mean() < 0.7 * history["loss"].iloc[:3].mean()
    cosines = history["target_cosine"]
    assert history["loss"].iloc[0] >= settings.margin_loss_s * (1 - cosines.iloc[0]) ** 2  # the mean of squares


def test_what_no_package_adds_is_said():
    with pytest.raises(ConfigError, match=r"family is 'tim' \(did you mean 'timm'\?\); known are open_clip, timm"):
        family_named("tim")
    with pytest.raises(ConfigError, match=r"kind is 'shout'; known are template, file, internvl"):
        kind_named("shout")
    with pytest.raises(ConfigError, match=r"layout is 'folder' \(did you mean 'folders'\?\); known are vlm4bio, table"):
        layout_named("folder")
    with pytest.raises(
        ConfigError, match=r"loss is 'arcfacs' \(did you mean 'arcface'\?\); known are arcface, cosface"
    ):
        loss_named("arcfacs")
