import numpy as np
import pytest
import torch
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

from cladeclip.evaluation import nearest
from cladeclip.evaluation.retrieval import retrieval_metrics


@pytest.fixture(params=[0, 1])
def data(request):
    """Classes of very different sizes, some of one image."""
    rng = np.random.default_rng(request.param)
    labels = np.concatenate([np.repeat(np.arange(12), [40, 25, 17, 9, 5, 4, 3, 3, 2, 2, 1, 1])])
    rng.shuffle(labels)
    centres = rng.normal(size=(12, 6))
    return (centres[labels] + rng.normal(size=(len(labels), 6))).astype(np.float32), labels


def by_definition(embeddings, labels, ks):
    """Plain loops in float64."""
    units = embeddings.astype(np.float64)
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    rows = {}
    for i in range(len(units)):
        matches = [j for j in range(len(units)) if j != i and labels[j] == labels[i]]
        if not matches:
            continue
        ranked = sorted((j for j in range(len(units)) if j != i), key=lambda j: (-(units[i] @ units[j]), j))
        hits = [labels[j] == labels[i] for j in ranked]
        r = len(matches)
        precisions = [sum(hits[: rank + 1]) / (rank + 1) if hits[rank] else 0.0 for rank in range(r)]
        rows[i] = [any(hits[:k]) for k in ks] + [sum(hits[:r]) / r, sum(precisions) / r]
    return rows


def test_every_measure_is_its_definition_per_class_and_averaged(data, monkeypatch):
    embeddings, labels = data
    ks = (1, 3, 10)
    expected = by_definition(embeddings, labels, ks)
    for block_bytes in (nearest.BLOCK_BYTES, 16 * len(labels) * 7):
        monkeypatch.setattr(nearest, "BLOCK_BYTES", block_bytes)
        found = retrieval_metrics(embeddings, labels, ks)
        means = np.mean(list(expected.values()), axis=0)
        np.testing.assert_allclose([found.recall_at[k] for k in ks], means[:3], atol=1e-12)
        assert found.r_precision == pytest.approx(means[3])
        assert found.map_at_r == pytest.approx(means[4])
        assert (found.n_queries, found.n_without_match) == (len(expected), 2)
        classes = found.per_class.set_index("label")
        for label in classes.index:
            own = np.mean([row for i, row in expected.items() if labels[i] == label], axis=0)
            np.testing.assert_allclose(classes.loc[label, "recall_at_1":].to_numpy(float), own, atol=1e-12)
        assert found.macro["map_at_r"] == pytest.approx(classes["map_at_r"].mean())


def test_it_agrees_with_pytorch_metric_learning(data):
    embeddings, labels = data
    units = torch.from_numpy(embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True))
    theirs = AccuracyCalculator(
        include=("precision_at_1", "r_precision", "mean_average_precision_at_r"), k="max_bin_count"
    )
    expected = theirs.get_accuracy(units, torch.from_numpy(labels))
    found = retrieval_metrics(embeddings, labels)
    assert found.recall_at[1] == pytest.approx(expected["precision_at_1"], abs=1e-6)
    assert found.r_precision == pytest.approx(expected["r_precision"], abs=1e-6)
    assert found.map_at_r == pytest.approx(expected["mean_average_precision_at_r"], abs=1e-6)


def test_order_of_rows_and_length_of_vectors_change_nothing(data):
    embeddings, labels = data
    plain = retrieval_metrics(embeddings, labels)
    order = np.random.default_rng(5).permutation(len(labels))
    lengths = np.random.default_rng(6).uniform(0.1, 50, size=(len(labels), 1)).astype(np.float32)
    other = retrieval_metrics((embeddings * lengths)[order], labels[order])
    assert other.map_at_r == pytest.approx(plain.map_at_r)
    assert other.recall_at == pytest.approx(plain.recall_at)


def test_equal_similarities_come_in_the_order_of_rows():
    same = np.ones((4, 3), dtype=np.float32)
    found = retrieval_metrics(same, ["a", "b", "a", "b"], ks=(1, 2))
    # Row 0 sees 1, 2, 3; row 1 sees 0, 2, 3; row 2 sees 0, 1, 3; row 3 sees 0, 1, 2.
    assert found.recall_at == {1: 0.25, 2: 0.75}


def test_zero_rows_and_negative_similarities_have_their_place():
    embeddings = np.array([[1, 0], [0, 0], [-1, 0], [-1, 0.1]], dtype=np.float32)
    found = retrieval_metrics(embeddings, ["a", "a", "b", "b"], ks=(1,))
    # The zero row is similar to all (0): row 0 finds it before those that point away; it finds row 0 first, being first.
    assert found.recall_at == {1: 1.0}


def test_what_cannot_be_measured_is_said():
    with pytest.raises(ValueError, match="no class has two images"):
        retrieval_metrics(np.eye(3), ["a", "b", "c"])
    with pytest.raises(ValueError, match="do not go with 2 labels"):
        retrieval_metrics(np.eye(3), ["a", "b"])
