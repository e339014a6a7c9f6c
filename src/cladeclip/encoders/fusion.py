"""Image and text embeddings as one. Kept apart from `embed.py`, so that fusing needs no torch."""

import numpy as np


def normalise(embeddings: np.ndarray) -> np.ndarray:
    """Rows of (n, d) scaled to unit length; a zero row stays zero."""
    norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return embeddings / np.where(norms > 0, norms, 1)


def fuse(image: np.ndarray, text: np.ndarray) -> np.ndarray:
    """normalise((normalise(image) + normalise(text)) / 2), both (n, d), row by row."""
    return normalise((normalise(image) + normalise(text)) / 2)
