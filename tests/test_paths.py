import inspect
import re

from conftest import REPOSITORY

from cladeclip.names import NAME, SPLIT, Model
from cladeclip.paths import Results, Weights

TRAINED = str(Model("vit-b-32", "vit-h-image-k9", 5))
# A value of every name that stands in a path.
VALUES = {
    "name": "comparison",
    "side": "224",
    "captioner": "internvl",
    "encoder": "vit-h",
    "features": "text-internvl",
    "place": "holdout-0/",
    "model": TRAINED,
    "split": "holdout-0",
    "shard": "1-of-2",
    "rows": "images",
    "of": "vit-h",
    "labels": "vit-h-image-k9",
    "ending": "csv",
    "file": "training.csv",
    "table": "accuracy",
    "job": "train/holdout-0",
}


def layout(of, values):
    """What each method spells, with these values of its arguments."""
    found = {}
    for name, method in inspect.getmembers(of, inspect.ismethod):
        if not name.startswith("_"):
            arguments = list(inspect.signature(method).parameters)
            found[name] = method(*(values[argument] for argument in arguments))
    return found


def test_no_two_files_lie_at_one_place():
    paths = layout(Results("results/demo"), VALUES) | layout(Weights("weights"), VALUES)
    assert len(set(paths.values())) == len(paths) > 20
    assert all(path.startswith(("results/demo/", "weights/")) for path in paths.values())


def test_names_may_be_wildcards():
    wildcards = {name: f"{{{name}}}" for name in VALUES} | {"model": VALUES["model"]}
    for name, path in layout(Results("results/demo"), wildcards).items():
        assert path.format(**VALUES) == layout(Results("results/demo"), VALUES)[name]


def test_a_trained_students_embeddings_lie_below_its_split_and_others_once_a_run():
    results = Results("r")
    assert results.embeddings(TRAINED, "open-0") == f"r/open-0/embeddings/{TRAINED}/image.parquet"
    assert (
        results.embeddings("vit-h", "open-0")
        == results.features("vit-h", "image")
        == "r/embeddings/vit-h/image.parquet"
    )


def test_nobody_else_spells_where_results_lie():
    """In rules and package, folders of results are named in paths.py alone."""
    folders = "embeddings|evaluation|clusters|checkpoints|captions|identify|unnamed|shards|release"
    spelled = re.compile(rf"""\{{RESULTS\}}|\{{WEIGHTS\}}/|/ "({folders})"|/({folders})/\{{""")
    code = [*(REPOSITORY / "rules").glob("*.smk"), *(REPOSITORY / "workflow" / "scripts").glob("*.py")]
    code += (REPOSITORY / "src" / "cladeclip" / "reporting").rglob("*.py")
    found = [
        f"{path.name}: {line.strip()}"
        for path in code
        for line in path.read_text().splitlines()
        if spelled.search(line) and "message" not in line and "Bringing" not in line and "Every trained" not in line
    ]
    assert not found


def test_splits_are_told_apart_from_names():
    assert not re.fullmatch(SPLIT, "vit-h")
    assert re.fullmatch(NAME, "holdout-0")  # which is why a student's embeddings need the place before them
