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
        rows = torch.nonzero(target >= 0).squeeze(1)
        columns = target[rows]
        of_target = torch.zeros_like(highest)
        of_target[rows] = logits[rows, columns] - highest[rows]
        processes.sum(of_target)
        ctx.save_for_backward(shares.div_(total[:, None]), rows, columns)
        return (total.log() - of_target).mean()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        # In place, since it is as large as the logits: a second backward pass would need a second forward pass.
        gradient, rows, columns = ctx.saved_tensors
        gradient[rows, columns] -= 1.0
        return gradient.mul_(gradients[0] / len(gradient)), None, None
