"""Pictures that an encoder finds nearly the same: a photograph and its crop, two frames of one burst."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from cladeclip.datasets.specimens import together
from cladeclip.tables import NEAR_DUPLICATES

# Cosines that are held at once.
BLOCK = 2**25


def near_duplicates(image_ids: Sequence[str], embeddings: np.ndarray, *, cosine: float) -> pd.DataFrame:
    """The `near_duplicates` table: every pair of images whose embeddings (n, d) have at least this cosine."""
    points = torch.nn.functional.normalize(torch.from_numpy(np.ascontiguousarray(embeddings, dtype=np.float32)), dim=1)
    found = []
    for first in range(0, len(points), step := max(1, BLOCK // max(1, len(points)))):
        cosines = points[first : first + step] @ points.T
        rows, columns = torch.nonzero(cosines >= cosine, as_tuple=True)
        later = columns > rows + first
        rows, columns = rows[later], columns[later]
        found.append((rows + first, columns, cosines[rows, columns]))
    ones, others, values = (torch.cat(parts).numpy() for parts in zip(*found, strict=True))
    ids = np.asarray(image_ids, dtype=object)
    pairs = np.stack([ids[ones], ids[others]], axis=1)
    pairs.sort(axis=1)
    table = pd.DataFrame({"image_id": pairs[:, 0], "other_image_id": pairs[:, 1], "cosine": values})
    return table[list(NEAR_DUPLICATES.columns)]


def with_near_duplicates(images: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """The `images` table with the content groups of the pairs joined."""
    linked: dict[str, list[str]] = {image_id: [] for image_id in images["image_id"]}
    for place, (one, other) in enumerate(zip(pairs["image_id"], pairs["other_image_id"], strict=True)):
        linked[one].append(f"pair {place}")
        linked[other].append(f"pair {place}")
    ids, groups = list(images["image_id"]), images["content_group"]
    shared = [[f"group {group}", *linked[image_id]] for image_id, group in zip(ids, groups, strict=True)]
    return images.assign(content_group=together(ids, shared))
