"""The report's galleries: what chosen queries found before and after training, and pictures of the same clusters."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cladeclip.io.parquet import read_table
from cladeclip.names import ClusterLabels, Model, parse_labels
from cladeclip.paths import Results
from cladeclip.random_streams import stream_of
from cladeclip.reporting.comparison import Primary
from cladeclip.reporting.shown import queries_shown
from cladeclip.reporting.thumbnails import Thumbnails
from cladeclip.tables import CLUSTERS, IMAGES, NEIGHBOURS, SALIENCY

CLUSTERS_SHOWN = 8
PICTURES_A_CLUSTER = 8


def neighbours(
    results: Results, config: Mapping[str, Any], model: str | None, pictures: Thumbnails
) -> list[dict[str, Any]]:
    """For queries of each of shown.KINDS: the gallery pictures that are nearest by cosine, before and after training.

    Queries are those of the primary comparison's split, drawn, the same every time.

    Returns:
        A dict a kind that has queries: kind, n (queries of that kind), queries. A query has image_id, label, picture, looked
        (before, after: the overlay of what the model looks at, empty where there is none), and before and after: lists of
        dicts with picture, label and right.
    """
    trained = Model.parse(model) if model else None
    if trained is None or model is None:
        return []
    split = Primary(**config["report"]["primary"]).split
    images = read_table(results.table("images"), IMAGES)
    chosen = queries_shown(results, split, model, trained.student)
    labels = dict(zip(images["image_id"], images["scientific_name"].astype(str), strict=True))
    queries = [image_id for group in chosen for image_id in group["image_ids"]]
    nearest = {
        when: _nearest(results.evaluation(split, name, "neighbours"), queries)
        for when, name in (("before", trained.student), ("after", model))
    }
    overlays = _overlays(results)

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
                    "looked": {
                        when: pictures.inline(overlays[name, query], "jpeg") if (name, query) in overlays else ""
                        for when, name in (("before", trained.student), ("after", model))
                    },
                    **{when: [shown(image_id, query) for image_id in found[query]] for when, found in nearest.items()},
                }
                for query in group["image_ids"]
            ],
        }
        for group in chosen
    ]


def _overlays(results: Results) -> dict[tuple[str, str], bytes]:
    """The overlays of saliency.parquet, by model and image_id; none where the run has none."""
    path = Path(results.table("saliency"))
    if not path.is_file():
        return {}
    table = read_table(path, SALIENCY)
    return dict(zip(zip(table["model"], table["image_id"], strict=True), table["overlay"], strict=True))


def _nearest(path: str, queries: list[str]) -> dict[str, list[str]]:
    """For each query the gallery pictures with the highest cosine, the nearest first, as the evaluation found them."""
    table = read_table(path, NEIGHBOURS)
    found = table[table["image_id"].isin(queries)].sort_values("place").groupby("image_id")["neighbour_image_id"]
    return found.agg(list).to_dict()


def clusters(
    results: Results, config: Mapping[str, Any], model: str | None, pictures: Thumbnails
) -> list[dict[str, Any]]:
    """Pictures of the clusters that the best student was trained on: of some clusters, drawn, those nearest the centroid.

    Returns:
        A dict a cluster: label, n (its pictures), species and genera (how many), pictures (dicts with picture and name).
    """
    trained = Model.parse(model) if model else None
    if trained is None or not isinstance(parse_labels(trained.labels, config["encoders"]), ClusterLabels):
        return []
    split = Primary(**config["report"]["primary"]).split
    table = read_table(results.labels(split, trained.labels), CLUSTERS)
    images = read_table(results.table("images"), IMAGES)
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
        "genera": members["genus"].replace("", None).nunique(),
        "pictures": [
            {"picture": pictures.of(row.image_id), "name": row.scientific_name}
            for row in nearest.itertuples(index=False)
        ],
    }
