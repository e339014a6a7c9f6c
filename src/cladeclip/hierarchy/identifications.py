"""Names of pictures as Darwin Core's terms: what a model thinks, for a curator to sign."""

from collections.abc import Sequence

import pandas as pd

from cladeclip.ranks import HIGHER_RANKS

# Nothing is known of what kind of record the picture is of.
BASIS = "Occurrence"
NO_NAME = "incertae sedis"
# Ranks that are terms of Darwin Core.
RANKS = ("genus", *HIGHER_RANKS)


def of_identified(identified: pd.DataFrame, ranks: Sequence[str], *, model: str) -> pd.DataFrame:
    """Rows of the `identified` table whose pictures could be read, as occurrences.

    Args:
        ranks: of the taxonomy; a rank that is the user's own grouping is told in the remarks.
        model: what named them.
    """
    rows = identified[identified["reason"] == ""]
    occurrences = []
    for row in rows.to_dict(orient="records"):
        known = [rank for rank in ("species", *RANKS) if rank in ranks and row[rank]]
        rank = known[0] if known else ""
        remarks = [f"Named by {model}"]
        if row["answered"]:
            remarks.append(f"{row['answered']} {row[row['answered']]}, probability {row['confidence']:.2f}")
        if row["novel_at"]:
            remarks.append(f"looks new at the rank {row['novel_at']}")
        remarks.append(f"most similar known picture {row['nearest_1']} ({row['nearest_1_species']})")
        qualifier = {"species": "", "genus": "sp."}.get(rank, "indet.")
        occurrences.append(
            _occurrence(row["image_id"], row[rank] if rank else NO_NAME, rank, qualifier, remarks)
            | {name: row[name] for name in RANKS if name in ranks}
        )
    return pd.DataFrame(occurrences, columns=_columns([rank for rank in RANKS if rank in ranks]))


def of_candidates(candidates: pd.DataFrame, *, model: str) -> pd.DataFrame:
    """The `candidates` table as occurrences: provisional names are the qualifier of the rank that is safe."""
    occurrences = []
    for row in candidates.to_dict(orient="records"):
        darwin = row["rank"] in ("species", *RANKS)
        name, rank = (row["answer"], row["rank"]) if darwin else (NO_NAME, "")
        provisional = row["rank"] != "species"
        remarks = [
            f"Candidate {row['candidate']} of {row['n']} pictures by {model}",
            f"nearest known species {row['nearest_species']}, cosine {row['cosine']:.2f}",
        ]
        qualifier = row["name"].removeprefix(row["answer"]).strip() if provisional and darwin else ""
        occurrences.append(
            _occurrence(row["image_id"], name, rank, qualifier, remarks)
            | {"verbatimIdentification": row["name"] if provisional else ""}
        )
    return pd.DataFrame(occurrences, columns=_columns(["verbatimIdentification"]))


def _columns(also: Sequence[str]) -> list[str]:
    return [*_occurrence("", "", "", "", []), *also]


def _occurrence(image_id: str, name: str, rank: str, qualifier: str, remarks: Sequence[str]) -> dict[str, str]:
    return {
        "occurrenceID": image_id,
        "basisOfRecord": BASIS,
        "scientificName": name,
        "taxonRank": rank,
        "identificationQualifier": qualifier,
        "identificationRemarks": "; ".join(remarks),
        # For whoever looks at it and agrees.
        "identifiedBy": "",
    }
