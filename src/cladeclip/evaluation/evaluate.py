"""One model on one split: the four accuracies with their uncertainty, and the measures of metric learning."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from cladeclip.evaluation.knn import knn_accuracy
from cladeclip.evaluation.nearest_label import COLUMNS, predict_labels
from cladeclip.evaluation.probe import linear_probe
from cladeclip.evaluation.retrieval import retrieval_metrics
from cladeclip.evaluation.significance import bootstrap_intervals
from cladeclip.evaluation.subsets import ALL, Subset, subsets
from cladeclip.tables import PROBE, RETRIEVED


@dataclass(frozen=True)
class Evaluation:
    """The tables of one model on one split; see their contracts in `tables.py`.

    Attributes:
        accuracy, knn, retrieval: for each subset of taxa and rank.
        predictions: for each query of those.
        classes, confusions: for each species and genus, of All.
        probe: for species and genus of All; no row where it was not asked for.
    """

    accuracy: pd.DataFrame
    predictions: pd.DataFrame
    knn: pd.DataFrame
    retrieval: pd.DataFrame
    classes: pd.DataFrame
    confusions: pd.DataFrame
    probe: pd.DataFrame


def evaluate(
    images: pd.DataFrame,
    embeddings: np.ndarray,
    split: pd.DataFrame,
    *,
    protocol: str,
    query_share: float,
    seed: int,
    genus_only_names: str = "keep",
    repeats: int = 1,
    probe: Mapping[str, Any] | None = None,
) -> Evaluation:
    """All tables of embeddings (n, d) in the order of `images`.

    Args:
        split: the `split` table of the same images.
        protocol, query_share, seed, genus_only_names: see `subsets`.
        repeats: query draws from seeds in a row, for `*_sd_splits`; the table is that of the first. Where the split says
            who asks (holdout), there is only one.
        probe: settings of the linear probe, `c` and `max_iterations`; none is fitted without them, or with c = 0.

    Raises:
        DataError: a subset of the taxa has no query or no gallery.
    """
    drawn: dict[str, Any] = {"protocol": protocol, "query_share": query_share, "genus_only_names": genus_only_names}
    groups = images["content_group"].to_numpy()
    ids = images["image_id"].to_numpy()
    accuracies, predictions, knn, retrieval, classes, confusions, probes = [], [], [], [], [], [], []
    for subset in subsets(images, split, seed=seed, **drawn):
        key = {"taxa": subset.taxa, "column": subset.column}
        asked = _predictions(subset, embeddings, ids)
        accuracies.append(key | _accuracy(subset, asked, groups[subset.query], seed))
        predictions.append(asked.assign(**key))
        query, gallery = embeddings[subset.query], embeddings[subset.gallery]
        votes = knn_accuracy(query, subset.names[subset.query], gallery, subset.names[subset.gallery])
        knn.append(votes.assign(**key))
        found, per_class = _retrieval(subset, embeddings)
        retrieval.append(key | found)
        if subset.taxa == ALL and subset.column != "taxa":
            classes.append(_classes(asked, per_class).assign(column=subset.column))
            confusions.append(_confusions(asked).assign(column=subset.column))
            if probe and probe["c"] > 0:
                probes.append(linear_probe(subset, embeddings, **probe))
    accuracy = pd.DataFrame(accuracies)
    others = range(seed + 1, seed + 1 if protocol.startswith("holdout") else seed + repeats)
    spread = _spread_over_draws(accuracy, images, embeddings, split, drawn, others)
    return Evaluation(
        accuracy.merge(spread, on=["taxa", "column"]),
        pd.concat(predictions, ignore_index=True),
        pd.concat(knn, ignore_index=True),
        pd.DataFrame(retrieval),
        pd.concat(classes, ignore_index=True),
        pd.concat(confusions, ignore_index=True),
        pd.DataFrame(probes, columns=list(PROBE.columns)).astype({"n_query": int, "n_gallery": int, "converged": bool}),
    )


def _predictions(subset: Subset, embeddings: np.ndarray, ids: np.ndarray) -> pd.DataFrame:
    found = predict_labels(embeddings[subset.query], embeddings[subset.gallery], subset.names[subset.gallery])
    return pd.DataFrame(
        {
            "image_id": ids[subset.query],
            "label": subset.names[subset.query],
            **{name: getattr(found, name) for name in COLUMNS},
            "nearest_image_id": ids[subset.gallery[found.nearest]],
            "nearest_cosine": found.nearest_cosine.astype(np.float32),
        }
    )


def _accuracy(subset: Subset, asked: pd.DataFrame, groups: np.ndarray, seed: int) -> dict[str, Any]:
    """Shares of right answers with their bootstrap intervals, resampling content groups, and their means over labels."""
    right = right_answers(asked)
    low, high = bootstrap_intervals(right.to_numpy(float), groups=groups, seed=seed)
    macro = right.groupby(asked["label"].to_numpy()).mean().mean()
    known = np.isin(asked["label"].to_numpy(str), subset.names[subset.gallery])
    return {
        **right.mean().to_dict(),
        "n_query": len(subset.query),
        "n_gallery": len(subset.gallery),
        "n_labels": len(set(subset.names[subset.gallery])),
        "n_query_without_gallery": int((~known).sum()),
        **{f"{name}_low": value for name, value in zip(COLUMNS, low, strict=True)},
        **{f"{name}_high": value for name, value in zip(COLUMNS, high, strict=True)},
        **{f"{name}_macro": macro[name] for name in COLUMNS},
    }


def right_answers(predictions: pd.DataFrame) -> pd.DataFrame:
    """Whether each query (a row) was named right in each of the four ways (a column)."""
    return pd.DataFrame({name: predictions[name] == predictions["label"] for name in COLUMNS})


def _spread_over_draws(
    first: pd.DataFrame,
    images: pd.DataFrame,
    embeddings: np.ndarray,
    split: pd.DataFrame,
    drawn: dict[str, Any],
    seeds: range,
) -> pd.DataFrame:
    """Standard deviation of each accuracy over the first draw of queries and those of `seeds`; NaN for one draw alone."""
    draws = [first[["taxa", "column", *COLUMNS]]]
    ids = images["image_id"].to_numpy()
    for seed in seeds:
        for subset in subsets(images, split, seed=seed, **drawn):
            right = right_answers(_predictions(subset, embeddings, ids)).mean()
            draws.append(pd.DataFrame([{"taxa": subset.taxa, "column": subset.column, **right.to_dict()}]))
    spread = pd.concat(draws).groupby(["taxa", "column"])[list(COLUMNS)].std()
    return spread.add_suffix("_sd_splits").reset_index()


def _retrieval(subset: Subset, embeddings: np.ndarray) -> tuple[dict[str, Any], pd.DataFrame]:
    """Leave-one-out measures and those of each class; without two images of any class there are none."""
    names = subset.names[subset.found]
    queries = np.searchsorted(subset.found, subset.asked)
    others = pd.Series(names).map(pd.Series(names).value_counts()).to_numpy()[queries] - 1
    if not (others > 0).any():
        empty = {f"{name}{kind}": np.nan for kind in ("", "_macro") for name in RETRIEVED}
        return empty | {"n_queries": 0, "n_without_match": len(queries)}, pd.DataFrame(columns=["label", *RETRIEVED])
    found = retrieval_metrics(embeddings[subset.found], names, queries=queries)
    micro = {f"recall_at_{k}": value for k, value in found.recall_at.items()}
    micro |= {"r_precision": found.r_precision, "map_at_r": found.map_at_r}
    macro = {f"{name}_macro": found.macro[name] for name in RETRIEVED}
    return micro | macro | {"n_queries": found.n_queries, "n_without_match": found.n_without_match}, found.per_class


def _classes(asked: pd.DataFrame, per_class: pd.DataFrame) -> pd.DataFrame:
    right = right_answers(asked).groupby(asked["label"].to_numpy())
    table = right.mean().assign(n_query=right.size()).rename_axis("label").reset_index()
    return table.merge(per_class[["label", *RETRIEVED]], on="label", how="left")


def _confusions(asked: pd.DataFrame) -> pd.DataFrame:
    """What the nearest gallery image's label was, where it was the wrong one."""
    wrong = asked[asked["accuracy_individual"] != asked["label"]]
    pairs = wrong.groupby(["label", "accuracy_individual"]).size().rename("n").reset_index()
    pairs = pairs.rename(columns={"accuracy_individual": "predicted"})
    return pairs.assign(share=pairs["n"] / pairs["label"].map(asked["label"].value_counts()).astype(float))
