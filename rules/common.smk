# Paths, names and checks that the rules share. Nothing here imports torch.
import hashlib
import sys
import time
from pathlib import Path

# The folder of this workflow, also where another one uses it as a module.
HOME = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parent
SOURCE = str(HOME / "src")
sys.path.insert(0, SOURCE)

from cladeclip import plan
from cladeclip.atomic import sha256_of_file
from cladeclip.config import check_other_results, drop_nulls, validate
from cladeclip.datasets.listing import pictures_below, refresh_listing
from cladeclip.encoders.weights import OPEN_CLIP_CONFIG, TIMM_CONFIG, UNICOM_CONFIG, note_changed_weights
from cladeclip.errors import CladeclipError, ConfigError
from cladeclip.fingerprint import remember
from cladeclip.job_environment import prepare_environment
from cladeclip.names import FEATURES, NAME, SPLIT, ClusterLabels, Features, Model, embeddings_file
from cladeclip.shards import shard_names
from cladeclip.staleness import code_of_rows, code_of_script

prepare_environment(SOURCE)
# With some seconds for clocks of a cluster that differ.
STARTED = time.time() - 60


def stop(error):
    """Ends snakemake with one sentence instead of a traceback."""
    print(f"\n{error}\n", file=sys.stderr)
    sys.exit(1)


try:
    drop_nulls(config)
    validate(config, HOME / "config/schema.yaml")
    check_other_results(config["report"])
    # The paths that tables and jobs name are those of one folder; much in it stands beside what rules declare.
    if workflow.storage_settings.default_storage_provider:
        raise ConfigError(
            "--default-storage-provider: results, weights and pictures lie in a folder that all nodes see; leave the "
            "option out, and set `directory` in the profile to a folder on shared or scratch space."
        )
    if " " in sys.executable:
        raise ConfigError(
            f"{sys.executable}: jobs cannot be started by a Python whose path has a space; move the folder to a path "
            "without, and run `make setup` there."
        )
except CladeclipError as error:
    stop(error)

DATASET = config["dataset"]
ROOT = DATASET["root"]
RESULTS = f"results/{DATASET['name']}"
LOGS = f"{RESULTS}/logs"
BENCHMARKS = f"{RESULTS}/benchmarks"
WEIGHTS = config["weights"]
SHARD = ".{shard}" if config["embed"]["shards"] > 1 else ""
ENVIRONMENT = "../envs/cladeclip.yaml"
ENCODERS = config["encoders"]
STUDENTS = config["students"]
TRAININGS = plan.trainings(config)
# The contracts of these tables are in tables.py, which takes longer to import than to repeat.
HIERARCHY_TABLES = ("hierarchy", "coverage", "novelty", "taxonomic_answers")
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
# What says how a checkpoint of this family is loaded.
CHECKPOINT_CONFIGS = {
    "open_clip": OPEN_CLIP_CONFIG,
    "timm": TIMM_CONFIG,
    "transformers": TIMM_CONFIG,
    "unicom": UNICOM_CONFIG,
}

# Snakemake does not see changes inside a folder: weights and data are looked at here, once a command.
if workflow.is_main_process:
    note_changed_weights(WEIGHTS)
    if DATASET["source"] == "folder" and not Path(ROOT).is_dir():
        print(
            f"{ROOT}: no such folder. A plan can be made without it, a run cannot: set dataset.root.", file=sys.stderr
        )
    elif Path(RESULTS, "listing.parquet").exists() and Path(ROOT).is_dir():
        try:
            refresh_listing(ROOT, Path(RESULTS, "listing.parquet"))
        except CladeclipError as error:
            stop(error)


wildcard_constraints:
    split=SPLIT,
    encoder=NAME,
    captioner=NAME,
    features=FEATURES,
    labels=NAME,
    student=NAME,
    seed=r"\d+",
    model=rf"{NAME}(\.{NAME}\.seed\d+)?",


def code(script, *models):
    """The fingerprint of a script that loads these models (all where none is named): stale code is a changed param."""
    path = HOME / "workflow/scripts" / f"{script}.py"
    return code_of_script(path, families(models)) if models else code_of_script(path)


def families(models):
    """Those of encoders and trained students."""
    trained = {model: Model.parse(model) for model in models}
    return frozenset(encoder_named(of.student if of else model)["family"] for model, of in trained.items())


def encoder_named(encoder):
    if encoder not in ENCODERS:
        raise WorkflowError(f"'{encoder}' is not defined in `encoders:`.")
    return ENCODERS[encoder]


def script_of(name):
    return f"../workflow/scripts/{name}.py"


def ordered(settings):
    """A param that is the same whatever the order of the keys in the config."""
    if isinstance(settings, dict):
        return {key: ordered(settings[key]) for key in sorted(settings)}
    return [ordered(item) for item in settings] if isinstance(settings, list) else settings


def checkpoints(file="model.safetensors"):
    return [f"{RESULTS}/{split}/checkpoints/{model}/{file}" for split, model in TRAININGS]


def checkpoint_configs():
    return [
        f"{RESULTS}/{split}/checkpoints/{model}/{CHECKPOINT_CONFIGS[ENCODERS[Model.parse(model).student]['family']]}"
        for split, model in TRAININGS
    ]


def evaluations(table="accuracy"):
    return [
        f"{RESULTS}/{split}/evaluation/{model}/{table}.parquet"
        for split in config["splits"]
        for model in plan.all_models(config, split)
    ]


def hierarchies():
    """The tables on names at several ranks that the report shows: those of open splits, where some species are new."""
    return [
        path
        for table in HIERARCHY_TABLES
        for path in evaluations(table)
        if path.removeprefix(f"{RESULTS}/").startswith("open-")
    ]


def unnamed_named():
    """What pictures without a species are named, where they are kept."""
    if DATASET["unnamed"] != "keep":
        return []
    split = config["report"]["primary"]["split"]
    return [f"{RESULTS}/{split}/unnamed/{model}.csv" for model in plan.models_that_name(config)]


def label_files(ending, clusters_alone=False):
    kinds = set(plan.cluster_labels(config) if clusters_alone else plan.all_labels(config))
    return [
        f"{RESULTS}/{split}/clusters/{name}.{ending}"
        for split in config["splits"]
        for name in plan.labels_on(config, split)
        if name in kinds
    ]


def encoder_records():
    """What says that the weights of an encoder in use are there, and which they are."""
    return [f"{WEIGHTS}/{encoder}/encoder.json" for encoder in plan.encoders_in_use(config)]


def teachers_features():
    """What is clustered, and the captions and embeddings that it was made of."""
    paths = []
    for teacher, features in plan.clustered_features(config):
        parsed, made_of = Features.parse(features), [features]
        if parsed.captioner:
            paths.append(f"{RESULTS}/captions/{parsed.captioner}.parquet")
        if parsed.kind == "fused":
            made_of += ["image", f"text-{parsed.captioner}"]
        paths += [f"{RESULTS}/embeddings/{teacher}/{one}.parquet" for one in made_of]
    return paths


def on_primary_split(paths):
    split = config["report"]["primary"]["split"]
    return [path for path in paths if path.startswith(f"{RESULTS}/{split}/")]


def embeddings_path(model, split):
    return f"{RESULTS}/{embeddings_file(model, split)}"


def histories_shown():
    """The courses of the trainings on the primary split."""
    return on_primary_split(checkpoints("training.csv"))


def embeddings_mapped():
    """What the report's map can be drawn of: which models it is drawn of shows only when they are compared."""
    split = config["report"]["primary"]["split"]
    return sorted(
        {embeddings_path(model, split) for model in [*plan.all_models(config, split), *plan.teachers(config)]}
    )


def predictions_shown():
    return on_primary_split(evaluations("predictions"))


def models_shown():
    """The students, before and after training on the primary split."""
    split = config["report"]["primary"]["split"]
    return [encoder_of_model(model, split) for model in [*STUDENTS, *plan.trained_models(config, split)]]


def captioner_of(wildcards):
    if wildcards.captioner not in config["captioners"]:
        raise WorkflowError(f"'{wildcards.captioner}' is not defined in `captioners:`.")
    return config["captioners"][wildcards.captioner]


def writes_captions(wildcards):
    """Whether a model does it, and not a template or a table."""
    return captioner_of(wildcards)["kind"] == "internvl"


def caption_file(wildcards):
    captioner = captioner_of(wildcards)
    return captioner["path"] if captioner["kind"] == "file" else []


def caption_model(wildcards):
    return f"{WEIGHTS}/captioners/{wildcards.captioner}/captioner.json" if writes_captions(wildcards) else []


def weight_file_of(wildcards):
    weights = encoder_named(wildcards.encoder).get("weights", "")
    return weights if weights and not weights.startswith("python-package:") else []


def encoder_of_model(model, split):
    """What says which weights a model has: encoder.json, or the weights that a student's training wrote."""
    if Model.parse(model):
        return f"{RESULTS}/{split}/checkpoints/{model}/model.safetensors"
    return f"{WEIGHTS}/{model}/encoder.json"


def encoder_file(wildcards):
    return encoder_of_model(wildcards.encoder, wildcards.place.rstrip("/"))


def with_text_tower(models):
    """Those of the models that can read names."""

    def encoder(model):
        trained = Model.parse(model)
        return ENCODERS[trained.student if trained else model]

    return [model for model in models if encoder(model)["family"] == "open_clip"]


def zero_shot_tables():
    return [
        f"{RESULTS}/{split}/evaluation/{model}/zero_shot.parquet"
        for split in config["splits"]
        for model in with_text_tower(plan.all_models(config, split) if config["eval"]["zero_shot"] else [])
    ]


def needs_gpu(wildcards):
    name = wildcards.get("encoder") or wildcards.model
    return int(ENCODERS.get(name, {}).get("family") != "handcrafted")


def gpus(wanted):
    """How many GPUs a rule asks for (a number, or a function of the wildcards), and of which type if the config names one."""
    asked = {"gpu": wanted}
    if config["gpu_model"]:
        asked["gpu_model"] = lambda wildcards: (
            config["gpu_model"] if (wanted(wildcards) if callable(wanted) else wanted) else ""
        )
    return asked


def megabytes(files):
    """Their size on disk. Snakemake's own input.size_mb starts an event loop each time, seconds in a large plan."""
    return sum(Path(file).stat().st_size for file in files) / 1e6


def counted(input, of):
    """The input of that name, as a list of files; all inputs where there is no name."""
    return [input[of]] if of else input


def tries(attempt, rulename, wildcards):
    """How many times as much a job asks for: on a retry as many as its attempts, but only if one before it began.

    What the cluster refused to start was not killed for its memory or time: it would be refused for more, too.
    """
    log = Path(workflow.get_rule(rulename).log[0].apply_wildcards(wildcards))
    began = attempt > 1 and log.exists() and log.stat().st_mtime > STARTED
    return attempt if began else 1


def memory(base, per_input=0, per_weights=0, of=""):
    """The mem_mb of a rule: `base`, and so many times its inputs and its encoder's weights; as much again on a retry.

    `of` is the input that counts, by its name; all where it is not given.

    Where the inputs are not there yet, Snakemake asks again before the job starts.
    """

    def mem_mb(wildcards, input, attempt, rulename):
        needed = base + (per_input * megabytes(counted(input, of)) if per_input else 0)
        if per_weights:
            # Snakemake knows the error that this raises by the name of the input.
            Path(input.encoder).stat()
            weights = Path(input.encoder).parent.glob("*.safetensors")
            needed += per_weights * megabytes(weights)
        return int(tries(attempt, rulename, wildcards) * needed)

    return mem_mb


def minutes(base, per_mb=0, of=""):
    """The runtime of a rule: `base`, and so many minutes for each MB of its inputs, or of the one named `of`; as much again
    on a retry.
    """

    def runtime(wildcards, input, attempt, rulename):
        needed = base + (per_mb * megabytes(counted(input, of)) if per_mb else 0)
        return int(tries(attempt, rulename, wildcards) * needed)

    return runtime


def of_family(family):
    """A wildcard constraint that only encoders of this family fit."""
    return "|".join(name for name, encoder in ENCODERS.items() if encoder["family"] == family) or "(?!)"


def new_pictures(wildcards):
    """What tells whether the new pictures are others than last time: their names, sizes and times."""
    folder = config["identify"]["images"]
    if not folder:
        raise WorkflowError("config: identify.images is empty; name the folder of the new pictures.")
    try:
        seen = pictures_below(folder).to_csv(index=False)
    except CladeclipError as error:
        raise WorkflowError(f"config: identify.images: {error}") from error
    return hashlib.sha256(seen.encode()).hexdigest()[:16]
