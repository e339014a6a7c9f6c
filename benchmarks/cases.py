"""The cases of `make bench`, each with its peer."""

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from PIL import Image
from sklearn.cluster import KMeans
from sklearn.metrics.pairwise import cosine_similarity, euclidean_distances

from benchmarks.measure import measure
from cladeclip.clustering.kmeans import kmeans
from cladeclip.demo.specimens import draw_specimens
from cladeclip.encoders.fusion import normalise
from cladeclip.evaluation import predict_labels
from cladeclip.tables import read_embeddings, write_embeddings

if TYPE_CHECKING:
    from cladeclip.encoders.encoder import Encoder

EMBED_PICTURES = 180


def groups(n: int, d: int, n_groups: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors (n, d) around the centres of groups of Zipf-like sizes, and their group names (n,)."""
    rng = np.random.default_rng(seed)
    shares = 1 / np.arange(1, n_groups + 1)
    labels = rng.choice(n_groups, size=n, p=shares / shares.sum())
    centres = rng.normal(size=(n_groups, d))
    points = centres[labels] + 1.2 * rng.normal(size=(n, d))
    return normalise(points).astype(np.float32), np.array([f"species {i:04d}" for i in range(n_groups)])[labels]


def query_and_gallery(q: int, g: int, d: int, n_labels: int) -> tuple[np.ndarray, ...]:
    points, names = groups(q + g, d, n_labels)
    return points[:q], points[q:], names[q:]


def four_columns(query: np.ndarray, gallery: np.ndarray, labels: np.ndarray) -> None:
    predict_labels(query, gallery, labels)


def pairwise_frames(query: np.ndarray, gallery: np.ndarray, labels: np.ndarray) -> None:
    """The report's way: the whole similarity matrix flattened into a DataFrame, then grouped."""
    q, g = len(query), len(gallery)
    for score, matrix in (("max", cosine_similarity(query, gallery)), ("min", euclidean_distances(query, gallery))):
        frame = pd.DataFrame(
            {"query": np.repeat(np.arange(q), g), "label": np.tile(labels, q), "score": matrix.ravel()}
        )
        best = frame.groupby("query")["score"]
        frame.loc[best.idxmax() if score == "max" else best.idxmin(), "label"]
        means = frame.groupby(["query", "label"])["score"].mean().reset_index().groupby("query")["score"]
        means.idxmax() if score == "max" else means.idxmin()


four_columns.prepare = query_and_gallery  # type: ignore[attr-defined]
pairwise_frames.prepare = query_and_gallery  # type: ignore[attr-defined]


def our_kmeans(points: np.ndarray, k: int) -> None:
    kmeans(points, k, seed=0)


def their_kmeans(points: np.ndarray, k: int) -> None:
    KMeans(k, n_init=1, random_state=0).fit(points)


def clustering_data(n: int, d: int, k: int) -> tuple[np.ndarray, int]:
    return groups(n, d, 740)[0], k


our_kmeans.prepare = clustering_data  # type: ignore[attr-defined]
their_kmeans.prepare = clustering_data  # type: ignore[attr-defined]


def our_embedding(encoder: "Encoder", root: str, pictures: list[str]) -> None:
    from cladeclip.encoders.embed import embed_images

    embed_images(encoder, root, pictures, batch_size=64, workers=os.cpu_count() or 1)


def one_at_a_time(encoder: "Encoder", root: str, pictures: list[str]) -> None:
    """The report's way: open, transform and encode one picture after the other."""
    import torch

    with torch.inference_mode():
        for picture in pictures:
            encoder.tower(encoder.transform(Image.open(Path(root, picture)).convert("RGB"))[None]).numpy()


def loaded(encoder: str, root: str) -> tuple:
    from cladeclip.encoders.load import load_encoder

    model = load_encoder(encoder)
    model.tower.eval()
    return model, root, _pictures(root)


our_embedding.prepare = loaded  # type: ignore[attr-defined]
one_at_a_time.prepare = loaded  # type: ignore[attr-defined]


def _pictures(root: str) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in Path(root).rglob("*.jpg"))


def our_reading(path: str) -> None:
    read_embeddings(path)


def arrow_reading(path: str) -> None:
    column = pq.read_table(path)["embedding"].combine_chunks()
    column.flatten().to_numpy().reshape(len(column), -1)


def rows() -> list[dict]:
    """One row a case: stage, case, n, seconds and peak memory of both, and how many times faster ours is."""
    table = []

    def add(stage: str, case: str, n: int, ours, peer_name: str, peer, *arguments, note: str = "") -> None:
        ours_s, ours_mb = measure(ours, *arguments)
        peer_s, peer_mb = measure(peer, *arguments)
        table.append(
            {
                "stage": stage,
                "case": case,
                "n": n,
                "ours_s": round(ours_s, 3),
                "peer": peer_name,
                "peer_s": round(peer_s, 3),
                "speedup": round(peer_s / ours_s, 2),
                "ours_peak_mb": round(ours_mb),
                "peer_peak_mb": round(peer_mb),
                "note": note,
            }
        )
        print(pd.DataFrame(table[-1:]).to_string(index=False, header=len(table) == 1), flush=True)

    frames = "DataFrame of all pairs"
    add(
        "evaluate", "four accuracies, 800 x 3200 x 512", 800, four_columns, frames, pairwise_frames, 800, 3200, 512, 100
    )
    add("cluster", "k-means, k = 300, d = 256", 8000, our_kmeans, "scikit-learn", their_kmeans, 8000, 256, 300)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "e.parquet"))
        points, _ = groups(30_000, 512, 740)
        write_embeddings(path, [f"{i:06d}" for i in range(len(points))], points, {})
        add("embed", "reading 512-d embeddings", len(points), our_reading, "pyarrow read_table", arrow_reading, path)
        per_species = EMBED_PICTURES // 9
        root = Path(folder, "drawn")
        draw_specimens(root, species_per_genus=1, images_per_species=per_species, image_px=400, seed=1, workers=2)
        encoder = _demo_encoder(Path(folder, "encoder"))
        n = len(_pictures(str(root)))
        note = "drawn pictures of 400 px, the demo's encoder"
        add("embed", "pictures", n, our_embedding, "one at a time", one_at_a_time, encoder, str(root), note=note)
    return table


def _demo_encoder(folder: Path) -> str:
    import yaml

    from cladeclip.encoders.weights import make_encoder_folder

    definition = yaml.safe_load(Path("config/demo.yaml").read_text())["encoders"]["specimen-vit"]
    make_encoder_folder("specimen-vit", definition, folder)
    return str(folder)
