"""The linear probe and zero-shot naming, against the libraries that define them."""

import warnings

import numpy as np
import open_clip
import pandas as pd
import pytest
import torch
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression

from cladeclip.encoders.embed import embed_texts
from cladeclip.encoders.fusion import normalise
from cladeclip.encoders.load import load_encoder
from cladeclip.errors import ConfigError
from cladeclip.evaluation.probe import fit_logistic_regression, linear_probe
from cladeclip.evaluation.protocol import Subset
from cladeclip.evaluation.zero_shot import TEMPLATES, name_embeddings, phrases_of, zero_shot_accuracy, zero_shot_table


@pytest.fixture
def subset():
    rng = np.random.default_rng(0)
    names = np.array([f"genus species{i}" for i in rng.integers(6, size=90)])
    rows = np.arange(90)
    return Subset("All", "species", names, rows[:30], rows[30:], rows[:30], rows)


@pytest.fixture
def embeddings(subset):
    rng = np.random.default_rng(1)
    centres = {name: rng.normal(size=7) for name in sorted(set(subset.names))}
    return np.stack([5 * (centres[name] + 0.7 * rng.normal(size=7)) + 3 for name in subset.names]).astype(np.float32)


def standardised(points):
    points = points.astype(float)
    return (points - points.mean(0)) / points.std(0)


def by_scikit_learn(z, codes, c):
    """The minimum of the objective, to a tolerance far below its default, and its model."""
    model = LogisticRegression(C=c, max_iter=5000, tol=1e-8).fit(z, codes)
    logits = model.decision_function(z)
    logits = np.column_stack([-logits, logits]) / 2 if logits.ndim == 1 else logits
    own = logits[np.arange(len(codes)), codes]
    return c * (logsumexp(logits, axis=1) - own).sum() + 0.5 * (model.coef_**2).sum(), model


def points_of(kind):
    """Points and labels of a long tail: far apart, overlapping, or of an encoder that is hardly trained (all alike)."""
    rng = np.random.default_rng(3)
    codes = np.concatenate([np.repeat(np.arange(40), 3), rng.choice(40, size=1500, p=_tail(40))])
    apart = {"far apart": 1.0, "overlapping": 0.25, "hardly trained": 0.25}[kind]
    spread = np.geomspace(3, 0.1, 48)
    points = rng.normal(size=(40, 48))[codes] * apart * spread + rng.normal(size=(len(codes), 48)) * spread
    if kind == "hardly trained":
        points += 8 * rng.normal(size=48)
        units = points / np.linalg.norm(points, axis=1, keepdims=True)
        assert np.median(units @ units.T) > 0.97
    return points.astype(np.float32), codes


def _tail(n):
    weights = 1 / np.arange(2, n + 2)
    return weights / weights.sum()


@pytest.mark.parametrize("kind", ["far apart", "overlapping", "hardly trained"])
@pytest.mark.parametrize("c", [1.0, 0.01])
def test_the_probe_finds_the_minimum_that_scikit_learn_finds(kind, c):
    points, codes = points_of(kind)
    train, test = np.arange(len(codes)) % 4 > 0, np.arange(len(codes)) % 4 == 0
    train[:120] = True
    z = standardised(points[train])
    lowest, model = by_scikit_learn(z, codes[train], c)
    features = torch.from_numpy(z.astype(np.float32))
    found = fit_logistic_regression(features, torch.from_numpy(codes[train]), c=c, max_iterations=1000)
    assert found.converged
    assert found.objective == pytest.approx(lowest, rel=1e-3)
    # The objective is that of the weights.
    logits = (features @ found.weights.T + found.intercept).double()
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(codes[train]), reduction="sum")
    assert found.objective == pytest.approx(float(c * loss + found.weights.double().square().sum() / 2), rel=1e-5)
    asked = (points[test] - points[train].astype(float).mean(0)) / points[train].astype(float).std(0)
    ours = found.logits(torch.from_numpy(asked.astype(np.float32))).argmax(1).numpy()
    assert (ours == codes[test]).mean() == pytest.approx((model.predict(asked) == codes[test]).mean(), abs=0.0051)
    assert (ours == model.predict(asked)).mean() > 0.98


def test_the_probe_is_a_logistic_regression_on_standardised_embeddings(subset, embeddings):
    found = linear_probe(subset, embeddings, c=0.5, max_iterations=500)
    gallery, query = embeddings[subset.gallery].astype(float), embeddings[subset.query].astype(float)
    mean, std = gallery.mean(0), gallery.std(0)
    theirs = LogisticRegression(C=0.5, max_iter=500).fit((gallery - mean) / std, subset.names[subset.gallery])
    right = theirs.predict((query - mean) / std) == subset.names[subset.query]
    assert found["micro"] == pytest.approx(right.mean())
    labels = subset.names[subset.query]
    assert found["macro"] == pytest.approx(np.mean([right[labels == label].mean() for label in set(labels)]))
    assert found["converged"]
    assert not linear_probe(subset, embeddings, c=0.5, max_iterations=2)["converged"]


def test_the_probe_converges_where_scikit_learn_does_at_the_same_limit():
    for kind in ("far apart", "overlapping", "hardly trained"):
        points, codes = points_of(kind)
        z = standardised(points)
        for at_most in (100, 1000):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                LogisticRegression(C=1.0, max_iter=at_most).fit(z, codes)
            features = torch.from_numpy(z.astype(np.float32))
            ours = fit_logistic_regression(features, torch.from_numpy(codes), c=1.0, max_iterations=at_most)
            assert ours.converged or caught, (kind, at_most)


def test_numbers_that_are_always_the_same_say_nothing_and_do_no_harm(subset, embeddings):
    plain = linear_probe(subset, embeddings, c=1.0, max_iterations=200)
    constant = np.concatenate([embeddings, np.full((len(embeddings), 2), 7, np.float32)], axis=1)
    assert linear_probe(subset, constant, c=1.0, max_iterations=200) == plain


def test_a_gallery_of_one_label_has_no_probe(subset, embeddings):
    same = Subset("All", "species", np.full(90, "a"), subset.query, subset.gallery, subset.query, subset.found)
    assert np.isnan(linear_probe(same, embeddings, c=1.0, max_iterations=10)["micro"])


def test_names_are_embedded_as_open_clips_zero_shot_classifier_does_it(student):
    names = ["Avicula rubra", "Undalis rubra", "Papiliora striata"]
    ours = name_embeddings(load_encoder(student), [(name,) for name in names], batch_size=4)
    model = open_clip.create_model(f"local-dir:{student}").eval()
    tokenizer = open_clip.get_tokenizer(f"local-dir:{student}")
    theirs = open_clip.build_zero_shot_classifier(model, tokenizer, names, TEMPLATES, 2)
    torch.testing.assert_close(torch.from_numpy(ours).float(), theirs.T, rtol=1e-4, atol=1e-5)
    assert [template("X") for template in open_clip.SIMPLE_IMAGENET_TEMPLATES] == [t.format("X") for t in TEMPLATES[1:]]


def test_a_lineage_goes_into_the_prompts_where_it_is_known(student):
    names = np.array(["Avicula rubra", "Undalis rubra", "Avicula rubra", "Undalis rubra", "Papiliora striata"])
    images = pd.DataFrame(
        {
            "family": ["Aviculidae", "Undalidae", "Aviculidae", "Aviculidae", None],
            "class": ["Aves", "Aves", "Aves", "Aves", None],
        }
    )
    phrases = phrases_of(images, names)
    assert phrases == {
        "Avicula rubra": ("Avicula rubra", "Aves Aviculidae Avicula rubra"),
        "Papiliora striata": ("Papiliora striata",),
        "Undalis rubra": ("Undalis rubra",),  # two lineages: neither
    }
    assert phrases_of(pd.DataFrame(index=range(5)), names) == {name: (name,) for name in sorted(set(names))}
    encoder = load_encoder(student)
    both = name_embeddings(encoder, list(phrases.values()), batch_size=4)
    alone = [name_embeddings(encoder, [(phrase,)], batch_size=4)[0] for phrase in phrases["Avicula rubra"]]
    assert not np.allclose(both[0], alone[0], atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(both, axis=1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(
        both[1], name_embeddings(encoder, [phrases["Papiliora striata"]], batch_size=4)[0], atol=1e-5
    )
    prompts = [template.format(phrase) for phrase in phrases["Avicula rubra"] for template in TEMPLATES]
    units = normalise(embed_texts(encoder, prompts, batch_size=4))
    np.testing.assert_allclose(both[0], normalise(units.mean(axis=0, keepdims=True))[0], atol=1e-5)


def test_top_1_and_top_5_are_shares_of_the_queries(subset, embeddings):
    names = sorted(set(subset.names))
    texts = np.random.default_rng(3).normal(size=(len(names), 7))
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    found = zero_shot_accuracy(subset, embeddings, names, texts)
    units = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    places = []
    for i in subset.query:
        ranked = sorted(range(len(names)), key=lambda j: -float(units[i] @ texts[j]))
        places.append([names[j] for j in ranked].index(subset.names[i]))
    assert found["top1"] == pytest.approx(np.mean([place == 0 for place in places]))
    assert found["top5"] == pytest.approx(np.mean([place < 5 for place in places]))
    assert (found["n_query"], found["n_labels"]) == (30, 6)


def test_equal_names_go_to_the_one_that_sorts_first(subset, embeddings):
    names = sorted(set(subset.names))
    found = zero_shot_accuracy(subset, embeddings, names, np.ones((6, 7)) / np.sqrt(7))
    assert found["top1"] == pytest.approx((subset.names[subset.query] == names[0]).mean())


def test_every_rank_is_asked_with_its_own_names(student, subset):
    encoder = load_encoder(student)
    genus = Subset("All", "genus", np.array([n.split()[0] for n in subset.names]), *[subset.query, subset.gallery] * 2)
    rng = np.random.default_rng(5)
    images = pd.DataFrame({"scientific_name": subset.names})
    table = zero_shot_table(
        encoder, rng.normal(size=(90, 16)).astype(np.float32), images, [subset, genus], batch_size=8
    )
    assert table["n_labels"].tolist() == [6, 1]
    assert table["top1"][1] == 1.0


def test_an_encoder_without_a_text_tower_cannot_read_names():
    from cladeclip.encoders.families.handcrafted import handcrafted_encoder

    with pytest.raises(ConfigError, match="no text tower"):
        name_embeddings(handcrafted_encoder(), [("a",)], batch_size=2)
