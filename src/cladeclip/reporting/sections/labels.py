"""The report's section on the labels that the students learned: how well they agree with species, and their sizes."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from cladeclip.clustering.quality import elbow
from cladeclip.io.atomic import read_json
from cladeclip.io.parquet import read_table
from cladeclip.names import ClusterLabels, parse_labels
from cladeclip.paths import Results
from cladeclip.plan import tables_on
from cladeclip.reporting.charts import Chart, agreement_against_k, cluster_sizes, inertia_against_k
from cladeclip.tables import CLUSTERS

# More lines cannot be told apart.
SIZES_DRAWN = 7


def labels_section(results: Results, config: Mapping[str, Any]) -> dict[str, Any]:
    """What the template labels.html shows: qualities, charts (agreement, sizes, inertia) and where inertia bends."""
    qualities = _qualities(results, config)
    curves = _inertia_curves(qualities, config)
    charts: dict[str, Chart] = {"sizes": cluster_sizes(_sizes(results, qualities, config))}
    if len(curves):
        charts["agreement"] = agreement_against_k(_agreement_curves(qualities, config))
        charts["inertia"] = inertia_against_k(curves)
    return {"qualities": qualities, "elbows": _elbows(curves), "charts": charts}


def _sizes(results: Results, qualities: list[dict[str, Any]], config: Mapping[str, Any]) -> pd.DataFrame:
    """The sizes of the classes of each set of labels on the primary split, the largest first; clusters before controls."""
    split = config["report"]["primary"]["split"]
    names = [quality["labels"] for quality in qualities if quality["split"] == split]
    names.sort(key=lambda name: not isinstance(parse_labels(name, config["encoders"]), ClusterLabels))
    tables = []
    for name in names[:SIZES_DRAWN]:
        table = read_table(results.labels(split, name), CLUSTERS)
        sizes = table["label"].value_counts().to_numpy()
        tables.append(pd.DataFrame({"labels": name, "place": np.arange(1, len(sizes) + 1), "size": sizes}))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["labels", "place", "size"])


def _qualities(results: Results, config: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = [
        {"split": split, "labels": name, **read_json(results.labels(split, name, "quality.json"))}
        for split in config["splits"]
        for name in tables_on(config, split)
    ]
    return sorted(found, key=lambda quality: (quality["split"], quality["n_labels"], quality["labels"]))


def _of_clusters(
    qualities: list[dict[str, Any]], config: Mapping[str, Any]
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The qualities that are of clusters, each with its place in a chart against k: split, series, k."""
    for quality in qualities:
        labels = parse_labels(quality["labels"], config["encoders"])
        if isinstance(labels, ClusterLabels):
            yield {"split": quality["split"], "series": f"{labels.teacher} {labels.features}", "k": labels.k}, quality


def _inertia_curves(qualities: list[dict[str, Any]], config: Mapping[str, Any]) -> pd.DataFrame:
    rows = [place | {"inertia": quality["inertia"]} for place, quality in _of_clusters(qualities, config)]
    return pd.DataFrame(rows, columns=["split", "series", "k", "inertia"])


def _agreement_curves(qualities: list[dict[str, Any]], config: Mapping[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(
        place | {"rank": rank, "nmi": quality[rank]["nmi"]}
        for place, quality in _of_clusters(qualities, config)
        for rank in ("species", "genus")
        if rank in quality
    )


def _elbows(curves: pd.DataFrame) -> list[dict[str, Any]]:
    """The elbow of the inertia curve of each teacher's features, where there is one."""
    bends = [
        {"split": split, "series": series, "k": elbow(curve["k"].tolist(), curve["inertia"].tolist())}
        for (split, series), curve in curves.groupby(["split", "series"], sort=False)
    ]
    return [bend for bend in bends if bend["k"] is not None]
