"""The optimiser, the schedule of its learning rates, and the average of the weights."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from cladeclip.config.sections import Train

# Of AdamW, torch's own.
EPS = 1e-8

Schedule = Callable[[torch.optim.Optimizer], LRScheduler]


def make_optimiser(tower: nn.Module, settings: Train) -> torch.optim.AdamW:
    """AdamW of the encoder; the objective has its own (`adamw_step`), since only the centres that a step draws change."""
    trained = [parameter for parameter in tower.parameters() if parameter.requires_grad]
    # One pass over the weights instead of one for each operation: a quarter of a second a step for a ViT-B/32 on a CPU.
    return torch.optim.AdamW(trained, lr=settings.lr, weight_decay=settings.weight_decay, fused=True)


def adamw_step(
    tensors: Sequence[Tensor],
    gradient: Tensor,
    *,
    step: int,
    lr: float,
    betas: tuple[float, float],
    weight_decay: float,
) -> None:
    """One step, in place, of the weights and their first and second moments.

    Args:
        step: from 1: for the bias correction.
    """
    weights, first, second = tensors
    adamw(
        [weights],
        [gradient],
        [first],
        [second],
        [],
        # adamw adds this step to the count.
        [torch.full((), step - 1, dtype=torch.float32, device=weights.device)],
        # One pass over all rows instead of one for each operation.
        fused=True,
        amsgrad=False,
        beta1=betas[0],
        beta2=betas[1],
        lr=lr,
        weight_decay=weight_decay,
        eps=EPS,
        maximize=False,
    )


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
