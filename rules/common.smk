# Names and checks that the rules share; where files lie is in src/cladeclip/paths.py and plan.py. Nothing here imports torch.
import sys
import time
from pathlib import Path

# The folder of this workflow, also where another one uses it as a module.
HOME = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parent
SOURCE, SCRIPTS = str(HOME / "src"), HOME / "workflow/scripts"
sys.path.insert(0, SOURCE)

from cladeclip import plan
from cladeclip.config.check import check_other_results, complete
from cladeclip.config.described import deciding, ordered
from cladeclip.config.sections import Addresses, Cluster, Config, Curate, Dataset, Folds, Train
from cladeclip.datasets.listing import refresh_listing
from cladeclip.encoders.weights import note_changed_weights
from cladeclip.errors import CladeclipError, ConfigError
from cladeclip.io.atomic import sha256_of_file
from cladeclip.run.fingerprint import remember
from cladeclip.run.job_environment import prepare_environment
from cladeclip.names import (
    FEATURES,
    MODEL,
    NAME,
    SPLIT,
    ClusterLabels,
    Model,
    NearestLabels,
    ShuffledLabels,
    parse_labels,
)
from cladeclip.training.specs import chosen_places, reader_of
from cladeclip.run.staleness import code_of_captions, code_of_rows, code_of_script

prepare_environment(SOURCE)
# A minute early, since the clocks of a cluster may differ.
STARTED = time.time() - 60


def stop(error):
    """Ends snakemake with one sentence instead of a traceback."""
    print(f"\n{error}\n", file=sys.stderr)
    sys.exit(1)


try:
    complete(config)
    check_other_results(config["report"])
    # The paths in tables and jobs are relative to one folder, which also holds files that rules do not declare.
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
FILES = plan.Files(config)
RESULTS, WEIGHTS = FILES.results, FILES.weights
ENVIRONMENT = "../envs/cladeclip.yaml"
ENCODERS, SEEDS = config["encoders"], config["seeds"]

# Snakemake does not see changes inside a folder: weights and data are looked at here, once a command.
if workflow.is_main_process:
    note_changed_weights(config["weights"])
    if DATASET["source"] == "folder" and not Path(ROOT).is_dir():
        print(
            f"{ROOT}: no such folder. A plan can be made without it, a run cannot: set dataset.root.", file=sys.stderr
        )
    elif Path(RESULTS.table("listing")).exists() and Path(ROOT).is_dir():
        try:
            refresh_listing(ROOT, Path(RESULTS.table("listing")))
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
    model=MODEL,


def code(script, *models, chosen=()):
    """The fingerprint of a script that loads these models and no others: stale code is a changed param."""
    return code_of_script(SCRIPTS / f"{script}.py", families(models), tuple(chosen))


def families(models):
    """Those of encoders and trained students."""
    return frozenset(map(family_of, models))


def family_of(model):
    return known("encoders", plan.encoder_of(model))["family"]


def known(section, name):
    """The entry of `encoders:` or `captioners:` that a path names."""
    if name not in config[section]:
        raise WorkflowError(f"'{name}' is not defined in `{section}:`.")
    return config[section][name]


def script_of(name):
    return f"../workflow/scripts/{name}.py"


def labels_of(wildcards):
    return parse_labels(wildcards.labels, ENCODERS)


def read_by(wildcards):
    """What reads the tables that a student learns from."""
    return reader_of(labels_of(wildcards)).place


def chosen_of(wildcards):
    """What the labels and the loss choose of the training's code."""
    return chosen_places(labels_of(wildcards), config["train"]["loss"])


def shuffled_by(wildcards):
    """The seed by which labels are dealt to other images; None for labels that are not shuffled."""
    return SEEDS["clusters"] if isinstance(labels_of(wildcards), ShuffledLabels) else None


TEMPLATES = sorted(
    path for kind in ("html", "css", "js") for path in Path(SOURCE, "cladeclip/reporting").rglob(f"*.{kind}")
)


def digests(page):
    """Of the templates, styles and scripts of a page: those of its own name are no other page's."""
    other = {"report": "curate", "curate": "sections"}[page]
    return [sha256_of_file(path)[:16] for path in TEMPLATES if path.stem != other and path.parent.name != other]
