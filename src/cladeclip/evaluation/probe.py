"""The linear probe: logistic regression on frozen embeddings, the field's other standard read-out."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cladeclip.evaluation.protocol import Subset

# Iterations between two looks at the objective, and the share of it by which they must have lowered it to go on. What is
# left to gain then is about half as much: each look finds a third or less of what the one before it found.
LOOK_EVERY, ENOUGH = 8, 5e-4


@dataclass(frozen=True)
class LogisticRegression:
    """A fitted multinomial logistic regression: label k's logit is weights[k] . x + intercept[k].

    Attributes:
        weights, intercept: (K, d), (K,) float32.
        objective: c * (sum of the cross-entropies) + |weights|^2 / 2, which fitting makes as small as it can.
        converged: whether it could go on no longer, rather than had to stop.
    """

    weights: Tensor
    intercept: Tensor
    objective: float
    converged: bool

    def predict(self, features: Tensor) -> Tensor:
        """The most probable label (m,) int64 of features (m, d)."""
        return torch.addmm(self.intercept, features, self.weights.T).argmax(1)


def fit_logistic_regression(features: Tensor, labels: Tensor, *, c: float, max_iterations: int) -> LogisticRegression:
    """Fits features (n, d) float32, standardised, to labels (n,) int64 of which each from 0 on occurs; on their device.

    L-BFGS with a line search (Liu and Nocedal, 1989) in coordinates in which the problem is round: along the principal
    components, each scaled by a bound on its curvature, n c p (1 - p) variance + 1 for a label with share p (after Böhning,
    1992). Embeddings are far from round: without that, scikit-learn takes hundreds of iterations where this takes fifty.
    """
    n, d = features.shape
    n_labels = int(labels.max()) + 1
    variances, components = torch.linalg.eigh((features.T @ features).double() / n)
    rotated = features @ components.to(features)
    share = torch.bincount(labels, minlength=n_labels).double() / n
    curvature = n * c * share * (1 - share)
    scale = (curvature[:, None] * variances.clamp(min=0.0) + 1).rsqrt().to(features)
    scale_of_intercept = curvature.rsqrt().to(features)
    rows = torch.arange(n, device=features.device)
    # One tensor: the scaled weights, and beside them the scaled intercepts.
    parameters = torch.zeros(n_labels, d + 1, device=features.device)
    parameters.grad = gradient = torch.zeros_like(parameters)
    optimiser = torch.optim.LBFGS(
        [parameters], max_iter=LOOK_EVERY, tolerance_grad=0.0, tolerance_change=0.0, line_search_fn="strong_wolfe"
    )

    @torch.no_grad()
    def objective() -> Tensor:
        weights, intercept = parameters[:, :d] * scale, parameters[:, d] * scale_of_intercept
        logits = torch.addmm(intercept, rotated, weights.T)
        total = logits.logsumexp(1)
        loss = c * (total - logits[rows, labels]).double().sum() + 0.5 * weights.double().square().sum()
        excess = logits.sub_(total[:, None]).exp_()
        excess[rows, labels] -= 1.0
        torch.mul(torch.addmm(weights, excess.T, rotated, alpha=c), scale, out=gradient[:, :d])
        gradient[:, d] = c * excess.sum(0) * scale_of_intercept
        return loss

    before, left, converged = float("inf"), max_iterations, False
    while left > 0 and not converged:
        optimiser.param_groups[0]["max_iter"] = min(LOOK_EVERY, left)
        optimiser.step(objective)
        left -= LOOK_EVERY
        now = float(objective())
        converged = before - now < ENOUGH * now
        before = now
    weights = (parameters[:, :d] * scale) @ components.T.to(features)
    return LogisticRegression(weights, parameters[:, d] * scale_of_intercept, before, converged)


def linear_probe(
    subset: Subset, embeddings: np.ndarray, *, c: float, max_iterations: int, device: str | torch.device = "cpu"
) -> dict:
    """Fits a logistic regression to the gallery's standardised embeddings and asks the queries.

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
    gallery = torch.from_numpy(embeddings[subset.gallery]).double()
    mean, deviation = gallery.mean(0), gallery.std(0, correction=0)
    deviation[deviation == 0] = 1.0

    def standardised(points: Tensor) -> Tensor:
        return ((points - mean) / deviation).float().to(device)

    fitted = fit_logistic_regression(
        standardised(gallery), torch.from_numpy(codes).to(device), c=c, max_iterations=max_iterations
    )
    query = standardised(torch.from_numpy(embeddings[subset.query]).double())
    right = pd.Series(labels[fitted.predict(query).cpu().numpy()] == truth)
    macro = right.groupby(truth).mean().mean()
    return row | {"micro": right.mean(), "macro": macro, "converged": fitted.converged}
