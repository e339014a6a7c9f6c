"""Writes config/config.yaml and docs/config.md from the config's sections, docs/columns.md from the contracts of the tables.

    .venv/bin/python docs/reference.py

tests/test_docs.py fails where the pages are not what this writes, or a key or column has no words.
"""

import inspect
import json
import re
import textwrap
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from cladeclip import tables
from cladeclip.captioning.specs import KINDS
from cladeclip.config.described import allowed, defaults_of, schema_of, spelled, types_of
from cladeclip.config.sections import Captioner, Config, Dataset, Encoder
from cladeclip.datasets.layouts.specs import LAYOUTS
from cladeclip.evaluation.measures import MEASURES, NAMED, RETRIEVED
from cladeclip.io.parquet import Contract
from cladeclip.ranks import HIGHER_RANKS

DOCS = Path(__file__).parent
CONFIG = DOCS.parent / "config"
# Keys whose entries have names that the user chooses, and what an entry holds.
WITH_NAMES = ("encoders", "captioners")
# Keys at the top before which config.yaml has an empty line.
BEGINS_A_BLOCK = ("splits", "students", "gpu_model")
HEAD = """\
# The full experiment: does training on clusters of a strong teacher give a small encoder that tells species apart,
# and with how many clusters? demo.yaml and mini.yaml override some of these keys; yours can, too:
#   snakemake --configfile my.yaml
# Written by docs/reference.py from src/cladeclip/config/sections.py, but for the entries of encoders and captioners.
"""

# What a column holds, by its name; the same name means the same in every table.
COLUMNS = {
    "path": "below the dataset's folder, with forward slashes",
    "size": "bytes",
    "content_hash": "SHA-256 of the file's bytes",
    "address": "of the web, where it was asked for",
    "sha256": "of the file that came; blank where none did",
    "other_bytes": "whether it was fetched before, with other bytes",
    "image_id": "the picture's path below the dataset's folder",
    "category": "by which results are broken down",
    "scientific_name": "the species, as it is compared: see [names](data.md#names)",
    "genus": "of the name, or what the data's own column says; blank where neither says one",
    "width": "pixels",
    "height": "pixels",
    "pixel_group": "the first image_id with the same pixels",
    "content_group": "the first image_id with the same pixels or of the same specimen: these stay on one side of a split",
    "part_alone": "what part it would be in if pictures were drawn one by one",
    "group": "pictures of the same group stay on one side: a content_group, or several joined by near-duplicates",
    "other_image_id": "the picture that it is like",
    "name_as_written": "in the metadata, or of the folder",
    "accepted": "the name that the table of synonyms puts in its place; blank where it puts none",
    "kind": "species, other, genus, hybrid, words, higher, placeholder or identifier: see [names](data.md#names)",
    "reason": "why it is not used: one of those in [your pictures](data.md#what-is-rejected-and-why)",
    "detail": "the reason in words",
    "part": "whether the pictures' species are known or new",
    "caption": "text",
    "caption_hash": "SHA-256 of the text",
    "label": "the true name",
    "distance": "Euclidean distance to the centroid; 0 for controls",
    "taxa": "All, or a category",
    "column": "whose values are compared: species, genus, or taxa (the category)",
    "n_query": "pictures asked about",
    "n_gallery": "pictures that answers are taken from",
    "n_labels": "names in the gallery",
    "n_query_without_gallery": "queries whose name the gallery does not have: they count as wrong",
    "k": "neighbours that vote",
    "weighting": "how they vote: majority, or similarity (each as much as its cosine)",
    "micro": "share of the queries that is right",
    "macro": "mean over names of the share of their queries that is right",
    "n_queries": "pictures asked about",
    "n_without_match": "of them, those with no other picture of their name: left out",
    "predicted": "the name that they were taken for",
    "n": "how many",
    "share": "of the label's queries",
    "nearest_image_id": "the nearest picture of the gallery",
    "nearest_cosine": "its cosine",
    "converged": "whether the solver did",
    "top1": "share whose name is the nearest text",
    "top5": "share whose name is among the nearest five texts",
    "split": "all, holdout-N, open-N, or imported",
    "model": "an encoder's name, or {student}.{labels}.seed{seed}",
    "fixed": "queries that were wrong before training and are right after it",
    "broken": "the other way round",
    "rank": "of the taxonomy",
    "answered": "share of the pictures that got a name at the rank",
    "accuracy": "of the answers",
    "precision": "mean over names",
    "recall": "mean over names",
    "f1": "mean over names",
    "aurc": "area under the curve of errors against coverage: 0 is best",
    "n_stopped": "pictures that were not named to the lowest rank, and have their last name at this one",
    "accuracy_stopped": "of those names",
    "coverage": "share that is answered, the most confident first",
    "score": "a novelty score",
    "auroc": "area under the ROC curve of new against known species",
    "fpr95": "share of known ones that look new where 95 % of the new ones do",
    "novel_at": "highest rank at which the picture looks new; blank where none",
    "confidence": "probability of the answer",
    "compared_with": "the nearest gallery picture",
    "cosine": "with it",
    "suggested": "the name that fits better",
    "doubt": "how much more probable that name is than its own; see [curate](curate.md)",
    "nearest_of_suggested": "the nearest picture of that name",
    "same": "picture: they show the same; specimen: they show one specimen, under several names",
    "away": "how far its novelty score is above the median of its name, in units of the spread of all such differences",
    "candidate": "its number, the largest candidate first",
    "nearest_species": "the known species that most of its pictures are nearest to",
    "tightness": "mean cosine of its pictures with their mean direction",
    "overlay": "a JPEG: what the encoder looks at, over the picture",
    "pca_1": "first principal component",
    "pca_2": "second principal component",
    "tsne_1": "first coordinate of t-SNE",
    "tsne_2": "second coordinate of t-SNE",
    **{name: measure.meaning for name, measure in {**NAMED, **RETRIEVED}.items()},
    **dict.fromkeys(HIGHER_RANKS, "as the data has it"),
}
# Where a table means something else by a name.
OF_TABLE = {
    ("fetched", "reason"): "why there is no picture, in words; blank where there is one",
    ("names", "rank"): "what the data's own columns say of the name: `genus`, `above genus`, or blank",
    ("names", "label"): "the scientific_name that it became; blank where it names no species",
    ("names", "genus"): "of the name; blank where it says none",
    ("names", "n"): "listed pictures with this name",
    ("candidates", "part"): "where it falls when the candidate is split: 0 or 1 for each split in turn",
    ("split", "part"): "fit, query, unseen, validate or unnamed",
    **{("one_by_one", measure): "as in accuracy, for species of All" for measure in MEASURES},
    ("clusters", "label"): "the class, a number from 0",
    ("nearest_clusters", "place"): "1 for the picture's own cluster, then by distance",
    ("nearest_clusters", "label"): "the cluster, a number from 0",
    ("held_out", "part"): "query, validate or unseen",
    ("held_out", "column"): "whose values are compared: species or genus",
    (
        "held_out",
        "answer",
    ): "the name of the nearest picture that is not of its group: of the fitted ones; of the unseen ones "
    "for an unseen one",
    ("predictions", "accuracy_individual"): "name of the nearest gallery picture, by cosine",
    ("predictions", "accuracy_avg"): "name whose pictures have the highest mean cosine",
    ("predictions", "distance_individual"): "name of the nearest gallery picture, by Euclidean distance",
    ("predictions", "distance_avg"): "name whose pictures have the lowest mean distance",
    ("neighbours", "neighbour_image_id"): "the gallery picture",
    ("neighbours", "place"): "1 for the nearest gallery picture, by cosine",
    ("changes", "label"): "a species or genus",
    ("taxonomic_answers", "answered"): "lowest rank that got a name",
    ("identified", "answered"): "lowest rank that got a name",
    ("identified", "reason"): "why it could not be read, with the detail; blank where it could",
    ("suspects", "name"): "its name",
    (
        "suspects",
        "nearest_of_name",
    ): "the nearest picture of its name, of another content group; blank where there is none",
    ("duplicates", "group"): "the first picture of the group",
    ("duplicates", "name"): "its name; blank where it has none",
    ("duplicates", "correlation"): "the highest with a picture of the group; 1 for equal pixels; empty for specimens",
    ("outliers", "name"): "its name",
    ("candidates", "n"): "pictures of the candidate",
    ("candidates", "name"): "of the candidate: provisional, or that of the known species that it looks like",
    ("candidates", "rank"): "the lowest rank at which the answers for most of its pictures agree; blank where none",
    ("candidates", "answer"): "the name there",
    ("candidates", "nearest_image_id"): "the known picture that is nearest to any of them",
    ("candidates", "cosine"): "of the candidate's mean direction with that of the nearest species",
    ("identified", "image_id"): "the picture's path below the folder of new pictures",
}
# Columns beyond the contract, which depend on the data.
BEYOND = {
    "images": "`name_as_written`; `name_kind` (species, other, genus, hybrid, words); where the data tells specimens apart, "
    "`specimen`, the first image_id of the same one; and the ranks that the data has.",
    "taxonomic_answers": "the name at each rank, blank where there is no answer, and the truth as `true_{rank}`.",
    "identified": "the name at each rank; `nearest_1` to `nearest_3`, each with `_species` and `_cosine`.",
}
# Endings of columns that say how sure a measure is.
ENDINGS = {
    "_low": "lower end of the 95 % interval over queries",
    "_high": "upper end of it",
    "_sd_splits": "standard deviation over draws of the queries",
    "_sd_seeds": "standard deviation over training seeds",
    "_macro": "mean over names",
}


def contracts() -> Iterator[Contract]:
    """All tables, in the order of their stages."""
    return (value for value in vars(tables).values() if isinstance(value, Contract))


def meaning(table: str, column: str) -> str:
    """What a column of a table holds.

    Raises:
        KeyError: nobody has written it down.
    """
    for ending, words in ENDINGS.items():
        measure = column.removesuffix(ending)
        if measure != column and measure in (*MEASURES, *RETRIEVED):
            return f"{measure}: {words}"
    return OF_TABLE.get((table, column)) or COLUMNS[column]


def columns_page() -> str:
    lines = [
        "# Every column of every table",
        "",
        "Written by `docs/reference.py` from the contracts in `src/cladeclip/tables.py`. [Files](files.md) says where each",
        "table lies. Tables are Parquet; a row is unique by its key, and rows are sorted by it. Shares and accuracies are",
        "fractions.",
        "",
    ]
    for contract in contracts():
        key = ", ".join(f"`{name}`" for name in contract.key)
        lines += [
            f"## {contract.name}",
            "",
            f"A row is {contract.row}; key {key}.",
            "",
            "| column | type | holds |",
            "|---|---|---|",
        ]
        lines += [f"| `{name}` | {kind} | {meaning(contract.name, name)} |" for name, kind in contract.columns.items()]
        lines += ["", f"Beside these: {BEYOND[contract.name]}", ""] if contract.name in BEYOND else [""]
    lines += [
        "## Embeddings",
        "",
        "`image_id` (of centroids the number of the cluster, as text) and `embedding`, a fixed-size list of float32, not",
        "scaled to length 1. The picture store, an Arrow file, has `image_id` and `picture` (JPEG).",
        "",
    ]
    return "\n".join(lines)


class Key(NamedTuple):
    """One key of the config."""

    path: str
    value: Any
    words: str
    allowed: str
    is_section: bool = False
    # Stands in a config only where it is needed.
    left_out: bool = False


def keys(section: type = Config, above: str = "", left_out: bool = False) -> Iterator[Key]:
    """Every key of a section, and of the sections within."""
    kinds, defaults = types_of(section), defaults_of(section)
    for one in fields(section):
        name, words = spelled(one), one.metadata["words"]
        path, out = f"{above}{name}", left_out or one.metadata["left_out"]
        if is_dataclass(kinds[name]):
            yield Key(path, None, words, "", True, out)
            yield from keys(kinds[name], f"{path}.", out)
        else:
            yield Key(path, defaults.get(name), words, allowed(schema_of(kinds[name]), "`"), False, out)
    if section is Dataset:
        for layout in LAYOUTS.values():
            if fields(layout.settings):
                yield Key(f"{above}{layout.name}", None, f"with layout: {layout.name}", "", True, True)
                yield from keys(layout.settings, f"{above}{layout.name}.", True)


def config_page() -> str:
    lines = [
        "# Every key of the config",
        "",
        "Written by `docs/reference.py` from `src/cladeclip/config/sections.py`. A file of your own names what differs;",
        "give it with `--configfile`. A mapping is merged with the default, a list replaces it: `baselines: [mine]` drops",
        "the others. Entries of `encoders:` and `captioners:` have names that you choose; what an encoder holds stands in",
        "the comment above `encoders:` in `config/config.yaml`, captioners are in [how to](how-to.md#captions).",
        "",
    ]
    stage = ""
    for key in keys():
        top = key.path.partition(".")[0]
        if top in WITH_NAMES or (key.is_section and top == key.path):
            continue
        if top != stage:
            stage = top
            lines += ["", f"## {stage}", "", "| key | default | allowed | |", "|---|---|---|---|"]
        cells = (f"`{key.path}`", "" if key.is_section else f"`{yaml_of(key.value)}`", key.allowed, key.words)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)) + "\n"


def yaml_of(value: Any) -> str:
    """On one line; a text between double quotes where it needs some."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("...\n").strip()
    return json.dumps(value) if text.startswith("'") else re.sub(r"e-0(\d)$", r"e-\1", text)


def config_file() -> str:
    """`config/config.yaml`: every key with its default and its words; the entries of `encoders:` are those of the file."""
    lines = HEAD.splitlines()
    for key in keys():
        *above, name = key.path.split(".")
        indent = "  # " + "  " * (len(above) - 1) if key.left_out else "  " * len(above)
        if not above:
            blank = key.is_section or key.path in WITH_NAMES or key.path in BEGINS_A_BLOCK
            lines += [""] if blank else []
            lines += [f"# {line}" for line in wrapped(doc_of(types_of(Config)[name]))] if key.is_section else []
        if key.path in WITH_NAMES:
            lines += entries(key.path)
            continue
        value = "" if key.is_section else f" {yaml_of(key.value)}"
        lines.append(f"{indent}{name}:{value}" + (f" # {key.words}" if key.words else ""))
    return "\n".join(lines) + "\n"


def doc_of(section: type) -> str:
    """What is said of a section above it."""
    return inspect.cleandoc(section.__doc__ or "")


def wrapped(text: str) -> list[str]:
    return textwrap.wrap(" ".join(text.split()), 118)


def entries(name: str) -> list[str]:
    """The entries of `encoders:` or `captioners:` as they stand in the file, below what an entry may hold."""
    text = (CONFIG / "config.yaml").read_text(encoding="utf-8")
    held = re.search(rf"^{name}:\n(?:  .*\n)+", text, re.MULTILINE)
    assert held is not None, name
    kinds = (
        {Encoder: ""}
        if name == "encoders"
        else {Captioner: ""} | {kind.settings: f" ({kind.name})" for kind in KINDS.values()}
    )
    may_hold = (
        wrapped(f"{spelled(one)}{of}: {one.metadata['words']}") for kind, of in kinds.items() for one in fields(kind)
    )
    words = [f"# {doc_of(next(iter(kinds)))} What an entry may hold:"]
    words += [f"#   {'  ' * bool(i)}{line}" for lines in may_hold for i, line in enumerate(lines)]
    return [*words, *held[0].splitlines()]


if __name__ == "__main__":
    (CONFIG / "config.yaml").write_text(config_file(), encoding="utf-8")
    (DOCS / "config.md").write_text(config_page(), encoding="utf-8")
    (DOCS / "columns.md").write_text(columns_page(), encoding="utf-8")
