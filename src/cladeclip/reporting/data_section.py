"""The report's section on the data: what there is, how it was split, and what could not be used."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from cladeclip.datasets.names import SPECIES
from cladeclip.datasets.naming import KINDS, merged_names, some
from cladeclip.evaluation.protocol import ALL
from cladeclip.tables import IMAGES, NAMES, QUARANTINE, SPLIT, read_table

PARTS = ("fit", "query", "unseen")
EXAMPLES = 3
LISTED = 200


def data_section(results: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """What the template data.html shows."""
    images = read_table(results / "images.parquet", IMAGES)
    quarantine = read_table(results / "quarantine.parquet", QUARANTINE)
    return {
        "counts": _counts(images),
        "names": _names(read_table(results / "names.parquet", NAMES)),
        "specimens": images["specimen"].nunique() if "specimen" in images else None,
        "splits": [_split(results, split) for split in config["splits"]],
        "n_quarantined": len(quarantine),
        "reasons": _reasons(quarantine),
        "quarantine": quarantine.head(LISTED).to_dict(orient="records"),
    }


def _split(results: Path, split: str) -> dict[str, Any]:
    sizes = read_table(results / split / "split.parquet", SPLIT)["part"].value_counts()
    return {"name": split} | {part: int(sizes.get(part, 0)) for part in PARTS}


def _names(names: pd.DataFrame) -> dict[str, Any]:
    """What became of names that are not two words as they stand: by kind, merged into one label, or replaced by another."""
    merged = [
        {"label": label, "written": some(of_label["name_as_written"], 20)} for label, of_label in merged_names(names)
    ]
    replaced = names[names["accepted"] != ""]
    return {
        "kinds": [
            {
                "kind": kind,
                "words": KINDS[str(kind)],
                "n": int(of_kind["n"].sum()),
                "written": some(of_kind["name_as_written"]),
            }
            for kind, of_kind in names[names["kind"] != SPECIES].groupby("kind")
        ],
        "merged": merged[:LISTED],
        "n_merged": len(merged),
        "replaced": replaced.head(LISTED).to_dict(orient="records"),
        "n_replaced": len(replaced),
    }


def _reasons(quarantine: pd.DataFrame) -> list[dict[str, Any]]:
    """Why pictures could not be used, the most frequent reason first, with some of each."""
    groups = [
        {"reason": reason, "n": len(members), "examples": members.head(EXAMPLES).to_dict(orient="records")}
        for reason, members in quarantine.sort_values("image_id").groupby("reason")
    ]
    return sorted(groups, key=lambda group: -group["n"])


def _counts(images: pd.DataFrame) -> list[dict[str, Any]]:
    rows = []
    for category, members in [*images.groupby("category"), (ALL, images)]:
        species, groups = members["scientific_name"], members["pixel_group"]
        rows.append(
            {
                "category": category,
                "images": len(members),
                "species": species.nunique(),
                "genera": members["genus"].replace("", None).nunique(),
                "single": int((species.value_counts() == 1).sum()),
                "repeated": int(len(members) - groups.nunique()),
            }
        )
    return rows
