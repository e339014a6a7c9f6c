"""Evaluation against plain implementations of the same measures."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import sklearn.linear_model
import torch
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics.pairwise import cosine_similarity, euclidean_distances
from sklearn.preprocessing import StandardScaler

from benchmarks.measure import Row, compare, measure, row
from benchmarks.synthetic import a_collection, groups
from cladeclip.encoders.fusion import normalise
from cladeclip.evaluation.evaluate import evaluate
from cladeclip.evaluation.measures import RETRIEVED
from cladeclip.evaluation.probe import fit_logistic_regression
from cladeclip.evaluation.protocol import Subset, subsets
from cladeclip.evaluation.search import search
from cladeclip.hierarchy.classifier import Settings, fit_classifier
from cladeclip.hierarchy.taxonomy import Taxonomy

# How fast the sizes of labels fall, as a power of their rank. Of VLM4Bio's 742 species the largest has 8 % of the images.
SIZES = {"sizes as VLM4Bio's": 1, "of one size": 0}


def query_and_gallery(q: int, g: int, d: int, n_labels: int) -> tuple[np.ndarray, Subset]:
    points, labels = groups(q + g, d, n_labels)
    names = np.array([f"species {i:04d}" for i in range(n_labels)])[labels]
    gallery = np.arange(q, q + g)
    return points, Subset("All", "species", names, np.arange(q), gallery, gallery[:0], gallery)


def four_columns(points: np.ndarray, subset: Subset) -> None:
    search(points, [], [subset])


def pairwise_frames(points: np.ndarray, subset: Subset) -> None:
    """The report's way: the whole similarity matrix flattened into a DataFrame, then grouped."""
    query, gallery, labels = points[subset.query], points[subset.gallery], subset.names[subset.gallery]
    q, g = len(query), len(gallery)
    for score, matrix in (("max", cosine_similarity(query, gallery)), ("min", euclidean_distances(query, gallery))):
        frame = pd.DataFrame(
            {"query": np.repeat(np.arange(q), g), "label": np.tile(labels, q), "score": matrix.ravel()}
        )
        best = frame.groupby("query")["score"]
        frame.loc[best.idxmax() if score == "max" else best.idxmin(), "label"]
        means = frame.groupby(["query", "label"])["score"].mean().reset_index().groupby("query")["score"]
        means.idxmax() if score == "max" else means.idxmin()


def bare_product(points: np.ndarray, subset: Subset) -> None:
    """The floor: all products of queries and gallery in float32 and nothing else, by the fastest blocks that were tried."""
    asked, items = torch.from_numpy(points[subset.query]), torch.from_numpy(points[subset.gallery])
    for start in range(0, len(items), 1024):
        tile = items[start : start + 1024].T
        for first in range(0, len(asked), 1024):
            asked[first : first + 1024] @ tile


def our_retrieval(points: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    everyone = np.arange(len(points))
    (found,) = search(points, [Subset("All", "", labels.astype(str), everyone[:1], everyone[1:], everyone, everyone)])
    means = dict(zip(RETRIEVED, np.nanmean(found.retrieval, axis=0), strict=True))
    return float(means["r_precision"]), float(means["map_at_r"])


def their_retrieval(points: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """pytorch-metric-learning, on unit vectors, where its Euclidean neighbours are those by cosine."""
    calculator = AccuracyCalculator(include=("r_precision", "mean_average_precision_at_r"), k="max_bin_count")
    units = torch.from_numpy(normalise(points).astype(np.float32))
    found = calculator.get_accuracy(units, torch.from_numpy(labels))
    return found["r_precision"], found["mean_average_precision_at_r"]


def points_and_labels(n: int, d: int, n_labels: int, sizes: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels of sizes that are one of SIZES, and points around their centres."""
    rng = np.random.default_rng(0)
    weights = 1 / (np.arange(n_labels) + 2) ** SIZES[sizes]
    labels = rng.choice(n_labels, size=n, p=weights / weights.sum())
    centres = rng.normal(size=(n_labels, d))
    return (centres[labels] + 2.5 * rng.normal(size=(n, d))).astype(np.float32), labels


def alike(n: int, d: int, n_labels: int, shared: float) -> tuple[Subset, np.ndarray, float]:
    """Points with a common part of so many times their own length: 0 as of a trained encoder, 7 of one hardly trained.

    Returns:
        queries (a fifth) and gallery, the points, and their median cosine.
    """
    points, labels = points_and_labels(n, d, n_labels, "sizes as VLM4Bio's")
    points += np.float32(2.7 * shared) * np.random.default_rng(1).normal(size=d).astype(np.float32)
    units = normalise(points[:2000])
    rows = np.random.default_rng(2).permutation(n)
    names = np.array([f"species {i:04d}" for i in range(n_labels)])[labels]
    subset = Subset("All", "species", names, rows[: n // 5], rows[n // 5 :], rows[:0], rows[:0])
    return subset, points, float(np.median(units @ units.T))


def our_probe(subset: Subset, points: np.ndarray, cosine: float) -> tuple[float, float, bool, float]:
    x, (labels, codes) = points[subset.gallery], np.unique(subset.names[subset.gallery], return_inverse=True)
    scaler = StandardScaler().fit(x)
    fitted = fit_logistic_regression(
        torch.from_numpy(scaler.transform(x)), torch.from_numpy(codes), c=1.0, max_iterations=1000
    )
    found = fitted.logits(torch.from_numpy(scaler.transform(points[subset.query]))).argmax(1).numpy()
    return fitted.objective, float((labels[found] == subset.names[subset.query]).mean()), fitted.converged, cosine


def their_probe(subset: Subset, points: np.ndarray, cosine: float) -> tuple[float, float, bool, float]:
    """scikit-learn's, with its default solver; at its default tolerance it stops some 20 % above the minimum."""
    x, y = points[subset.gallery], subset.names[subset.gallery]
    scaler = StandardScaler().fit(x)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        model = sklearn.linear_model.LogisticRegression(C=1.0, max_iter=1000, tol=1e-6).fit(scaler.transform(x), y)
    logits = model.decision_function(scaler.transform(x)).astype(np.float64)
    own = logits[np.arange(len(y)), np.searchsorted(model.classes_, y)]
    objective = (logsumexp(logits, axis=1) - own).sum() + 0.5 * np.square(model.coef_.astype(np.float64)).sum()
    right = model.predict(scaler.transform(points[subset.query])) == subset.names[subset.query]
    return float(objective), float(right.mean()), not caught, cosine


def everything_asked(n: int, d: int, shared: float) -> tuple[np.ndarray, list[Subset], list[Subset], float]:
    """What the evaluation of a model on the split `all` asks, with five draws; the points and their median cosine."""
    images, points, split = a_collection(n, d)
    points += np.float32(shared / np.sqrt(d)) * np.random.default_rng(1).normal(size=d).astype(np.float32)
    first, *others = (list(subsets(images, split, protocol="all", query_share=0.2, seed=5 + draw)) for draw in range(5))
    units = normalise(points[:2000])
    return points, first, [subset for draw in others for subset in draw], float(np.median(units @ units.T))


def one_search(points: np.ndarray, first: list[Subset], others: list[Subset], cosine: float) -> float:
    search(points, first, others)
    return cosine


def product_of_all(points: np.ndarray, first: list[Subset], others: list[Subset], cosine: float) -> None:
    """The floor: the products of all with all, in float32, and nothing else."""
    everyone = np.arange(len(points))
    bare_product(points, Subset("", "", everyone, everyone, everyone, everyone, everyone))


def whole_evaluation(images: pd.DataFrame, embeddings: np.ndarray, split: pd.DataFrame, probe: bool = False) -> None:
    settings = {"c": 1.0, "max_iterations": 1000} if probe else None
    evaluate(images, embeddings, split, protocol="all", query_share=0.2, seed=5, repeats=5, probe=settings)


def names_at_several_ranks(images: pd.DataFrame, embeddings: np.ndarray, split: pd.DataFrame) -> None:
    """Heads at every rank, calibration, limits of every novelty score, and answers for all images."""
    classifier = fit_classifier(images, embeddings, Taxonomy.of_images(images), Settings(), seed=5)
    classifier.answers(embeddings, "mahalanobis")


for function in (four_columns, pairwise_frames, bare_product):
    function.prepare = query_and_gallery  # type: ignore[attr-defined]
for function in (our_retrieval, their_retrieval):
    function.prepare = points_and_labels  # type: ignore[attr-defined]
for function in (our_probe, their_probe):
    function.prepare = alike  # type: ignore[attr-defined]
for function in (one_search, product_of_all):
    function.prepare = everything_asked  # type: ignore[attr-defined]
for function in (whole_evaluation, names_at_several_ranks):
    function.prepare = a_collection  # type: ignore[attr-defined]


def rows(small: bool, data: Path | None) -> Iterator[Row]:
    """The rows of stage `evaluate`."""
    part = 10 if small else 1
    case, frames = "four accuracies, 800 x 3200 x 512", "DataFrame of all pairs"
    yield compare("evaluate", case, 800, four_columns, frames, pairwise_frames, 800, 3200, 512, 100)
    q, g = 6_290 // part, 25_162 // part
    case = f"four accuracies, {q} x {g} x 512, {700 // part} labels"
    yield compare("evaluate", case, q, four_columns, "one blocked product", bare_product, q, g, 512, 700 // part)
    n = 31_452 // part
    for sizes in SIZES:
        ours_s, ours_mb, ours = measure(our_retrieval, n, 512, 740 // part, sizes)
        peer_s, peer_mb, theirs = measure(their_retrieval, n, 512, 740 // part, sizes)
        note = f"largest difference {max(abs(a - b) for a, b in zip(ours, theirs, strict=True)):.1e}"
        case, peer = f"R-precision and mAP@R, d = 512, labels {sizes}", "pytorch-metric-learning"
        yield row("evaluate", case, n, ours_s, ours_mb, peer, peer_s, peer_mb, note)
    for shared in (0.0, 7.0):
        ours_s, ours_mb, cosine = measure(one_search, n, 512, shared, repeats=1)
        peer_s, peer_mb, _ = measure(product_of_all, n, 512, shared)
        case = f"everything that an evaluation searches, d = 512, median cosine {cosine:.2f}"
        yield row("evaluate", case, n, ours_s, ours_mb, "one product of all", peer_s, peer_mb)
    for shared in (0, 7):
        ours_s, ours_mb, (ours, our_share, our_end, cosine) = measure(our_probe, n, 512, 740 // part, shared, repeats=1)
        peer_s, peer_mb, (theirs, their_share, their_end, _) = measure(
            their_probe, n, 512, 740 // part, shared, repeats=1
        )
        note = (
            f"objective {ours / theirs - 1:+.1e}, accuracy {100 * (our_share - their_share):+.2f} points, converged "
            f"{our_end} / {their_end}"
        )
        case = f"linear probe, d = 512, {740 // part} labels, median cosine {cosine:.2f}"
        yield row("evaluate", case, n, ours_s, ours_mb, "scikit-learn", peer_s, peer_mb, note)
    for probe in (False, True):
        seconds, megabytes, _ = measure(whole_evaluation, n, 512, probe, repeats=1)
        yield row(
            "evaluate", f"all tables of a model, d = 512, {'with' if probe else 'without'} probe", n, seconds, megabytes
        )
    seconds, megabytes, _ = measure(names_at_several_ranks, n, 512, repeats=1)
    yield row("evaluate", "names at several ranks, 740 species, d = 512: fit and answers", n, seconds, megabytes)
    for g in (10_000 // part, 100_000 // part, 1_000_000 // part):
        q = 5_000 // part
        seconds, megabytes, _ = measure(four_columns, q, g, 128, 700 // part, repeats=1)
        each = 1e9 * seconds / q / g
        yield row("evaluate", f"four accuracies, {q} x {g} x 128", g, seconds, megabytes, note=f"{each:.2f} ns a pair")
