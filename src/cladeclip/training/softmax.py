"""Softmax cross-entropy over classes whose logits are spread over processes.

    loss = mean_i sum_{y of i} w_iy -log( exp(l_iy) / sum_j exp(l_ij) )

Each process holds the columns of its own classes; the row maximum, the sum and the target's logit are reduced over the
processes, so that no process ever holds all columns. Source: Partial FC (An et al., CVPR 2022), section 3.
"""

from typing import Any

import torch
from torch import Tensor

from cladeclip.training.processes import Processes


class ShardedCrossEntropy(torch.autograd.Function):
    """The loss of logits (n, c) with targets and weights (n, t), as a Loss is given them.

    The gradient is that of this process's columns: (softmax - weights at the targets) / n.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, weights: Tensor, processes: Processes) -> Tensor:
        highest = processes.max(logits.amax(1))
        shares = logits.sub(highest[:, None]).exp_()
        total = processes.sum(shares.sum(1))
        column = targets.clamp(min=0)
        weights = torch.where(targets >= 0, weights, 0.0).to(logits.dtype)
        of_targets = ((logits.gather(1, column) - highest[:, None]) * weights).sum(1)
        processes.sum(of_targets)
        ctx.save_for_backward(shares.div_(total[:, None]), weights, column)
        return (total.log() - of_targets).mean()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        # In place, since it is as large as the logits: a second backward pass would need a second forward pass.
        gradient, weights, column = ctx.saved_tensors
        gradient.scatter_add_(1, column, -weights)
        return gradient.mul_(gradients[0] / len(gradient)), None, None, None
