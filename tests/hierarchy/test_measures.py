import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from cladeclip.hierarchy.measures import (
    accuracy_against_coverage,
    area_under_risk_coverage,
    auroc_of_new,
    fpr_at_95,
    rank_measures,
)


@pytest.fixture
def answers():
    rng = np.random.default_rng(0)
    truth = rng.integers(5, size=200)
    codes = np.where(rng.random(200) < 0.7, truth, rng.integers(6, size=200))
    return np.where(rng.random(200) < 0.2, -1, codes), truth


def test_measures_of_a_rank_are_their_definitions(answers):
    codes, truth = answers
    found = rank_measures(codes, truth)
    precisions, recalls = [], []
    for name in range(5):
        hits = ((codes == name) & (truth == name)).sum()
        precisions.append(hits / (codes == name).sum())
        recalls.append(hits / (truth == name).sum())
    assert found.precision == pytest.approx(np.mean(precisions))
    assert found.recall == pytest.approx(np.mean(recalls))
    f1 = np.mean([2 * p * r / (p + r) for p, r in zip(precisions, recalls, strict=True)])
    assert found.f1 == pytest.approx(f1)
    assert found.f1 == pytest.approx(f1_score(truth, codes, labels=range(5), average="macro"))
    assert found.answered == pytest.approx((codes >= 0).mean())
    assert found.accuracy == pytest.approx((codes == truth).sum() / (codes >= 0).sum())
    assert found.n == 200


def test_no_answer_at_all_is_measured():
    found = rank_measures(np.full(3, -1), np.array([0, 1, 1]))
    assert (found.answered, found.precision, found.recall, found.f1) == (0, 0, 0, 0)
    assert np.isnan(found.accuracy)
    with pytest.raises(ValueError, match="no image"):
        rank_measures(np.array([]), np.array([]))


def test_accuracy_against_coverage_by_definition():
    rng = np.random.default_rng(1)
    confidence, right = np.round(rng.random(60), 1), rng.random(60) < 0.6
    coverage, accuracy = accuracy_against_coverage(confidence, right)
    limits = sorted(set(confidence), reverse=True)
    assert coverage.tolist() == pytest.approx([(confidence >= limit).mean() for limit in limits])
    assert accuracy.tolist() == pytest.approx([right[confidence >= limit].mean() for limit in limits])


def test_the_area_under_the_risk_coverage_curve_by_definition():
    rng = np.random.default_rng(2)
    confidence, right = rng.random(50), rng.random(50) < 0.6
    order = sorted(range(50), key=lambda i: -confidence[i])
    risks = [np.mean([not right[i] for i in order[:m]]) for m in range(1, 51)]
    assert area_under_risk_coverage(confidence, right) == pytest.approx(np.mean(risks))
    assert area_under_risk_coverage(right.astype(float), right) < np.mean(risks)  # the best order that there is
    shuffled = rng.permutation(50)
    tied = np.round(confidence, 1)
    assert area_under_risk_coverage(tied[shuffled], right[shuffled]) == pytest.approx(
        area_under_risk_coverage(tied, right)
    )


def test_auroc_and_fpr_by_definition():
    rng = np.random.default_rng(3)
    new = rng.random(150) < 0.4
    score = np.round(rng.normal(size=150) + new, 1)
    pairs = [(a > b) + 0.5 * (a == b) for a in score[new] for b in score[~new]]
    assert auroc_of_new(score, new) == pytest.approx(np.mean(pairs))
    assert auroc_of_new(score, new) == pytest.approx(roc_auc_score(new, score))
    limit = min(s for s in score if (score[~new] <= s).mean() >= 0.95)
    assert fpr_at_95(score, new) == pytest.approx((score[new] <= limit).mean())


def test_infinite_scores_are_the_newest_and_one_kind_alone_has_no_measure():
    score, new = np.array([np.inf, np.inf, 1.0, 2.0]), np.array([True, True, False, False])
    assert auroc_of_new(score, new) == 1.0
    assert fpr_at_95(score, new) == 0.0
    for kind in (np.ones(4, bool), np.zeros(4, bool)):
        assert np.isnan(auroc_of_new(score, kind))
        assert np.isnan(fpr_at_95(score, kind))
