"""Names of new pictures down to the lowest reliable rank, and their most similar known pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cladeclip.datasets.listing import pictures_below
from cladeclip.datasets.prepare import check_picture
from cladeclip.encoders.embed import embed_images
from cladeclip.encoders.encoder import Encoder
from cladeclip.evaluation.search import nearest
from cladeclip.hierarchy.checklist import on_checklist, read_checklist
from cladeclip.hierarchy.classifier import Classifier, configured_classifier
from cladeclip.io.spreadsheets import without_formulas

# Known pictures shown beside every new one.
NEIGHBOURS = 3


def identify_folder(
    encoder: Encoder,
    folder: str | Path,
    known: pd.DataFrame,
    known_embeddings: np.ndarray,
    hierarchy: Mapping[str, Any],
    *,
    seed: int,
    workers: int,
    embed: Mapping[str, Any],
    checklist: str = "",
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The `identified` table of the images below a folder, and the ranks of the taxonomy.

    Args:
        known, known_embeddings: rows of the `images` table that a classifier is fitted on, and (n, d) in their order.
        hierarchy: the config's section; embed: how `embed_images` embeds.
        checklist: a table of the only names allowed; "" allows all. A picture whose nearest known one has another name
            has that in the column `not_on_checklist`.
    """
    allowed = np.full(len(known), True)
    if checklist:
        allowed = on_checklist(known, read_checklist(checklist), file=checklist)
    checks = {image_id: check_picture(image_id, str(folder)) for image_id in pictures_below(folder)["path"]}
    unusable = {image_id: f"{check.reason}: {check.detail}" for image_id, check in checks.items() if check.reason}
    readable = [image_id for image_id in checks if image_id not in unusable]
    embeddings = embed_images(encoder, folder, readable, workers=workers, **embed)
    classifier = configured_classifier(
        known[allowed].reset_index(drop=True), known_embeddings[allowed], hierarchy, seed=seed
    )
    found = identify(classifier, known, known_embeddings, readable, embeddings, unusable, score=hierarchy["score"])
    if checklist:
        excluded = set(known.loc[~allowed, "scientific_name"])
        found["not_on_checklist"] = found["nearest_1_species"].where(found["nearest_1_species"].isin(excluded), "")
    return found, classifier.taxonomy.ranks


def identify(
    classifier: Classifier,
    known: pd.DataFrame,
    known_embeddings: np.ndarray,
    image_ids: Sequence[str],
    embeddings: np.ndarray,
    unusable: Mapping[str, str],
    *,
    score: str,
) -> pd.DataFrame:
    """The `identified` table: one row per new picture; unreadable ones have the reason in place of an answer.

    Args:
        known, known_embeddings: rows of the `images` table, and (n, d) in their order: what may be most similar.
        image_ids, embeddings: the new pictures that could be read, and (m, d).
        unusable: why each of the others could not.
        score: the novelty score that decides.
    """
    ranks = classifier.taxonomy.ranks
    columns = {"reason": "", "answered": "", "novel_at": "", "confidence": np.nan} | dict.fromkeys(ranks, "")
    for place in range(1, NEIGHBOURS + 1):
        columns |= {f"nearest_{place}": "", f"nearest_{place}_species": "", f"nearest_{place}_cosine": np.nan}
    rejected = pd.DataFrame({"image_id": list(unusable), **columns})
    rejected["reason"] = list(unusable.values())
    if len(image_ids) == 0:
        return rejected
    answered = pd.DataFrame({"image_id": list(image_ids), **columns})
    words = classifier.answers(embeddings, score).in_words(classifier.taxonomy)
    answered[words.columns] = words
    ids, species = known["image_id"].to_numpy(), known["scientific_name"].to_numpy()
    found, cosines = nearest(embeddings, known_embeddings, min(NEIGHBOURS, len(known)))
    for place in range(found.shape[1]):
        name, rows = f"nearest_{place + 1}", found[:, place]
        answered[name], answered[f"{name}_species"], answered[f"{name}_cosine"] = (
            ids[rows],
            species[rows],
            cosines[:, place],
        )
    return pd.concat([answered, rejected], ignore_index=True) if len(rejected) else answered


def for_a_spreadsheet(identified: pd.DataFrame, ranks: Sequence[str]) -> str:
    """The `identified` table as CSV for a curator: one answer a picture, in words; no cell is a formula."""
    ranked = identified[list(ranks)].to_numpy(dtype=object)
    depth = (ranked != "").sum(axis=1)
    answers = [row[number - 1] if number else "" for row, number in zip(ranked, depth, strict=True)]
    table = pd.DataFrame(
        {
            "picture": identified["image_id"],
            "answer": answers,
            "rank": identified["answered"],
            "confidence_percent": [("" if np.isnan(c) else f"{100 * c:.0f}") for c in identified["confidence"]],
            "looks_new_at": identified["novel_at"],
            "not_read_because": identified["reason"],
        }
    )
    if "not_on_checklist" in identified:
        table["not_on_checklist"] = identified["not_on_checklist"]
    for place in range(1, NEIGHBOURS + 1):
        table[f"resembles_{place}"] = identified[f"nearest_{place}"]
        table[f"resembles_{place}_species"] = identified[f"nearest_{place}_species"]
    return without_formulas(table)
