"""What a run consists of: the labels, models and files that a config asks for, by their names in paths.

Imports nothing heavy, since every `snakemake` command runs it.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from cladeclip.captioning.specs import kind_named
from cladeclip.encoders.specs import Family, family_named
from cladeclip.names import ClusterLabels, Features, Model, Split, parse_labels
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
)
HIERARCHY_TABLES = ("hierarchy", "coverage", "novelty", "taxonomic_answers")
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
        for seed in config["seeds"]["training"]
    ]


def trainings(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Every training of the run, as split and model."""
    return [(split, model) for split in config["splits"] for model in trained_models(config, split)]


def all_models(config: Mapping[str, Any], split: str) -> list[str]:
    """Everything that is evaluated on a split: trained students, the same students untrained, and the baselines."""
    return list(dict.fromkeys([*trained_models(config, split), *config["students"], *config["baselines"]]))


def encoders_in_use(config: Mapping[str, Any]) -> list[str]:
    """The encoders whose weights are needed."""
    twins = config["folds"]["near_duplicates"]
    asked = [twins["encoder"]] if twins else []
    return list(dict.fromkeys([*teachers(config), *config["students"], *config["baselines"], *asked]))


def models_that_name(config: Mapping[str, Any]) -> list[str]:
    """Models that name pictures without a species: students of the primary clusters, else all students, else baselines."""
    labels = primary_labels(config)
    trained = trained_models(config, config["report"]["primary"]["split"])
    of_clusters = [name for name in trained if labels and (model := Model.parse(name)) and str(model.labels) == labels]
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
        """The tables of hierarchical classification, for open splits, where some species are new."""
        open_splits = [split for split in self.config["splits"] if Split.parse(split).is_open]
        return [path for table in HIERARCHY_TABLES for path in self.evaluations(table, open_splits)]

    def unnamed(self) -> list[str]:
        """The names for pictures without a species, if these are kept."""
        named = models_that_name(self.config) if self.config["dataset"]["unnamed"] == "keep" else []
        return [self.results.unnamed(self.primary_split, model, "csv") for model in named]

    def labels(self, ending: str, of: Iterable[str] | None = None) -> list[str]:
        """The labels of every split, those among `of`."""
        kinds = set(all_labels(self.config) if of is None else of)
        return [
            self.results.labels(split, name, ending)
            for split in self.config["splits"]
            for name in labels_on(self.config, split)
            if name in kinds
        ]

    def checkpoints(self, file: str = "model.safetensors") -> list[str]:
        return [self.results.checkpoint(split, model, file) for split, model in trainings(self.config)]

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
                *self.labels("parquet"),
                *self.labels("quality.json"),
                *self.labels("centroids.parquet", cluster_labels(self.config)),
                *self.checkpoints(),
                *self.checkpoints("encoder.json"),
                *self.checkpoints("training.csv"),
                *([self.store()] if trainings(self.config) else []),
                *self.teachers_features(),
                *(self.results.embeddings(model, split) for split, model in self.models()),
            }
        )
