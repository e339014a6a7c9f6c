import itertools

import numpy as np
import pytest
from scipy.stats import bootstrap, permutation_test

from cladeclip.evaluation.significance import bootstrap_interval, holm, mcnemar, paired_comparison, sign_flip_test


@pytest.fixture
def answers():
    rng = np.random.default_rng(0)
    return rng.random(300) < 0.7, rng.random(300) < 0.6


def test_a_paired_comparison_is_mcnemars_test_with_scipys_bootstrap_interval(answers):
    a, b = answers
    found = paired_comparison(a, b)
    assert found.test == mcnemar(a, b)
    assert found.difference == pytest.approx(a.mean() - b.mean())
    theirs = bootstrap((a.astype(float) - b,), np.mean, method="percentile", n_resamples=10_000, rng=1)
    assert found.low == pytest.approx(theirs.confidence_interval.low, abs=0.01)
    assert found.high == pytest.approx(theirs.confidence_interval.high, abs=0.01)
    other = paired_comparison(b, a)
    assert (other.low, other.high) == pytest.approx((-found.high, -found.low))


def test_groups_are_resampled_whole(answers):
    """Ten copies of every query are no more evidence than one."""
    values = answers[0].astype(float)
    once = bootstrap_interval(values)
    copied = bootstrap_interval(np.repeat(values, 10), groups=np.repeat(np.arange(300), 10))
    assert copied == pytest.approx(once)
    ignored = bootstrap_interval(np.repeat(values, 10))
    assert ignored[1] - ignored[0] < 0.5 * (once[1] - once[0])


def test_the_interval_covers_the_truth_about_19_times_in_20():
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        low, high = bootstrap_interval(rng.random(80) < 0.5, draws=400)
        covered += low <= 0.5 <= high
    assert 180 <= covered <= 199


def test_holm_by_definition():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
    assert holm([0.2]) == pytest.approx([0.2])


def test_few_groups_are_flipped_in_every_way():
    """By all choices of signs; a test of scipy's where groups are single."""
    rng = np.random.default_rng(3)
    groups, values = rng.integers(6, size=40), rng.normal(0.3, 1, size=40)
    sums = np.array([values[groups == group].sum() for group in range(6)])
    every = [abs(np.dot(signs, sums)) for signs in itertools.product((-1, 1), repeat=6)]
    assert sign_flip_test(values, groups) == np.mean(np.array(every) >= abs(sums.sum()) - 1e-9)
    alone = rng.normal(0.5, 1, size=12)
    theirs = permutation_test((alone,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip_test(alone, np.arange(12)) == pytest.approx(theirs.pvalue)


def test_the_sign_flip_test_is_right_as_often_as_it_says_and_knows_that_groups_are_one_piece_of_evidence():
    rng = np.random.default_rng(4)
    p_values, p_alone = [], []
    for _ in range(300):
        of_group = rng.normal(size=25)
        values = np.repeat(of_group, 8) + rng.normal(size=200)
        p_values.append(sign_flip_test(values, np.repeat(np.arange(25), 8), draws=400))
        p_alone.append(sign_flip_test(values, np.arange(200), draws=400))
    assert np.mean(np.array(p_values) < 0.05) < 0.05 + 3 * (0.05 * 0.95 / 300) ** 0.5
    assert np.mean(np.array(p_alone) < 0.05) > 0.2


def test_a_model_that_changes_nothing_has_p_1():
    assert sign_flip_test(np.zeros(10), np.arange(10)) == 1.0
