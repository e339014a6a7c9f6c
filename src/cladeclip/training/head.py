"""The classification head: class centres on the unit sphere, of which each step may use a sample (Partial FC).

    cos_ij = clamp( normalise(z_i) . normalise(W_j), -1, 1 )

The loss is computed from these cosines (`losses.py`). The classes are sharded over the processes of the training; with
several, none holds all centres. The head is thrown away after training. Sources: UNICOM (An et al., ICLR 2023), Partial FC
(An et al., CVPR 2022).
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.optim.adamw import adamw

from cladeclip.config.sections import Train
from cladeclip.torch_streams import torch_stream
from cladeclip.training.losses import Loss
from cladeclip.training.processes import SINGLE, Processes

CENTRE_STD = 0.01
SMALLEST_NORM = 1e-12
# Of AdamW, torch's own.
EPS = 1e-8
# Centres start in blocks of rows, so that the start does not depend on the number of processes.
ROWS_DRAWN = 4096


@dataclass(frozen=True)
class Draw:
    """The classes and dimensions of this process's shard that one optimiser step uses, on its device.

    Attributes:
        classes: (c,) int64, sorted: the classes whose centres take part; None is all of this process's.
        dimensions: (n,) int64, sorted: the embedding dimensions that take part; None is all of them.
        positive_share: share of the centres that all processes use whose classes are in the batch.
    """

    classes: Tensor | None
    dimensions: Tensor | None
    positive_share: float = 0.0


class Head:
    """This process's share of K class centres (K, D) float32, with the state of their optimiser.

    Centres that a step does not draw get no gradient and no update: their Adam moments stay as they are, while bias
    correction counts the steps of the whole training. With every centre drawn this is AdamW.

    Attributes:
        share: the classes of this process, consecutive.
        centres, first_moment, second_moment: (len(share), D) float32.
    """

    def __init__(self, n_classes: int, dim: int, settings: Train, seed: int, processes: Processes = SINGLE) -> None:
        self.settings, self.seed, self.processes = settings, seed, processes
        self.n_classes, self.dim = n_classes, dim
        self.share = processes.share_of(n_classes)
        self.centres = initial_centres(self.share, dim, seed)
        self.first_moment = torch.zeros_like(self.centres)
        self.second_moment = torch.zeros_like(self.centres)

    def to(self, device: torch.device) -> "Head":
        for name in ("centres", "first_moment", "second_moment"):
            setattr(self, name, getattr(self, name).to(device))
        return self

    def draw(self, labels: Tensor, step: int) -> Draw:
        """Draws for a step: all own classes in `labels`, random others up to round(sample_rate * own), and dimensions.

        Args:
            labels: (n, t) int64, those of all processes, on the CPU: nothing that a GPU does is waited for; -1 is padding.
            step: of the training; the random numbers depend on it, the seed and the rank alone.
        """
        present = torch.unique(labels[labels >= 0])
        shares = [replace(self.processes, rank=rank).share_of(self.n_classes) for rank in range(self.processes.count)]
        sizes = [self._size(share, present) for share in shares]
        own, size = len(self.share), sizes[self.processes.rank]
        classes = None
        if size < own:
            priority = torch.rand(own, generator=torch_stream(self.seed, f"classes {step} {self.processes.rank}"))
            priority[_within(present, self.share)] = 2.0
            classes = self._moved(torch.topk(priority, size).indices.sort().values + self.share.start)
        dimensions = None
        if self.settings.num_feat < self.dim:
            # The same in every process.
            shuffled = torch.randperm(self.dim, generator=torch_stream(self.seed, f"dimensions {step}"))
            dimensions = self._moved(shuffled[: self.settings.num_feat].sort().values)
        return Draw(classes, dimensions, len(present) / sum(sizes))

    def _size(self, share: range, present: Tensor) -> int:
        """How many centres of a share a step uses whose labels have the classes `present`."""
        wanted = round(self.settings.sample_rate * len(share))
        return min(len(share), max(wanted, len(_within(present, share)), 1))

    def _moved(self, drawn: Tensor) -> Tensor:
        return drawn.to(self.centres.device, non_blocking=True)

    def drawn_centres(self, draw: Draw) -> Tensor:
        """The drawn centres (c, D) as a leaf that collects gradients."""
        if draw.classes is None:
            return self.centres.detach().requires_grad_()
        return self.centres[draw.classes - self.share.start].requires_grad_()

    def loss(
        self, loss: Loss, embeddings: Tensor, labels: Tensor, draw: Draw, centres: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The loss of all processes' embeddings (n, D) with labels (n, t), and the mean cosine to their own centres.

        Both are the same in every process. The gradient of `embeddings` is the contribution of this process's classes:
        summed over the processes, it is that of the loss.
        """
        targets, there = self._columns(labels, draw), labels >= 0
        weights = there / there.sum(1, keepdim=True).clamp(min=1)
        if draw.dimensions is not None:
            embeddings, centres = embeddings[:, draw.dimensions], centres[:, draw.dimensions]
        cosines: Tensor = CosinesToCentres.apply(functional.normalize(embeddings), centres)
        of_targets = cosines.detach().gather(1, targets.clamp(min=0)) * torch.where(targets >= 0, weights, 0.0)
        return loss(cosines, targets, weights, self.processes), self.processes.sum(of_targets.sum()) / len(labels)

    @torch.no_grad()
    def update(self, draw: Draw, centres: Tensor, *, step: int, lr: float, betas: tuple[float, float]) -> None:
        """One AdamW step of the drawn centres from the gradient that `centres` collected.

        Args:
            step: of the training, from 1: for the bias correction.
        """
        if centres.grad is None:
            raise ValueError("Head.update: no gradient has reached the centres; call backward() first.")
        rows = None if draw.classes is None else draw.classes - self.share.start
        of_head = (self.centres, self.first_moment, self.second_moment)
        if rows is None:
            weights, first, second = of_head
        else:
            weights, first, second = centres.detach(), self.first_moment[rows], self.second_moment[rows]
        adamw(
            [weights],
            [centres.grad],
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
            weight_decay=self.settings.weight_decay,
            eps=EPS,
            maximize=False,
        )
        if rows is not None:
            for held, updated in zip(of_head, (weights, first, second), strict=True):
                held.index_copy_(0, rows, updated)

    def _columns(self, labels: Tensor, draw: Draw) -> Tensor:
        """The column of each label among the drawn classes, -1 where it is another process's."""
        if draw.classes is None:
            own = (labels >= self.share.start) & (labels < self.share.stop)
            return torch.where(own, labels - self.share.start, -1)
        column = torch.searchsorted(draw.classes, labels).clamp(max=len(draw.classes) - 1)
        return torch.where(draw.classes[column] == labels, column, -1)


class CosinesToCentres(torch.autograd.Function):
    """clamp( u_i . W_j / |W_j|, -1, 1 ), (n, c), of unit vectors u (n, D) and centres W (c, D).

    What autograd would do with one copy of the centres less in each direction: there may be a million of them.

        dW_j = sum_i g_ij (u_i - cos_ij W_j / |W_j|) / |W_j|

    The clamp is against rounding alone and has no gradient of its own.
    """

    @staticmethod
    def forward(ctx: Any, units: Tensor, centres: Tensor) -> Tensor:
        norms = torch.linalg.vector_norm(centres, dim=1).clamp_min_(SMALLEST_NORM)
        cosines = functional.linear(units, centres).div_(norms).clamp_(-1.0, 1.0)
        ctx.save_for_backward(units, centres, norms, cosines)
        return cosines

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        units, centres, norms, cosines = ctx.saved_tensors
        scaled = gradients[0] / norms
        along = torch.einsum("nc,nc->c", scaled, cosines).div_(norms)
        return scaled @ centres, (scaled.T @ units).addcmul_(centres, along[:, None], value=-1.0)


def _within(classes: Tensor, share: range) -> Tensor:
    """Those of the classes that are of a share, counted from its first."""
    return classes[(classes >= share.start) & (classes < share.stop)] - share.start


def initial_centres(share: range, dim: int, seed: int) -> Tensor:
    """The rows `share` of the K x D start, entries from N(0, 0.01^2): the same rows whoever draws them."""
    centres = torch.empty(len(share), dim)
    for block in range(share.start // ROWS_DRAWN, -(-share.stop // ROWS_DRAWN)):
        drawn = torch.empty(ROWS_DRAWN, dim)
        drawn.normal_(0.0, CENTRE_STD, generator=torch_stream(seed, f"centres {block}"))
        first, last = max(share.start, block * ROWS_DRAWN), min(share.stop, (block + 1) * ROWS_DRAWN)
        centres[first - share.start : last - share.start] = drawn[
            first - block * ROWS_DRAWN : last - block * ROWS_DRAWN
        ]
    return centres
