import numpy as np
import pytest
import torch

from cladeclip.evaluation.rounding import FLOAT32, rounding


@pytest.mark.parametrize("d", [1, 8, 128, 512, 2048])
@pytest.mark.parametrize("kind", ["normal", "positive", "offset"])
def test_no_product_of_unit_vectors_is_off_by_more_than_the_bound(d, kind):
    points = np.random.default_rng(d).normal(size=(1000, d))
    points = {"normal": points, "positive": np.abs(points), "offset": points + 30}[kind].astype(np.float32)
    norms = np.linalg.norm(points.astype(np.float64), axis=1)
    units = torch.from_numpy(points * (1 / norms).astype(np.float32)[:, None])
    exact = (points.astype(np.float64) @ points.T.astype(np.float64)) / np.outer(norms, norms)
    error = np.abs((units @ units.T).double().numpy() - exact).max()
    assert error < 0.9 * rounding(d, FLOAT32)
    assert rounding(d, FLOAT32) < 20 * error  # a bound far above what happens would send everything to float64
