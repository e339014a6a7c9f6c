import pytest

from cladeclip.errors import ConfigError
from cladeclip.names import ClusterLabels, ControlLabels, Features, Model, Split, parse_labels

ENCODERS = ["vit-h", "vit-h-14", "lite0"]


@pytest.mark.parametrize(
    "labels",
    [
        ClusterLabels("vit-h", "fused-internvl", 500),
        ClusterLabels("vit-h-14", "image", 2),
        ClusterLabels("lite0", "text-my-captions", 10),
        ControlLabels("species"),
        ControlLabels("random", 54),
    ],
)
def test_labels_are_read_back_from_their_name(labels):
    assert parse_labels(str(labels), ENCODERS) == labels


@pytest.mark.parametrize("name", ["vit-x-image-k5", "random", "lite0-image", "lite0-k5", "family", ""])
def test_other_names_are_no_labels(name):
    with pytest.raises(ConfigError):
        parse_labels(name, ENCODERS)


def test_models_are_read_back_from_their_name():
    model = Model("vit-b-32", "vit-h-fused-internvl-k500", 5)
    assert Model.parse(str(model)) == model
    assert Model.parse("vit-b-32") is None


def test_features():
    assert Features.parse("fused-internvl") == Features("fused", "internvl")
    assert Features.parse("image") == Features("image", None)
    with pytest.raises(ConfigError):
        Features.parse("fused")


@pytest.mark.parametrize("split", [Split("all"), Split("holdout", 0), Split("open", 12)])
def test_splits_are_read_back_from_their_name(split):
    assert Split.parse(str(split)) == split
    assert (split.is_holdout, split.is_open) == (split.protocol == "holdout", split.protocol == "open")


@pytest.mark.parametrize("name", ["", "holdout", "holdout-", "open-x", "all-1", "openly-1"])
def test_other_names_are_no_splits(name):
    with pytest.raises(ConfigError, match="names no split"):
        Split.parse(name)
