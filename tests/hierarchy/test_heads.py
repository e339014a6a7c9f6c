import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import minimize_scalar
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from cladeclip.hierarchy.heads import HeadSettings, dependence, fit_heads, folds_of, joint_loss, temperature
from cladeclip.hierarchy.taxonomy import Taxonomy


def softmax(row):
    powers = [np.exp(value - max(row)) for value in row]
    return [power / sum(powers) for power in powers]


def images_of(species):
    return pd.DataFrame(
        {
            "image_id": [f"{i:04d}" for i in range(len(species))],
            "scientific_name": species,
            "genus": [name.split()[0] for name in species],
            "category": ["Bird" if name[0] < "C" else "Fish" for name in species],
        }
    )


@pytest.fixture
def collection():
    rng = np.random.default_rng(0)
    names = ["A a", "A b", "B a", "C a", "C b", "C c"]
    centres = rng.normal(size=(6, 10))
    which = rng.integers(6, size=300)
    points = (centres[which] + 0.8 * rng.normal(size=(300, 10))).astype(np.float32)
    return images_of([names[i] for i in which]), points


def test_the_loss_is_its_definition():
    taxonomy = Taxonomy.of_images(images_of(["A a", "A b", "B a", "C a"]))
    rng = np.random.default_rng(1)
    logits = [3 * rng.normal(size=(5, len(names))) for names in taxonomy.names]
    codes = np.array([[0, 0, 0], [0, 0, 1], [0, 1, 2], [1, 2, 3], [1, 2, 3]])
    expected = 0.0
    for i in range(5):
        probabilities = [softmax(of_rank[i]) for of_rank in logits]
        expected -= sum(np.log(p[codes[i, r]]) for r, p in enumerate(probabilities)) / 5
        for r in (1, 2):
            for parent, p in enumerate(probabilities[r - 1]):
                mass = sum(q for child, q in enumerate(probabilities[r]) if taxonomy.parents[r][child] == parent)
                expected += 0.7 * p * np.log(p / mass) / 5
    parents = [torch.from_numpy(taxonomy.parents[r]) for r in (1, 2)]
    found = joint_loss([torch.from_numpy(x) for x in logits], torch.from_numpy(codes), parents, 0.7)
    assert float(found) == pytest.approx(expected, rel=1e-12)
    alone = joint_loss([torch.from_numpy(x) for x in logits], torch.from_numpy(codes), parents, 0.0)
    assert float(alone) < float(found)


def test_the_dependence_is_zero_exactly_when_the_children_have_their_parents_mass():
    children = torch.tensor([[1.0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]).double()
    child = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    parent = (child.softmax(1) @ children.T).log() + 5  # a constant changes no probability
    parents = torch.tensor([0, 0, 1, 2])
    assert float(dependence(parent, child, parents)) == pytest.approx(0, abs=1e-12)
    assert float(dependence(parent + torch.eye(6, 3), child, parents)) > 1e-3


def test_the_dependence_and_its_gradient_are_finite_where_mass_vanishes():
    parents = torch.tensor([0, 0, 1])
    child = torch.tensor([[200.0, 0.0, -200.0]], requires_grad=True)
    parent = torch.tensor([[-200.0, 200.0]], requires_grad=True)
    found = dependence(parent, child, parents)
    found.backward()
    assert float(found.detach()) == pytest.approx(400, rel=1e-3)
    assert torch.isfinite(child.grad).all()
    assert torch.isfinite(parent.grad).all()


def test_the_gradient_of_the_dependence_is_that_of_finite_differences():
    parents = torch.tensor([0, 0, 1, 1])
    generator = torch.Generator().manual_seed(2)
    parent = torch.randn(3, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    child = torch.randn(3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda p, c: dependence(p, c, parents), (parent, child))


def test_independent_heads_are_logistic_regressions(collection):
    images, points = collection
    points = points + 2 * np.random.default_rng(1).normal(size=points.shape).astype(np.float32)  # so that names overlap
    taxonomy = Taxonomy.of_images(images)
    settings = HeadSettings(dependence=0.0, steps=600, batch_size=300, lr=0.05, weight_decay=0.0)
    heads = fit_heads(points, taxonomy.codes(images), taxonomy, settings, seed=5)
    standardised = (points - points.mean(axis=0)) / points.std(axis=0)
    for place, (rank, logits) in enumerate(zip(taxonomy.ranks, heads.logits(points), strict=True)):
        truth = taxonomy.codes(images)[:, place]
        theirs = LogisticRegression(C=1e6, max_iter=5000).fit(standardised, truth).predict_proba(standardised)
        ours = [softmax(row) for row in logits.astype(float)]
        assert log_loss(truth, ours) == pytest.approx(log_loss(truth, theirs), rel=0.02), rank


def test_the_dependence_brings_the_ranks_into_agreement(collection):
    images, points = collection
    taxonomy = Taxonomy.of_images(images)
    codes = taxonomy.codes(images)
    disagreement = {}
    for weight in (0.0, 5.0):
        heads = fit_heads(points, codes, taxonomy, HeadSettings(dependence=weight, steps=60), seed=5)
        logits = [torch.from_numpy(of_rank) for of_rank in heads.logits(points)]
        parents = [torch.from_numpy(taxonomy.parents[place]) for place in (1, 2)]
        disagreement[weight] = sum(float(dependence(logits[r], logits[r + 1], parents[r])) for r in (0, 1))
    assert disagreement[5.0] < 0.5 * disagreement[0.0]


@pytest.mark.parametrize("hidden", [0, 16])
def test_the_same_seed_gives_the_same_heads(collection, hidden):
    images, points = collection
    taxonomy = Taxonomy.of_images(images)
    settings = HeadSettings(steps=5, hidden=hidden)
    first, again, other = (fit_heads(points, taxonomy.codes(images), taxonomy, settings, seed=s) for s in (5, 5, 6))
    for a, b, c in zip(first.logits(points), again.logits(points), other.logits(points), strict=True):
        np.testing.assert_array_equal(a, b)
        assert (a != c).any()


def test_one_rank_and_one_name_can_be_fitted(collection):
    images, points = collection
    for ranks in (["species"], ["category", "species"]):
        taxonomy = Taxonomy.of_images(images.assign(category="Bird"), ranks)
        heads = fit_heads(
            points, taxonomy.codes(images.assign(category="Bird")), taxonomy, HeadSettings(steps=1), seed=5
        )
        assert all(np.isfinite(logits).all() for logits in heads.logits(points))


def test_an_image_without_a_name_is_said(collection):
    images, points = collection
    taxonomy = Taxonomy.of_images(images.iloc[:5])
    with pytest.raises(ValueError, match="of them without a name"):
        fit_heads(points, taxonomy.codes(images), taxonomy, HeadSettings(), seed=5)


def test_the_temperature_has_the_lowest_log_loss_of_all():
    rng = np.random.default_rng(3)
    truth = rng.integers(4, size=400)
    logits = (6 * (rng.normal(size=(400, 4)) + np.eye(4)[truth])).astype(np.float32)
    theirs = minimize_scalar(
        lambda t: log_loss(truth, [softmax(row / t) for row in logits.astype(float)]),
        bounds=(0.1, 50),
        method="bounded",
    )
    assert temperature(logits, truth) == pytest.approx(theirs.x, rel=1e-2)
    assert temperature(logits, np.full(400, -1)) == 1.0
    assert temperature(logits[:, :1], truth) == 1.0


def test_images_that_are_all_right_do_not_make_it_certain():
    rng = np.random.default_rng(4)
    truth = rng.integers(3, size=98)
    logits = (rng.normal(size=(98, 3)) + 20 * np.eye(3)[truth]).astype(np.float32)
    sure = np.array([max(softmax(row / temperature(logits, truth))) for row in logits.astype(float)])
    # One of 100 images' worth of doubt, two thirds of it on the two other names.
    assert sure.mean() == pytest.approx(1 - 0.01 * 2 / 3, abs=2e-3)
    assert sure.max() < 1


def test_images_of_one_content_group_share_a_fold():
    groups = np.repeat([f"g{i}" for i in range(20)], 3)
    folds = folds_of(groups, 4, seed=5)
    assert set(folds) == {0, 1, 2, 3}
    assert all(len(set(folds[groups == group])) == 1 for group in set(groups))
    np.testing.assert_array_equal(folds, folds_of(groups, 4, seed=5))
