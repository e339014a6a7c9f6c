"""The report's galleries: what chosen queries found before and after training, and pictures of the same clusters."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cladeclip.encoders.fusion import normalise
from cladeclip.evaluation.subsets import ALL, subsets
from cladeclip.names import ClusterLabels, Model, embeddings_file, parse_labels
from cladeclip.random_streams import stream_of
from cladeclip.reporting.comparison import Primary
from cladeclip.reporting.thumbnails import Thumbnails
from cladeclip.tables import CLUSTERS, IMAGES, PREDICTIONS, SPLIT, read_table, rows_for

NEIGHBOURS = 5
QUERIES_A_KIND = 3
CLUSTERS_SHOWN = 8
PICTURES_A_CLUSTER = 8
# What training did to a query, in the order of the page.
KINDS = {
    (False, True): "Became right",
    (True, False): "Became wrong",
    (False, False): "Stayed wrong",
    (True, True): "Stayed right",
}


def neighbours(
    results: Path, config: Mapping[str, Any], model: str | None, pictures: Thumbnails
) -> list[dict[str, Any]]:
    """For queries of each of KINDS: the gallery pictures that are nearest by cosine, before and after training.

    Queries are those of the primary comparison's split, drawn, the same every time.

    Returns:
        A dict a kind that has queries: kind, n (queries of that kind), queries. A query has image_id, label, picture, and
        before and after: lists of dicts with picture, label and right.
    """
    trained = Model.parse(model) if model else None
    if trained is None or model is None:
        return []
    split = Primary(**config["report"]["primary"]).split
    images = read_table(results / "images.parquet", IMAGES)
    parts = read_table(results / split / "split.parquet", SPLIT)
    asked = {key: config["eval"][key] for key in ("query_share", "seed", "genus_only_names")}
    (subset,) = (
        found
        for found in subsets(images, parts, protocol=split, **asked)
        if (found.taxa, found.column) == (ALL, "species")
    )
    ids = images["image_id"].to_numpy()
    chosen = _kinds(results, split, model, trained.student)
    gallery = list(ids[subset.gallery])
    labels = dict(zip(ids, subset.names, strict=True))
    queries = [image_id for group in chosen for image_id in group["image_ids"]]
    nearest = {
        when: _nearest(results / embeddings_file(name, split), queries, gallery)
        for when, name in (("before", trained.student), ("after", model))
    }

    def shown(image_id: str, query: str) -> dict[str, Any]:
        right = labels[image_id] == labels[query]
        return {"picture": pictures.of(image_id), "label": labels[image_id], "right": right}

    return [
        {
            "kind": group["kind"],
            "n": group["n"],
            "queries": [
                {
                    "image_id": query,
                    "label": labels[query],
                    "picture": pictures.of(query),
                    **{when: [shown(image_id, query) for image_id in found[query]] for when, found in nearest.items()},
                }
                for query in group["image_ids"]
            ],
        }
        for group in chosen
    ]


def _kinds(results: Path, split: str, after: str, before: str) -> list[dict[str, Any]]:
    """The queries of All by species, by whether they were right before and after training; some of each are drawn."""
    right = {}
    for model in (before, after):
        table = read_table(results / split / "evaluation" / model / "predictions.parquet", PREDICTIONS)
        table = table[(table["taxa"] == ALL) & (table["column"] == "species")].set_index("image_id").sort_index()
        right[model] = table["accuracy_individual"] == table["label"]
    groups = []
    for (was, now), kind in KINDS.items():
        members = right[before].index[((right[before] == was) & (right[after] == now)).to_numpy()].to_numpy()
        drawn = members[stream_of(0, f"queries {kind}").permutation(len(members))[:QUERIES_A_KIND]]
        groups.append({"kind": kind, "n": len(members), "image_ids": list(drawn)})
    return [group for group in groups if group["n"]]


def _nearest(embeddings: Path, queries: Sequence[str], gallery: Sequence[str]) -> dict[str, list[str]]:
    """For each query the NEIGHBOURS gallery pictures with the highest cosine, the nearest first."""
    units = normalise(rows_for(embeddings, [*queries, *gallery]).astype(np.float64))
    cosines = units[: len(queries)] @ units[len(queries) :].T
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :NEIGHBOURS]
    return {query: [gallery[row] for row in rows] for query, rows in zip(queries, order, strict=True)}


def clusters(results: Path, config: Mapping[str, Any], model: str | None, pictures: Thumbnails) -> list[dict[str, Any]]:
    """Pictures of the clusters that the best student was trained on: of some clusters, drawn, those nearest the centroid.

    Returns:
        A dict a cluster: label, n (its pictures), species and genera (how many), pictures (dicts with picture and name).
    """
    trained = Model.parse(model) if model else None
    if trained is None or not isinstance(parse_labels(trained.labels, config["encoders"]), ClusterLabels):
        return []
    split = Primary(**config["report"]["primary"]).split
    table = read_table(results / split / "clusters" / f"{trained.labels}.parquet", CLUSTERS)
    images = read_table(results / "images.parquet", IMAGES)
    table = table.merge(images[["image_id", "scientific_name", "genus"]], on="image_id", validate="one_to_one")
    table = table.sort_values(["label", "distance", "image_id"])
    labels = np.unique(table["label"])
    drawn = np.sort(labels[stream_of(0, "clusters shown").permutation(len(labels))[:CLUSTERS_SHOWN]])
    return [_cluster(label, table[table["label"] == label], pictures) for label in drawn]


def _cluster(label: int, members: pd.DataFrame, pictures: Thumbnails) -> dict[str, Any]:
    nearest = members.head(PICTURES_A_CLUSTER)
    return {
        "label": int(label),
        "n": len(members),
        "species": members["scientific_name"].nunique(),
        "genera": members["genus"].nunique(),
        "pictures": [
            {"picture": pictures.of(row.image_id), "name": row.scientific_name}
            for row in nearest.itertuples(index=False)
        ],
    }
