"""The section of all models: the four accuracies of the comparison, and other measures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cladeclip.evaluation.measures import NAMED, RETRIEVED
from cladeclip.evaluation.protocol import ALL
from cladeclip.io.parquet import read_table
from cladeclip.paths import Results
from cladeclip.reporting.comparison import IMPORTED
from cladeclip.reporting.words import describe_model
from cladeclip.tables import KNN, PROBE, RETRIEVAL, ZERO_SHOT

READ_OUTS = {
    **{name: measure.title for name, measure in RETRIEVED.items() if measure.shown},
    "knn_5": "5-NN",
    "knn_20": "20-NN",
    "probe": "linear probe",
    "zero_shot_1": "zero-shot top 1",
    "zero_shot_5": "zero-shot top 5",
}


def models_section(
    results: Results, config: Mapping[str, Any], comparison: pd.DataFrame, models: list[str]
) -> dict[str, Any]:
    """What the template models.html shows of these models."""
    read_outs = _read_outs(results, config, models)
    return {
        "rows": _rows(comparison, config),
        "imported": bool((comparison["split"] == IMPORTED).any()),
        "replicated": bool(comparison[[f"{column}_sd_seeds" for column in NAMED]].notna().any(axis=None)),
        "read_outs": read_outs,
        "read_out_names": {
            name: words for name, words in READ_OUTS.items() if any(row.get(name) is not None for row in read_outs)
        },
    }


def _read_outs(results: Results, config: Mapping[str, Any], models: list[str]) -> list[dict[str, Any]]:
    """Other measures of every model, for All by species and genus on the split of the primary comparison."""
    rows = []
    split = config["report"]["primary"]["split"]
    for model in models:
        retrieval = read_table(results.evaluation(split, model, "retrieval"), RETRIEVAL)
        knn = read_table(results.evaluation(split, model, "knn"), KNN)
        probe = read_table(results.evaluation(split, model, "probe"), PROBE).set_index("column")["micro"]
        names = Path(results.evaluation(split, model, "zero_shot"))
        named = read_table(names, ZERO_SHOT) if names.is_file() and config["eval"]["zero_shot"] else None
        for column in ("species", "genus"):
            of_column = retrieval[(retrieval["taxa"] == ALL) & (retrieval["column"] == column)]
            if of_column.empty:
                continue  # no name says a genus
            found = of_column.iloc[0]
            votes = knn[(knn["taxa"] == ALL) & (knn["column"] == column)].set_index(["k", "weighting"])["micro"]
            row = {name: float(found[name]) for name, measure in RETRIEVED.items() if measure.shown}
            row |= {"knn_5": votes[5, "similarity"], "knn_20": votes[20, "similarity"], "probe": probe.get(column)}
            if named is not None:
                chosen = named[(named["taxa"] == ALL) & (named["column"] == column)].iloc[0]
                row |= {"zero_shot_1": chosen["top1"], "zero_shot_5": chosen["top5"]}
            shown = {name: None if value is None or np.isnan(value) else float(value) for name, value in row.items()}
            rows.append({"model": model, "words": describe_model(model, config), "column": column, **shown})
    return rows


def _rows(comparison: pd.DataFrame, config: Mapping[str, Any]) -> list[dict[str, Any]]:
    ordered = comparison.sort_values(
        ["split", "column", "taxa", "accuracy_individual"], ascending=[True, True, True, False]
    )
    return [
        row | {"words": "imported" if row["split"] == IMPORTED else describe_model(row["model"], config)}
        for row in ordered.to_dict(orient="records")
    ]
