"""Pictures that fit nowhere: newer to the eye than the pictures of their own name are to each other."""

import numpy as np
import pandas as pd

from cladeclip.hierarchy.classifier import Classifier
from cladeclip.tables import OUTLIERS


def outliers(images: pd.DataFrame, classifier: Classifier, *, score: str, share: float) -> pd.DataFrame:
    """The `outliers` table: the share of the pictures that are the farthest beyond the limit of their own name.

    How far is the novelty score at the lowest rank, of heads that had not seen the picture, less the limit of its name, in
    units of the spread of all scores (half of the distance between the 16th and the 84th percentile). A picture whose name
    no other content group has is not judged.

    Args:
        images: that the classifier was fitted on.
        score: the novelty score.
    """
    scores = classifier.own_scores[score][:, -1]
    limits = classifier.limits[score][-1][classifier.taxonomy.codes(images)[:, -1]]
    finite = np.isfinite(scores) & np.isfinite(limits)
    if not finite.any():
        return pd.DataFrame(columns=list(OUTLIERS.columns))
    low, high = np.percentile(scores[finite], [16, 84])
    beyond = np.full(len(scores), -np.inf)
    beyond[finite] = (scores[finite] - limits[finite]) / max((high - low) / 2, 1e-12)
    rows = np.argsort(-beyond, kind="stable")[: round(share * len(images))]
    rows = rows[beyond[rows] > 0]
    chosen = images.iloc[rows]
    return pd.DataFrame({"image_id": chosen["image_id"], "name": chosen["scientific_name"], "beyond": beyond[rows]})
