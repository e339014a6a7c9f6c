"""What a run consists of: the labels, models and files that a config asks for, by their names in paths.

Imports nothing heavy, since every `snakemake` command runs it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from cladeclip.captioning.specs import kind_named
from cladeclip.encoders.specs import Family, family_named
from cladeclip.names import (
    ClusterLabels,
    ControlLabels,
    Distillation,
    Features,
    JointLabels,
    Model,
    NearestLabels,
    Split,
    parse_labels,
    teachers_labels,
)
from cladeclip.paths import Results, Weights

# Tables of every model on every split, and of every model on open splits. Their contracts are in tables.py; the names are
# repeated here, since importing it is slow.
EVALUATION_TABLES = (
    "accuracy",
    "predictions",
    "neighbours",
    "knn",
    "retrieval",
    "classes",
    "confusions",
    "one_by_one",
    "probe",
    "held_out",
)
HIERARCHY_TABLES = ("hierarchy", "coverage", "novelty", "taxonomic_answers")
CURATION_TABLES = ("suspects", "duplicates", "outliers", "candidates")
# Tables of which a run has one each, for later stages or for people.
TABLES_OF_A_RUN = ("images", "quarantine", "names", "comparison", "changes")


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
    """The {labels} names of a split: all, or those that `labels.only` lists for it."""
    only = config["labels"]["only"].get(split)
    return [name for name in all_labels(config) if only is None or name in only]


def tables_on(config: Mapping[str, Any], split: str) -> list[str]:
    """The {labels} names of the tables of single labels that those of a split are, or are made of."""
    return list(dict.fromkeys(table for name in labels_on(config, split) for table in tables_of(config, name)))


def tables_of(config: Mapping[str, Any], name: str) -> list[str]:
    """The same of one {labels} name."""
    labels = parse_labels(name, config["encoders"])
    return [name] if isinstance(labels, ControlLabels) else [str(one) for one in labels.clusters]


def primary_labels(config: Mapping[str, Any]) -> str | None:
    """The clusters that the planned comparison is about: the first teacher's first features at the primary k."""
    labels = config["labels"]
    if not (labels["teachers"] and labels["features"] and labels["k"]):
        return None
    return str(ClusterLabels(labels["teachers"][0], labels["features"][0], config["report"]["primary"]["k"]))


def clustered_features(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is clustered or distilled: teacher and features."""
    found = [teachers_labels(parse_labels(name, config["encoders"])) for name in all_labels(config)]
    return list(dict.fromkeys((one.teacher, one.features) for one in found if one is not None))


def teachers(config: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys([*config["labels"]["teachers"], *(teacher for teacher, _ in clustered_features(config))]))


def trained_models(config: Mapping[str, Any], split: str) -> list[str]:
    """The {model} names of what is trained on a split."""
    return list(map(str, _trained(config, split)))


def _trained(config: Mapping[str, Any], split: str) -> list[Model]:
    return [
        Model(student, labels, seed)
        for student in config["students"]
        for labels in labels_on(config, split)
        for seed in config["seeds"]["training"]
    ]


def interpolated_models(config: Mapping[str, Any], split: str) -> list[str]:
    """The {model} names of what lies between trained and untrained students."""
    between = percents(config)
    return [str(replace(one, percent=percent)) for one in _trained(config, split) for percent in between]


def percents(config: Mapping[str, Any]) -> list[int]:
    """The shares of `train.interpolate`, as they stand in names."""
    return [round(100 * share) for share in config["train"]["interpolate"]]


def students_made(config: Mapping[str, Any], split: str) -> list[str]:
    """Every student of a split that the run makes, trained or between trained and untrained."""
    return [*trained_models(config, split), *interpolated_models(config, split)]


def trainings(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Every training of the run, as split and model."""
    return [(split, model) for split in config["splits"] for model in trained_models(config, split)]


def checkpoints(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Every student that the run makes, as split and model."""
    return [(split, model) for split in config["splits"] for model in students_made(config, split)]


def all_models(config: Mapping[str, Any], split: str) -> list[str]:
    """Everything that is evaluated on a split: trained students, those between trained and untrained, the same students
    untrained, and the baselines."""
    return list(dict.fromkeys([*students_made(config, split), *config["students"], *config["baselines"]]))


def encoders_in_use(config: Mapping[str, Any]) -> list[str]:
    """The encoders whose weights are needed."""
    twins = config["folds"]["near_duplicates"]
    asked = [twins["encoder"]] if twins else []
    return list(dict.fromkeys([*teachers(config), *config["students"], *config["baselines"], *asked]))


def models_that_name(config: Mapping[str, Any]) -> list[str]:
    """Models that name pictures without a species: students of the primary clusters, else all students, else baselines."""
    labels = primary_labels(config)
    trained = trained_models(config, config["report"]["primary"]["split"])
    of_clusters = [name for name in trained if labels and (model := Model.parse(name)) and model.labels == labels]
    return of_clusters or trained or config["baselines"]


def models_that_caption(config: Mapping[str, Any]) -> list[str]:
    """The captioners in use that need a model."""
    used = {Features.parse(features).captioner for _, features in clustered_features(config)}
    return [
        name for name, captioner in config["captioners"].items() if name in used and kind_named(captioner["kind"]).model
    ]


def encoder_of(model: str) -> str:
    """The encoder that a model is, or was before its training."""
    trained = Model.parse(model)
    return trained.student if trained else model


class Files:
    """The files of a run, in the order of its models."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config
        self.results = Results(f"results/{config['dataset']['name']}")
        self.weights = Weights(config["weights"])
        self.primary_split: str = config["report"]["primary"]["split"]

    def family(self, model: str) -> Family:
        return family_named(self.config["encoders"][encoder_of(model)]["family"])

    def models(self, splits: Iterable[str] | None = None) -> list[tuple[str, str]]:
        """Everything that is evaluated, as split and model."""
        splits = self.config["splits"] if splits is None else splits
        return [(split, model) for split in splits for model in all_models(self.config, split)]

    def evaluations(self, table: str, splits: Iterable[str] | None = None) -> list[str]:
        return [self.results.evaluation(split, model, table) for split, model in self.models(splits)]

    def zero_shot(self) -> list[str]:
        """The zero-shot tables of encoders with a text tower, if `eval.zero_shot` is set."""
        if not self.config["eval"]["zero_shot"]:
            return []
        readers = [(split, model) for split, model in self.models() if self.family(model).reads_text]
        return [self.results.evaluation(split, model, "zero_shot") for split, model in readers]

    def hierarchies(self) -> list[str]:
        """The tables of hierarchical classification, for open splits, where some species are new; without the students
        between trained and untrained."""
        open_splits = [split for split in self.config["splits"] if Split.parse(split).is_open]
        models = [
            (split, name)
            for split, name in self.models(open_splits)
            if (model := Model.parse(name)) is None or model.percent == 100
        ]
        return [self.results.evaluation(*model, table) for table in HIERARCHY_TABLES for model in models]

    def unnamed(self) -> list[str]:
        """The names for pictures without a species, if these are kept."""
        named = models_that_name(self.config) if self.config["dataset"]["unnamed"] == "keep" else []
        return [self.results.unnamed(self.primary_split, model, "csv") for model in named]

    def labels(self, ending: str = "parquet", *, clusters_only: bool = False) -> list[str]:
        """The tables of single labels of every split; with `clusters_only`, without controls, which have no centroids."""
        return [
            self.results.labels(split, name, ending)
            for split in self.config["splits"]
            for name in tables_on(self.config, split)
            if not (clusters_only and isinstance(parse_labels(name, self.config["encoders"]), ControlLabels))
        ]

    def qualities_of(self, split: str, name: str) -> list[str]:
        """How good the labels are, or the clusters that they are made of."""
        return [self.results.labels(split, table, "quality.json") for table in tables_of(self.config, name)]

    def several_labels(self) -> list[str]:
        """The tables of several labels an image, of every split."""
        return [
            self.learned_from(split, name)[0]
            for split in self.config["splits"]
            for name in labels_on(self.config, split)
            if isinstance(teachers_labels(parse_labels(name, self.config["encoders"])), NearestLabels)
        ]

    def learned_from(self, split: str, name: str) -> list[str]:
        """The tables that a student of these labels learns from."""
        labels = parse_labels(name, self.config["encoders"])
        match teachers_labels(labels):
            case JointLabels() as joint:
                return [self.results.labels(split, str(one)) for one in joint.clusters]
            case Distillation() as distilled:
                return [self.results.features(distilled.teacher, distilled.features), self.results.split(split)]
            case one:
                return [self.results.labels(split, name if one is None else str(one))]

    def checkpoints(self, file: str = "model.safetensors") -> list[str]:
        """A file of every checkpoint; of the trainings alone where the others do not have it."""
        models = trainings(self.config) if file == "training.csv" else checkpoints(self.config)
        return [self.results.checkpoint(split, model, file) for split, model in models]

    def histories_shown(self) -> list[str]:
        """The training histories (training.csv) on the primary split."""
        trained = trained_models(self.config, self.primary_split)
        return [self.results.checkpoint(self.primary_split, model, "training.csv") for model in trained]

    def releases(self) -> list[str]:
        return [self.results.release(split, model) for split, model in trainings(self.config)]

    def store(self) -> str:
        """The reduced pictures that trainings read."""
        return self.results.store(self.config["train"]["store_px"])

    def encoder_records(self) -> list[str]:
        """The encoder.json of every encoder in use."""
        return [self.weights.encoder(encoder) for encoder in encoders_in_use(self.config)]

    def captioner_records(self) -> list[str]:
        return [self.weights.captioner(captioner) for captioner in models_that_caption(self.config)]

    def weights_of(self, model: str, split: str) -> str:
        """The encoder.json of a model, which says which weights it has."""
        return (
            self.results.checkpoint(split, model, "encoder.json") if Model.parse(model) else self.weights.encoder(model)
        )

    def teachers_features(self) -> list[str]:
        """The clustered features, and the captions and embeddings that they are made from."""
        paths = []
        for teacher, features in clustered_features(self.config):
            parsed, made_of = Features.parse(features), [features]
            if parsed.captioner:
                paths.append(self.results.captions(parsed.captioner))
            if parsed.kind == "fused":
                made_of += ["image", f"text-{parsed.captioner}"]
            paths += [self.results.features(teacher, one) for one in made_of]
        return paths

    def mapped(self) -> list[str]:
        """Embeddings that the report's map may show; which models it shows is known only after the comparison."""
        models = [*all_models(self.config, self.primary_split), *teachers(self.config)]
        return sorted({self.results.embeddings(model, self.primary_split) for model in models})

    def students_shown(self) -> list[str]:
        """The weights of the students, before and after training on the primary split."""
        models = [*self.config["students"], *trained_models(self.config, self.primary_split)]
        return [self.weights_of(model, self.primary_split) for model in models]

    def all(self) -> list[str]:
        """The default targets of `snakemake`. Each product is listed, so that a deleted one is made again."""
        return [
            self.results.file("report.html"),
            self.results.file("manifest.json"),
            *self.checkpoints(),
            *self.evaluations("accuracy"),
            *self.zero_shot(),
            *self.hierarchies(),
            *self.unnamed(),
        ]

    def listed(self) -> list[str]:
        """What the manifest lists: every result but what is drawn, the summary and the page."""
        return sorted(
            {
                *map(self.results.table, TABLES_OF_A_RUN),
                self.results.file("comparison.csv"),
                *map(self.results.split, self.config["splits"]),
                *(path for table in EVALUATION_TABLES for path in self.evaluations(table)),
                *self.zero_shot(),
                *self.hierarchies(),
                *self.labels(),
                *self.labels("quality.json"),
                *self.labels("centroids.parquet", clusters_only=True),
                *self.several_labels(),
                *self.checkpoints(),
                *self.checkpoints("encoder.json"),
                *self.checkpoints("training.csv"),
                *([self.store()] if trainings(self.config) else []),
                *self.teachers_features(),
                *(self.results.embeddings(model, split) for split, model in self.models()),
            }
        )
