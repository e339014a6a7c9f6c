"""As random_streams.py, with generators of torch."""

import hashlib

import torch


def torch_stream(seed: int, name: str) -> torch.Generator:
    """The stream of `name` under `seed`, on the CPU."""
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
