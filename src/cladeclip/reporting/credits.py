"""Whose the pictures of a run are, and what may be done with them, as far as the data says."""

from dataclasses import dataclass

import pandas as pd

from cladeclip.datasets.licences import LICENCES, strictest

# Of the credits file, where the data has them.
COLUMNS = ("image_id", "scientific_name", "creator", "rights_holder", "licence", "licence_as_written", "address")


@dataclass(frozen=True)
class Licences:
    """How many pictures have each licence, in words.

    Attributes:
        counts: by licence, from the one that allows most.
        strictest: the one that allows least.
    """

    counts: dict[str, int]
    strictest: str

    def __str__(self) -> str:
        return "; ".join(f"{licence}: {count:,}" for licence, count in self.counts.items())


def licences_of(images: pd.DataFrame) -> Licences | None:
    """The licences of pictures (rows of `images`); None where the data says nothing of them."""
    if "licence" not in images or images.empty:
        return None
    counts = images["licence"].value_counts()
    in_order = {words: int(counts[licence]) for licence, words in LICENCES.items() if licence in counts}
    return Licences(in_order, LICENCES[strictest(counts.index)])


def credits_of(images: pd.DataFrame) -> pd.DataFrame:
    """A row a picture for those who publish what was made of it, in the order of `images`."""
    return images[[column for column in COLUMNS if column in images]]
