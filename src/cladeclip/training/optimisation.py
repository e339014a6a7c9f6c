"""The optimiser, the schedule of its learning rates, and the average of the weights."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from cladeclip.config.sections import Train

Schedule = Callable[[torch.optim.Optimizer], LRScheduler]


def make_optimiser(tower: nn.Module, settings: Train) -> torch.optim.AdamW:
    """AdamW of the encoder; the head has its own (`Head.update`), since only the centres that a step draws change."""
    trained = [parameter for parameter in tower.parameters() if parameter.requires_grad]
    # One pass over the weights instead of one for each operation: a quarter of a second a step for a ViT-B/32 on a CPU.
    return torch.optim.AdamW(trained, lr=settings.lr, weight_decay=settings.weight_decay, fused=True)


def one_cycle(settings: Train, total_steps: int) -> Schedule:
    """The one-cycle schedule (cosine) over `total_steps`."""

    def schedule(optimiser: torch.optim.Optimizer) -> LRScheduler:
        return OneCycleLR(optimiser, max_lr=settings.lr, total_steps=total_steps, pct_start=settings.pct_start)

    return schedule


def average_of(tower: Any, decay: float) -> AveragedModel | None:
    """An exponential moving average of the weights, updated once a step; none with decay 0."""
    if decay == 0:
        return None
    return AveragedModel(tower, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
