import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cladeclip.errors import ConfigError
from cladeclip.names import (
    MODEL,
    NAME,
    ClusterLabels,
    ControlLabels,
    Distillation,
    Features,
    JointLabels,
    Model,
    NearestLabels,
    ShuffledLabels,
    Split,
    parse_labels,
)

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


NUMBERS = st.integers(1, 10_000)
WORDS = st.from_regex(r"[a-z][a-z0-9]{0,3}(-[a-z0-9]{1,3}){0,2}", fullmatch=True)
FEATURES = st.one_of(st.just("image"), WORDS.map("text-{}".format), WORDS.map("fused-{}".format))
OF_TEACHER = st.one_of(
    st.builds(ClusterLabels, WORDS, FEATURES, NUMBERS),
    st.builds(JointLabels, WORDS, FEATURES, st.lists(NUMBERS, min_size=2, max_size=4).map(tuple)),
    st.builds(NearestLabels, WORDS, FEATURES, NUMBERS, NUMBERS),
    st.builds(Distillation, WORDS, FEATURES),
)
LABELS = st.one_of(
    OF_TEACHER,
    st.builds(ShuffledLabels, OF_TEACHER),
    st.builds(ControlLabels, st.just("random"), NUMBERS),
    st.sampled_from([ControlLabels("species"), ControlLabels("genus")]),
)


@given(labels=LABELS, student=WORDS, seed=NUMBERS, percent=st.integers(1, 100))
def test_every_name_is_read_back_alone_and_in_a_models(labels, student, seed, percent):
    of_teacher = getattr(labels, "labels", labels)
    known = [of_teacher.teacher] if hasattr(of_teacher, "teacher") else []
    assert re.fullmatch(NAME, str(labels))
    assert parse_labels(str(labels), known) == labels
    model = Model(student, str(labels), seed, percent)
    assert Model.parse(str(model)) == model
    assert re.fullmatch(MODEL, str(model))
    assert not re.fullmatch(NAME, str(model))
    assert all(one == parse_labels(str(one), known) for one in labels.clusters)


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
