"""Queries and gallery of every subset of taxa at every rank, under each protocol."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cladeclip.errors import DataError
from cladeclip.names import Split
from cladeclip.ranks import COLUMN_OF_RANK

# What pictures are scored by: two ranks, and the category under the name that the evaluation gives it.
SCORED_BY = {"species": COLUMN_OF_RANK["species"], "genus": COLUMN_OF_RANK["genus"], "taxa": COLUMN_OF_RANK["category"]}
ALL = "All"


@dataclass(frozen=True)
class Subset:
    """Queries and gallery of a subset of taxa, scored at one rank.

    Attributes:
        taxa: a category, or All.
        column: species, genus or taxa.
        names: (n,) str, the label of every image of the data set at this rank.
        query, gallery: (q,), (g,) int64, rows of the data set.
        asked, found: leave-one-out queries and gallery, for retrieval: every image that the split holds out.
    """

    taxa: str
    column: str
    names: np.ndarray
    query: np.ndarray
    gallery: np.ndarray
    asked: np.ndarray
    found: np.ndarray


def subsets(
    images: pd.DataFrame,
    split: pd.DataFrame,
    *,
    protocol: str,
    query_share: float,
    seed: int,
    genus_only_names: str = "keep",
) -> Iterator[Subset]:
    """Every category and All by species and, as far as names say it, by genus; and All by taxa.

    Args:
        split: the `split` table of the same images.
        protocol: the split's name. `all` draws `query_share` of each subset's content groups as queries, from `seed`;
            `open-{fold}` does so within the part `unseen`; with `holdout-{fold}` the queries are the part `query` and the
            gallery is the part `fit`.
        genus_only_names: `leave_out` scores species without the images whose name is a genus alone.

    Raises:
        DataError: a subset of the taxa has no query or no gallery.
    """
    asking = Split.parse(protocol)
    scored_at = {column: scored_names(images, column, genus_only_names) for column in SCORED_BY}
    part = split.set_index("image_id")["part"].reindex(images["image_id"]).to_numpy()
    for taxa in [*sorted(images["category"].unique()), ALL]:
        members = np.ones(len(images), dtype=bool) if taxa == ALL else (images["category"] == taxa).to_numpy()
        if asking.is_holdout:
            members = members & np.isin(part.astype(str), ["fit", "query"])
            is_query, is_gallery = members & (part == "query"), members & (part == "fit")
            asks = is_query
        else:
            if asking.is_open:
                members = members & (part == "unseen")
            is_query = members & _drawn(images, members, query_share, seed)
            is_gallery, asks = members & ~is_query, members
        for column, (names, scored) in scored_at.items():
            if column == "taxa" and taxa != ALL:
                continue
            if not (members & scored).any():
                continue
            query, gallery = np.flatnonzero(is_query & scored), np.flatnonzero(is_gallery & scored)
            if len(query) == 0 or len(gallery) == 0:
                if column == "genus" and not scored[members].all():
                    continue  # too few names have a genus
                raise DataError(
                    f"evaluation of taxa {taxa} by {column}: {len(query)} queries and {len(gallery)} gallery images; at "
                    "least one of each is needed. Raise the query share, set eval.genus_only_names to keep, or leave out "
                    "categories with so few pictures."
                )
            yield Subset(
                taxa, column, names, query, gallery, np.flatnonzero(asks & scored), np.flatnonzero(members & scored)
            )


def scored_names(images: pd.DataFrame, column: str, genus_only_names: str) -> tuple[np.ndarray, np.ndarray]:
    """The names (n,) of SCORED_BY's column, str, and whether each image is scored by it."""
    names = images[SCORED_BY[column]].to_numpy(dtype=object).astype(str)
    if column == "species" and genus_only_names == "leave_out":
        return names, (images["name_kind"] != "genus").to_numpy()
    # What is no scientific name has no genus.
    return names, names != ""


def _drawn(images: pd.DataFrame, members: np.ndarray, query_share: float, seed: int) -> np.ndarray:
    """Whether each image is drawn as a query: content groups of the subset, shuffled, until the share is reached."""
    sizes = images.loc[members].groupby("content_group", sort=True).size()
    shuffled = sizes.iloc[np.random.default_rng(seed).permutation(len(sizes))]
    wanted = max(1, round(query_share * int(sizes.sum())))
    taken = shuffled.index[(shuffled.cumsum() - shuffled).to_numpy() < wanted]
    return images["content_group"].isin(taken).to_numpy()
