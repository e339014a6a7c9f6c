"""Measures of hierarchical classification and of novelty detection."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score, roc_curve

# Images of species that the classifier was fitted on, and of others.
KNOWN, NEW = "known", "new"


@dataclass(frozen=True)
class RankMeasures:
    """Answers at one rank against the truth.

    Attributes:
        n: images.
        answered: share that was answered at this rank.
        accuracy: share of the answered that is right; NaN where none was.
        precision, recall, f1: means over the names that the images have (macro); an image that was not answered is a false
            negative of its name, and a false positive of none. NaN where no image has a name that is known.
    """

    n: int
    answered: float
    accuracy: float
    precision: float
    recall: float
    f1: float


def rank_measures(codes: np.ndarray, truth: np.ndarray) -> RankMeasures:
    """Measures of answers (n,), -1 where there is none, against true names (n,) at one rank, -1 where that is not known.

    Raises:
        ValueError: there is no image.
    """
    if len(truth) == 0:
        raise ValueError("there is no image to measure answers of.")
    given = codes >= 0
    accuracy = float((codes == truth)[given].mean()) if given.any() else np.nan
    precision = recall = f1 = np.nan
    if len(names := np.unique(truth[truth >= 0])):
        precision, recall, f1, _ = precision_recall_fscore_support(
            truth, codes, labels=names, average="macro", zero_division=0.0
        )
    return RankMeasures(len(truth), float(given.mean()), accuracy, float(precision), float(recall), float(f1))


def accuracy_against_coverage(confidence: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coverage and accuracy (m,) when only the most confident are answered, at every distinct confidence.

    Images of equal confidence are answered together or not at all.

    Args:
        confidence: (n,). right: (n,) bool, whether the answer would be right.
    """
    order = np.argsort(-confidence, kind="stable")
    last = np.append(np.diff(confidence[order]) != 0, True)
    answered = np.arange(1, len(order) + 1)[last]
    return answered / len(order), right[order].cumsum()[last] / answered


def area_under_risk_coverage(confidence: np.ndarray, right: np.ndarray) -> float:
    """AURC (Geifman and El-Yaniv, NeurIPS 2017): the mean, over numbers of images answered, of the share that is wrong.

    Images of equal confidence each count with their mean error.
    """
    order = np.argsort(-confidence, kind="stable")
    _, starts, counts = np.unique(-confidence[order], return_index=True, return_counts=True)
    wrong = np.repeat(np.add.reduceat((~right[order]).astype(float), starts) / counts, counts)
    return float((wrong.cumsum() / np.arange(1, len(order) + 1)).mean())


def auroc_of_new(score: np.ndarray, new: np.ndarray) -> float:
    """Probability that a new image has a higher novelty score (n,) than a known one; NaN where there is only one kind."""
    if new.all() or not new.any():
        return np.nan
    return float(roc_auc_score(new, _ranked(score)))


def fpr_at_95(score: np.ndarray, new: np.ndarray) -> float:
    """Share of new images taken for known ones (false positives), at the threshold that accepts 95 % of the known ones.

    Known is the positive class, as in the field (Hendrycks and Gimpel, ICLR 2017). NaN where there is only one kind.
    """
    if new.all() or not new.any():
        return np.nan
    false_positive, true_positive, _ = roc_curve(~new, -_ranked(score), drop_intermediate=False)
    return float(false_positive[np.argmax(true_positive >= 0.95)])


def mistaken_for(answers: pd.DataFrame, lowest: str) -> pd.DataFrame:
    """Which new species are taken for a known one, and how consistently.

    Args:
        answers: the `taxonomic_answers` table.
        lowest: the lowest rank of its taxonomy.

    Returns:
        A row a new name: label, n (its pictures), share_named (of them, that were named at the lowest rank), taken_for (the
        name they were given most often, the first one in a tie) and share_taken (of all its pictures).
    """
    new = answers[answers["part"] == NEW]
    rows = []
    for label, members in new.groupby(f"true_{lowest}"):
        named = members.loc[members[lowest] != "", lowest]
        most = named.value_counts().sort_index().sort_values(ascending=False, kind="stable")
        rows.append(
            {
                "label": label,
                "n": len(members),
                "share_named": len(named) / len(members),
                "taken_for": most.index[0] if len(most) else "",
                "share_taken": float(most.iloc[0]) / len(members) if len(most) else 0.0,
            }
        )
    table = pd.DataFrame(rows, columns=["label", "n", "share_named", "taken_for", "share_taken"])
    return table.sort_values(["share_taken", "label"], ascending=[False, True], ignore_index=True)


def _ranked(score: np.ndarray) -> np.ndarray:
    """Dense ranks of scores: finite for infinite scores, too."""
    return np.unique(score, return_inverse=True)[1]
