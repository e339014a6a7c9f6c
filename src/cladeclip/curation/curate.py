"""The four lists of what a curator should look at."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cladeclip.curation.candidates import candidates
from cladeclip.curation.duplicates import duplicates
from cladeclip.curation.named import is_named, with_one_parent
from cladeclip.curation.outliers import outliers
from cladeclip.curation.suspects import suspects
from cladeclip.datasets.store import PictureStore
from cladeclip.hierarchy.classifier import configured_classifier


class Lists(NamedTuple):
    """The tables of these names; see their contracts in `tables.py`."""

    suspects: pd.DataFrame
    duplicates: pd.DataFrame
    outliers: pd.DataFrame
    candidates: pd.DataFrame


def curate(
    images: pd.DataFrame,
    embeddings: np.ndarray,
    store: PictureStore,
    settings: Mapping[str, Any],
    hierarchy: Mapping[str, Any],
    *,
    seed: int,
    workers: int,
) -> Lists:
    """The lists for all pictures of the `images` table, by one encoder's embeddings (n, d) in its order.

    Args:
        settings, hierarchy: the config's sections `curate` and `hierarchy`.
        workers: processes that compare pictures.

    Raises:
        DataError: no picture has a species' name.
    """
    named = is_named(images)
    known, of_known = with_one_parent(images[named].reset_index(drop=True)), embeddings[named]
    classifier = configured_classifier(known, of_known, hierarchy, seed=seed)
    score = hierarchy["score"]
    return Lists(
        suspects(known, of_known, share=settings["suspects"], seed=seed),
        duplicates(
            images, embeddings, store, cosine=settings["cosine"], least=settings["correlation"], workers=workers
        ),
        outliers(known, classifier, score=score, share=settings["outliers"]),
        candidates(
            known,
            of_known,
            images[~named].reset_index(drop=True),
            embeddings[~named],
            classifier,
            score=score,
            seed=seed,
        ),
    )
