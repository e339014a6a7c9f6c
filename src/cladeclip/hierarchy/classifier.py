"""A classifier of heads, calibration and novelty limits, which names an image down to the lowest reliable rank."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch

from cladeclip.hierarchy.decision import Answers, answer, most_likely_path
from cladeclip.hierarchy.heads import Heads, HeadSettings, fit_heads, folds_of, temperature
from cladeclip.hierarchy.novelty import SCORES, Known, thresholds
from cladeclip.hierarchy.taxonomy import Taxonomy


@dataclass(frozen=True)
class Settings:
    """How a classifier is fitted.

    Attributes:
        heads: how its heads are trained.
        quantile: share of a name's own images that lie below its limit.
        min_images: a name with fewer borrows its parent's limit.
        neighbour: k of the k-th neighbour's distance.
    """

    heads: HeadSettings = field(default_factory=HeadSettings)
    quantile: float = 0.95
    min_images: int = 5
    neighbour: int = 5

    @classmethod
    def of_config(cls, hierarchy: Mapping[str, Any]) -> "Settings":
        """As the config's `hierarchy:` says."""
        heads = HeadSettings(**{name: hierarchy[name] for name in ("dependence", "hidden", "steps")})
        return cls(heads, **{name: hierarchy[name] for name in ("quantile", "min_images", "neighbour")})


@dataclass(frozen=True)
class Classifier:
    """Names images (n, d) at every rank of `taxonomy`, or down to the last rank at which they do not look new.

    Attributes:
        heads: calibrated.
        known: the images that it was fitted on.
        limits: for each novelty score and rank, the limit (n_r,) of every name.
        own_scores: for each novelty score, how new each image (n, R) that it was fitted on looks for its own names, by heads
            that had not seen it.
    """

    taxonomy: Taxonomy
    heads: Heads
    known: Known
    limits: Mapping[str, list[np.ndarray]]
    own_scores: Mapping[str, np.ndarray]

    def answers(self, embeddings: np.ndarray, score: str) -> Answers:
        """Answers for embeddings (n, d), by one novelty score."""
        logits = self.heads.logits(embeddings)
        path = most_likely_path(logits, self.taxonomy)
        return answer(logits, path, self.known.scores(score, embeddings, logits, path), self.limits[score])

    def novelties(self, embeddings: np.ndarray) -> dict[str, np.ndarray]:
        """Every novelty score (n, R) at each rank, of the most likely names."""
        logits = self.heads.logits(embeddings)
        path = most_likely_path(logits, self.taxonomy)
        return {score: self.known.scores(score, embeddings, logits, path) for score in SCORES}


def configured_classifier(
    images: pd.DataFrame, embeddings: np.ndarray, config: Mapping[str, Any], *, seed: int
) -> Classifier:
    """`fit_classifier` with the ranks and settings of the config's `hierarchy:`."""
    taxonomy = Taxonomy.of_images(images, chosen_ranks(config))
    return fit_classifier(images, embeddings, taxonomy, Settings.of_config(config), seed=seed)


def chosen_ranks(config: Mapping[str, Any]) -> list[str] | None:
    """The ranks that the config's `hierarchy:` names; None for all that the data has."""
    return None if config["ranks"] == "auto" else list(config["ranks"])


def fit_classifier(
    images: pd.DataFrame,
    embeddings: np.ndarray,
    taxonomy: Taxonomy,
    settings: Settings,
    *,
    seed: int,
    device: str | torch.device = "cpu",
) -> Classifier:
    """Fits a classifier on images with embeddings (n, d).

    Temperatures and limits are cross-fitted (`settings.heads.folds` folds): in-sample scores are over-confident. The heads
    that answer are fitted on all images.

    Args:
        images: rows of the `images` table.
    """
    codes = taxonomy.codes(images)
    folds = folds_of(images["content_group"].to_numpy(), settings.heads.folds, seed)
    logits = [np.full((len(images), len(names)), np.nan, dtype=np.float32) for names in taxonomy.names]
    others: dict[int, Known] = {}
    for fold in np.unique(folds):
        here, rest = folds == fold, folds != fold
        if not rest.any():  # one content group alone
            rest = here
        heads = fit_heads(embeddings[rest], codes[rest], taxonomy, settings.heads, seed=seed, device=device)
        for of_rank, found in zip(logits, heads.logits(embeddings[here]), strict=True):
            of_rank[here] = found
        others[fold] = Known(embeddings[rest], codes[rest], taxonomy, neighbour=settings.neighbour, device=device)
    temperatures = [temperature(of_rank, codes[:, place]) for place, of_rank in enumerate(logits)]
    calibrated = [of_rank / t for of_rank, t in zip(logits, temperatures, strict=True)]
    limits, own_scores = {}, {}
    for score in SCORES:
        scores = np.empty(codes.shape)
        for fold, known in others.items():
            here = folds == fold
            scores[here] = known.scores(score, embeddings[here], [of_rank[here] for of_rank in calibrated], codes[here])
        own_scores[score] = scores
        limits[score] = thresholds(scores, codes, taxonomy, quantile=settings.quantile, min_images=settings.min_images)
    heads = fit_heads(embeddings, codes, taxonomy, settings.heads, seed=seed, device=device)
    heads.temperatures.copy_(torch.tensor(temperatures))
    known = Known(embeddings, codes, taxonomy, neighbour=settings.neighbour, device=device)
    return Classifier(taxonomy, heads, known, limits, own_scores)
