"""Control labels: the true names (`species`, `genus`), or random ones (`random`)."""

import numpy as np
import pandas as pd

from cladeclip.errors import DataError
from cladeclip.names import ControlLabels
from cladeclip.ranks import COLUMN_OF_RANK


def control_labels(fit_images: pd.DataFrame, control: ControlLabels, *, seed: int) -> np.ndarray:
    """Labels (n,) int64 of the fit images, numbered from 0.

    `random-k{k}` assigns the images at random to k classes, whose sizes differ by at most one.

    Raises:
        DataError: there are fewer images than classes.
    """
    if control.kind == "random":
        k = control.k or 0
        if k > len(fit_images):
            raise DataError(
                f"labels {control}: {k} classes, but only {len(fit_images)} images; add pictures, or "
                "give another one in labels.controls."
            )
        return np.random.default_rng(seed).permutation(np.arange(len(fit_images)) % k).astype(np.int64)
    column = COLUMN_OF_RANK[control.kind]
    # A name that says no genus is a class of its own.
    names = fit_images[column].where(fit_images[column] != "", fit_images["scientific_name"])
    return np.unique(names.to_numpy(dtype=str), return_inverse=True)[1].astype(np.int64)
