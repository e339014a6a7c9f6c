"""Initialisation, assignment and means of k-means on a GPU (torch); see nearest.py."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from cladeclip.clustering.nearest import START_DIMENSIONS, candidates_of

# Points whose products with all centroids are held in memory at once.
ROWS_PER_BLOCK = 8192


class PointsOnDevice:
    """Points (n, d) on a device, as `Points` asks. All sums have a fixed order, so that results are reproducible."""

    def __init__(self, points: np.ndarray, device: torch.device) -> None:
        self.points = torch.from_numpy(points).to(device)
        self.square = self.points.square().sum(1)

    def start(self, k: int, rng: np.random.Generator) -> np.ndarray:
        points, n = self._principal_components(), len(self.points)
        square = points.square().sum(1, dtype=torch.float64)

        def squared_to(rows: Tensor) -> Tensor:
            return (square[:, None] + square[rows] - 2.0 * (points @ points[rows].T)).clamp_(min=0)

        # All random numbers are sent at once, and no step waits for the host.
        first, shares = int(rng.integers(n)), torch.from_numpy(rng.random((k - 1, candidates_of(k)))).to(points.device)
        chosen = torch.full((k,), first, device=points.device)
        closest = squared_to(chosen[:1])[:, 0]
        for step in range(1, k):
            sums = running_sums(closest)
            rows = torch.searchsorted(sums, shares[step - 1] * sums[-1]).clamp_(max=n - 1)
            after = torch.minimum(closest[:, None], squared_to(rows))
            best = after.sum(0).argmin()
            chosen[step] = rows[best]
            closest = after.index_select(1, best[None]).squeeze(1).index_fill_(0, rows[best][None], 0.0)
        found = chosen.cpu().numpy()
        # Repeated choices occur when all remaining points duplicate chosen ones: they are replaced.
        distinct = np.unique(found)
        rest = np.setdiff1d(np.arange(n), distinct)
        return np.concatenate([distinct, rng.choice(rest, k - len(distinct), replace=False)])

    def nearest(self, centroids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        there = torch.from_numpy(centroids).to(self.points.device)
        square = there.square().sum(1)
        found = []
        for rows, of_rows in zip(self.points.split(ROWS_PER_BLOCK), self.square.split(ROWS_PER_BLOCK), strict=True):
            least, labels = torch.addmm(square, rows, there.T, alpha=-2.0).min(1)
            found.append((least.add_(of_rows).clamp_(min=0), labels))
        squared, numbers = zip(*found, strict=True)
        return torch.cat(squared).cpu().numpy(), torch.cat(numbers).cpu().numpy()

    def means(self, labels: np.ndarray, k: int) -> np.ndarray:
        there = torch.from_numpy(labels).to(self.points.device)
        sums = self.points.new_zeros(k, self.points.shape[1])
        clusters = torch.arange(k, device=there.device)[:, None]
        for rows, of_rows in zip(self.points.split(ROWS_PER_BLOCK), there.split(ROWS_PER_BLOCK), strict=True):
            # A matrix product, since adding rows one by one has no fixed order on a GPU.
            sums.addmm_((clusters == of_rows).to(rows.dtype), rows)
        sizes = torch.bincount(there, minlength=k)
        return (sums / sizes[:, None]).cpu().numpy()

    def _principal_components(self) -> Tensor:
        if self.points.shape[1] <= START_DIMENSIONS:
            return self.points
        mean = self.points.mean(0, dtype=torch.float64)
        covariance = (self.points.T @ self.points).double() / len(self.points) - torch.outer(mean, mean)
        return self.points @ torch.linalg.eigh(covariance)[1][:, -START_DIMENSIONS:].float()


def running_sums(values: Tensor) -> Tensor:
    """Cumulative sums of (n,) by matrix products, which are deterministic; torch's cumsum on a GPU is not."""
    n = len(values)
    side = max(1, round(n**0.5))
    blocks = functional.pad(values, (0, -n % side)).view(-1, side)
    within = blocks @ values.new_ones(side, side).triu()
    before = values.new_ones(len(blocks), len(blocks)).tril(-1) @ within[:, -1]
    return (within + before[:, None]).view(-1)[:n]
