"""Losses of the head: what the cosines of embeddings to class centres should be.

A loss is a class, constructed from the config's `train:` and called at each step. Its name, for `train.loss`, is a key of
`specs.LOSSES`, or an entry point of the group `cladeclip.losses`.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from cladeclip.config.sections import Train
from cladeclip.registry import at
from cladeclip.training.processes import Processes
from cladeclip.training.softmax import cross_entropy
from cladeclip.training.specs import loss_place

# arccos has an infinite slope at +-1; float32 can still tell this apart from 1.
EXACT_CLAMP = 1.0 - 1e-7


class Loss(Protocol):
    """What a loss does."""

    def __init__(self, settings: Train) -> None: ...

    def __call__(self, cosines: Tensor, targets: Tensor, weights: Tensor, processes: Processes) -> Tensor:
        """The mean over the rows, the same in every process; its gradient is that of this process's columns.

        A softmax over all columns is `cross_entropy`'s; a sum over columns is `processes.total` of this process's.

        Args:
            cosines: (n, c) in [-1, 1], to the centres that this process has.
            targets: (n, t) int64, columns of each row's classes, no two alike; -1 for padding, and where another process
                has the class.
            weights: (n, t) float32, of each class in its row: 1 / number of those that the step draws, 0 for others and
                padding.
        """
        ...


class MarginSoftmax:
    """Softmax cross-entropy of scaled cosines, those of the own classes with a margin, others filtered."""

    def __init__(self, settings: Train) -> None:
        self.s, self.filter = settings.margin_loss_s, settings.margin_loss_filter
        self.m2, self.m3, self.exact = (
            settings.margin_loss_m2,
            settings.margin_loss_m3,
            settings.margin_gradient == "exact",
        )

    def with_margin(self, cosines: Tensor) -> Tensor:
        raise NotImplementedError

    def __call__(self, cosines: Tensor, targets: Tensor, weights: Tensor, processes: Processes) -> Tensor:
        logits = with_targets(cosines, targets, self.with_margin, self.filter).mul_(self.s)
        return cross_entropy(logits, targets, weights, processes)


class ArcFace(MarginSoftmax):
    """Additive angular margin (Deng et al., CVPR 2019):

        logit of the target  s cos(arccos(cos) + m2)      of others  s cos

    With `straight_through` (the published code's) the backward pass takes d(target logit)/d cos = s; `exact` differentiates.
    """

    def with_margin(self, cosines: Tensor) -> Tensor:
        if self.exact:
            return torch.cos(torch.arccos(cosines.clamp(-EXACT_CLAMP, EXACT_CLAMP)) + self.m2)
        return cosines + (torch.cos(torch.arccos(cosines.detach()) + self.m2) - cosines.detach())


class CosFace(MarginSoftmax):
    """Additive cosine margin (Wang et al., CVPR 2018):

    logit of the target  s (cos - m3)      of others  s cos
    """

    def with_margin(self, cosines: Tensor) -> Tensor:
        return cosines - self.m3


def with_targets(cosines: Tensor, targets: Tensor, change: Callable[[Tensor], Tensor], filter_above: float) -> Tensor:
    """Cosines (n, c), those of targets changed, others above `filter_above` set to 0 (inter-class filtering; 0: off).

    Rows that have a target here are not selected by index: counting them would wait for the GPU.
    """
    own = targets >= 0
    # Padding stands for a class that the row has here, or for column 0: what is written twice is the same.
    column = torch.where(own, targets, targets.amax(1, keepdim=True).clamp(min=0))
    changed = change(cosines.gather(1, column))
    if filter_above > 0:
        cosines = cosines.masked_fill(cosines > filter_above, 0.0)
    has = own.any(1, keepdim=True)
    written = torch.where(has, changed, cosines.gather(1, column))
    if targets.shape[1] > 1:
        # Where several entries write one column, only one passes the gradient on.
        alone = own | (~has & (torch.arange(targets.shape[1], device=own.device) == 0))
        written = torch.where(alone, written, written.detach())
    return cosines.scatter(1, column, written)


def loss_named(name: str) -> type[Loss]:
    """Of `specs.LOSSES`, or of an installed package.

    Raises:
        ConfigError: there is none.
    """
    found: type[Loss] = at(loss_place(name))
    return found
