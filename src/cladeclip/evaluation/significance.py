"""Whether two models that answered the same queries differ by more than chance."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest


@dataclass(frozen=True)
class PairedTest:
    """McNemar's test of two models on the same queries.

    Attributes:
        n: queries.
        only_a, only_b: queries that only a, or only b, answered right.
        difference: accuracy of a minus accuracy of b, as a fraction.
        p_value: exact, two-sided.
    """

    n: int
    only_a: int
    only_b: int
    difference: float
    p_value: float


def mcnemar(correct_a: np.ndarray, correct_b: np.ndarray) -> PairedTest:
    """Exact McNemar test (McNemar, Psychometrika 1947): under no difference, only_a ~ Binomial(only_a + only_b, 1/2).

    Args:
        correct_a, correct_b: (n,) bool, in the same order of queries.

    Raises:
        ValueError: the two do not have the same, non-zero length.
    """
    a, b = np.asarray(correct_a, dtype=bool), np.asarray(correct_b, dtype=bool)
    if a.shape != b.shape or a.ndim != 1 or len(a) == 0:
        raise ValueError(f"correct answers of shapes {a.shape} and {b.shape} cannot be paired.")
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    discordant = only_a + only_b
    p_value = float(binomtest(only_a, discordant, 0.5).pvalue) if discordant else 1.0
    return PairedTest(len(a), only_a, only_b, (only_a - only_b) / len(a), p_value)
