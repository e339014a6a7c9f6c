"""Which pictures have a species' name, and which are left to be named."""

from itertools import pairwise

import numpy as np
import pandas as pd

from cladeclip.errors import DataError
from cladeclip.ranks import COLUMN_OF_RANK

# What stands behind a genus where no species is meant. "Heliconius sp. 1" is a provisional name of one.
NO_EPITHET = ("", "sp.", "sp", "spp.", "spp")


def is_named(images: pd.DataFrame) -> np.ndarray:
    """Whether each picture (n,) of the `images` table has a name below the genus.

    Raises:
        DataError: none has.
    """
    names, genera = images["scientific_name"], images["genus"]
    named = np.array([_below_genus(name, genus) for name, genus in zip(names, genera, strict=True)], dtype=bool)
    if not named.any():
        raise DataError("no picture has the name of a species, and those without are named by those that have one.")
    return named


def _below_genus(name: str, genus: str) -> bool:
    if not name:
        return False
    return not (genus and name.startswith(genus) and name.removeprefix(genus).strip() in NO_EPITHET)


def with_one_parent(named: pd.DataFrame) -> pd.DataFrame:
    """Named pictures (rows of `images`) in which every name has one parent at each rank: the most frequent that is no blank.

    Two come of a wrong name, which is what is looked for here, and no reason to stop. A blank is no name: of pictures
    without a genus, say, the parents are those of their species.
    """
    named = named.copy()
    lowest = named["scientific_name"].map("species {}".format)
    for below, above in pairwise(column for column in COLUMN_OF_RANK.values() if column in named):
        child = named[below].map(f"{below} {{}}".format).where(named[below] != "", lowest)
        parents = named.loc[named[above] != "", above].groupby(child).agg(lambda values: values.mode().iloc[0])
        named[above] = child.map(parents).fillna("")
    return named
