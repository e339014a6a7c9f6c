"""Splits: which pictures are fitted on, and which are tested on.

Clusters, students and heads are fitted on `fit` images; `query` images of the same species, and `unseen` images of species
that nothing was fitted on, are only tested on. Neither fitted nor tested on are `validate` images, of known species, by
which is chosen what is chosen after training, and `unnamed` images, which have no species.
"""

from functools import partial

import numpy as np
import pandas as pd

from cladeclip.errors import DataError
from cladeclip.names import Split
from cladeclip.random_streams import stream_of
from cladeclip.ranks import COLUMN_OF_RANK

UNNAMED, VALIDATE = "unnamed", "validate"


def make_split(
    images: pd.DataFrame,
    split: str,
    *,
    test_share: float,
    seed: int,
    validate_share: float = 0.0,
    unseen_share: float = 0.25,
    unseen_rank: str = "species",
) -> pd.DataFrame:
    """The `split` table of one split. Pictures of the same content stay together; `part_alone` says what part each would be
    in if they were drawn one by one.

    `all`: every image that has a species is `fit`.
    `holdout-{fold}`: of every species with two or more content groups, a share of about `test_share` (at least one
    group, never all) is `query`.
    `open-{fold}`: of every category, a share of `unseen_share` of its species (or genera: `unseen_rank`) is `unseen`,
    chosen among those with two or more content groups, since nothing could be asked about the others; the known species
    have queries as in `holdout-{fold}`.
    In both, of what is left of each known species with two or more content groups, a share of about `validate_share` is
    `validate`; none where that is 0.

    Folds are consecutive slices of one shuffled order: up to 1 / share of them are disjoint, where there is enough to
    draw from.

    Raises:
        DataError: an open split finds nothing that could be unseen, or would leave nothing to fit.
    """
    parts = partial(
        _parts,
        split=split,
        test_share=test_share,
        seed=seed,
        validate_share=validate_share,
        unseen_share=unseen_share,
        unseen_rank=unseen_rank,
    )
    part = parts(images)
    alone = part
    if images["content_group"].duplicated().any():
        alone = parts(images.assign(content_group=images["image_id"]))
    return pd.DataFrame(
        {
            "image_id": images["image_id"].to_numpy(),
            "part": part,
            "part_alone": alone,
            "group": images["content_group"].to_numpy(),
        }
    )


def scored_images(images: pd.DataFrame, split: pd.DataFrame) -> pd.DataFrame:
    """The rows of the `images` table that have a species, with the content groups that the split kept together."""
    of_split = split.set_index("image_id").loc[images["image_id"]]
    grouped = images.assign(content_group=of_split["group"].to_numpy())
    return grouped[(of_split["part"] != UNNAMED).to_numpy()].reset_index(drop=True)


def _parts(
    images: pd.DataFrame,
    split: str,
    *,
    test_share: float,
    seed: int,
    validate_share: float,
    unseen_share: float,
    unseen_rank: str,
) -> np.ndarray:
    """The part (n,) of every image."""
    part = np.full(len(images), "fit", dtype=object)
    parsed = Split.parse(split)
    if parsed.fold is not None:
        # A group belongs to the species of its first picture that has one, should its pictures disagree.
        named = images[images["scientific_name"] != ""]
        groups = named.sort_values("image_id").drop_duplicates("content_group")
        asked = _drawn(groups, parsed.fold, test_share, seed)
        part[images["content_group"].isin(asked).to_numpy()] = "query"
        if parsed.is_open:
            column = COLUMN_OF_RANK[unseen_rank]
            unseen = _unseen(groups, parsed.fold, unseen_share, column, seed)
            of_unseen = images[column].isin(unseen)
            # A group may have pictures of several species: with one of an unseen species in it, none of it is fitted.
            part[images["content_group"].isin(images.loc[of_unseen, "content_group"]).to_numpy()] = "query"
            part[of_unseen.to_numpy()] = "unseen"
            if not unseen or not (part == "fit").any():
                n_unseen = int(groups[column].isin(unseen).sum())
                raise DataError(
                    f"split {split}: {n_unseen} of {len(groups)} pictures would be unseen; an open split needs "
                    f"categories with several {unseen_rank} names of two or more pictures each. Lower or raise "
                    "folds.unseen_share, or leave the open splits out of `splits:`."
                )
        if validate_share > 0:
            fitted = images.loc[part == "fit", "content_group"]
            left = groups[groups["content_group"].isin(fitted)]
            chosen = _drawn(left, parsed.fold, validate_share, seed, "validate ")
            part[images["content_group"].isin(chosen).to_numpy() & (part == "fit")] = VALIDATE
    part[(images["scientific_name"] == "").to_numpy()] = UNNAMED
    return part


def _drawn(groups: pd.DataFrame, fold: int, share: float, seed: int, name: str = "") -> set[str]:
    """The content groups, of every species, that this fold draws; `name` is of the random numbers."""
    asked: set[str] = set()
    for species, members in groups.groupby("scientific_name", sort=True):
        names = np.asarray(members["content_group"], dtype=object)
        if len(names) >= 2:
            asked |= _fold_of(names, fold, share, stream_of(seed, f"{name}{species}"))
    return asked


def _unseen(groups: pd.DataFrame, fold: int, share: float, column: str, seed: int) -> set[str]:
    """The species (or genera) that are unseen in this fold."""
    unseen: set[str] = set()
    for category, members in groups.groupby("category", sort=True):
        sizes = members[members[column] != ""].groupby(column, sort=True).size()
        candidates = np.asarray(sizes.index[sizes >= 2], dtype=object)
        if len(candidates) >= 2:
            unseen |= _fold_of(candidates, fold, share, stream_of(seed, f"unseen {column} of {category}"))
    return unseen


def _fold_of(names: np.ndarray, fold: int, share: float, stream: np.random.Generator) -> set[str]:
    """The names that this fold draws: about `share` of them, at least one, never all."""
    shuffled = names[stream.permutation(len(names))]
    n = min(max(1, round(share * len(names))), len(names) - 1)
    return {shuffled[(fold * n + i) % len(names)] for i in range(n)}
