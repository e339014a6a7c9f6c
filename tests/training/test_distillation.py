"""Distillation against its equations, written out in float64 loops."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import RECIPE

from cladeclip.encoders.load import load_encoder
from cladeclip.io.embeddings import write_embeddings
from cladeclip.io.parquet import write_table
from cladeclip.tables import SPLIT
from cladeclip.training.distillation import Distillation, teachers_embeddings
from cladeclip.training.loop import train


def reference(z, t, a, *, cosine, relations, temperature):
    """The loss by the equations, row by row, of float64 tensors."""

    def cos(u, v):
        return (u * v).sum() / (u.norm() * v.norm())

    n, loss = len(z), 0.0
    for i in range(n):
        loss = loss + cosine * (1 - cos(a @ z[i], t[i])) / n
        others = [j for j in range(n) if j != i]
        p = torch.stack([cos(t[i], t[j]) / temperature for j in others])
        q = torch.stack([cos(z[i], z[j]) / temperature for j in others])
        for j in range(n - 1):
            p_j = p[j] - torch.logsumexp(p, 0)
            q_j = q[j] - torch.logsumexp(q, 0)
            loss = loss + relations * p_j.exp() * (p_j - q_j) / n
    return loss


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.0, 2.0), (3.0, 0.0)])
@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_loss_and_gradients_are_those_of_the_equations(weights, temperature):
    rng = np.random.default_rng(2)
    z, t, a = (torch.tensor(rng.normal(size=shape)) for shape in ((6, 5), (6, 9), (9, 5)))
    cosine, relations = weights
    settings = replace(RECIPE, distil_cosine=cosine, distil_relations=relations, distil_temperature=temperature)
    distillation = Distillation(9, 5, settings, seed=5)
    distillation.map = a
    turn, leaf = distillation.begin([t], 0), z.clone().requires_grad_()
    loss, shown = turn.loss(0, leaf)
    loss.backward()
    their_z, their_a = z.clone().requires_grad_(), a.clone().requires_grad_()
    expected = reference(their_z, t, their_a, cosine=cosine, relations=relations, temperature=temperature)
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-10)
    assert float(shown) == pytest.approx(torch.nn.functional.cosine_similarity(z @ a.T, t).mean().item(), rel=1e-10)
    np.testing.assert_allclose(leaf.grad, their_z.grad, atol=1e-12)
    if cosine:
        np.testing.assert_allclose(turn.map.grad, their_a.grad, atol=1e-12)


def test_a_student_whose_embeddings_are_the_teachers_has_no_loss_and_no_gradient():
    t = torch.randn(8, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    distillation = Distillation(6, 6, RECIPE, seed=5)
    distillation.map = torch.eye(6, dtype=torch.float64)
    leaf = (3 * t).requires_grad_()
    loss, cosine = distillation.begin([t], 0).loss(0, leaf)
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-12)
    assert float(cosine) == pytest.approx(1.0)
    assert leaf.grad.abs().max() < 1e-10


def test_the_start_of_the_map_keeps_lengths_and_depends_on_the_seed():
    maps = [Distillation(400, 100, RECIPE, seed=seed).map for seed in (5, 5, 6)]
    assert torch.equal(maps[0], maps[1])
    assert not torch.equal(maps[0], maps[2])
    assert float(maps[0].std()) == pytest.approx(1 / math.sqrt(100), rel=0.02)


def test_a_student_comes_nearer_to_its_teacher(student, store, images, tmp_path):
    """To embeddings of another encoder (here: other weights of the same) of the fit images alone."""
    ids = sorted(images["image_id"])
    rows = np.random.default_rng(0).normal(size=(len(ids), 20)).astype(np.float32)
    rows[:] = rows[np.arange(len(ids)) % 5]  # five kinds
    write_embeddings(tmp_path / "teacher.parquet", ids, rows, {})
    split = images.assign(part="fit", part_alone="fit", group=images["content_group"])
    split.loc[split.index[:3], "part"] = "query"
    write_table(tmp_path / "split.parquet", SPLIT, split[list(SPLIT.columns)], {})
    targets = teachers_embeddings([str(tmp_path / "teacher.parquet"), str(tmp_path / "split.parquet")])
    asked = set(split["image_id"].iloc[:3])
    assert set(targets.image_ids) == set(ids) - asked
    np.testing.assert_array_equal(targets.rows, rows[[ids.index(one) for one in targets.image_ids]])
    settings = replace(RECIPE, epochs=12, batch_size=12, lr=1e-3, augment="none", log_every=1)
    history = train(load_encoder(student), store, targets, settings, seed=5, workers=0)
    assert history["target_cosine"].iloc[-1] > history["target_cosine"].iloc[0] + 0.2
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    assert history["positive_share"].isna().all()
    shuffled = targets.shuffled(3)
    assert shuffled.image_ids == targets.image_ids
    assert not np.array_equal(shuffled.rows, targets.rows)
    np.testing.assert_array_equal(np.sort(shuffled.rows, axis=0), np.sort(targets.rows, axis=0))
