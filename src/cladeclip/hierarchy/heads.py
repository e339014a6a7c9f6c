"""One head per rank on frozen embeddings, trained jointly with a loss that uses the taxonomy.

    L = sum_r CE_r + lambda * sum_(p,c) mean_i KL(P_p(. | x_i) || M P_c(. | x_i))

over ranks r, and ranks p with the rank c below. M sums the children of each parent: the dependence term is zero exactly
when each parent's probability is the sum of those of its children.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, log_softmax

from cladeclip.hierarchy.taxonomy import Taxonomy
from cladeclip.random_streams import stream_of
from cladeclip.torch_streams import torch_stream


@dataclass(frozen=True)
class HeadSettings:
    """How heads are trained.

    Attributes:
        dependence: lambda; 0 trains the heads independently of each other (on one hidden layer, where there is one).
        hidden: width of a hidden layer that all heads share; 0 for none.
        steps, batch_size, lr, weight_decay: of AdamW with a cosine schedule. A number of steps, and not of epochs: few
            images are seen often enough, and many do not take longer.
        folds: number of folds of the cross-fitting: each is scored by heads trained on the others.
    """

    dependence: float = 1.0
    hidden: int = 0
    steps: int = 500
    batch_size: int = 256
    lr: float = 1e-2
    weight_decay: float = 1e-2
    folds: int = 3


class Heads(nn.Module):
    """Logits of every rank from embeddings (n, d): standardised, a hidden layer if any, and a linear head a rank."""

    mean: Tensor
    scale: Tensor
    temperatures: Tensor

    def __init__(self, dim: int, n_names: Sequence[int], hidden: int, generator: torch.Generator) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(dim))
        self.register_buffer("temperatures", torch.ones(len(n_names)))
        self.trunk = nn.Sequential(nn.Linear(dim, hidden), nn.GELU()) if hidden else nn.Identity()
        self.heads = nn.ModuleList(nn.Linear(hidden or dim, n) for n in n_names)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                bound = layer.in_features**-0.5
                nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
                nn.init.zeros_(layer.bias)

    def forward(self, embeddings: Tensor) -> list[Tensor]:
        """Logits (n, n_r) of each rank, before calibration."""
        features = self.trunk((embeddings - self.mean) / self.scale)
        return [head(features) for head in self.heads]

    @torch.inference_mode()
    def logits(self, embeddings: np.ndarray) -> list[np.ndarray]:
        """Calibrated logits (n, n_r) float32 of each rank: their softmax is the probability of each name."""
        found = self(torch.from_numpy(np.asarray(embeddings, dtype=np.float32)).to(self.mean.device))
        return [(logits / t).cpu().numpy() for logits, t in zip(found, self.temperatures, strict=True)]


def dependence(parent: Tensor, child: Tensor, parents: Tensor) -> Tensor:
    """Mean KL(P_p || M P_c) of logits (n, n_p) and (n, n_c), in nats.

    Args:
        parents: (n_c,) int64, the number of each child's parent: the row of the 1 in each column of M.
    """
    log_parent = log_softmax(parent, dim=1)
    # log of the summed probability of each parent's children, by log-sum-exp: nothing underflows.
    log_child = log_softmax(child, dim=1)
    owner = parents.expand_as(log_child)
    highest = torch.full_like(log_parent, -torch.inf).scatter_reduce(1, owner, log_child.detach(), "amax")
    highest = highest.clamp(min=torch.finfo(log_child.dtype).min)
    mass = torch.zeros_like(log_parent).scatter_add(1, owner, (log_child - highest.gather(1, owner)).exp())
    log_mass = highest + mass.log()
    return (log_parent.exp() * (log_parent - log_mass)).sum(dim=1).mean()


def joint_loss(logits: Sequence[Tensor], codes: Tensor, parents: Sequence[Tensor], weight: float) -> Tensor:
    """The loss L above of logits (n, n_r) a rank, highest first, for codes (n, R).

    Args:
        parents: for each rank but the first, see `dependence`.
        weight: lambda.
    """
    loss = torch.stack([cross_entropy(of_rank, codes[:, r]) for r, of_rank in enumerate(logits)]).sum()
    if weight:
        pairs = zip(logits, logits[1:], parents, strict=False)
        loss = loss + weight * torch.stack([dependence(*pair) for pair in pairs] or [loss.new_zeros(())]).sum()
    return loss


def fit_heads(
    embeddings: np.ndarray,
    codes: np.ndarray,
    taxonomy: Taxonomy,
    settings: HeadSettings,
    *,
    seed: int,
    device: str | torch.device = "cpu",
) -> Heads:
    """Heads trained on embeddings (n, d) of images with codes (n, R), on the device; not calibrated.

    Raises:
        ValueError: there is no image, or an image has no name at some rank.
    """
    if len(embeddings) == 0 or (codes < 0).any():
        raise ValueError(f"{len(embeddings)} images, {int((codes < 0).any(axis=1).sum())} of them without a name.")
    points = torch.from_numpy(np.asarray(embeddings, dtype=np.float32)).to(device)
    targets = torch.from_numpy(codes).to(device)
    generator = torch_stream(seed, "hierarchy heads")
    heads = Heads(points.shape[1], [len(names) for names in taxonomy.names], settings.hidden, generator).to(device)
    heads.mean.copy_(points.mean(dim=0))
    heads.scale.copy_(points.std(dim=0, correction=0).clamp(min=1e-6))
    parents = [torch.from_numpy(of_rank).to(device) for of_rank in taxonomy.parents[1:]]
    optimiser = torch.optim.AdamW(heads.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.steps)
    for batch in islice(_batches(len(points), settings.batch_size, generator), settings.steps):
        rows = batch.to(device, non_blocking=True)
        loss = joint_loss(heads(points[rows]), targets[rows], parents, settings.dependence)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
    return heads.eval()


def _batches(n: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Endless batches of image indices, reshuffled after each epoch."""
    while True:
        yield from torch.randperm(n, generator=generator).split(size)


def temperature(logits: np.ndarray, codes: np.ndarray) -> float:
    """The T > 0 for which softmax(logits / T) gives images the lowest negative log-likelihood (Guo et al., ICML 2017).

    Label smoothing is 1 / (n + 2) for n images, after Platt (1999): where every image is right, the likelihood alone would
    drive T to 0.

    Args:
        logits: (n, n_r) of images that the heads were not trained on.
        codes: (n,); images whose name the heads could not know (-1) are left out. T is 1 where none remains.
    """
    known = codes >= 0
    if not known.any() or logits.shape[1] < 2:
        return 1.0
    scores, targets = torch.from_numpy(logits[known]).double(), torch.from_numpy(codes[known])
    doubt = 1 / (len(targets) + 2)
    # The likelihood is convex in 1 / T, so that it has one minimum, and a search of the logarithm finds it.

    def cost(log_inverse: float) -> float:
        return float(cross_entropy(scores * np.exp(log_inverse), targets, label_smoothing=doubt))

    limits = (np.log(1e-2), np.log(1e2))
    found = minimize_scalar(cost, bounds=limits, method="bounded", options={"xatol": 1e-4})
    return float(np.exp(-found.x))


def folds_of(groups: np.ndarray, n_folds: int, seed: int) -> np.ndarray:
    """A fold (n,) of each image, drawn; images of one content group share theirs."""
    names, members = np.unique(groups, return_inverse=True)
    return stream_of(seed, "hierarchy folds").permutation(np.arange(len(names)) % n_folds)[members]
