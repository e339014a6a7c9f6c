"""What runs again after which change: the expected jobs were written down from what truly depends on it, before any run.

`python tests/workflow/test_reruns.py` prints docs/reruns.md.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, fields, is_dataclass
from functools import reduce
from operator import getitem
from pathlib import Path

import pytest
import yaml

from cladeclip.config.described import schema_of, spelled, types_of
from cladeclip.config.files import merged
from cladeclip.config.sections import Config

REPOSITORY = Path(__file__).parents[2]
TINY_FILE = Path(__file__).with_name("tiny.yaml")
TINY = yaml.safe_load(TINY_FILE.read_text())
DEFAULTS = yaml.safe_load((REPOSITORY / "config" / "config.yaml").read_text())
# Two students, each trained on one set of clusters and on species; both as they are, and hand-made features.
COMPARED = {"compare": 1, "embeddings_map": 1, "saliency": 1, "report": 1, "manifest": 1}
TRAINED = {"train": 4, "embed": 4, "evaluate": 4, **COMPARED}
CAPTIONED = {
    "caption": 1,
    "embed_text": 1,
    "fuse": 1,
    "cluster": 1,
    "train": 2,
    "embed": 2,
    "evaluate": 2,
}
IMAGES = {
    **{"split": 1, "store": 1, "caption": 1, "embed": 7, "embed_text": 1, "fuse": 1, "cluster": 1, "control": 1},
    **{"train": 4, "evaluate": 7, **COMPARED},
}


@contextmanager
def rewritten(path, change):
    """A file whose bytes are what `change` makes of them."""
    before = path.read_bytes()
    path.write_bytes(change(before))
    try:
        yield None
    finally:
        path.write_bytes(before)


def edited(path, old, new):
    """A file with a piece of its text replaced."""
    assert old.encode() in path.read_bytes(), (path, old)
    return rewritten(path, lambda before: before.replace(old.encode(), new.encode(), 1))


def longer(path):
    """A file with a byte more at its end."""
    return rewritten(path, lambda before: before + b"\0")


@contextmanager
def touched(paths):
    for path in paths:
        os.utime(path)
    yield None


@contextmanager
def removed(path):
    before = path.read_bytes()
    path.unlink()
    try:
        yield None
    finally:
        path.write_bytes(before)


def config(**changes):
    """A change of the config: the settings of a section are merged, all else is replaced."""

    @contextmanager
    def change(checkout) -> Iterator[Path]:
        sections = {
            key: {**TINY.get(key, {}), **value} if isinstance(value, dict) else value for key, value in changes.items()
        }
        yield checkout.with_config(**sections)

    return change


def source(name, old, new):
    return lambda checkout: edited(checkout.folder / "src" / "cladeclip" / name, old, new)


def files_of(checkout, *folders):
    return [path for folder in folders for path in (checkout.folder / folder).rglob("*") if path.is_file()]


def first_picture(checkout):
    return min((checkout.folder / "data" / "tiny").rglob("*.jpg"))


def metadata(checkout):
    return min((checkout.folder / "data" / "tiny").rglob("*.csv"))


@contextmanager
def renamed_picture(checkout):
    path = first_picture(checkout)
    target = path.with_name("Renamed.jpg")
    with edited(metadata(checkout), path.name, target.name):
        path.rename(target)
        try:
            yield None
        finally:
            target.rename(path)


@contextmanager
def picture_without_row(checkout):
    path = first_picture(checkout)
    row = next(line for line in metadata(checkout).read_text().splitlines(keepends=True) if path.name in line)
    with edited(metadata(checkout), row, ""), removed(path):
        yield None


def column_more(checkout):
    return rewritten(metadata(checkout), lambda before: b"".join(line + b",note\n" for line in before.splitlines()))


@dataclass(frozen=True)
class Row:
    change: str
    make: Callable
    expected: dict
    # Where only `snakemake prepare` can tell what really changed: the jobs that are left after it.
    after_prepare: dict | None = None


def weights_of(checkout):
    return checkout.folder / "weights" / "tiny-timm" / "model.safetensors"


MATRIX = [
    Row("nothing", config(), {}),
    Row("a comment in the training loop", source("training/loop.py", "def train(", "# A comment.\ndef train("), {}),
    Row(
        "the margin's formula",
        source("training/losses.py", "cosines.detach()) + self.m2", "cosines.detach()) + 2 * self.m2"),
        TRAINED,
    ),
    Row(
        "a new column of the evaluation",
        source("tables.py", '"n_query_without_gallery": INT,', '"n_query_without_gallery": INT, "n_new": INT,'),
        {"evaluate": 7, **COMPARED},
    ),
    Row("a sentence of the report", source("reporting/findings.py", "query draws", "draws of queries"), {"report": 1}),
    Row("the downloader", source("hub.py", "AT_ONCE = 8", "AT_ONCE = 4"), {}),
    Row("the words of an error", source("datasets/prepare.py", "the metadata lists no picture", "no pictures"), {}),
    Row(
        "UNICOM's tower, where no encoder is one",
        source("encoders/unicom_vit.py", "BATCHNORM_EPS = ", "BATCHNORM_EPS = 2 * "),
        {},
    ),
    Row("a docstring of the evaluation", source("evaluation/evaluate.py", '"""One model', '"""A single model'), {}),
    Row("train.lr", config(train={"lr": 2.0e-3}), TRAINED),
    Row("train.workers, eval.threads", config(train={"workers": 1}, eval={"threads": 2}), {}),
    Row(
        "one k more",
        config(labels={"k": [4, 7]}),
        {"cluster": 1, "train": 2, "embed": 2, "evaluate": 2, **COMPARED},
    ),
    Row("one set of labels fewer", config(labels={"controls": []}), COMPARED),
    Row(
        "a new baseline",
        config(
            baselines=["handmade", "another"],
            encoders={"another": {"family": "timm", "architecture": "test_vit", "seed": 6, "image_px": 160}},
        ),
        {"fetch_weights": 1, "embed": 1, "evaluate": 1, **COMPARED},
    ),
    Row("seeds.queries", config(seeds={"queries": 6}), {"evaluate": 7, **COMPARED}),
    Row("report.title", config(report={"title": "Another"}), {"report": 1}),
    Row(
        "the prompt of the captions",
        config(captioners={"template": {"kind": "template", "template": "a {category}."}}),
        {**CAPTIONED, **COMPARED},
    ),
    Row(
        "one picture's bytes",
        lambda checkout: longer(first_picture(checkout)),
        {"prepare": 1, **IMAGES},
        IMAGES,
    ),
    Row("all pictures touched", lambda checkout: touched(files_of(checkout, "data/tiny")), {}),
    Row("one picture renamed", renamed_picture, {"prepare": 1, **IMAGES}, IMAGES),
    Row("one picture removed", picture_without_row, {"prepare": 1, **IMAGES}, IMAGES),
    Row(
        "a species corrected in the metadata",
        lambda checkout: edited(metadata(checkout), "Avicula rubra", "Avicula nova"),
        {"prepare": 1, **IMAGES},
        IMAGES,
    ),
    Row("a column of the metadata that nobody reads", column_more, {"prepare": 1, **IMAGES}, {}),
    Row(
        "another weight file under the same name",
        lambda checkout: longer(weights_of(checkout)),
        {"train": 2, "embed": 3, "evaluate": 3, **COMPARED},
    ),
    Row(
        "a log file deleted",
        lambda checkout: removed(checkout.results / "logs" / "compare.log"),
        {},
    ),
    Row("a script touched", lambda checkout: touched([checkout.folder / "workflow" / "scripts" / "train.py"]), {}),
    Row(
        "git checkout of the same commit",
        lambda checkout: touched(files_of(checkout, "src", "rules", "workflow", "config", "envs", "profiles")),
        {},
    ),
    Row(
        "one checkpoint deleted",
        lambda checkout: removed(
            min((checkout.results / "holdout-0" / "checkpoints").glob("tiny-clip.*/*.safetensors"))
        ),
        {"train": 1, "embed": 1, "evaluate": 1, **COMPARED},
    ),
    Row(
        "a template of the report",
        lambda checkout: edited(checkout.folder / "src/cladeclip/reporting/sections/data.html", "Data", "Pictures"),
        {"report": 1},
    ),
    Row(
        "a version in envs/requirements.lock",
        lambda checkout: edited(checkout.folder / "envs" / "requirements.lock", "tqdm==", "tqdm==9"),
        {},
    ),
]


@pytest.mark.parametrize("row", MATRIX, ids=lambda row: row.change)
def test_what_runs_again_is_what_depends_on_the_change(checkout, row):
    with row.make(checkout) as changed:
        arguments = {} if changed is None else {"config": changed}
        assert checkout.plan(**arguments) == row.expected
        if row.after_prepare is not None:
            checkout.run("prepare", **arguments)
            assert checkout.plan(**arguments) == row.after_prepare
    if row.after_prepare is not None:
        checkout.run("prepare")  # as it was: the same bytes as before


# Sections whose keys say what a run consists of, or what the report shows of it.
SHAPING = ("dataset", "encoders", "captioners", "labels", "splits", "students", "baselines", "report", "weights")
# Another value would be refused, or is not in tiny.yaml's run, or makes other jobs of the same work.
LEFT_OUT = (
    *("train.margin_loss_m1", "train.margin_loss_m3", "hierarchy", "eval.zero_shot", "embed.shards"),
    *("folds.unseen_share", "folds.unseen_rank", "folds.near_duplicates", "train.interpolate"),
)
BASE = merged([REPOSITORY / "config" / "config.yaml", TINY_FILE])


def keys_of(section=Config, above=(), running=False):
    """Every key that says how something is computed, as a path, with what it may be, and whether it is one of running."""
    for one in fields(section):
        kind, path = types_of(section)[spelled(one)], (*above, spelled(one))
        of_running = running or one.metadata["running"]
        if path[0] in SHAPING or ".".join(path) in LEFT_OUT:
            continue
        if is_dataclass(kind):
            yield from keys_of(kind, path, of_running)
        else:
            yield path, schema_of(kind), of_running


def with_another(values, path, schema):
    """Sets another value at a path."""
    *sections, last = path
    inmost = reduce(getitem, sections, values)
    value = inmost[last]
    if "anyOf" in schema or schema.get("type") == "integer":
        inmost[last] = 1 if value in ("auto", 0) else value + 1
    elif "enum" in schema:
        inmost[last] = next(one for one in schema["enum"] if one != value)
    elif schema["type"] == "array":
        inmost[last] = [*value, 1234]
    elif schema["type"] == "string":
        inmost[last] = {"none": "stem", "arcface": "cosface", "": "A100"}[value]
    else:
        inmost[last] = not value if schema["type"] == "boolean" else value / 2 or 0.5


def test_keys_of_running_make_nothing_stale(checkout):
    config = deepcopy(BASE)
    changed = [with_another(config, path, schema) for path, schema, running in keys_of() if running]
    assert len(changed) > 8
    assert checkout.plan(config=checkout.with_config(**config)) == {}


@pytest.mark.parametrize(
    ("path", "schema"),
    [pytest.param(path, schema, id=".".join(path)) for path, schema, running in keys_of() if not running],
)
def test_every_other_key_makes_something_stale(checkout, path, schema):
    config = deepcopy(BASE)
    with_another(config, path, schema)
    planned = checkout.plan(config=checkout.with_config(**config))
    assert set(planned) - {"report", "manifest"}


def test_every_change_was_taken_back(checkout):
    """A row that left something behind would have made the rows after it fail, or this."""
    assert checkout.plan() == {}


def in_words(jobs):
    return ", ".join(f"{rule} {count}" if count > 1 else rule for rule, count in jobs.items()) or "nothing"


HEAD = """# What runs again after which change

The jobs that `snakemake -n` plans after a change of a finished run: two students, each trained on one set of clusters and
on species labels, and one baseline of hand-made features, on one split. tests/workflow/test_reruns.py makes each change
and compares; this page is printed by it.

Where data changed, Snakemake plans in one go what could depend on it. `snakemake prepare` first looks at what really
changed: the last column is what is planned after it. Embedding jobs compute only the rows of pictures that are new
([files](files.md#only-what-is-missing-is-computed)).

| change | jobs | after `snakemake prepare` |
|---|---|---|
"""
FOOT = """
A new version of a library makes nothing stale by itself: which of its changes matter, nobody can tell from a number. The
report names the versions; `snakemake -F` makes everything again.
"""


def page():
    rows = [
        f"| {row.change} | {in_words(row.expected)} | "
        f"{'' if row.after_prepare is None else in_words(row.after_prepare)} |\n"
        for row in MATRIX
    ]
    return HEAD + "".join(rows) + FOOT


def test_the_page_of_the_docs_is_this_matrix():
    assert (REPOSITORY / "docs" / "reruns.md").read_text() == page()


if __name__ == "__main__":
    print(page(), end="")
