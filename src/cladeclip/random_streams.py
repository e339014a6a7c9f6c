"""An independent random generator for each (seed, name): what one draws changes no other's numbers."""

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def stream_of(seed: int, name: str) -> np.random.Generator:
    """The stream of `name` under `seed`."""
    return np.random.default_rng([seed, int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")])


def torch_stream(seed: int, name: str) -> "torch.Generator":
    """The same as a generator of torch, on the CPU."""
    import torch

    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
