"""Which device torch computes on."""

import torch


def choose_device(device: str | torch.device = "auto") -> torch.device:
    """`auto` is the GPU where there is one, else the CPU."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)
