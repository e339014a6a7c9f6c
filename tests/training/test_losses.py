"""The head against the equations of the method, written out in float64 loops."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import RECIPE

from cladeclip.training.head import Draw, Head, Heads
from cladeclip.training.losses import ArcFace, loss_named, with_targets
from cladeclip.training.processes import SINGLE, Processes
from cladeclip.training.softmax import ShardedCrossEntropy, ShardedCrossEntropyOfSeveral


def reference(z, w, y, *, s, m2, m3, filter_above, exact):
    """Loss by the equations, and its gradients by z and w: the chain rule through cosines, row by row."""
    n = len(z)
    loss, grad_z, grad_w = 0.0, np.zeros_like(z), np.zeros_like(w)
    for i in range(n):
        z_norm = math.sqrt(sum(v * v for v in z[i]))
        w_norm = [math.sqrt(sum(v * v for v in row)) for row in w]
        cos = [max(-1.0, min(1.0, float(z[i] @ w[j]) / (z_norm * w_norm[j]))) for j in range(len(w))]
        slope = [s] * len(w)
        logits = [s * c for c in cos]
        for j in range(len(w)):
            if j == y[i]:
                if m3 > 0:
                    logits[j] = s * (cos[j] - m3)
                else:
                    c = max(-1 + 1e-7, min(1 - 1e-7, cos[j])) if exact else cos[j]
                    logits[j] = s * math.cos(math.acos(c) + m2)
                    if exact:
                        inside = abs(cos[j]) <= 1 - 1e-7
                        slope[j] = s * math.sin(math.acos(c) + m2) / math.sin(math.acos(c)) if inside else 0.0
            elif filter_above > 0 and cos[j] > filter_above:
                logits[j], slope[j] = 0.0, 0.0
        top = max(logits)
        total = sum(math.exp(v - top) for v in logits)
        loss += (top + math.log(total) - logits[y[i]]) / n
        for j in range(len(w)):
            g = (math.exp(logits[j] - top) / total - (j == y[i])) / n * slope[j]
            grad_z[i] += g * (w[j] / w_norm[j] - cos[j] * z[i] / z_norm) / z_norm
            grad_w[j] += g * (z[i] / z_norm - cos[j] * w[j] / w_norm[j]) / w_norm[j]
    return loss, grad_z, grad_w


def loss_of(head, z, y, draw, centres):
    """Of a head, by the loss that its settings name, with one label (n,) an embedding."""
    loss = loss_named(head.settings.loss)(head.settings)
    return head.loss(loss, z, torch.as_tensor(y).reshape(len(z), -1), torch.ones(len(z), 1), draw, centres)


def head_of(w, settings):
    head = Head(len(w), w.shape[1], settings, seed=0)
    head.centres = torch.tensor(w)
    return head


GRID = list(
    itertools.product([(0.0, 0.0), (0.3, 0.0), (0.5, 0.0), (0.0, 0.4)], [0.0, 0.1], ["straight_through", "exact"])
)


@pytest.mark.parametrize(("margins", "filter_above", "gradient"), GRID)
@pytest.mark.parametrize("n_dimensions", [12, 7])
@pytest.mark.parametrize("classes", [range(9), (0, 2, 3, 5, 8)])
def test_loss_and_gradients_are_those_of_the_equations(margins, filter_above, gradient, n_dimensions, classes):
    rng = np.random.default_rng(3)
    classes = list(classes)
    z, w = rng.normal(size=(6, 12)), rng.normal(size=(9, 12))
    y = np.array(classes)[rng.integers(len(classes), size=6)]
    dimensions = np.sort(rng.permutation(12)[:n_dimensions])
    m2, m3 = margins
    settings = replace(
        RECIPE,
        loss="cosface" if m3 else "arcface",
        margin_loss_m2=m2,
        margin_loss_m3=m3,
        margin_loss_filter=filter_above,
        margin_gradient=gradient,
    )
    draw = Draw(torch.tensor(classes), torch.tensor(dimensions) if n_dimensions < 12 else None, torch.ones(6, 1))
    head = head_of(w, settings)
    centres, embeddings = head.drawn_centres(draw), torch.tensor(z, requires_grad=True)
    loss, _ = loss_of(head, embeddings, y, draw, centres)
    loss.backward()

    position = {c: i for i, c in enumerate(classes)}
    expected, grad_z, grad_w = reference(
        z[:, dimensions],
        w[classes][:, dimensions],
        [position[c] for c in y],
        s=32.0,
        m2=m2,
        m3=m3,
        filter_above=filter_above,
        exact=gradient == "exact",
    )
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    full_z, full_w = np.zeros_like(z), np.zeros((len(classes), 12))
    full_z[:, dimensions], full_w[:, dimensions] = grad_z, grad_w
    np.testing.assert_allclose(embeddings.grad.numpy(), full_z, atol=1e-5)
    np.testing.assert_allclose(centres.grad.numpy(), full_w, atol=1e-5)


@pytest.mark.parametrize("gradient", ["straight_through", "exact"])
def test_cosines_of_one_and_minus_one_stay_finite(gradient):
    cosines = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], requires_grad=True)
    margin = ArcFace(replace(RECIPE, margin_gradient=gradient)).with_margin
    logits = 32 * with_targets(cosines, torch.tensor([[0], [0]]), margin, 0.0)
    logits.sum().backward()
    assert torch.isfinite(logits).all()
    assert torch.isfinite(cosines.grad).all()
    expected = torch.tensor([32 * math.cos(0.3), 32 * math.cos(math.pi + 0.3)])
    torch.testing.assert_close(logits[:, 0], expected, atol=2e-2, rtol=0)


def test_the_margin_agrees_with_pytorch_metric_learning():
    from pytorch_metric_learning.losses import ArcFaceLoss

    torch.manual_seed(0)
    z, y = torch.randn(8, 16), torch.randint(0, 5, (8,))
    theirs = ArcFaceLoss(num_classes=5, embedding_size=16, margin=math.degrees(0.3), scale=32)
    settings = replace(RECIPE, margin_gradient="exact")
    head = head_of(theirs.W.detach().T.numpy().copy(), settings)
    draw = head.draw(y[:, None], 0)
    ours, _ = loss_of(head, z, y, draw, head.drawn_centres(draw))
    torch.testing.assert_close(ours, theirs(z, y), rtol=1e-4, atol=1e-4)


def test_every_positive_class_is_drawn_and_the_sample_has_its_size():
    head = Head(100, 8, replace(RECIPE, sample_rate=0.1, num_feat=5), seed=1)
    labels = torch.tensor([3, 3, 99, 50])[:, None]
    draw = head.draw(labels, 0)
    assert len(draw.classes) == 10
    assert set(labels.flatten().tolist()) <= set(draw.classes.tolist())
    assert draw.classes.tolist() == sorted(draw.classes.tolist())
    assert len(draw.dimensions) == 5
    many = torch.arange(40)[:, None]
    assert head.draw(many, 1).classes.tolist() == list(range(40))


def run_steps(head, batches, lr=0.1):
    for step, (z, y) in enumerate(batches):
        draw = head.draw(y[:, None], step)
        centres = head.drawn_centres(draw)
        loss_of(head, z, y, draw, centres)[0].backward()
        head.update(draw, centres, step=step + 1, lr=lr, betas=(0.9, 0.999))


def some_batches(n):
    generator = torch.Generator().manual_seed(7)
    return [(torch.randn(6, 8, generator=generator), torch.randint(0, 20, (6,), generator=generator)) for _ in range(n)]


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_with_every_centre_a_step_is_adamw(decay):
    settings = replace(RECIPE, weight_decay=decay)
    head = Head(20, 8, settings, seed=1)
    weights = torch.nn.Parameter(head.centres.clone())
    theirs = torch.optim.AdamW([weights], lr=0.1, betas=(0.9, 0.999), eps=1e-8, weight_decay=decay)
    everything = Draw(torch.arange(20), None, torch.ones(6, 1))
    for z, y in some_batches(5):
        theirs.zero_grad()
        loss_of(head, z, y, everything, weights)[0].backward()
        theirs.step()
    run_steps(head, some_batches(5))
    torch.testing.assert_close(head.centres, weights.detach(), rtol=1e-5, atol=1e-6)


def test_centres_that_are_not_drawn_stay_with_their_moments():
    head = Head(20, 8, replace(RECIPE, sample_rate=0.3), seed=1)
    run_steps(head, some_batches(1))
    z, y = some_batches(2)[1]
    draw = head.draw(y[:, None], 0)
    rest = [c for c in range(20) if c not in draw.classes.tolist()]
    before = [t[rest].clone() for t in (head.centres, head.first_moment, head.second_moment)]
    moving = head.centres[draw.classes].clone()
    centres = head.drawn_centres(draw)
    loss_of(head, z, y, draw, centres)[0].backward()
    head.update(draw, centres, step=2, lr=0.1, betas=(0.9, 0.999))
    for kept, now in zip(before, (head.centres, head.first_moment, head.second_moment), strict=True):
        torch.testing.assert_close(now[rest], kept, rtol=0, atol=0)
    assert (head.centres[draw.classes] != moving).any(dim=1).all()


SEVERAL = [[3, 0, 8], [0, 8], [5, 2, 0], [8]]


@pytest.mark.parametrize("name", ["arcface", "cosface"])
@pytest.mark.parametrize("classes", [range(9), [0, 2, 3, 5, 8]])
@pytest.mark.parametrize("positives", [8, 2])
def test_each_class_of_an_image_is_told_from_those_that_it_does_not_have(name, classes, positives):
    """By the definition in float64, label by label: of an image's own classes those drawn count, and none is a negative."""
    classes = list(classes)
    padded = torch.tensor([own + [-1] * (3 - len(own)) for own in SEVERAL])
    settings = replace(
        RECIPE,
        loss=name,
        margin_loss_m3=0.2,
        margin_gradient="exact",
        margin_loss_filter=0.1,
        positives=positives,
    )
    rng = np.random.default_rng(0)
    head = head_of(rng.normal(size=(9, 6)), settings)
    weights = head.draw(padded, 0).weights
    assert ((weights > 0).sum(1) == torch.tensor([min(len(own), positives) for own in SEVERAL])).all()
    draw = Draw(None if len(classes) == 9 else torch.tensor(classes), None, weights)
    z, centres = torch.tensor(rng.normal(size=(4, 6)), requires_grad=True), head.drawn_centres(draw)
    loss, cosine = head.loss(loss_named(name)(settings), z, padded, weights, draw, centres)
    loss.backward()

    their_z = z.detach().clone().requires_grad_()
    their_w = head.centres[classes].clone().requires_grad_()
    expected, own_cosines = torch.zeros((), dtype=torch.float64), 0.0
    for row, own in enumerate(SEVERAL):
        cosines = torch.nn.functional.cosine_similarity(their_z[row : row + 1], their_w)
        others = [32 * cos * (cos <= 0.1) for column, cos in enumerate(cosines) if classes[column] not in own]
        for label, weight in zip(own, weights[row].tolist(), strict=False):
            cos = cosines[classes.index(label)]
            logit = 32 * (cos - 0.2 if name == "cosface" else torch.cos(torch.arccos(cos) + 0.3))
            expected = expected + weight * (torch.logsumexp(torch.stack([logit, *others]), 0) - logit) / 4
            own_cosines += weight * float(cos.detach()) / 4
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert float(cosine) == pytest.approx(own_cosines, rel=1e-5)
    np.testing.assert_allclose(z.grad.numpy(), their_z.grad.numpy(), atol=1e-5)
    np.testing.assert_allclose(centres.grad.numpy(), their_w.grad.numpy(), atol=1e-5)


def test_the_softmax_of_several_classes_is_that_of_one_where_an_image_has_one():
    generator = torch.Generator().manual_seed(1)
    logits = 60 * torch.randn(16, 30, generator=generator, dtype=torch.float64)
    targets, weights = torch.randint(30, (16, 1), generator=generator), torch.ones(16, 1)
    results = []
    for of_number in (ShardedCrossEntropy, ShardedCrossEntropyOfSeveral):
        leaf = logits.clone().requires_grad_()
        loss = of_number.apply(leaf * 1.0, targets, weights, SINGLE)
        loss.backward()
        results.append((loss.detach(), leaf.grad))
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-15)


def test_an_image_that_has_every_class_learns_nothing_and_breaks_nothing():
    logits = torch.tensor([[3.0, -80.0], [200.0, -200.0]], requires_grad=True)
    loss = ShardedCrossEntropyOfSeveral.apply(
        logits * 1.0, torch.tensor([[0, 1], [1, -1]]), torch.tensor([[0.5, 0.5], [1.0, 0.0]]), SINGLE
    )
    loss.backward()
    assert loss.item() == pytest.approx(400.0 / 2)
    torch.testing.assert_close(logits.grad, torch.tensor([[0.0, 0.0], [0.5, -0.5]]))


def test_the_labels_that_a_step_draws_are_as_often_each_and_the_same_in_every_process():
    settings = replace(RECIPE, positives=2)
    heads = [Head(40, 8, settings, 5, Processes(rank, 2)) for rank in range(2)]
    labels = torch.arange(40).reshape(10, 4)
    labels[0, 1:] = -1
    counts = torch.zeros(10, 4)
    for step in range(600):
        first, second = (head.draw(labels, step).weights for head in heads)
        assert torch.equal(first, second)
        counts += first
    assert (counts[0] == torch.tensor([600.0, 0.0, 0.0, 0.0])).all()
    # Each of four is drawn half of the time, with weight 1/2.
    assert (counts[1:] - 150).abs().max() < 4 * 0.5 * (600 * 0.25) ** 0.5


@pytest.mark.parametrize("n_labels", [1, 3])
def test_the_loss_of_several_heads_is_the_mean_of_each_alone(n_labels):
    """With the same random numbers as heads that know nothing of each other."""
    settings = replace(RECIPE, sample_rate=0.5, num_feat=6, positives=2)
    sizes = (7, 20, 50)
    generator = torch.Generator().manual_seed(3)
    labels = torch.cat([torch.rand(12, n, generator=generator).argsort(1)[:, :n_labels] for n in sizes], dim=1)
    batches, z = labels.split(6), torch.randn(2, 6, 8, generator=generator)
    together = Heads(sizes, 8, settings, seed=5)
    alone = [Head(n, 8, settings, 5, name=f"head {i} " if i else "") for i, n in enumerate(sizes)]
    assert len({head.centres[0, 0].item() for head in together.heads}) == 3
    for step in range(3):
        turn, leaf = together.begin(batches, step), z.clone().requires_grad_()
        losses = [turn.loss(number, leaf[number]) for number in range(2)]
        torch.stack([loss for loss, _ in losses]).sum().backward()
        turn.update(step=step + 1, lr=0.1, betas=(0.9, 0.999))
        their_leaf, expected = z.clone().requires_grad_(), []
        for head, own in zip(alone, labels.chunk(3, dim=1), strict=True):
            draw = head.draw(own, step)
            centres = head.drawn_centres(draw)
            parts = [
                head.loss(loss_named("arcface")(settings), their_leaf[b], own[rows], draw.weights[rows], draw, centres)
                for b, rows in enumerate((slice(0, 6), slice(6, 12)))
            ]
            (sum(loss for loss, _ in parts) / 3).backward()
            head.update(draw, centres, step=step + 1, lr=0.1, betas=(0.9, 0.999))
            expected.append([(float(loss), float(cosine)) for loss, cosine in parts])
        np.testing.assert_allclose(
            [(float(loss), float(cosine)) for loss, cosine in losses], np.mean(expected, axis=0), rtol=1e-6
        )
        torch.testing.assert_close(leaf.grad, their_leaf.grad)
        for ours, theirs in zip(together.heads, alone, strict=True):
            torch.testing.assert_close(ours.centres, theirs.centres)
