"""Groups of pictures that must be on one side of every split."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def together(image_ids: Sequence[str], shared: Sequence[Iterable[str]]) -> np.ndarray:
    """For every picture (n,), the first image_id of its connected component: pictures that share a value are linked.

    Args:
        shared: for every picture what it may share with others: identifiers of its specimen, a hash of its pixels.
    """
    links = pd.DataFrame({"picture": range(len(image_ids)), "shared": [list(of_one) for of_one in shared]})
    links = links.explode("shared").dropna()
    codes, known = pd.factorize(links["shared"])
    n = len(image_ids) + len(known)
    ends = links["picture"].to_numpy(np.int64), len(image_ids) + codes
    _, component = connected_components(
        coo_array((np.ones(len(links), dtype=bool), ends), shape=(n, n)), directed=False
    )
    ids = np.asarray(image_ids, dtype=object)
    order = np.argsort(ids, kind="stable")
    _, first, group = np.unique(component[order], return_index=True, return_inverse=True)
    found = np.empty(len(ids), dtype=object)
    found[order] = ids[order[first]][group]
    return found
