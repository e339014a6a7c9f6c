# Paths, names and checks that the rules share. Nothing here imports torch.
import os
import sys
from pathlib import Path

# Jobs find the package in this checkout, also in environments where it is not installed (--sdm conda).
SOURCE = str(Path(workflow.basedir, "src"))
sys.path.insert(0, SOURCE)
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [SOURCE, os.environ.get("PYTHONPATH")]))
# Jobs run without internet: what must be downloaded is downloaded by the fetch rules.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from cladeclip.atomic import sha256_of_file
from cladeclip.config import validate
from cladeclip.datasets.listing import refresh_listing
from cladeclip.errors import CladeclipError
from cladeclip.fingerprint import fingerprint_of
from cladeclip.names import FEATURES, NAME, SPLIT, ClusterLabels, Model


def stop(error):
    """Ends snakemake with one sentence instead of a traceback."""
    print(f"\n{error}\n", file=sys.stderr)
    sys.exit(1)


try:
    validate(config, Path(workflow.basedir, "config/schema.yaml"))
except CladeclipError as error:
    stop(error)

DATASET = config["dataset"]
ROOT = DATASET["root"]
RESULTS = f"results/{DATASET['name']}"
LOGS = f"{RESULTS}/logs"
BENCHMARKS = f"{RESULTS}/benchmarks"
WEIGHTS = config["weights"]
ENVIRONMENT = "../envs/cladeclip.yaml"
ENCODERS = config["encoders"]
STUDENTS = config["students"]

# Snakemake does not see changes inside a folder: the listing of the data is brought up to date here, once a command.
if workflow.is_main_process and Path(RESULTS, "listing.parquet").exists() and Path(ROOT).is_dir():
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


def code(script):
    """The fingerprint of a script and of all package code that it reaches, as a param: stale code is a changed param."""
    return fingerprint_of(Path(workflow.basedir, "workflow/scripts", f"{script}.py"))


def script_of(name):
    return f"../workflow/scripts/{name}.py"


def all_labels():
    """The {labels} names that the config asks for."""
    labels = config["labels"]
    clusters = [
        str(ClusterLabels(teacher, features, k))
        for teacher in labels["teachers"]
        for features in labels["features"]
        for k in labels["k"]
    ]
    return clusters + labels["controls"]


def trained_models():
    return [
        str(Model(student, labels, seed))
        for student in STUDENTS
        for labels in all_labels()
        for seed in config["seeds"]
    ]


def all_models():
    """Everything that is evaluated: trained students, the same students untrained, and the baselines."""
    return list(dict.fromkeys([*trained_models(), *STUDENTS, *config["baselines"]]))


def checkpoints():
    return [
        f"{RESULTS}/{split}/checkpoints/{model}/model.safetensors"
        for split in config["splits"]
        for model in trained_models()
    ]


def evaluations(table="accuracy"):
    return [
        f"{RESULTS}/{split}/evaluation/{model}/{table}.parquet"
        for split in config["splits"]
        for model in all_models()
    ]


def cluster_qualities():
    return [
        f"{RESULTS}/{split}/clusters/{labels}.quality.json"
        for split in config["splits"]
        for labels in all_labels()
    ]


def embeddings_path(model, split):
    """A trained student's embeddings lie below its split, those of other encoders do not."""
    place = f"{split}/" if Model.parse(model) else ""
    return f"{RESULTS}/{place}embeddings/{model}/image.parquet"
