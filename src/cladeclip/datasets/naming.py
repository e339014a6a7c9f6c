"""Labels the listed pictures, and records how each name as written was interpreted."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import pandas as pd

from cladeclip.datasets.names import (
    ABOVE_GENUS,
    GENUS,
    HIGHER,
    HYBRID,
    IDENTIFIER,
    OTHER,
    PLACEHOLDER,
    SPECIES,
    WORDS,
    genus_of,
    rank_of,
    read_names,
)
from cladeclip.ranks import HIGHER_RANKS

logger = logging.getLogger(__name__)

# What is said of names of each kind.
KINDS = {
    SPECIES: "two words, a species",
    OTHER: "more than a species' two words (a subspecies, a doubt), a label of its own",
    GENUS: "a genus alone, a label of its own",
    HYBRID: "a hybrid, a label of its own",
    WORDS: "not a scientific name, kept as it is, without a genus",
    HIGHER: "a rank above the genus, no species",
    PLACEHOLDER: "stands for no name, no species",
    IDENTIFIER: "an identifier, no species",
}


def name_pictures(listed: pd.DataFrame, synonyms: Mapping[str, str] | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Listed pictures with scientific_name as a label (empty where there is none), genus, name_as_written and name_kind; and
    the `names` table.
    """
    written = listed["scientific_name"]
    said = listed["taxon_rank"].map(rank_of) if "taxon_rank" in listed else pd.Series("", index=listed.index)
    # A name that the data itself has in the column of a higher rank, or of the genus, is at that rank.
    for column, rank in [*((column, ABOVE_GENUS) for column in HIGHER_RANKS), ("genus", GENUS)]:
        if column in listed:
            said = said.mask((written == listed[column]) & (written != ""), rank)
    keys = list(zip(written, said, strict=True))
    found = read_names(keys, synonyms)
    names = pd.DataFrame(
        [(*key, name.accepted, name.label, name.genus, name.kind) for key, name in found.items()],
        columns=["name_as_written", "rank", "accepted", "label", "genus", "kind"],
    )
    names["n"] = names[["name_as_written", "rank"]].apply(tuple, axis=1).map(Counter(keys))
    own_genus = listed["genus"] if "genus" in listed else [""] * len(listed)
    _log_names(names)
    return listed.assign(
        name_as_written=written,
        scientific_name=[found[key].label for key in keys],
        genus=[found[key].genus or genus_of(genus) for key, genus in zip(keys, own_genus, strict=True)],
        name_kind=[found[key].kind for key in keys],
    ), names


def _log_names(names: pd.DataFrame) -> None:
    for kind, n, written in kinds_beside_species(names):
        logger.info("%d picture(s): %s: %s.", n, KINDS[kind], written)
    for label, spellings in merged_names(names):
        logger.info("%s: written as %s.", label, some(spellings["name_as_written"]))


def kinds_beside_species(names: pd.DataFrame) -> Iterator[tuple[str, int, str]]:
    """Each kind in the `names` table except SPECIES, its number of pictures, and some of its names as written."""
    for kind, of_kind in names[names["kind"] != SPECIES].groupby("kind"):
        yield str(kind), int(of_kind["n"].sum()), some(of_kind["name_as_written"])


def merged_names(names: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Every label that several names as written became, with those rows of the `names` table."""
    merged = names[(names["label"] != "") & names.duplicated("label", keep=False)]
    for label, spellings in merged.groupby("label"):
        if spellings["name_as_written"].nunique() > 1:
            yield str(label), spellings


def some(values: Iterable[str], n: int = 5) -> str:
    """The first of these values, and how many more there are."""
    values = [repr(value) for value in values]
    return ", ".join(values[:n]) + (f" and {len(values) - n} more" if len(values) > n else "")


def why_no_species(row: pd.Series) -> str:
    """Why a listed picture has no label, in words."""
    written = row["name_as_written"].strip()
    if row["name_kind"] == HIGHER:
        return f"{written!r} names a rank above the genus"
    if row["name_kind"] == IDENTIFIER:
        return f"{written!r} is an identifier, not a name"
    return f"{written!r} stands for no name" if written else "the metadata gives no scientific name"
