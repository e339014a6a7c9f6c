"""Points like a teacher's embeddings of a natural-history collection: groups of very different sizes."""

import numpy as np

from cladeclip.encoders.fusion import normalise


def groups(n: int, d: int, n_groups: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors (n, d) float32 around the centres of groups of Zipf-like sizes, and their group's number (n,)."""
    rng = np.random.default_rng(seed)
    shares = 1 / np.arange(1, n_groups + 1)
    labels = rng.choice(n_groups, size=n, p=shares / shares.sum())
    centres = rng.standard_normal((n_groups, d), dtype=np.float32)
    points = centres[labels] + np.float32(1.2) * rng.standard_normal((n, d), dtype=np.float32)
    return normalise(points).astype(np.float32), labels
