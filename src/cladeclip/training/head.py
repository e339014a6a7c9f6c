"""Classification heads: class centres on the unit sphere, of which each step may use a sample (Partial FC).

    cos_ij = clamp( normalise(z_i) . normalise(W_j), -1, 1 )

The loss is computed from these cosines (`losses.py`). The classes are sharded over the processes of the training; with
several, none holds all centres. The head is thrown away after training. Sources: UNICOM (An et al., ICLR 2023), Partial FC
(An et al., CVPR 2022).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from cladeclip.config.sections import Train
from cladeclip.errors import ConfigError, DataError
from cladeclip.torch_streams import torch_stream
from cladeclip.training.losses import Loss, loss_named
from cladeclip.training.optimisation import adamw_step
from cladeclip.training.processes import SINGLE, Processes

CENTRE_STD = 0.01
SMALLEST_NORM = 1e-12
# What a step changes of a head.
OF_A_HEAD = ("centres", "first_moment", "second_moment")
# Centres start in blocks of rows, so that the start does not depend on the number of processes.
ROWS_DRAWN = 4096


@dataclass(frozen=True)
class Draw:
    """The classes and dimensions of this process's shard that one optimiser step uses, on its device.

    Attributes:
        classes: (c,) int64, sorted: the classes whose centres take part; None is all of this process's.
        dimensions: (n,) int64, sorted: the embedding dimensions that take part; None is all of them.
        weights: (N, t) float32, of each label of the step: 1 / number of those drawn of its row, 0 for others and padding.
        positive_share: share of the centres that all processes use whose classes are drawn labels.
    """

    classes: Tensor | None
    dimensions: Tensor | None
    weights: Tensor
    positive_share: float = 0.0


class Head:
    """This process's share of K class centres (K, D) float32, with the state of their optimiser.

    Centres that a step does not draw get no gradient and no update: their Adam moments stay as they are, while bias
    correction counts the steps of the whole training. With every centre drawn this is AdamW.

    Args:
        name: of its random numbers, where a training has several heads.

    Attributes:
        share: the classes of this process, consecutive.
        centres, first_moment, second_moment: (len(share), D) float32.
    """

    def __init__(
        self, n_classes: int, dim: int, settings: Train, seed: int, processes: Processes = SINGLE, name: str = ""
    ) -> None:
        self.settings, self.seed, self.processes, self.name = settings, seed, processes, name
        self.n_classes, self.dim = n_classes, dim
        self.share = processes.share_of(n_classes)
        self.centres = initial_centres(self.share, dim, seed, name)
        self.first_moment = torch.zeros_like(self.centres)
        self.second_moment = torch.zeros_like(self.centres)

    def to(self, device: torch.device) -> "Head":
        for name in OF_A_HEAD:
            setattr(self, name, getattr(self, name).to(device))
        return self

    def draw(self, labels: Tensor, step: int) -> Draw:
        """Draws for a step: `positives` labels of each row, all own classes among these, random others up to
        round(sample_rate * own), and dimensions.

        Args:
            labels: (N, t) int64, those of all processes, on the CPU: nothing that a GPU does is waited for; -1 is padding.
            step: of the training; the random numbers depend on it, the seed and the rank alone.
        """
        drawn = self._positives(labels, step)
        present = torch.unique(labels[drawn])
        shares = [replace(self.processes, rank=rank).share_of(self.n_classes) for rank in range(self.processes.count)]
        sizes = [self._size(share, present) for share in shares]
        own, size = len(self.share), sizes[self.processes.rank]
        classes = None
        if size < own:
            priority = torch.rand(own, generator=self._stream(f"classes {step} {self.processes.rank}"))
            priority[_within(present, self.share)] = 2.0
            classes = self._moved(torch.topk(priority, size).indices.sort().values + self.share.start)
        dimensions = None
        if self.settings.num_feat < self.dim:
            # The same in every process.
            shuffled = torch.randperm(self.dim, generator=self._stream(f"dimensions {step}"))
            dimensions = self._moved(shuffled[: self.settings.num_feat].sort().values)
        weights = drawn / drawn.sum(1, keepdim=True).clamp(min=1)
        return Draw(classes, dimensions, self._moved(weights), len(present) / sum(sizes))

    def _positives(self, labels: Tensor, step: int) -> Tensor:
        """Which labels (N, t) a step draws: of each row at most `positives`, the same in every process."""
        there = labels >= 0
        if labels.shape[1] <= self.settings.positives:
            return there
        order = torch.rand(labels.shape, generator=self._stream(f"positives {step}")).masked_fill_(~there, -1.0)
        first = order.topk(self.settings.positives, dim=1).indices
        return torch.zeros_like(there).scatter_(1, first, value=True) & there

    def _stream(self, what: str) -> torch.Generator:
        return torch_stream(self.seed, self.name + what)

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
        self, loss: Loss, embeddings: Tensor, labels: Tensor, weights: Tensor, draw: Draw, centres: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The loss of all processes' embeddings (n, D), and the mean cosine to their own centres; see `Turn.loss`.

        Args:
            labels, weights: (n, t), those rows of the draw's that the embeddings are of.
        """
        targets = self._columns(labels, draw)
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
        adamw_step(
            (weights, first, second),
            centres.grad,
            step=step,
            lr=lr,
            betas=betas,
            weight_decay=self.settings.weight_decay,
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


class Heads:
    """A head for each way in which the images are classed; the loss is the mean of theirs. See `objective.Objective`.

    Targets are labels (b, t * number of heads): the first t of a row are the first head's, and so on.

    Args:
        n_classes: of each head.

    Raises:
        ConfigError, DataError: a head would have fewer classes than it needs.
    """

    def __init__(
        self, n_classes: Sequence[int], dim: int, settings: Train, seed: int, processes: Processes = SINGLE
    ) -> None:
        if min(n_classes) < 2:
            raise DataError("training: all images have the same label; raise labels.k, or check the data.")
        if min(n_classes) < processes.count:
            raise ConfigError(
                f"training: {min(n_classes)} classes are fewer than train.gpus (now {processes.count}); lower it."
            )
        self.compute_loss = loss_named(settings.loss)(settings)
        names = ["", *(f"head {number} " for number in range(1, len(n_classes)))]
        self.heads = [Head(n, dim, settings, seed, processes, name) for n, name in zip(n_classes, names, strict=True)]

    def to(self, device: torch.device) -> "Heads":
        for head in self.heads:
            head.to(device)
        return self

    def begin(self, targets: Sequence[Tensor], step: int) -> "HeadsTurn":
        return HeadsTurn(self, targets, step)

    def tensors(self) -> dict[str, Tensor]:
        return {f"{number}.{name}": getattr(head, name) for number, head in enumerate(self.heads) for name in OF_A_HEAD}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        for number, head in enumerate(self.heads):
            for name in OF_A_HEAD:
                setattr(head, name, tensors[f"{number}.{name}"].to(head.centres.device))


class HeadsTurn:
    """The draws of one optimiser step, with centres that collect the gradients of its batches."""

    def __init__(self, heads: Heads, labels: Sequence[Tensor], step: int) -> None:
        self.heads = heads
        self.labels = [[part.contiguous() for part in batch.chunk(len(heads.heads), dim=1)] for batch in labels]
        self.draws = [
            head.draw(torch.cat([batch[number] for batch in self.labels]), step)
            for number, head in enumerate(heads.heads)
        ]
        self.centres = [head.drawn_centres(draw) for head, draw in zip(heads.heads, self.draws, strict=True)]
        self.positive_share = sum(draw.positive_share for draw in self.draws) / len(self.draws)

    def loss(self, number: int, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        size, found = len(embeddings), []
        for labels, head, draw, centres in zip(
            self.labels[number], self.heads.heads, self.draws, self.centres, strict=True
        ):
            here = labels.to(embeddings.device, non_blocking=True)
            weights = draw.weights[number * size : (number + 1) * size]
            found.append(head.loss(self.heads.compute_loss, embeddings, here, weights, draw, centres))
        losses, cosines = zip(*found, strict=True)
        return torch.stack(losses).mean(), torch.stack(cosines).mean()

    def update(self, *, step: int, lr: float, betas: tuple[float, float]) -> None:
        for head, draw, centres in zip(self.heads.heads, self.draws, self.centres, strict=True):
            head.update(draw, centres, step=step, lr=lr, betas=betas)


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


def initial_centres(share: range, dim: int, seed: int, name: str = "") -> Tensor:
    """The rows `share` of the K x D start, entries from N(0, 0.01^2): the same rows whoever draws them."""
    centres = torch.empty(len(share), dim)
    for block in range(share.start // ROWS_DRAWN, -(-share.stop // ROWS_DRAWN)):
        drawn = torch.empty(ROWS_DRAWN, dim)
        drawn.normal_(0.0, CENTRE_STD, generator=torch_stream(seed, f"{name}centres {block}"))
        first, last = max(share.start, block * ROWS_DRAWN), min(share.stop, (block + 1) * ROWS_DRAWN)
        centres[first - share.start : last - share.start] = drawn[
            first - block * ROWS_DRAWN : last - block * ROWS_DRAWN
        ]
    return centres
