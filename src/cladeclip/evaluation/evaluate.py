"""One model on one split: the seed report's table and every query's prediction."""

import numpy as np
import pandas as pd

from cladeclip.errors import DataError
from cladeclip.evaluation.nearest_label import COLUMNS, predict_labels

RANKS = {"species": "scientific_name", "genus": "genus", "taxa": "category"}
ALL = "All"


def evaluate(
    images: pd.DataFrame,
    embeddings: np.ndarray,
    split: pd.DataFrame,
    *,
    protocol: str,
    query_share: float,
    seed: int,
    genus_only_names: str = "keep",
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The `accuracy` and `predictions` tables of embeddings (n, d) in the order of `images`.

    Args:
        split: the `split` table of the same images.
        protocol: the split's name. `all` draws `query_share` of each subset's content groups as queries, from `seed`;
            `open-{fold}` does so within the part `unseen`; with `holdout-{fold}` the queries are the part `query` and the
            gallery is the part `fit`.
        genus_only_names: `leave_out` scores species without the images whose name is a genus alone.

    Raises:
        DataError: a subset of the taxa has no query or no gallery.
    """
    part = split.set_index("image_id")["part"].reindex(images["image_id"]).to_numpy()
    subsets = [*sorted(images["category"].unique()), ALL]
    accuracies, predictions = [], []
    for taxa in subsets:
        members = np.ones(len(images), dtype=bool) if taxa == ALL else (images["category"] == taxa).to_numpy()
        if protocol.startswith("open"):
            members = members & (part == "unseen")
        if not protocol.startswith("holdout"):
            is_query = members & _drawn(images, members, query_share, seed)
            is_gallery = members & ~is_query
        else:
            is_query, is_gallery = members & (part == "query"), members & (part == "fit")
        for column, source in RANKS.items():
            if column == "taxa" and taxa != ALL:
                continue
            scored = np.ones(len(images), dtype=bool)
            if column == "species" and genus_only_names == "leave_out":
                scored = (images["name_kind"] != "genus").to_numpy()
            query, gallery = np.flatnonzero(is_query & scored), np.flatnonzero(is_gallery & scored)
            if len(query) == 0 or len(gallery) == 0:
                raise DataError(
                    f"evaluation of taxa {taxa} by {column}: {len(query)} queries and {len(gallery)} gallery images; at "
                    "least one of each is needed. Raise the query share, set eval.genus_only_names to keep, or leave out "
                    "categories with so few pictures."
                )
            names = images[source].to_numpy(dtype=object)
            found = predict_labels(embeddings[query], embeddings[gallery], names[gallery].astype(str))
            truth = names[query]
            right = {name: float((getattr(found, name) == truth).mean()) for name in COLUMNS}
            accuracies.append(
                {
                    "taxa": taxa,
                    "column": column,
                    **right,
                    "n_query": len(query),
                    "n_gallery": len(gallery),
                    "n_labels": len(set(names[gallery])),
                    "n_query_without_gallery": int((~np.isin(truth.astype(str), names[gallery].astype(str))).sum()),
                }
            )
            predictions.append(
                pd.DataFrame(
                    {
                        "taxa": taxa,
                        "column": column,
                        "image_id": images["image_id"].to_numpy()[query],
                        "label": truth,
                        **{name: getattr(found, name) for name in COLUMNS},
                        "nearest_image_id": images["image_id"].to_numpy()[gallery[found.nearest]],
                        "nearest_cosine": found.nearest_cosine.astype(np.float32),
                    }
                )
            )
    return pd.DataFrame(accuracies), pd.concat(predictions, ignore_index=True)


def _drawn(images: pd.DataFrame, members: np.ndarray, query_share: float, seed: int) -> np.ndarray:
    """Whether each image is drawn as a query: content groups of the subset, shuffled, until the share is reached."""
    sizes = images.loc[members].groupby("content_group", sort=True).size()
    shuffled = sizes.iloc[np.random.default_rng(seed).permutation(len(sizes))]
    wanted = max(1, round(query_share * int(sizes.sum())))
    taken = shuffled.index[(shuffled.cumsum() - shuffled).to_numpy() < wanted]
    return images["content_group"].isin(taken).to_numpy()
