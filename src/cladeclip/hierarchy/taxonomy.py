"""The tree of names that a data set's rank columns make: every name has one parent at the rank above."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from cladeclip.errors import DataError
from cladeclip.ranks import COLUMN_OF_RANK


@dataclass(frozen=True)
class Taxonomy:
    """Names at R ranks, the highest rank first.

    Attributes:
        ranks: (R,).
        names: for each rank its names, sorted. A name's number is its place there.
        parents: for each rank (n_r,) int64, the number of each name's parent at the rank above; all 0 at the highest.
    """

    ranks: tuple[str, ...]
    names: tuple[tuple[str, ...], ...]
    parents: tuple[np.ndarray, ...]

    @classmethod
    def of_images(cls, images: pd.DataFrame, ranks: Sequence[str] | None = None) -> "Taxonomy":
        """The taxonomy of the `images` table.

        Args:
            ranks: of COLUMN_OF_RANK; where not given, all that every image has a name at.

        Raises:
            DataError: a rank is not there or has blanks, or a name has two parents.
        """
        chosen = [rank for rank in COLUMN_OF_RANK if rank in ranks] if ranks is not None else _complete_ranks(images)
        for rank in ranks or ():
            if rank not in COLUMN_OF_RANK or not _complete(images, rank):
                complete = ", ".join(_complete_ranks(images))
                raise DataError(f"hierarchy.ranks: the data has no {rank!r} for every picture; it has {complete}.")
        if not chosen:
            raise DataError("hierarchy.ranks is empty: name at least one rank, such as species.")
        chosen.reverse()
        for above, below in pairwise(chosen):
            _check_one_parent(images, above, below)
        names, parents = [], []
        for place, rank in enumerate(chosen):
            of_rank = images[COLUMN_OF_RANK[rank]].astype(str).to_numpy(dtype=str)
            found, first = np.unique(of_rank, return_index=True)
            names.append(tuple(found.tolist()))
            if place == 0:
                parents.append(np.zeros(len(found), dtype=np.int64))
            else:
                above = images[COLUMN_OF_RANK[chosen[place - 1]]].astype(str).to_numpy(dtype=str)[first]
                parents.append(np.searchsorted(np.array(names[place - 1]), above))
        return cls(tuple(chosen), tuple(names), tuple(parents))

    def codes(self, images: pd.DataFrame) -> np.ndarray:
        """The number (n, R) int64 of every image's name at each rank; -1 for a name that the taxonomy lacks."""
        columns = []
        for rank, names in zip(self.ranks, self.names, strict=True):
            number = pd.Series(np.arange(len(names)), index=names)
            columns.append(number.reindex(images[COLUMN_OF_RANK[rank]].astype(str)).fillna(-1).to_numpy(np.int64))
        return np.stack(columns, axis=1)

    def children(self, place: int) -> np.ndarray:
        """M (n_above, n_below) float32, 1 where the name at rank `place` is a child of the name at the rank above."""
        matrix = np.zeros((len(self.names[place - 1]), len(self.names[place])), dtype=np.float32)
        matrix[self.parents[place], np.arange(len(self.names[place]))] = 1.0
        return matrix


def _complete(images: pd.DataFrame, rank: str) -> bool:
    column = COLUMN_OF_RANK[rank]
    return column in images and bool((images[column].fillna("").astype(str) != "").all())


def _complete_ranks(images: pd.DataFrame) -> list[str]:
    return [rank for rank in COLUMN_OF_RANK if _complete(images, rank)]


def _check_one_parent(images: pd.DataFrame, above: str, below: str) -> None:
    pairs = images.drop_duplicates([COLUMN_OF_RANK[below], COLUMN_OF_RANK[above]])
    twice = pairs[pairs.duplicated(COLUMN_OF_RANK[below], keep=False)].sort_values([COLUMN_OF_RANK[below], "image_id"])
    if len(twice):
        name = twice[COLUMN_OF_RANK[below]].iloc[0]
        rows = twice[twice[COLUMN_OF_RANK[below]] == name]
        said = " and ".join(f"{row[COLUMN_OF_RANK[above]]} ({row['image_id']})" for _, row in rows.iterrows())
        raise DataError(
            f"the {below} {name!r} has two parents at the rank {above}: {said}. Correct the metadata, or leave one of "
            "the two ranks out of hierarchy.ranks."
        )
