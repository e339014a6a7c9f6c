"""Hierarchical classification and novelty detection by one model's embeddings on one split."""

from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
import torch

from cladeclip.errors import DataError
from cladeclip.evaluation.protocol import ALL, subsets
from cladeclip.evaluation.search import nearest
from cladeclip.hierarchy.classifier import Classifier, Settings, fit_classifier
from cladeclip.hierarchy.decision import Answers
from cladeclip.hierarchy.measures import (
    KNOWN,
    NEW,
    accuracy_against_coverage,
    area_under_risk_coverage,
    auroc_of_new,
    fpr_at_95,
    rank_measures,
)
from cladeclip.hierarchy.taxonomy import Taxonomy
from cladeclip.ranks import COLUMN_OF_RANK

CURVE_POINTS = 200


@dataclass(frozen=True)
class HierarchyEvaluation:
    """The tables of one model on one split; see their contracts in `tables.py`.

    Attributes:
        hierarchy: measures at each rank, of images of known and of new species.
        coverage: the curves of accuracy against coverage, at most CURVE_POINTS points each.
        novelty: how well each score tells new from known, at each rank; no row where nothing is new.
        taxonomic_answers: what was said of every image asked.
    """

    hierarchy: pd.DataFrame
    coverage: pd.DataFrame
    novelty: pd.DataFrame
    taxonomic_answers: pd.DataFrame


def evaluate_hierarchy(
    images: pd.DataFrame,
    embeddings: np.ndarray,
    split: pd.DataFrame,
    *,
    protocol: str,
    query_share: float,
    seed: int,
    score: str,
    ranks: list[str] | None = None,
    settings: Settings | None = None,
    device: str | torch.device = "cpu",
) -> HierarchyEvaluation:
    """Fits a classifier on the images that the split lets it see, and asks it about the others.

    Args:
        images, embeddings: the `images` table and (n, d) in its order.
        split: the `split` table of the same images. The part `fit` is fitted on; asked are `query`, whose names are known,
            and `unseen`, whose species are new. On the split `all` queries are drawn as in `subsets`; the rest is fitted on.
        protocol: the split's name.
        score: the novelty score that decides, of SCORES.
        ranks: see `Taxonomy.of_images`.

    Raises:
        DataError: there is nothing to fit on or to ask, or the ranks make no taxonomy.
    """
    part = split.set_index("image_id")["part"].reindex(images["image_id"]).to_numpy(dtype=object)
    if protocol == "all":
        drawn = subsets(images, split, protocol=protocol, query_share=query_share, seed=seed)
        (everything,) = (subset for subset in drawn if (subset.taxa, subset.column) == (ALL, "species"))
        part = part.copy()
        part[everything.query] = "query"
    fit, asked = np.flatnonzero(part == "fit"), np.flatnonzero((part == "query") | (part == "unseen"))
    if len(fit) == 0 or len(asked) == 0:
        raise DataError(
            f"hierarchy on {protocol}: {len(fit)} images to fit on and {len(asked)} to ask about; at least one of each is "
            "needed."
        )
    # From all images, also those of new species: a fault in the metadata is reported wherever it is.
    taxonomy = Taxonomy.of_images(images.iloc[fit], list(Taxonomy.of_images(images, ranks).ranks))
    classifier = fit_classifier(
        images.iloc[fit], embeddings[fit], taxonomy, settings or Settings(), seed=seed, device=device
    )
    found = classifier.answers(embeddings[asked], score)
    kinds = np.where(part[asked] == "unseen", NEW, KNOWN)
    truth = taxonomy.codes(images.iloc[asked])
    return HierarchyEvaluation(
        hierarchy=_measures(found, truth, kinds, taxonomy),
        coverage=_coverage(found, truth, kinds, taxonomy),
        novelty=_novelty(classifier, embeddings[asked], kinds),
        taxonomic_answers=_answers(found, images, embeddings, fit, asked, kinds, taxonomy),
    )


def _measures(found: Answers, truth: np.ndarray, kinds: np.ndarray, taxonomy: Taxonomy) -> pd.DataFrame:
    rows = []
    for part in (KNOWN, NEW):
        of_part = kinds == part
        if not of_part.any():
            continue
        unsure = of_part & (found.depth < len(taxonomy.ranks))
        for place, rank in enumerate(taxonomy.ranks):
            right = found.path[:, place] == truth[:, place]
            stopped = unsure & (found.depth > place)
            rows.append(
                {
                    "part": part,
                    "rank": rank,
                    **asdict(rank_measures(found.codes[of_part, place], truth[of_part, place])),
                    "aurc": area_under_risk_coverage(found.probability[of_part, place], right[of_part]),
                    "n_stopped": int(stopped.sum()),
                    "accuracy_stopped": float(right[stopped].mean()) if stopped.any() else np.nan,
                }
            )
    return pd.DataFrame(rows)


def _coverage(found: Answers, truth: np.ndarray, kinds: np.ndarray, taxonomy: Taxonomy) -> pd.DataFrame:
    """Curves of the names in the paths, as if every image were answered at every rank, the most probable name first."""
    curves = []
    for part in (KNOWN, NEW):
        of_part = kinds == part
        for place, rank in enumerate(taxonomy.ranks if of_part.any() else ()):
            right = (found.path[:, place] == truth[:, place])[of_part]
            coverage, accuracy = accuracy_against_coverage(found.probability[of_part, place], right)
            kept = np.unique(np.linspace(0, len(coverage) - 1, CURVE_POINTS).round().astype(int))
            points = {"part": part, "rank": rank, "coverage": coverage[kept], "accuracy": accuracy[kept]}
            curves.append(pd.DataFrame(points))
    return pd.concat(curves, ignore_index=True)


def _novelty(classifier: Classifier, embeddings: np.ndarray, kinds: np.ndarray) -> pd.DataFrame:
    new = kinds == NEW
    rows = []
    scores = classifier.novelties(embeddings) if new.any() and not new.all() else {}
    for score, values in scores.items():
        for place, rank in enumerate(classifier.taxonomy.ranks):
            of_rank = values[:, place]
            rows.append(
                {"score": score, "rank": rank, "auroc": auroc_of_new(of_rank, new), "fpr95": fpr_at_95(of_rank, new)}
            )
    return pd.DataFrame(rows, columns=["score", "rank", "auroc", "fpr95"])


def _answers(
    found: Answers,
    images: pd.DataFrame,
    embeddings: np.ndarray,
    fit: np.ndarray,
    asked: np.ndarray,
    kinds: np.ndarray,
    taxonomy: Taxonomy,
) -> pd.DataFrame:
    """One row per image asked: the answers (blank below the rank stopped at), the truth, and the nearest image fitted on."""
    closest, _ = nearest(embeddings[asked], embeddings[fit], 1)
    ids, words = images["image_id"].to_numpy(), found.in_words(taxonomy)
    table = pd.DataFrame({"image_id": ids[asked], "part": kinds})
    table[["answered", "novel_at", "confidence"]] = words[["answered", "novel_at", "confidence"]]
    table["nearest_image_id"] = ids[fit[closest[:, 0]]]
    for rank in taxonomy.ranks:
        table[rank] = words[rank]
        table[f"true_{rank}"] = images[COLUMN_OF_RANK[rank]].astype(str).to_numpy()[asked]
    return table
