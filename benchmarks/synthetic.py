"""Points like a teacher's embeddings of a natural-history collection, and the tables of such a collection."""

import numpy as np
import pandas as pd

from cladeclip.encoders.fusion import normalise


def groups(n: int, d: int, n_groups: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors (n, d) float32 around the centres of groups of Zipf-like sizes, and their group's number (n,)."""
    rng = np.random.default_rng(seed)
    shares = 1 / np.arange(1, n_groups + 1)
    labels = rng.choice(n_groups, size=n, p=shares / shares.sum())
    centres = rng.standard_normal((n_groups, d), dtype=np.float32)
    points = centres[labels] + np.float32(1.2) * rng.standard_normal((n, d), dtype=np.float32)
    return normalise(points).astype(np.float32), labels


def a_collection(n: int, d: int, *more: bool) -> tuple[pd.DataFrame, np.ndarray, pd.DataFrame, *tuple[bool, ...]]:
    """Three categories, Zipf-sized species in genera of about three."""
    points, labels = groups(n, d, max(30, n // 42))
    images = pd.DataFrame(
        {
            "image_id": [f"{i:07d}" for i in range(n)],
            "scientific_name": [f"Genus{label // 3:04d} species{label % 3}" for label in labels],
            "genus": [f"Genus{label // 3:04d}" for label in labels],
            "category": np.array(["Bird", "Butterfly", "Fish"])[labels // 3 % 3],
            "content_group": [f"{i:07d}" for i in range(n)],
            "name_kind": "species",
        }
    )
    return images, points, pd.DataFrame({"image_id": images["image_id"], "part": "fit"}), *more
