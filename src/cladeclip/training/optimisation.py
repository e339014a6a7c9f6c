"""The optimiser, the schedule of its learning rates, and the average of the weights."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from cladeclip.training.head import Head
from cladeclip.training.settings import TrainSettings

Schedule = Callable[[torch.optim.Optimizer], LRScheduler]


def make_optimiser(tower: nn.Module, head: Head, settings: TrainSettings) -> torch.optim.AdamW:
    """AdamW with two groups, encoder and centres, each with its own highest learning rate.

    The centres' group holds the rates and betas alone: AdamW skips parameters without gradient, and `Head.update` updates
    the centres, so that those not drawn stay as they are.
    """
    groups = [
        {"params": [p for p in tower.parameters() if p.requires_grad], "lr": settings.lr},
        {"params": [nn.Parameter(head.centres, requires_grad=True)], "lr": settings.lr * settings.lr_pfc_weight},
    ]
    # One pass over the weights instead of one for each operation: a quarter of a second a step for a ViT-B/32 on a CPU.
    return torch.optim.AdamW(groups, weight_decay=settings.weight_decay, fused=True)


def one_cycle(settings: TrainSettings, total_steps: int) -> Schedule:
    """The one-cycle schedule (cosine) over `total_steps`, each group to its own highest rate."""

    def schedule(optimiser: torch.optim.Optimizer) -> LRScheduler:
        highest = [group["lr"] for group in optimiser.param_groups]
        return OneCycleLR(optimiser, max_lr=highest, total_steps=total_steps, pct_start=settings.pct_start)

    return schedule


def average_of(tower: Any, decay: float) -> AveragedModel | None:
    """An exponential moving average of the weights, updated once a step; none with decay 0."""
    if decay == 0:
        return None
    return AveragedModel(tower, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
