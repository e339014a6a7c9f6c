"""Clustering against scikit-learn, and how it grows with the number of points."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import normalized_mutual_info_score

from benchmarks.embedding import encoder_folder, pictures_below
from benchmarks.measure import Row, measure, row
from benchmarks.synthetic import groups
from cladeclip.clustering.lloyd import Clustering, kmeans
from cladeclip.clustering.streamed import assign_all, kmeans_of_file
from cladeclip.encoders.embed import embed_images
from cladeclip.encoders.fusion import normalise
from cladeclip.encoders.load import load_encoder
from cladeclip.io.embeddings import read_embeddings, write_embeddings


def our_kmeans(points: np.ndarray, k: int, seed: int) -> float:
    return kmeans(points, k, seed=seed).inertia


def their_kmeans(points: np.ndarray, k: int, seed: int) -> float:
    return float(KMeans(k, n_init=1, random_state=seed).fit(points).inertia_)


def clustering_data(n: int, d: int, k: int, seed: int) -> tuple[np.ndarray, int, int]:
    return groups(n, d, 740)[0], k, seed


def assigning(path: str, ids: list[str], centroids: Clustering) -> None:
    assign_all(path, ids, centroids)


def clusters_of_file(path: str, ids: list[str], k: int, max_points: int) -> tuple[np.ndarray, float]:
    found = kmeans_of_file(path, ids, k, seed=0, max_points=max_points)
    return found.labels, found.inertia


def first_rows_as_centroids(path: str, k: int) -> tuple[str, list[str], Clustering]:
    ids, embeddings = read_embeddings(path)
    nothing = np.empty(0)
    return path, ids, Clustering(nothing, nothing, embeddings[:k].copy(), 0.0, 0, True)


def ids_of_file(path: str, k: int, max_points: int) -> tuple[str, list[str], int, int]:
    return path, read_embeddings(path)[0], k, max_points


assigning.prepare = first_rows_as_centroids  # type: ignore[attr-defined]
clusters_of_file.prepare = ids_of_file  # type: ignore[attr-defined]
our_kmeans.prepare = clustering_data  # type: ignore[attr-defined]
their_kmeans.prepare = clustering_data  # type: ignore[attr-defined]


def rows(small: bool, data: Path | None) -> Iterator[Row]:
    """The rows of stage `cluster`: medians over three seeds, one run each."""
    n, d, k = (3_000, 256, 200) if small else (31_452, 1024, 2000)
    runs = [
        [measure(function, n, d, k, seed, repeats=1) for seed in range(3)] for function in (our_kmeans, their_kmeans)
    ]
    (ours_s, ours_mb, ours), (peer_s, peer_mb, theirs) = (
        (
            np.median([s for s, _, _ in run]),
            np.median([mb for _, mb, _ in run]),
            np.mean([inertia for *_, inertia in run]),
        )
        for run in runs
    )
    note = f"inertia, mean of 3 seeds: {ours:.1f} and {theirs:.1f}, ratio {ours / theirs:.5f}; data {4 * n * d / 1e6:.0f} MB"
    yield row("cluster", f"k-means, k = {k}, d = {d}", n, ours_s, ours_mb, "scikit-learn", peer_s, peer_mb, note)
    with tempfile.TemporaryDirectory() as folder:
        if data is not None:
            yield from _real_features(str(data), folder)
        yield from _growth(folder, 100 if small else 1)


def _real_features(root: str, folder: str) -> Iterator[Row]:
    """The inertia alone: everything takes milliseconds."""
    pictures = [picture for kind in ("Fish", "Bird", "Butterfly") for picture in pictures_below(root, f"{kind}/images")]
    encoder = load_encoder(encoder_folder("config/mini.yaml", "lite0", folder))
    points = normalise(embed_images(encoder, root, pictures, batch_size=32, workers=os.cpu_count() or 1))
    for k in (25, 75, 150):
        ours, theirs = (
            np.mean([function(points, k, seed) for seed in range(10)]) for function in (our_kmeans, their_kmeans)
        )
        note = f"inertia, mean of 10 seeds: {ours:.2f} and {theirs:.2f}, ratio {ours / theirs:.5f}"
        nan = float("nan")
        yield row("cluster", f"k-means of real features, k = {k}", len(points), nan, nan, "scikit-learn", note=note)


def _growth(folder: str, part: int) -> Iterator[Row]:
    k, d = 1000 // min(part, 10), 128
    for n in (30_000 // part, 300_000 // part, 1_000_000 // part):
        path = str(Path(folder, "embeddings.parquet"))
        write_embeddings(path, [f"{i:07d}" for i in range(n)], groups(n, d, 740)[0], {})
        seconds, megabytes, _ = measure(assigning, path, k, repeats=1)
        note = f"{1e6 * seconds / n:.1f} microseconds a row"
        yield row("cluster", f"assigning from the file, k = {k}, d = {d}", n, seconds, megabytes, note=note)
        if n == 300_000 // part:
            full_s, full_mb, (full, full_inertia) = measure(clusters_of_file, path, k, n, repeats=1)
            seconds, megabytes, (labels, inertia) = measure(clusters_of_file, path, k, n // 3, repeats=1)
            nmi = normalized_mutual_info_score(full, labels)
            note = f"NMI of both {nmi:.3f}, inertia ratio {inertia / full_inertia:.4f}"
            case = f"max_points {n // 3}, k = {k}, d = {d}"
            yield row("cluster", case, n, seconds, megabytes, "max_points: all", full_s, full_mb, note)
