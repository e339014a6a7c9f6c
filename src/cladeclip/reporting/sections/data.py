"""The report's section on the data: what there is, how it was split, and what could not be used."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from cladeclip.datasets.naming import KINDS, kinds_beside_species, merged_names, some
from cladeclip.evaluation.protocol import ALL
from cladeclip.io.parquet import read_table
from cladeclip.paths import Results
from cladeclip.reporting.credits import licences_of
from cladeclip.tables import ACCURACY, IMAGES, NAMES, NEAR_DUPLICATES, ONE_BY_ONE, QUARANTINE, SPLIT

# Parts of a split and their words; those of ALWAYS are shown where they are empty, too.
PARTS = {
    "fit": "fitted",
    "validate": "kept to choose by",
    "query": "held out as queries",
    "unseen": "of species that were held out whole",
    "unnamed": "without a species",
}
ALWAYS = ("fit", "query", "unseen")
EXAMPLES = 3
LISTED = 200


def data_section(
    results: Results, config: Mapping[str, Any], models: Sequence[str], words: Mapping[str, str]
) -> dict[str, Any]:
    """What the template data.html shows.

    Args:
        models: those on the primary split.
        words: what they are called.
    """
    images = read_table(results.table("images"), IMAGES)
    quarantine = read_table(results.table("quarantine"), QUARANTINE)
    splits = [_split(results, split) for split in config["splits"]]
    return {
        "counts": _counts(images),
        "names": _names(read_table(results.table("names"), NAMES)),
        "specimens": images["specimen"].nunique() if "specimen" in images else None,
        "n_together": _n_together(results, config),
        "leaks": _leaks(results, config["report"]["primary"]["split"], models, words),
        "near_duplicates": _near_duplicates(results, config),
        "licences": licences_of(images),
        "n_unnamed": int((images["scientific_name"] == "").sum()),
        "splits": splits,
        "parts": {
            part: words for part, words in PARTS.items() if part in ALWAYS or any(split[part] for split in splits)
        },
        "n_quarantined": len(quarantine),
        "reasons": _reasons(quarantine),
        "quarantine": quarantine.head(LISTED).to_dict(orient="records"),
    }


def _split(results: Results, split: str) -> dict[str, Any]:
    sizes = read_table(results.split(split), SPLIT)["part"].value_counts()
    return {"name": split} | {part: int(sizes.get(part, 0)) for part in PARTS}


def _n_together(results: Results, config: Mapping[str, Any]) -> int:
    """How many groups of several pictures the primary split keeps together."""
    split = read_table(results.split(config["report"]["primary"]["split"]), SPLIT)
    return int((split["group"].value_counts() > 1).sum())


def _leaks(results: Results, split: str, models: Sequence[str], words: Mapping[str, str]) -> list[dict[str, Any]]:
    """For each encoder that was not trained here its accuracy, and what it would be with pictures drawn one by one."""
    rows = []
    for model in models:
        alone = read_table(results.evaluation(split, model, "one_by_one"), ONE_BY_ONE)
        if alone.empty:
            continue
        accuracy = read_table(results.evaluation(split, model, "accuracy"), ACCURACY)
        together = accuracy[(accuracy["taxa"] == ALL) & (accuracy["column"] == "species")].iloc[0]
        rows.append(
            {
                "words": words.get(model, model),
                "together": float(together["accuracy_individual"]),
                "alone": float(alone["accuracy_individual"].iloc[0]),
            }
        )
    return rows


def _near_duplicates(results: Results, config: Mapping[str, Any]) -> dict[str, Any] | None:
    asked = config["folds"]["near_duplicates"]
    if not asked:
        return None
    pairs = read_table(results.table("near_duplicates"), NEAR_DUPLICATES).sort_values("cosine", ascending=False)
    return {**asked, "n": len(pairs), "pairs": pairs.head(LISTED).to_dict(orient="records")}


def _names(names: pd.DataFrame) -> dict[str, Any]:
    """What became of names that are not two words as they stand: by kind, merged into one label, or replaced by another."""
    merged = [
        {"label": label, "written": some(of_label["name_as_written"], 20)} for label, of_label in merged_names(names)
    ]
    replaced = names[names["accepted"] != ""]
    return {
        "kinds": [
            {"kind": kind, "words": KINDS[kind], "n": n, "written": written}
            for kind, n, written in kinds_beside_species(names)
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
        species, groups = members["scientific_name"].replace("", None), members["pixel_group"]
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
