"""The classification head: class centres on the unit sphere, of which each step may use a sample (Partial FC).

    cos_ij = clamp( normalise(z_i) . normalise(W_j), -1, 1 )
    loss   = mean_i -log softmax(margin logits_i)[y_i]

The classes are spread over the processes of the training; no process holds all centres. The head is thrown away after
training. Sources: UNICOM (An et al., ICLR 2023), Partial FC (An et al., CVPR 2022).
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from cladeclip.random_streams import torch_stream
from cladeclip.training.margin import margin_logits
from cladeclip.training.processes import SINGLE, Processes
from cladeclip.training.settings import TrainSettings
from cladeclip.training.softmax import ShardedCrossEntropy

CENTRE_STD = 0.01
SMALLEST_NORM = 1e-12
# Centres are drawn, and updated, in blocks of rows. Drawn: the start does not depend on the number of processes.
# Updated: what a step writes in between stays small, and in the processor's cache.
ROWS_DRAWN, ROWS_UPDATED = 4096, 1024


@dataclass(frozen=True)
class Draw:
    """What one optimiser step uses of this process's part of the head.

    Attributes:
        classes: (c,) int64, sorted: the classes whose centres take part; None is all of this process's.
        dimensions: (n,) int64, sorted: the embedding dimensions that take part; None is all of them.
    """

    classes: Tensor | None
    dimensions: Tensor | None


class Head:
    """This process's share of K class centres (K, D) float32, with the state of their optimiser.

    Centres that a step does not draw get no gradient and no update: their Adam moments stay as they are, while bias
    correction counts the steps of the whole training. With every centre drawn this is AdamW.

    Attributes:
        share: the classes of this process, consecutive.
        centres, first_moment, second_moment: (len(share), D) float32.
    """

    def __init__(
        self, n_classes: int, dim: int, settings: TrainSettings, seed: int, processes: Processes = SINGLE
    ) -> None:
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
            labels: (n,) int64, those of all processes.
            step: of the training; the draw depends on it and the seed alone.
        """
        own = len(self.share)
        wanted = round(self.settings.sample_rate * own)
        classes = None
        if wanted < own:
            priority = torch.rand(own, generator=torch_stream(self.seed, f"classes {step} {self.processes.rank}"))
            positive = torch.unique(labels.cpu()) - self.share.start
            positive = positive[(positive >= 0) & (positive < own)]
            priority[positive] = 2.0
            drawn = torch.topk(priority, max(wanted, len(positive), 1)).indices
            classes = drawn.sort().values + self.share.start
        dimensions = None
        if self.settings.num_feat < self.dim:
            # The same in every process.
            shuffled = torch.randperm(self.dim, generator=torch_stream(self.seed, f"dimensions {step}"))
            dimensions = shuffled[: self.settings.num_feat].sort().values
        return Draw(classes, dimensions)

    def drawn(self, draw: Draw) -> int:
        """How many centres a step uses in this process."""
        return len(self.share) if draw.classes is None else len(draw.classes)

    def drawn_centres(self, draw: Draw) -> Tensor:
        """The drawn centres (c, D) as a leaf that collects gradients."""
        if draw.classes is None:
            return self.centres.detach().requires_grad_()
        return self.centres[self._rows(draw.classes)].requires_grad_()

    def loss(self, embeddings: Tensor, labels: Tensor, draw: Draw, centres: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of all processes' embeddings (n, D) with labels (n,), and the mean cosine to their own centres.

        Both are the same in every process. The gradient of `embeddings` is the part that this process's classes give:
        its sum over the processes is the loss's.
        """
        target = self._columns(labels, draw)
        if draw.dimensions is not None:
            dimensions = draw.dimensions.to(embeddings.device)
            embeddings, centres = embeddings[:, dimensions], centres[:, dimensions]
        cosines: Tensor = CosinesToCentres.apply(functional.normalize(embeddings), centres)
        settings = self.settings
        logits = margin_logits(
            cosines,
            target,
            s=settings.margin_loss_s,
            m2=settings.margin_loss_m2,
            m3=settings.margin_loss_m3,
            filter_above=settings.margin_loss_filter,
            gradient=settings.margin_gradient,
        )
        loss: Tensor = ShardedCrossEntropy.apply(logits, target, self.processes)
        rows = torch.nonzero(target >= 0).squeeze(1)
        own_cosines = self.processes.sum(cosines.detach()[rows, target[rows]].sum())
        return loss, own_cosines / len(labels)

    @torch.no_grad()
    def update(
        self, draw: Draw, centres: Tensor, *, step: int, lr: float, betas: tuple[float, float], eps: float
    ) -> None:
        """One AdamW step of the drawn centres from the gradient that `centres` collected.

        Args:
            step: of the training, from 1: for the bias correction.
        """
        if centres.grad is None:
            raise ValueError("Head.update: no gradient has reached the centres; call backward() first.")
        beta1, beta2 = betas
        correction1, correction2 = 1 - beta1**step, 1 - beta2**step
        decay = 1 - lr * self.settings.weight_decay
        for start in range(0, len(centres), ROWS_UPDATED):
            block = slice(start, start + ROWS_UPDATED)
            rows = block if draw.classes is None else self._rows(draw.classes[block])
            gradient = centres.grad[block]
            first = self.first_moment[rows].lerp_(gradient, 1 - beta1)
            second = self.second_moment[rows].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
            denominator = (second / correction2).sqrt_().add_(eps)
            updated = (self.centres[rows] * decay).addcdiv_(first, denominator, value=-lr / correction1)
            self.first_moment[rows], self.second_moment[rows], self.centres[rows] = first, second, updated

    def _rows(self, classes: Tensor) -> Tensor:
        """Classes of this process to rows of its centres."""
        return (classes - self.share.start).to(self.centres.device)

    def _columns(self, labels: Tensor, draw: Draw) -> Tensor:
        """The column of each label among the drawn classes, -1 where it is another process's."""
        if draw.classes is None:
            own = (labels >= self.share.start) & (labels < self.share.stop)
            return torch.where(own, labels - self.share.start, -1)
        classes = draw.classes.to(labels.device)
        column = torch.searchsorted(classes, labels).clamp(max=len(classes) - 1)
        return torch.where(classes[column] == labels, column, -1)


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
