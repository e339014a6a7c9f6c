"""Pictures that fit nowhere: newer to the eye than the pictures of their own name are to each other."""

import numpy as np
import pandas as pd

from cladeclip.hierarchy.classifier import Classifier
from cladeclip.tables import OUTLIERS

# Spreads that a picture is away from the middle of its name, at least.
ENOUGH = 2.0


def outliers(images: pd.DataFrame, classifier: Classifier, *, score: str, share: float) -> pd.DataFrame:
    """The `outliers` table: the share of the pictures that are the most unlike the others of their name.

    How unlike is the novelty score at the lowest rank, of heads that had not seen the picture, less the median of its name,
    in units of the spread: half of the distance between the 16th and the 84th percentile of these differences. Listed is
    what is ENOUGH of them away. A picture whose name no other content group has is not judged.

    Args:
        images: that the classifier was fitted on.
        score: the novelty score.
    """
    scores = pd.Series(classifier.own_scores[score][:, -1]).replace([np.inf, -np.inf], np.nan)
    away = scores - scores.groupby(classifier.taxonomy.codes(images)[:, -1]).transform("median")
    if away.isna().all():
        return pd.DataFrame(columns=list(OUTLIERS.columns))
    low, high = away.quantile([0.16, 0.84])
    away = away / max((high - low) / 2, 1e-12)
    found = away[away >= ENOUGH].sort_values(ascending=False, kind="stable").head(round(share * len(images)))
    chosen = images.iloc[found.index]
    return pd.DataFrame({"image_id": chosen["image_id"], "name": chosen["scientific_name"], "away": found})
