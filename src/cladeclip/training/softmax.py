"""Softmax cross-entropy over classes whose logits are spread over processes.

    loss = mean_i -log( exp(l_{i,y_i}) / sum_j exp(l_ij) )

Each process holds the columns of its own classes; the row maximum, the sum and the target's logit are reduced over the
processes, so that no process ever holds all columns. Source: Partial FC (An et al., CVPR 2022), section 3.
"""

from typing import Any

import torch
from torch import Tensor

from cladeclip.training.processes import Processes


class ShardedCrossEntropy(torch.autograd.Function):
    """The loss of logits (n, c) with targets (n,): the column of each row's class, or -1 where another process has it.

    The gradient is that of this process's columns: (softmax - one_hot) / n.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, processes: Processes) -> Tensor:
        highest = processes.max(logits.amax(1))
        shares = logits.sub(highest[:, None]).exp_()
        total = processes.sum(shares.sum(1))
        own, column = target >= 0, target.clamp(min=0)[:, None]
        of_target = torch.where(own, logits.gather(1, column).squeeze(1) - highest, 0.0)
        processes.sum(of_target)
        ctx.save_for_backward(shares.div_(total[:, None]), own, column)
        return (total.log() - of_target).mean()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        # In place, since it is as large as the logits: a second backward pass would need a second forward pass.
        gradient, own, column = ctx.saved_tensors
        gradient.scatter_add_(1, column, -own.to(gradient.dtype)[:, None])
        return gradient.mul_(gradients[0] / len(gradient)), None, None
