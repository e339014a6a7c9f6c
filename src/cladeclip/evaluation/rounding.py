"""How far rounding can move a score, so that decisions closer than that are made again with more digits."""

import numpy as np

FLOAT32, FLOAT64 = 2.0**-24, 2.0**-53


def rounding(terms: int, unit: float) -> float:
    """Bound on the error of a product of unit vectors with so many terms, in an arithmetic of the given unit roundoff.

    Errors of single additions do not all point one way: the error grows with the root of the number of terms (Higham and
    Mary, SIAM Journal on Scientific Computing 2019). The factor has room to spare: see tests/evaluation/test_rounding.py.
    """
    return (1.5 * float(np.sqrt(terms)) + 4) * unit


def first_highest(scores: np.ndarray, terms: int, scale: float) -> int:
    """The first of scores (n,) float64 that are highest: those that differ by rounding alone, at this scale, are a tie."""
    return int(np.argmax(scores >= scores.max() - rounding(terms, FLOAT64) * scale))
