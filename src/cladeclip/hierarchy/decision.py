"""From probabilities and novelty scores to answers: top-down, so that no answer contradicts its parent."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import softmax

from cladeclip.hierarchy.taxonomy import Taxonomy


@dataclass(frozen=True)
class Answers:
    """For each of n images, how far down it was named.

    Attributes:
        path: (n, R) int64, the most likely name at each rank among the children of the one above, regardless of novelty.
        depth: (n,) int64, ranks that were answered: from 0 (none) to R (down to the lowest).
        novel_at: (n,) int64, place of the highest rank at which the image looks new; -1 where it looks known.
        probability: (n, R) float64, of each name in the path.
    """

    path: np.ndarray
    depth: np.ndarray
    novel_at: np.ndarray
    probability: np.ndarray

    @property
    def codes(self) -> np.ndarray:
        """The answers (n, R): -1 below the rank that was stopped at."""
        return np.where(np.arange(self.path.shape[1]) < self.depth[:, None], self.path, -1)

    @property
    def confidence(self) -> np.ndarray:
        """The probability (n,) of the lowest name answered; NaN where none was."""
        lowest = np.maximum(self.depth - 1, 0)
        return np.where(self.depth > 0, self.probability[np.arange(len(lowest)), lowest], np.nan)

    def in_words(self, taxonomy: Taxonomy) -> pd.DataFrame:
        """One row per image: answered (the lowest rank), novel_at, confidence, and the name at each rank; blank for none."""
        places = np.array(["", *taxonomy.ranks])
        table = pd.DataFrame(
            {
                "answered": places[self.depth],
                "novel_at": places[self.novel_at + 1],
                "confidence": self.confidence,
            }
        )
        for place, (rank, names) in enumerate(zip(taxonomy.ranks, taxonomy.names, strict=True)):
            table[rank] = np.array([*names, ""])[self.codes[:, place]]
        return table


def most_likely_path(logits: Sequence[np.ndarray], taxonomy: Taxonomy) -> np.ndarray:
    """The name (n, R) with the highest logit at each rank among the children of the name above; the first one in a tie."""
    path = [np.argmax(logits[0], axis=1)]
    for place in range(1, len(logits)):
        is_child = taxonomy.parents[place] == path[-1][:, None]
        path.append(np.argmax(np.where(is_child, logits[place], -np.inf), axis=1))
    return np.stack(path, axis=1)


def answer(logits: Sequence[np.ndarray], path: np.ndarray, scores: np.ndarray, limits: Sequence[np.ndarray]) -> Answers:
    """Goes down `path` (n, R) until a score is above its name's limit.

    Args:
        logits: (n, n_r) of each rank, calibrated.
        scores: (n, R) novelty scores, of the names in `path`.
        limits: for each rank (n_r,), see `novelty.thresholds`.
    """
    n, depth = path.shape
    too_new = np.stack([scores[:, r] > limits[r][path[:, r]] for r in range(depth)], axis=1)
    stopped = too_new.any(axis=1)
    novel_at = np.where(stopped, too_new.argmax(axis=1), -1)
    probabilities = [softmax(of_rank.astype(np.float64), axis=1) for of_rank in logits]
    probability = np.stack([of_rank[np.arange(n), path[:, r]] for r, of_rank in enumerate(probabilities)], axis=1)
    return Answers(path, np.where(stopped, novel_at, depth), novel_at, probability)


def flat_answers(lowest: np.ndarray, taxonomy: Taxonomy, coverage: float) -> Answers:
    """The flat baseline: one softmax over the lowest rank, one limit for all, and parents looked up.

    The most confident share `coverage` of the images is named at the lowest rank, the others down to the rank above it. The
    probability of a higher name is that of all lowest names below it.

    Args:
        lowest: logits (n, n_R) of the lowest rank.
    """
    probability = softmax(lowest.astype(np.float64), axis=1)
    codes, path, found = probability.argmax(axis=1), [], []
    for place in range(len(taxonomy.ranks) - 1, -1, -1):
        path.append(codes)
        found.append(probability[np.arange(len(codes)), codes])
        if place:
            probability = probability @ taxonomy.children(place).T
            codes = taxonomy.parents[place][codes]
    n_named = round(coverage * len(lowest))
    named = np.zeros(len(lowest), dtype=bool)
    named[np.argsort(-found[0], kind="stable")[:n_named]] = True
    depth = np.where(named, len(path), len(path) - 1)
    novel_at = np.where(named, -1, len(path) - 1)
    return Answers(np.stack(path[::-1], axis=1), depth, novel_at, np.stack(found[::-1], axis=1))
