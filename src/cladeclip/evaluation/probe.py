"""The linear probe: logistic regression on frozen embeddings, the field's other standard read-out."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cladeclip.evaluation.protocol import Subset
from cladeclip.run.progress import progress

# Fitting stops when LOOK_EVERY iterations lowered the objective by less than the share ENOUGH of it. What is left to gain
# then is about half as much.
LOOK_EVERY, ENOUGH = 8, 5e-4
# Points whose logits are held at once.
ROWS = 2048


@dataclass(frozen=True)
class LogisticRegression:
    """A fitted multinomial logistic regression: label k's logit is weights[k] . x + intercept[k].

    Attributes:
        weights, intercept: (K, d), (K,) float32.
        objective: c * (sum of the cross-entropies) + |weights|^2 / 2, which fitting minimises.
        converged: whether it converged before the limit of iterations.
    """

    weights: Tensor
    intercept: Tensor
    objective: float
    converged: bool

    def logits(self, features: Tensor) -> Tensor:
        """Of features (m, d) the logits (m, K)."""
        return torch.addmm(self.intercept, features, self.weights.T)


def fit_logistic_regression(features: Tensor, labels: Tensor, *, c: float, max_iterations: int) -> LogisticRegression:
    """Fits features (n, d) float32, standardised, to labels (n,) int64, of which each of 0..K-1 occurs; on their device.

    L-BFGS with a line search (Liu and Nocedal, 1989) in preconditioned coordinates: along the principal components, each
    scaled by the root of its curvature. At first that is a bound, n c p (1 - p) variance + 1 for a label of share p (after
    Böhning, 1992); after 1, 9, 25, 57 ... iterations it is the curvature at the weights so far, and the search starts again.
    Embeddings are ill-conditioned: in their own coordinates it takes hundreds of iterations, in these thirty.
    """
    n, d = features.shape
    n_labels = int(labels.max()) + 1
    variances, components = torch.linalg.eigh((features.T @ features).double() / n)
    problem = _Problem(features @ components.to(features), labels, n_labels, c)
    share = torch.bincount(labels, minlength=n_labels).double() / n
    bound = n * c * share * (1 - share)
    curvature = torch.cat([bound[:, None] * variances.clamp(min=0.0) + 1, bound[:, None]], dim=1)
    at, before = torch.zeros(n_labels, d + 1, device=features.device), float("inf")
    left, length, converged = max_iterations, 1, False
    bar = progress(total=max_iterations, desc="fitting a probe, which may end sooner", unit="iterations")
    while left > 0 and not converged:
        search = _Search(problem, at, curvature)
        for _ in range(max(1, length // LOOK_EVERY)):
            n_steps = min(length, LOOK_EVERY, left)
            at, now = search.go_on(n_steps)
            left -= n_steps
            bar.update(n_steps)
            converged = n_steps == LOOK_EVERY and before - now < ENOUGH * now
            before = now
            if converged or left <= 0:
                break
        else:
            curvature = problem.curvature(at)
        length = LOOK_EVERY if length == 1 else 2 * length
    bar.close()
    return LogisticRegression(at[:, :d] @ components.T.to(features), at[:, d].clone(), before, converged)


class _Problem:
    """The objective of weights and, in the last column, intercepts (K, d + 1) for points (n, d) along their components."""

    def __init__(self, points: Tensor, labels: Tensor, n_labels: int, c: float) -> None:
        self._parts, self.c = list(zip(points.split(ROWS), labels.split(ROWS), strict=True)), c
        self._logits = points.new_empty(min(ROWS, len(points)), n_labels)

    def _probabilities(self, at: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Yields batches of points (m, d), with their labels (m,), probabilities (m, K) and loss (float64)."""
        for points, labels in self._parts:
            found = self._logits[: len(points)]
            torch.addmm(at[:, -1], points, at[:, :-1].T, out=found)
            highest = found.amax(1, keepdim=True)
            own = found.gather(1, labels[:, None])
            sums = found.sub_(highest).exp_().sum(1, keepdim=True)
            yield points, labels, found.div_(sums), (sums.log() + highest - own).sum(dtype=torch.float64)

    def objective(self, at: Tensor, gradient: Tensor) -> Tensor:
        """The objective, float64; its gradient (K, d + 1) is written into `gradient`."""
        gradient.zero_()
        total = 0.5 * at[:, :-1].double().square().sum()
        for points, labels, excess, loss in self._probabilities(at):
            total += self.c * loss
            excess.scatter_add_(1, labels[:, None], -torch.ones_like(excess[:, :1]))
            gradient[:, :-1].addmm_(excess.T, points)
            gradient[:, -1] += excess.sum(0)
        gradient.mul_(self.c)[:, :-1].add_(at[:, :-1])
        return total

    def curvature(self, at: Tensor) -> Tensor:
        """The diagonal of the Hessian (K, d + 1)."""
        found = torch.zeros_like(at)
        for points, _, probabilities, _ in self._probabilities(at):
            variances = probabilities.addcmul_(probabilities, probabilities, value=-1.0)
            found[:, :-1].addmm_(variances.T, points.square())
            found[:, -1] += variances.sum(0)
        found.mul_(self.c)[:, :-1].add_(1.0)
        return found


class _Search:
    """L-BFGS from weights (K, d + 1) on, in coordinates scaled by the root of the curvature (K, d + 1)."""

    def __init__(self, problem: _Problem, at: Tensor, curvature: Tensor) -> None:
        # A label that is certain for all points has next to no curvature along its intercept.
        self._problem, self._scale = problem, curvature.clamp(min=1e-3).rsqrt().to(at)
        self._scaled = at / self._scale
        self._scaled.grad = torch.zeros_like(at)
        self._optimiser = torch.optim.LBFGS(
            [self._scaled], history_size=20, tolerance_grad=0.0, tolerance_change=0.0, line_search_fn="strong_wolfe"
        )

    def _closure(self) -> Tensor:
        gradient = self._scaled.grad
        assert gradient is not None
        found = self._problem.objective(self._scaled * self._scale, gradient)
        gradient.mul_(self._scale)
        return found

    def go_on(self, n_steps: int) -> tuple[Tensor, float]:
        """The weights (K, d + 1) after some more iterations, and the objective there."""
        self._optimiser.param_groups[0] |= {"max_iter": n_steps, "max_eval": 10 * n_steps}
        self._optimiser.step(self._closure)
        return self._scaled * self._scale, float(self._closure())


def linear_probe(
    subset: Subset, embeddings: np.ndarray, *, c: float, max_iterations: int, device: str | torch.device = "cpu"
) -> dict:
    """Fits a logistic regression to the gallery's standardised embeddings and tests it on the queries.

    A query whose label the gallery lacks counts as wrong.

    Args:
        c: inverse of the regularisation.

    Returns:
        A row of the `probe` table; micro and macro are NaN where the gallery has only one label.
    """
    row = {"column": subset.column, "n_query": len(subset.query), "n_gallery": len(subset.gallery)}
    labels, codes = np.unique(subset.names[subset.gallery], return_inverse=True)
    truth = subset.names[subset.query]
    if len(labels) < 2:
        return row | {"micro": np.nan, "macro": np.nan, "converged": False}
    found = probe_logits(
        embeddings[subset.gallery], codes, embeddings[subset.query], c=c, max_iterations=max_iterations, device=device
    )
    right = pd.Series(labels[found.logits.argmax(1).cpu().numpy()] == truth)
    macro = right.groupby(truth).mean().mean()
    return row | {"micro": right.mean(), "macro": macro, "converged": found.converged}


class ProbeLogits(NamedTuple):
    """Logits (q, K) float32 on the probe's device, and whether fitting converged before the limit of iterations."""

    logits: Tensor
    converged: bool


def probe_logits(
    gallery: np.ndarray,
    codes: np.ndarray,
    query: np.ndarray,
    *,
    c: float,
    max_iterations: int,
    device: str | torch.device = "cpu",
) -> ProbeLogits:
    """Of the queries (q, d), by a logistic regression fitted to the gallery (g, d), both standardised as the gallery is.

    Args:
        codes: (g,) int64, labels of the gallery, of which each of 0..K-1 occurs.
        c: inverse of the regularisation.
    """
    points = torch.from_numpy(gallery).double()
    deviation, mean = torch.std_mean(points, 0, correction=0)
    deviation[deviation == 0] = 1.0
    standardised = points.sub_(mean).div_(deviation).float().to(device)
    del points  # they take more memory than all that follows
    fitted = fit_logistic_regression(
        standardised, torch.from_numpy(codes).to(device), c=c, max_iterations=max_iterations
    )
    asked = torch.from_numpy(query).double().sub_(mean).div_(deviation).float().to(device)
    return ProbeLogits(fitted.logits(asked), fitted.converged)
