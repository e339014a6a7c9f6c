"""Who may see which picture: `fit` images train clusters, students and heads; `query` images only ask questions."""

import numpy as np
import pandas as pd

from cladeclip.random_streams import stream_of


def make_split(images: pd.DataFrame, split: str, *, query_share: float, seed: int) -> pd.DataFrame:
    """The `split` table of one split.

    `all`: every image is `fit`. `holdout-{fold}`: of every species with two or more content groups, a share of about
    `query_share` (at least one group, never all) is `query`. Folds 0, 1, ... walk through the same shuffled order, so
    that up to 1 / query_share of them are disjoint where the species has enough pictures. Pictures of the same content
    stay together.
    """
    part = pd.Series("fit", index=images["image_id"])
    if split != "all":
        fold = int(split.removeprefix("holdout-"))
        # A group belongs to the species of its first picture, should its pictures disagree.
        groups = images.sort_values("image_id").drop_duplicates("content_group")
        for species, members in groups.groupby("scientific_name", sort=True):
            names = np.asarray(members["content_group"], dtype=object)
            if len(names) < 2:
                continue
            shuffled = names[stream_of(seed, str(species)).permutation(len(names))]
            n_query = min(max(1, round(query_share * len(names))), len(names) - 1)
            chosen = {shuffled[(fold * n_query + i) % len(names)] for i in range(n_query)}
            part[images["content_group"].isin(chosen).to_numpy()] = "query"
    return pd.DataFrame({"image_id": part.index, "part": part.to_numpy()})
