"""Targets that are classes: the tables of clusters and controls as what a student learns."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from cladeclip.io.parquet import read_metadata, read_table
from cladeclip.tables import CLUSTERS, NEAREST_CLUSTERS
from cladeclip.training.head import Heads
from cladeclip.training.objective import Targets


def of_classes(image_ids: Sequence[str], labels: np.ndarray, *n_classes: int) -> Targets:
    """Targets of labels (n,), or (n, t * number of heads), where head i has classes 0 to n_classes[i] - 1; -1 is padding."""
    rows = labels.astype(np.int64)
    return Targets(list(image_ids), rows if rows.ndim == 2 else rows[:, None], partial(Heads, n_classes))


def a_class_of_each(files: Sequence[str]) -> Targets:
    """From `clusters` tables of the same images: a head for each."""
    tables = [read_table(file, CLUSTERS) for file in files]
    labels = np.stack([table["label"] for table in tables], axis=1)
    return of_classes(tables[0]["image_id"], labels, *map(_n_classes, files))


def nearest_classes(files: Sequence[str]) -> Targets:
    """From a `nearest_clusters` table: one head, and as many classes an image as the table has places."""
    (file,) = files
    table = read_table(file, NEAREST_CLUSTERS).pivot(index="image_id", columns="place", values="label")
    return of_classes(list(table.index), table.to_numpy(), _n_classes(file))


def _n_classes(file: str) -> int:
    """Of the metadata: a class may be empty."""
    return int(read_metadata(file)["n_classes"])
