"""One model on one split: the four accuracies with their uncertainty, and the measures of metric learning."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from cladeclip.evaluation.held_out import held_out
from cladeclip.evaluation.measures import MEASURES, RETRIEVED
from cladeclip.evaluation.probe import linear_probe
from cladeclip.evaluation.protocol import ALL, Subset, subsets
from cladeclip.evaluation.search import Answers, search
from cladeclip.evaluation.significance import bootstrap_intervals
from cladeclip.names import Split
from cladeclip.tables import ONE_BY_ONE, PROBE

# Nearest gallery pictures of a query that are kept for the report.
SHOWN = 5


@dataclass(frozen=True)
class Evaluation:
    """The tables of one model on one split; see their contracts in `tables.py`.

    Attributes:
        accuracy, knn, retrieval: for each subset of taxa and rank.
        predictions: for each query of those.
        neighbours: for each query of All, by species.
        classes, confusions: for each species and genus, of All.
        one_by_one: for species of All; no row where it was not asked for, or no pictures are kept together.
        held_out: see `held_out.held_out`.
        probe: for species and genus of All; no row where it was not asked for.
    """

    accuracy: pd.DataFrame
    predictions: pd.DataFrame
    neighbours: pd.DataFrame
    knn: pd.DataFrame
    retrieval: pd.DataFrame
    classes: pd.DataFrame
    confusions: pd.DataFrame
    one_by_one: pd.DataFrame
    probe: pd.DataFrame
    held_out: pd.DataFrame


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
    one_by_one: bool = False,
    probe: Mapping[str, Any] | None = None,
    device: str | torch.device = "cpu",
) -> Evaluation:
    """All tables of embeddings (n, d) in the order of `images`.

    Args:
        split: the `split` table of the same images.
        protocol, query_share, seed, genus_only_names: see `subsets`.
        repeats: query draws from consecutive seeds, for `*_sd_splits`; the table is that of the first. Where the split
            fixes the queries (holdout), there is only one.
        one_by_one: whether to evaluate also with pictures drawn one by one, for the size of the leakage that keeping
            pictures of one specimen together prevents. Meaningless for models trained on the split.
        probe: settings of the linear probe, `c` and `max_iterations`; none is fitted without them, or with c = 0.

    Raises:
        DataError: a subset of the taxa has no query or no gallery.
    """
    drawn: dict[str, Any] = {"protocol": protocol, "query_share": query_share, "genus_only_names": genus_only_names}
    first = list(subsets(images, split, seed=seed, **drawn))
    seeds = range(seed + 1, seed + 1 if Split.parse(protocol).is_holdout else seed + repeats)
    others = [subset for other in seeds for subset in subsets(images, split, seed=other, **drawn)]
    alone = list(_one_by_one(images, split, seed, drawn)) if one_by_one else []
    found = search(embeddings, first, [*others, *alone], device=device)
    groups, ids = images["content_group"].to_numpy(), images["image_id"].to_numpy()
    accuracies, predictions, neighbours, knn, retrieval, classes, confusions, probes = [], [], [], [], [], [], [], []
    for subset, answers in zip(first, found[: len(first)], strict=True):
        key = {"taxa": subset.taxa, "column": subset.column}
        asked = _predictions(subset, answers, ids)
        accuracies.append(key | _accuracy(subset, asked, groups[subset.query], seed))
        predictions.append(asked.assign(**key))
        knn.append(_knn(subset, answers).assign(**key))
        of_all, of_classes = _retrieval(subset, answers)
        retrieval.append(key | of_all)
        if subset.taxa != ALL or subset.column == "taxa":
            continue
        classes.append(_classes(asked, of_classes).assign(column=subset.column))
        confusions.append(_confusions(asked).assign(column=subset.column))
        if subset.column == "species":
            neighbours.append(_neighbours(subset, answers, ids))
        if probe and probe["c"] > 0:
            probes.append(linear_probe(subset, embeddings, device=device, **probe))
    accuracy = pd.DataFrame(accuracies)
    spread = _spread_over_draws(accuracy, others, found[len(first) : len(first) + len(others)])
    shares = [
        _shares(subset, answers) for subset, answers in zip(alone, found[len(first) + len(others) :], strict=True)
    ]
    return Evaluation(
        accuracy.merge(spread, on=["taxa", "column"]),
        pd.concat(predictions, ignore_index=True),
        pd.concat(neighbours, ignore_index=True),
        pd.concat(knn, ignore_index=True),
        pd.DataFrame(retrieval),
        pd.concat(classes, ignore_index=True),
        pd.concat(confusions, ignore_index=True),
        pd.DataFrame(shares, columns=list(ONE_BY_ONE.columns)).astype({"n_query": int, "n_gallery": int}),
        pd.DataFrame(probes, columns=list(PROBE.columns)).astype({"n_query": int, "n_gallery": int, "converged": bool}),
        held_out(images, embeddings, split, genus_only_names=genus_only_names, device=device),
    )


def _one_by_one(images: pd.DataFrame, split: pd.DataFrame, seed: int, drawn: Mapping[str, Any]) -> Iterator[Subset]:
    """All by species, as if no pictures belonged together."""
    if not images["content_group"].duplicated().any():
        return
    apart = images.assign(content_group=images["image_id"])
    parts = split.assign(part=split["part_alone"])
    for subset in subsets(apart, parts, seed=seed, **drawn):
        if (subset.taxa, subset.column) == (ALL, "species"):
            yield subset


def _shares(subset: Subset, answers: Answers) -> dict[str, Any]:
    """Shares of right answers in each of the four ways."""
    right = {measure: (labels == subset.names[subset.query]).mean() for measure, labels in answers.labels.items()}
    return right | {"n_query": len(subset.query), "n_gallery": len(subset.gallery)}


def _predictions(subset: Subset, answers: Answers, ids: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "image_id": ids[subset.query],
            "label": subset.names[subset.query],
            **answers.labels,
            "nearest_image_id": ids[answers.nearest],
            "nearest_cosine": answers.cosines[:, 0].astype(np.float32),
        }
    )


def _neighbours(subset: Subset, answers: Answers, ids: np.ndarray) -> pd.DataFrame:
    shown = answers.neighbours[:, :SHOWN]
    return pd.DataFrame(
        {
            "image_id": ids[np.repeat(subset.query, shown.shape[1])],
            "place": np.tile(np.arange(1, shown.shape[1] + 1), len(shown)),
            "neighbour_image_id": ids[shown.ravel()],
            "cosine": answers.cosines[:, :SHOWN].ravel().astype(np.float32),
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
        **{f"{name}_low": value for name, value in zip(MEASURES, low, strict=True)},
        **{f"{name}_high": value for name, value in zip(MEASURES, high, strict=True)},
        **{f"{name}_macro": macro[name] for name in MEASURES},
    }


def right_answers(predictions: pd.DataFrame) -> pd.DataFrame:
    """Whether each query (a row) was named right in each of the four ways (a column)."""
    return pd.DataFrame({name: predictions[name] == predictions["label"] for name in MEASURES})


def _spread_over_draws(first: pd.DataFrame, others: Sequence[Subset], found: Sequence[Answers]) -> pd.DataFrame:
    """Standard deviation of each accuracy over the first draw of queries and the others; NaN for one draw alone."""
    shares = [
        {"taxa": subset.taxa, "column": subset.column} | _shares(subset, answers)
        for subset, answers in zip(others, found, strict=True)
    ]
    draws = pd.concat([first, pd.DataFrame(shares)])[["taxa", "column", *MEASURES]]
    spread = draws.groupby(["taxa", "column"])[list(MEASURES)].std()
    return spread.add_suffix("_sd_splits").reset_index()


def _knn(subset: Subset, answers: Answers) -> pd.DataFrame:
    truth = subset.names[subset.query]
    rows = []
    for (k, weighting), labels in answers.votes.items():
        right = pd.Series(labels == truth)
        rows.append(
            {"k": k, "weighting": weighting, "micro": right.mean(), "macro": right.groupby(truth).mean().mean()}
        )
    return pd.DataFrame(rows)


def _retrieval(subset: Subset, answers: Answers) -> tuple[dict[str, Any], pd.DataFrame]:
    """Mean scores over all queries with another image of their class, and per class; NaN where there is none."""
    scores = pd.DataFrame(answers.retrieval, columns=list(RETRIEVED))
    asked = scores.assign(label=subset.names[subset.asked]).dropna()
    per_class = asked.groupby("label").mean()
    return {
        **asked[list(RETRIEVED)].mean().to_dict(),
        **per_class[list(RETRIEVED)].mean().add_suffix("_macro").to_dict(),
        "n_queries": len(asked),
        "n_without_match": len(scores) - len(asked),
    }, per_class.reset_index()


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
