"""What a config asks for, by the names that stand in paths: what is trained, and which encoders and captioners that takes.

Imports nothing heavy, since every `snakemake` command runs it.
"""

from collections.abc import Mapping
from typing import Any

from cladeclip.names import ClusterLabels, Features, Model


def cluster_labels(config: Mapping[str, Any]) -> list[str]:
    """The {labels} names of the clusters."""
    labels = config["labels"]
    return [
        str(ClusterLabels(teacher, features, k))
        for teacher in labels["teachers"]
        for features in labels["features"]
        for k in labels["k"]
    ]


def all_labels(config: Mapping[str, Any]) -> list[str]:
    """The {labels} names, of clusters and controls."""
    return cluster_labels(config) + config["labels"]["controls"]


def trained_models(config: Mapping[str, Any]) -> list[str]:
    """The {model} names of what is trained, on each split."""
    return [
        str(Model(student, labels, seed))
        for student in config["students"]
        for labels in all_labels(config)
        for seed in config["seeds"]
    ]


def encoders_in_use(config: Mapping[str, Any]) -> list[str]:
    """The encoders whose weights are needed."""
    return list(dict.fromkeys([*config["labels"]["teachers"], *config["students"], *config["baselines"]]))


def models_that_caption(config: Mapping[str, Any]) -> list[str]:
    """The captioners in use that need a model."""
    used = {Features.parse(features).captioner for features in config["labels"]["features"]}
    return [
        name for name, captioner in config["captioners"].items() if name in used and captioner["kind"] == "internvl"
    ]
