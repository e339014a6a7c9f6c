"""Softmax cross-entropy over classes whose logits are spread over processes.

Of images with several classes, each class is told from those that the image does not have; Y_i are the classes of image i:

    loss = mean_i sum_{y in Y_i} w_iy -log( exp(l_iy) / ( exp(l_iy) + sum_{j not in Y_i} exp(l_ij) ) )

Each process holds the columns of its own classes; the row maximum, the sum and the target's logit are reduced over the
processes, so that no process ever holds all columns. Source: Partial FC (An et al., CVPR 2022), section 3.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from cladeclip.training.processes import Processes


def cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor, processes: Processes) -> Tensor:
    """The loss of logits (n, c) with targets and weights (n, t), as a Loss is given them."""
    of_number = ShardedCrossEntropy if targets.shape[1] == 1 else ShardedCrossEntropyOfSeveral
    loss: Tensor = of_number.apply(logits, targets, weights, processes)
    return loss


class ShardedCrossEntropy(torch.autograd.Function):
    """With one class an image.

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


class ShardedCrossEntropyOfSeveral(torch.autograd.Function):
    """With several classes an image: with Z_i = sum_{j not in Y_i} exp(l_ij), the loss is w_iy log(1 + Z_i / exp(l_iy)).

    The gradient is that of this process's columns: of a class of the image -w_iy Z_i / (Z_i + exp(l_iy)), of another
    exp(l_ij) sum_y w_iy / (Z_i + exp(l_iy)), each by n.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, weights: Tensor, processes: Processes) -> Tensor:
        own, n_columns = targets >= 0, logits.shape[1]
        # A column more, for padding and for classes of other processes.
        column = torch.where(own, targets, n_columns)
        of_image = torch.zeros(len(logits), n_columns + 1, dtype=torch.bool, device=logits.device)
        of_image.scatter_(1, column, value=True)
        others = logits.masked_fill(of_image[:, :-1], -torch.inf)
        # An image may have no other class here, or anywhere.
        highest = processes.max(others.amax(1).clamp(min=torch.finfo(logits.dtype).min))[:, None]
        others = others.sub_(highest).exp_()
        total = processes.sum(others.sum(1))[:, None]
        of_targets = torch.where(own, logits.gather(1, targets.clamp(min=0)), 0.0)
        of_targets = processes.sum(of_targets) - highest
        weights = weights.to(logits.dtype)
        shares = weights / (total + of_targets.exp())
        ctx.save_for_backward(others, shares, torch.where(own, -shares * total, 0.0), column)
        return (functional.softplus(total.log() - of_targets) * weights).sum(1).mean()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        others, shares, of_targets, column = ctx.saved_tensors
        gradient = functional.pad(others * shares.sum(1, keepdim=True), (0, 1))
        gradient = gradient.scatter_add(1, column, of_targets)[:, :-1]
        return gradient.mul_(gradients[0] / len(gradient)), None, None, None
