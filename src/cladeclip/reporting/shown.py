"""The models of the report's map, and the queries of its gallery.

The rules that make maps and overlays choose by the same functions as the page.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from cladeclip.evaluation.protocol import ALL
from cladeclip.io.parquet import read_table
from cladeclip.names import ClusterLabels, Model, parse_labels
from cladeclip.paths import Results
from cladeclip.random_streams import stream_of
from cladeclip.reporting.comparison import Primary, best_on_clusters, primary_rows
from cladeclip.tables import PREDICTIONS

QUERIES_A_KIND = 3
MAPS = 3
# What training did to a query, in the order of the page.
KINDS = {
    (False, True): "Became right",
    (True, False): "Became wrong",
    (False, False): "Stayed wrong",
    (True, True): "Stayed right",
}


def best_student(comparison: pd.DataFrame, config: Mapping[str, Any]) -> Model | None:
    """The best of the students trained on clusters, by the primary comparison; None where there is none."""
    ranked = best_on_clusters(comparison, Primary(**config["report"]["primary"]), config["encoders"])
    return Model.parse(ranked[0][0]) if ranked else None


def models_mapped(comparison: pd.DataFrame, config: Mapping[str, Any]) -> list[str]:
    """The models whose embeddings are drawn: the best student, the same before training, and its teacher.

    Where nothing was trained on clusters, the best MAPS models of the primary comparison.
    """
    best = best_student(comparison, config)
    if best is None:
        return list(primary_rows(comparison, Primary(**config["report"]["primary"]))["model"].head(MAPS))
    labels = parse_labels(best.labels, config["encoders"])
    assert isinstance(labels, ClusterLabels)
    return list(dict.fromkeys([str(best), best.student, labels.teacher]))


def species_answers(results: Results, split: str, model: str) -> pd.DataFrame:
    """The model's answers to every query of All by species: rows of `predictions`, by image_id."""
    table = read_table(results.evaluation(split, model, "predictions"), PREDICTIONS)
    return table[(table["taxa"] == ALL) & (table["column"] == "species")].set_index("image_id").sort_index()


def queries_shown(results: Results, split: str, after: str, before: str) -> list[dict[str, Any]]:
    """Queries of All by species, by whether they were right before and after training: some of each of KINDS, drawn.

    Args:
        after, before: a trained student, and the same student untrained.

    Returns:
        A dict a kind that has queries: kind, n (all of that kind), image_ids (those drawn, the same every time).
    """
    right = {}
    for model in (before, after):
        table = species_answers(results, split, model)
        right[model] = table["accuracy_individual"] == table["label"]
    groups = []
    for (was, now), kind in KINDS.items():
        members = right[before].index[((right[before] == was) & (right[after] == now)).to_numpy()].to_numpy()
        drawn = members[stream_of(0, f"queries {kind}").permutation(len(members))[:QUERIES_A_KIND]]
        groups.append({"kind": kind, "n": len(members), "image_ids": list(drawn)})
    return [group for group in groups if group["n"]]
