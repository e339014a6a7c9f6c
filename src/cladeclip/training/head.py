"""The classification head: class centres on the unit sphere, of which each step may use a sample (Partial FC).

    cos_ij = clamp( normalise(z_i) . normalise(W_j), -1, 1 )
    loss   = mean_i -log softmax(margin logits_i)[y_i]

The head is thrown away after training. Sources: UNICOM (An et al., ICLR 2023), Partial FC (An et al., CVPR 2022).
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from cladeclip.training.margin import margin_logits
from cladeclip.training.settings import TrainSettings

CENTRE_STD = 0.01


@dataclass(frozen=True)
class Draw:
    """What one optimiser step uses of the head.

    Attributes:
        classes: (c,) int64, sorted: the classes whose centres take part.
        dimensions: (n,) int64, sorted, the embedding dimensions that take part; None is all of them.
    """

    classes: Tensor
    dimensions: Tensor | None


class Head:
    """K class centres (K, D) float32 with the state of their optimiser.

    Centres that a step does not draw get no gradient and no update: their Adam moments stay as they are, while bias
    correction counts the steps of the whole training. With every centre drawn this is AdamW.
    """

    def __init__(self, n_classes: int, dim: int, settings: TrainSettings, generator: torch.Generator) -> None:
        self.settings = settings
        self.generator = generator
        self.centres = torch.empty(n_classes, dim).normal_(0.0, CENTRE_STD, generator=generator)
        self.first_moment = torch.zeros_like(self.centres)
        self.second_moment = torch.zeros_like(self.centres)
        self.steps = 0

    def to(self, device: torch.device) -> "Head":
        for name in ("centres", "first_moment", "second_moment"):
            setattr(self, name, getattr(self, name).to(device))
        return self

    def draw(self, labels: Tensor) -> Draw:
        """Draws for one step: all classes in `labels`, random others up to round(sample_rate * K), and dimensions."""
        n_classes, dim = self.centres.shape
        wanted = round(self.settings.sample_rate * n_classes)
        if wanted >= n_classes:
            classes = torch.arange(n_classes)
        else:
            priority = torch.rand(n_classes, generator=self.generator)
            positive = torch.unique(labels.cpu())
            priority[positive] = 2.0
            classes = torch.topk(priority, max(wanted, len(positive))).indices.sort().values
        dimensions = None
        if self.settings.num_feat < dim:
            shuffled = torch.randperm(dim, generator=self.generator)
            dimensions = shuffled[: self.settings.num_feat].sort().values
        return Draw(classes, dimensions)

    def drawn_centres(self, draw: Draw) -> Tensor:
        """The drawn centres (c, D) as a leaf that collects gradients."""
        return self.centres[draw.classes.to(self.centres.device)].requires_grad_()

    def loss(self, embeddings: Tensor, labels: Tensor, draw: Draw, centres: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of embeddings (n, D) with labels (n,), and the mean cosine to their own centres."""
        target = torch.searchsorted(draw.classes.to(labels.device), labels)
        if draw.dimensions is not None:
            dimensions = draw.dimensions.to(embeddings.device)
            embeddings, centres = embeddings[:, dimensions], centres[:, dimensions]
        # The centres are float32, and so is all that follows, whatever the encoder's autocast gives.
        embeddings = embeddings.to(centres.dtype)
        cosines = functional.linear(functional.normalize(embeddings), functional.normalize(centres))
        cosines = cosines.clamp(-1.0, 1.0)
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
        return functional.cross_entropy(logits, target), cosines.detach().gather(1, target[:, None]).mean()

    @torch.no_grad()
    def step(self, draw: Draw, centres: Tensor, *, lr: float, betas: tuple[float, float], eps: float) -> None:
        """One AdamW step of the drawn centres from the gradient that `centres` collected."""
        if centres.grad is None:
            raise ValueError("Head.step: no gradient has reached the centres; call backward() first.")
        self.steps += 1
        rows = draw.classes.to(self.centres.device)
        beta1, beta2 = betas
        gradient = centres.grad
        first = self.first_moment[rows].lerp_(gradient, 1 - beta1)
        second = self.second_moment[rows].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        self.first_moment[rows], self.second_moment[rows] = first, second
        correction1, correction2 = 1 - beta1**self.steps, 1 - beta2**self.steps
        denominator = (second / correction2).sqrt_().add_(eps)
        updated = centres.detach() * (1 - lr * self.settings.weight_decay)
        self.centres[rows] = updated.addcdiv_(first, denominator, value=-lr / correction1)
