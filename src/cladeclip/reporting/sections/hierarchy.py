"""The report's section on answers at several ranks and new species, on open splits; made from tables alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from cladeclip.hierarchy.measures import KNOWN, NEW, mistaken_for
from cladeclip.io.parquet import Contract, read_table
from cladeclip.names import Model, Split
from cladeclip.paths import Results
from cladeclip.plan import trained_models
from cladeclip.random_streams import stream_of
from cladeclip.reporting.charts import accuracy_against_coverage
from cladeclip.reporting.thumbnails import Thumbnails
from cladeclip.tables import COVERAGE, HIERARCHY, NOVELTY, TAXONOMIC_ANSWERS

SHOWN_SPECIES = 15
PICTURES_A_RANK = 4


def hierarchy_section(
    results: Results, config: Mapping[str, Any], models: Sequence[str], best: str | None, pictures: Thumbnails
) -> dict[str, Any] | None:
    """What the template hierarchy.html shows of these models, students on their own split only; None where no split is open.

    The curves are of the encoders that were not trained here and of `best`, the best student by the primary comparison.
    Mistaken species and pictures are of the model with the lowest area under the risk-coverage curve, at the lowest rank and
    averaged over the open splits.
    """
    splits = [split for split in config["splits"] if Split.parse(split).is_open]
    if not splits:
        return None

    def read(contract: Contract) -> pd.DataFrame:
        tables = [
            read_table(results.evaluation(split, model, contract.name), contract).assign(split=split, model=model)
            for split in splits
            for model in models
            if Model.parse(model) is None or model in trained_models(config, split)
        ]
        return pd.concat(tables, ignore_index=True)

    hierarchy, novelty = read(HIERARCHY), read(NOVELTY)
    ranks = list(dict.fromkeys(hierarchy["rank"]))
    at_lowest = hierarchy[hierarchy["rank"] == ranks[-1]]
    shown = at_lowest[at_lowest["part"] == KNOWN].groupby("model", sort=False)["aurc"].mean().idxmin()
    curves = read(COVERAGE)
    drawn = [model for model in models if Model.parse(model) is None or model == best]
    answers = read_table(results.evaluation(splits[0], shown, "taxonomic_answers"), TAXONOMIC_ANSWERS)
    return {
        "splits": splits,
        "ranks": ranks,
        "score": config["hierarchy"]["score"],
        "shown": shown,
        "rows": hierarchy.to_dict(orient="records"),
        "new": _new_species(hierarchy, novelty, ranks, config["hierarchy"]["score"]),
        "scores": list(dict.fromkeys(novelty["score"])),
        "chart": accuracy_against_coverage(curves[(curves["part"] == KNOWN) & curves["model"].isin(drawn)]),
        "mistaken": mistaken_for(answers, ranks[-1]).head(SHOWN_SPECIES).to_dict(orient="records"),
        "examples": _examples(answers, ranks, pictures),
    }


def _new_species(
    hierarchy: pd.DataFrame, novelty: pd.DataFrame, ranks: Sequence[str], score: str
) -> list[dict[str, Any]]:
    """A row an encoder and split: how far new species are named, how much of that is right, and each score's AUROC."""
    rows = []
    at_lowest = novelty[novelty["rank"] == ranks[-1]]
    for (split, model), found in hierarchy[hierarchy["part"] == NEW].groupby(["split", "model"], sort=False):
        of_rank = found.set_index("rank")
        of_scores = at_lowest[(at_lowest["split"] == split) & (at_lowest["model"] == model)].set_index("score")
        row = {"split": split, "model": model, "n": int(of_rank["n"].iloc[0])}
        row["stopped"] = 1 - of_rank.loc[ranks[-1], "answered"]
        row["right"] = {rank: of_rank.loc[rank, "accuracy_stopped"] for rank in ranks[:-1]}
        row["n_stopped"] = {rank: int(of_rank.loc[rank, "n_stopped"]) for rank in ranks[:-1]}
        row["auroc"] = of_scores["auroc"].to_dict()
        row["fpr95"] = of_scores["fpr95"].get(score, np.nan)
        rows.append(row)
    return rows


def _examples(answers: pd.DataFrame, ranks: Sequence[str], thumbnails: Thumbnails) -> list[dict[str, Any]]:
    """Pictures answered at each rank, the lowest first, and such that were not named at all: drawn, the same every time."""
    groups = []
    for rank in [*reversed(ranks), ""]:
        for part in (KNOWN, NEW):
            members = answers[(answers["answered"] == rank) & (answers["part"] == part)].sort_values("image_id")
            order = stream_of(0, f"examples {rank} {part}").permutation(len(members))[:PICTURES_A_RANK]
            pictures = [
                {
                    "image_id": row["image_id"],
                    "picture": thumbnails.of(row["image_id"]),
                    "answer": row[rank] if rank else "",
                    "truth": row[f"true_{ranks[-1]}"],
                    "right": bool(row[rank] == row[f"true_{rank}"]) if rank else None,
                }
                for row in members.iloc[order].to_dict(orient="records")
            ]
            groups.append({"rank": rank, "part": part, "n": len(members), "pictures": pictures})
    return [group for group in groups if group["n"]]
