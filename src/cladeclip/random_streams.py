"""Random numbers that belong to a name: drawing for one name more or fewer leaves those of all others as they were."""

import hashlib

import numpy as np


def stream_of(seed: int, name: str) -> np.random.Generator:
    """The stream of `name` under `seed`."""
    return np.random.default_rng([seed, int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")])
