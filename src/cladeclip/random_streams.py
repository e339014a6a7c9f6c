"""An independent random generator per (seed, name): drawing from one does not change the others."""

import hashlib

import numpy as np


def stream_of(seed: int, name: str) -> np.random.Generator:
    """The stream of `name` under `seed`."""
    return np.random.default_rng([seed, int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")])
