import numpy as np
import pytest
import torch

from cladeclip.evaluation.nearest import nearest_columns


def by_definition(similarity, k):
    return np.array([sorted(range(len(row)), key=lambda j: (-row[j], j))[:k] for row in similarity.tolist()])


@pytest.mark.parametrize("k", [1, 3, 20, 70, 200, 401])
@pytest.mark.parametrize("kind", ["all different", "many equal", "all equal", "few above", "negative zero"])
def test_the_k_largest_come_largest_first_and_equal_ones_in_column_order(k, kind):
    rng = np.random.default_rng(2)
    values = rng.normal(size=(9, 401)).astype(np.float32)
    if kind == "many equal":
        values = np.round(values)
    if kind == "all equal":
        values[:] = -1.0
    if kind == "few above":
        values[:, 5:] = -2.0
    if kind == "negative zero":
        values = np.where(values > 0, 0.0, -0.0).astype(np.float32)
    np.testing.assert_array_equal(nearest_columns(torch.from_numpy(values), k), by_definition(values, k))


@pytest.mark.parametrize("k", [0, 5])
def test_more_than_there_are_cannot_be_asked_for(k):
    with pytest.raises(ValueError, match="between 1 and 4"):
        nearest_columns(torch.zeros(2, 4), k)
