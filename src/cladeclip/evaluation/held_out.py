"""Every image that was not fitted on, named by the image nearest to it: with no draw of queries, each of them answers.

What is chosen after training is chosen by the part `validate`; whether training helped is read from `query` and `unseen`.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch

from cladeclip.datasets.splits import VALIDATE
from cladeclip.evaluation.protocol import scored_names
from cladeclip.evaluation.search import nearest
from cladeclip.tables import HELD_OUT

# Ranks that are asked for.
COLUMNS = ("species", "genus")


def held_out(
    images: pd.DataFrame,
    embeddings: np.ndarray,
    split: pd.DataFrame,
    *,
    genus_only_names: str = "keep",
    device: str | torch.device = "cpu",
) -> pd.DataFrame:
    """The `held_out` table of embeddings (n, d) in the order of `images`.

    `validate` and `query` images are asked of the `fit` images; `unseen` ones of each other, leave-one-out. Images of one
    content group are never asked of each other, and no image is asked that has no other image of its name to be found.

    Args:
        split: the `split` table of the same images.
    """
    part = split.set_index("image_id")["part"].reindex(images["image_id"]).to_numpy(dtype=str)
    groups = np.unique(images["content_group"].to_numpy(dtype=str), return_inverse=True)[1]
    ids = images["image_id"].to_numpy()
    tables = []
    # Ranks by which the same images are scored share a search: the nearest image does not depend on names.
    searched: dict[tuple[bytes, bytes], np.ndarray] = {}
    for column in COLUMNS:
        names, scored = scored_names(images, column, genus_only_names)
        for asked, gallery in _parts(part, scored):
            findable = _findable(asked, gallery, names, groups)
            if not findable.any():
                continue
            key = asked.tobytes(), gallery.tobytes()
            if key not in searched:
                searched[key] = _nearest_of_another_group(embeddings, asked, gallery, groups, device)
            asked, found = asked[findable], searched[key][findable]
            tables.append(
                pd.DataFrame(
                    {
                        "part": part[asked],
                        "column": column,
                        "image_id": ids[asked],
                        "label": names[asked],
                        "answer": names[found],
                    }
                )
            )
    columns = list(HELD_OUT.columns)
    return pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns, dtype=str)


def _parts(part: np.ndarray, scored: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows that are asked, and rows that can be found."""
    fit, unseen = np.flatnonzero((part == "fit") & scored), np.flatnonzero((part == "unseen") & scored)
    for asked in ("query", VALIDATE):
        yield np.flatnonzero((part == asked) & scored), fit
    yield unseen, unseen


def _findable(asked: np.ndarray, gallery: np.ndarray, names: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Whether each asked row (a,) has one of its name, and of another content group, in the gallery."""
    pairs = pd.DataFrame({"name": names[gallery], "group": groups[gallery]}).drop_duplicates()
    of_asked = pd.MultiIndex.from_arrays([names[asked], groups[asked]])
    of_name = pairs.groupby("name").size().reindex(names[asked], fill_value=0).to_numpy()
    return of_name - of_asked.isin(pd.MultiIndex.from_frame(pairs)) > 0


def _nearest_of_another_group(
    embeddings: np.ndarray, asked: np.ndarray, gallery: np.ndarray, groups: np.ndarray, device: str | torch.device
) -> np.ndarray:
    """The row (a,) of the gallery with the highest cosine to each asked row, without those of its own content group; -1
    where the gallery has no others."""
    of_own = np.bincount(groups[gallery], minlength=groups.max() + 1)[groups[asked]]
    found = np.full(len(asked), -1)
    # Those with more pictures of their own group in the gallery look further.
    for number in np.unique(of_own[of_own < len(gallery)]):
        rows = np.flatnonzero(of_own == number)
        near, _ = nearest(embeddings[asked[rows]], embeddings[gallery], int(number) + 1, device=device)
        others = groups[gallery[near]] != groups[asked[rows], None]
        found[rows] = gallery[near[np.arange(len(rows)), others.argmax(1)]]
    return found
