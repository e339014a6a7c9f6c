"""The k largest of each row of a matrix of similarities, in a defined order, without sorting the rows.

Columns are dealt into groups, and the k-th largest of the groups' maxima is a bound that at least k values of the row reach.
What reaches it is little more than k values a row; only these are sorted.
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

# Groups for each value wanted: the more, the closer the bound lies to the k-th largest value itself.
GROUPS_EACH = (8, 4, 2)


def nearest_columns(similarity: "torch.Tensor", k: int) -> np.ndarray:
    """Columns (n, k) of the k largest values of each row of (n, c) float32, largest first; equal ones in column order.

    Raises:
        ValueError: k is not between 1 and c.
    """
    import torch  # takes seconds, which readers of tables need not wait for

    n, c = similarity.shape
    if not 1 <= k <= c:
        raise ValueError(f"{k} nearest of {c} columns: between 1 and {c} can be asked for.")
    groups = next((each * k for each in GROUPS_EACH if c // (each * k) >= 2), 0)
    if not groups:  # so many are wanted that the rows may as well be sorted
        return similarity.sort(dim=1, descending=True, stable=True).indices[:, :k].numpy()
    # Columns that do not fill the groups are left out of the bound, not of the search.
    width = c // groups
    maxima = similarity[:, : width * groups].view(n, width, groups).amax(1)
    bound = maxima.topk(k, dim=1, sorted=False).values.amin(1, keepdim=True)
    rows, columns = torch.nonzero(similarity >= bound, as_tuple=True)
    # The candidates of each row side by side, in column order, for a stable sort.
    counts = torch.bincount(rows, minlength=n)
    place = torch.arange(len(rows)) - (counts.cumsum(0) - counts)[rows]
    values = torch.full((n, int(counts.max())), -torch.inf)
    values[rows, place] = similarity[rows, columns]
    candidates = torch.zeros(values.shape, dtype=torch.int64)
    candidates[rows, place] = columns
    order = values.sort(dim=1, descending=True, stable=True).indices[:, :k]
    return candidates.gather(1, order).numpy()
