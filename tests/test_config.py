import copy
from dataclasses import fields, is_dataclass

import jsonschema
import pytest
import yaml
from conftest import REPOSITORY

from cladeclip.config.check import MOVED, complete
from cladeclip.config.described import defaults_of, schema_of, spelled, types_of
from cladeclip.config.files import update
from cladeclip.config.sections import Config
from cladeclip.datasets.layouts.specs import LAYOUTS
from cladeclip.errors import ConfigError

DEFAULT = yaml.safe_load((REPOSITORY / "config" / "config.yaml").read_text())


def merged(overrides):
    config = copy.deepcopy(DEFAULT)
    update(config, overrides)
    return config


@pytest.mark.parametrize("names", [["config"], ["demo"], ["mini"], ["mini", "ways"]], ids=" ".join)
def test_shipped_configs_are_valid(names):
    config = merged({})
    for name in names:
        update(config, yaml.safe_load((REPOSITORY / "config" / f"{name}.yaml").read_text()))
    complete(config)


def test_default_config_is_the_recipe():
    train, labels = DEFAULT["train"], DEFAULT["labels"]
    recipe = {
        "margin_loss_s": 32, "margin_loss_m1": 1, "margin_loss_m2": 0.3, "margin_loss_m3": 0, "margin_loss_filter": 0,
        "num_feat": 512, "sample_rate": 1, "lr": 1e-5, "lr_pfc_weight": 10, "weight_decay": 0, "pct_start": 0.1,
        "epochs": 32, "batch_size": 128, "gradient_acc": 1, "margin_gradient": "straight_through", "augment": "timm",
        "precision": "auto", "batchnorm": "frozen",
    }  # fmt: skip
    assert {key: train[key] for key in recipe} == recipe
    assert labels["k"] == [100, 500, 1000, 2000]
    assert DEFAULT["seeds"]["training"] == [5]
    teacher = DEFAULT["encoders"][labels["teachers"][0]]
    assert (teacher["architecture"], teacher["pretrained"]) == ("ViT-H-14-378-quickgelu", "dfn5b")
    student = DEFAULT["encoders"][DEFAULT["students"][0]]
    assert (student["architecture"], student["pretrained"]) == ("ViT-B-32-quickgelu", "openai")


def test_every_key_of_the_default_config_has_a_comment():
    lines = (REPOSITORY / "config" / "config.yaml").read_text().splitlines()
    for number, line in enumerate(lines):
        key = line.strip().split(":")[0]
        is_setting = line.startswith("  ") and not line.strip().startswith("#") and ":" in line
        if not is_setting or line.startswith("    "):  # entries of encoders explain themselves by example
            continue
        explained = "#" in line or lines[number + 1].startswith("    ") or key == "primary"
        assert explained, f"{key} (line {number + 1}) has no comment"


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"trian": {}}, ["trian is not a known key", "did you mean 'train'"]),
        ({"train": {"epoch": 3}}, ["train.epoch is not a known key", "did you mean 'epochs'"]),
        ({"train": {"epochs": "many"}}, ["train.epochs is 'many'", "a whole number"]),
        ({"train": {"lr": "1e-5"}}, ["train.lr is '1e-5'", "1.0e-5"]),
        ({"train": {"epochs": -1}}, ["train.epochs is -1", "0 or more"]),
        ({"train": {"freeze": "all_but_last_0"}}, ["'all_but_last_0'", "none, stem or all_but_last_NUMBER"]),
        ({"encoders": {"vit-h": {"sha256": "0" * 64}}}, ["encoders.vit-h.sha256 has no meaning without a weight file"]),
        ({"encoders": {"x": {"family": "unicom", "architecture": "ViT-L"}}}, ["only ViT-B-32 is known"]),
        ({"train": {"sample_rate": 0}}, ["train.sample_rate is 0", "more than 0"]),
        ({"train": {"augment": "tim"}}, ["train.augment is 'tim'", "did you mean 'timm'", "crop_flip"]),
        ({"labels": {"k": [100, 1]}}, ["labels.k[1] is 1", "2 or more"]),
        ({"labels": {"k": [100, 100]}}, ["labels.k", "only once"]),
        ({"labels": {"controls": ["random-k1"]}}, ["labels.controls[0] is 'random-k1'", "random-kNUMBER"]),
        ({"labels": {"teachers": ["vit_h"]}}, ["labels.teachers[0] is 'vit_h'"]),
        ({"labels": {"teachers": ["vit-g"]}}, ["labels.teachers[0] is 'vit-g'", "does not define", "did you mean 'vit-h'"]),
        ({"labels": {"features": ["fused-intern"]}}, ["labels.features[0]", "does not define 'intern'", "internvl"]),
        ({"labels": {"teachers": ["handmade"]}}, ["no text tower"]),
        ({"labels": {"also": ["vit-g-image-k5"]}}, ["labels.also[0]", "'vit-g-image-k5' names no labels"]),
        ({"labels": {"also": ["species"]}}, ["labels.also[0] is 'species', a control", "labels.controls"]),
        ({"labels": {"also": ["vit-h-image-k1"]}}, ["labels.also[0] is 'vit-h-image-k1'", "2 or more"]),
        ({"labels": {"also": ["handmade-fused-template-k5"]}}, ["labels.also[0]", "no text tower"]),
        ({"labels": {"also": ["vit-h-text-x-k5"]}}, ["labels.also[0] is 'text-x'", "does not define 'x'"]),
        ({"labels": {"only": {"open-0": []}}}, ["labels.only.open-0 names a split", "listed are all, holdout-0"]),
        ({"labels": {"only": {"all": ["species"]}}}, ["labels.only.all[0] is 'species'", "none of this run's labels"]),
        ({"labels": {"only": {"holdout-0": []}}}, ["leaves out vit-h-fused-internvl-k500", "report.primary"]),
        ({"students": ["handmade"]}, ["students[0] is 'handmade'", "cannot be trained"]),
        ({"baselines": ["biocilp"]}, ["baselines[0] is 'biocilp'", "did you mean 'bioclip'"]),
        ({"splits": ["hold-out"]}, ["splits[0] is 'hold-out'", "holdout-NUMBER"]),
        ({"splits": ["all"]}, ["report.primary.split is 'holdout-0'", "listed are all"]),
        ({"report": {"primary": {"k": 50}}}, ["report.primary.k is 50", "listed are 100, 500"]),
        ({"train": {"margin_loss_m1": 1.5}}, ["margin_loss_m1 is 1.5", "only 1"]),
        ({"train": {"margin_loss_m3": 0.4}}, ["margin_loss_m3 is 0.4", "set train.loss: cosface"]),
        ({"labels": {"also": ["vit-h-image-k500-100"]}}, ["labels.also[0]", "in order, each once: vit-h-image-k100-500"]),
        ({"labels": {"also": ["vit-h-image-k500-1"]}}, ["labels.also[0]", "2 or more"]),
        ({"labels": {"also": ["vit-h-image-k5-top5"]}}, ["labels.also[0]", "of 5 clusters the nearest 1 to 4"]),
        ({"labels": {"also": ["distil-handmade-fused-internvl"]}}, ["labels.also[0]", "no text tower"]),
        ({"labels": {"also": ["shuffled-vit-h-image-k5"]}}, ["labels.also[0]", "a control", "labels.controls"]),
        ({"labels": {"controls": ["shuffled-vit-g-image-k5"]}}, ["labels.controls[0]", "names no labels"]),
        ({"labels": {"controls": ["shuffled-species"]}}, ["labels.controls[0]", "names no labels"]),
        ({"train": {"interpolate": [0.5]}}, ["train.interpolate", "folds.validate_share, 0.1 say"]),
        ({"train": {"interpolate": [0.5, 0.333]}}, ["train.interpolate[1] is 0.333", "two decimals"]),
        ({"train": {"interpolate": [0.001]}}, ["train.interpolate[0] is 0.001", "0.01 to 0.99"]),
        ({"train": {"loss": "arcfaces"}}, ["train.loss is 'arcfaces' (did you mean 'arcface'?)", "known are"]),
        ({"train": {"margin_loss_m2": -0.1}}, ["margin_loss_m2 is -0.1", "0 or more"]),
        ({"encoders": {"x": {"family": "openclip"}}}, ["encoders.x.family is 'openclip'", "did you mean 'open_clip'"]),
        ({"encoders": {"x": {"family": "timm"}}}, ["encoders.x.architecture is missing"]),
        ({"encoders": {"x": {"family": "timm", "architecture": "resnet18"}}}, ["encoders.x needs exactly one"]),
        ({"encoders": {"vit-h": {"match": "name"}}}, ["encoders.vit-h.match has no meaning"]),
        ({"encoders": {"x": {"family": "transformers", "architecture": "vit"}}}, ["encoders.x.architecture", "hf-hub:"]),
        (
            {"encoders": {"x": {"family": "transformers", "architecture": "hf-hub:a/b", "image_px": 64}}},
            ["encoders.x.image_px has no meaning for transformers"],
        ),
        ({"embed": {"shards": 0}}, ["embed.shards is 0", "1 or more"]),
        ({"captioners": {"x": {"kind": "file"}}}, ["captioners.x.path is missing"]),
        ({"dataset": None}, ["dataset is None", "a mapping"]),
    ],
)  # fmt: skip
def test_a_fault_is_one_sentence_with_key_value_and_what_is_allowed(overrides, words):
    with pytest.raises(ConfigError) as caught:
        complete(merged(overrides))
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("config: ")
    for word in words:
        assert word in message


@pytest.mark.parametrize("old", MOVED)
def test_an_old_key_is_answered_with_its_new_name(old):
    overrides = 0.3
    for part in reversed(old.split(".")):
        overrides = {part: overrides}
    with pytest.raises(ConfigError, match=rf"config: {old} is called {MOVED[old]} now"):
        complete(merged(overrides))


def test_the_old_list_of_seeds_is_answered_with_its_new_name():
    with pytest.raises(ConfigError, match=r"seeds is \[5, 6\]; that is called seeds.training now"):
        complete(merged({"seeds": [5, 6]}))


@pytest.mark.parametrize(("word", "chosen", "other"), [("layout", "folders", "table"), ("source", "folder", "draw")])
def test_a_section_of_what_is_not_chosen_is_refused(word, chosen, other):
    with pytest.raises(ConfigError, match=rf"dataset.{other} is for {word}: {other}, and dataset.{word} is {chosen}"):
        complete(merged({"dataset": {word: chosen, other: {}}}))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_section_of_the_layout_has_its_defaults(layout):
    config = merged({"dataset": {"layout": layout}})
    complete(config)
    assert {name for name in LAYOUTS if name in config["dataset"]} == ({layout} if layout != "vlm4bio" else set())
    assert config["dataset"].get(layout, {}) == defaults_of(LAYOUTS[layout].settings)


def test_what_a_config_leaves_out_has_the_default():
    only = {"encoders": DEFAULT["encoders"], "captioners": DEFAULT["captioners"]}
    complete(only)
    whole = merged({})
    complete(whole)
    assert only == whole


@pytest.mark.parametrize("section", [Config, *(layout.settings for layout in LAYOUTS.values())])
def test_schemas_are_schemas_and_defaults_fit_them(section):
    """In every section within, too; a key without words would be one that nobody can look up."""
    schema, defaults = schema_of(section), defaults_of(section)
    jsonschema.Draft202012Validator.check_schema(schema)
    if section is Config:
        defaults |= {"encoders": DEFAULT["encoders"]}
    jsonschema.validate(defaults, schema)

    def keys_without_words(one):
        for field in fields(one):
            kind = types_of(one)[spelled(field)]
            yield from keys_without_words(kind) if is_dataclass(kind) else () if field.metadata["words"] else (field,)

    assert {spelled(field) for field in keys_without_words(section)} <= {"encoders", "captioners"}


def test_a_name_that_can_be_read_in_two_ways_is_refused():
    clip = {"family": "open_clip", "architecture": "ViT-B-32", "seed": 1}
    # 'a-text-image-k500' is the captions of captioner 'image' embedded by 'a', or the pictures embedded by 'a-text'.
    overrides = {
        "encoders": {"a": clip, "a-text": clip},
        "captioners": {"image": {"kind": "template", "template": "x"}},
        "labels": {"teachers": ["a"], "features": ["text-image"], "k": [500]},
    }
    with pytest.raises(ConfigError, match="can be read in two ways"):
        complete(merged(overrides))
