"""What a config asks for, by the names that stand in paths: what is trained, and which encoders and captioners that takes.

Imports nothing heavy, since every `snakemake` command runs it.
"""

from collections.abc import Mapping
from typing import Any

from cladeclip.names import ClusterLabels, Features, Model, parse_labels


def cluster_labels(config: Mapping[str, Any]) -> list[str]:
    """The {labels} names of the clusters: every teacher x features x k, and those of `labels.also`."""
    labels = config["labels"]
    crossed = [
        str(ClusterLabels(teacher, features, k))
        for teacher in labels["teachers"]
        for features in labels["features"]
        for k in labels["k"]
    ]
    return list(dict.fromkeys([*crossed, *labels["also"]]))


def all_labels(config: Mapping[str, Any]) -> list[str]:
    """The {labels} names, of clusters and controls."""
    return cluster_labels(config) + config["labels"]["controls"]


def labels_on(config: Mapping[str, Any], split: str) -> list[str]:
    """Those that a split has: all, or what `labels.only` names for it."""
    only = config["labels"]["only"].get(split)
    return [name for name in all_labels(config) if only is None or name in only]


def primary_labels(config: Mapping[str, Any]) -> str | None:
    """The clusters that the planned comparison is about: the first teacher's first features at the primary k."""
    labels = config["labels"]
    if not (labels["teachers"] and labels["features"] and labels["k"]):
        return None
    return str(ClusterLabels(labels["teachers"][0], labels["features"][0], config["report"]["primary"]["k"]))


def clustered_features(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is clustered: teacher and features."""
    labels = config["labels"]
    crossed = [(teacher, features) for teacher in labels["teachers"] for features in labels["features"] if labels["k"]]
    also = [parse_labels(name, config["encoders"]) for name in labels["also"]]
    alone = [(one.teacher, one.features) for one in also if isinstance(one, ClusterLabels)]
    return list(dict.fromkeys([*crossed, *alone]))


def teachers(config: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys([*config["labels"]["teachers"], *(teacher for teacher, _ in clustered_features(config))]))


def trained_models(config: Mapping[str, Any], split: str) -> list[str]:
    """The {model} names of what is trained on a split."""
    return [
        str(Model(student, labels, seed))
        for student in config["students"]
        for labels in labels_on(config, split)
        for seed in config["seeds"]
    ]


def trainings(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Every training of the run, as split and model."""
    return [(split, model) for split in config["splits"] for model in trained_models(config, split)]


def all_models(config: Mapping[str, Any], split: str) -> list[str]:
    """Everything that is evaluated on a split: trained students, the same students untrained, and the baselines."""
    return list(dict.fromkeys([*trained_models(config, split), *config["students"], *config["baselines"]]))


def encoders_in_use(config: Mapping[str, Any]) -> list[str]:
    """The encoders whose weights are needed."""
    twins = config["split"]["near_duplicates"]
    asked = [twins["encoder"]] if twins else []
    return list(dict.fromkeys([*teachers(config), *config["students"], *config["baselines"], *asked]))


def models_that_name(config: Mapping[str, Any]) -> list[str]:
    """Those that name pictures without a species: the students of the primary clusters, or else the baselines."""
    labels = primary_labels(config)
    trained = trained_models(config, config["report"]["primary"]["split"])
    of_clusters = [name for name in trained if labels and (model := Model.parse(name)) and str(model.labels) == labels]
    return of_clusters or trained or config["baselines"]


def models_that_caption(config: Mapping[str, Any]) -> list[str]:
    """The captioners in use that need a model."""
    used = {Features.parse(features).captioner for _, features in clustered_features(config)}
    return [
        name for name, captioner in config["captioners"].items() if name in used and captioner["kind"] == "internvl"
    ]
