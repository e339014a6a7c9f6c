"""Whether two models that answered the same queries differ by more than chance."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

# A p-value below this is a difference.
LEVEL = 0.05


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


@dataclass(frozen=True)
class PairedComparison:
    """McNemar's test of two models, and a bootstrap interval of their difference.

    Attributes:
        test: McNemar's exact test.
        difference: accuracy of a minus accuracy of b, as a fraction.
        low, high: 95 % percentile bootstrap interval of the difference.
    """

    test: PairedTest
    difference: float
    low: float
    high: float


def paired_comparison(
    correct_a: np.ndarray,
    correct_b: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    seed: int = 0,
    draws: int = 10_000,
) -> PairedComparison:
    """Compares two models on the same queries.

    Args:
        correct_a, correct_b: (n,) bool, in the same order of queries.
        groups: (n,) content group of each query: groups are resampled whole, since equal pictures are no independent
            evidence. Without it each query is its own group.

    Raises:
        ValueError: the two do not have the same, non-zero length.
    """
    test = mcnemar(correct_a, correct_b)
    difference = np.asarray(correct_a, dtype=float) - np.asarray(correct_b, dtype=float)
    low, high = bootstrap_interval(difference, groups=groups, seed=seed, draws=draws)
    return PairedComparison(test, float(difference.mean()), low, high)


def bootstrap_interval(
    values: np.ndarray, *, groups: np.ndarray | None = None, seed: int = 0, draws: int = 10_000
) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the mean of values (n,), resampling whole groups."""
    low, high = bootstrap_intervals(np.asarray(values)[:, None], groups=groups, seed=seed, draws=draws)
    return float(low[0]), float(high[0])


def bootstrap_intervals(
    values: np.ndarray, *, groups: np.ndarray | None = None, seed: int = 0, draws: int = 2_000
) -> tuple[np.ndarray, np.ndarray]:
    """The same for every column of values (n, c), from the same resamplings: lower and upper ends, (c,) each.

    Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13.
    """
    values = np.asarray(values, dtype=np.float64)
    members = np.arange(len(values)) if groups is None else np.unique(groups, return_inverse=True)[1]
    sizes = np.bincount(members)
    sums = np.stack([np.bincount(members, weights=column) for column in values.T], axis=1)
    rng = np.random.default_rng(seed)
    means = np.empty((draws, values.shape[1]))
    for draw in range(draws):
        chosen = rng.integers(len(sizes), size=len(sizes))
        means[draw] = sums[chosen].sum(axis=0) / sizes[chosen].sum()
    low, high = np.quantile(means, [0.025, 0.975], axis=0)
    return low, high


def sign_flip_test(difference: np.ndarray, groups: np.ndarray, *, seed: int = 0, draws: int = 10_000) -> float:
    """Two-sided p of a mean difference (n,), flipping the signs of whole groups at random.

    Under no effect a group's sum is as likely to be minus itself (Fisher's randomisation test; Good, "Permutation,
    Parametric and Bootstrap Tests of Hypotheses", 2005, section 3.2). With few groups every choice of signs is tried.
    """
    sums = np.bincount(np.unique(groups, return_inverse=True)[1], weights=np.asarray(difference, dtype=np.float64))
    sums, n = sums[sums != 0], int((sums != 0).sum())
    observed, slack = abs(sums.sum()), 1e-9
    if 2**n <= draws:
        signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        return float((np.abs(signs @ sums) >= observed - slack).mean())
    rng = np.random.default_rng(seed)
    # In parts, since a matrix of all draws would be large with many groups.
    parts = [min(1000, draws - done) for done in range(0, draws, 1000)]
    flipped = [np.abs(rng.choice((-1.0, 1.0), (part, n)) @ sums) >= observed - slack for part in parts]
    return float((1 + sum(part.sum() for part in flipped)) / (1 + draws))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for the number of comparisons made (Holm, Scandinavian Journal of Statistics 1979)."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return corrected.tolist()
