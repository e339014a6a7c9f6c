"""Reading pictures, embedding them, and reading their embeddings."""

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
import yaml
from PIL import Image

from benchmarks.measure import Row, compare, measure, row
from benchmarks.synthetic import groups
from cladeclip.demo.specimens import draw_specimens
from cladeclip.encoders.embed import CPU_BATCH, Pictures, add_missing_images, embed_images, write_cached
from cladeclip.encoders.encoder import Encoder
from cladeclip.encoders.fusion import normalise
from cladeclip.encoders.load import load_encoder
from cladeclip.encoders.weights import make_encoder_folder
from cladeclip.io.embeddings import embedding_kind, read_embeddings, write_embeddings
from cladeclip.io.row_cache import RowCache

CORES = os.cpu_count() or 1


def encoder_and_pictures(encoder: str, root: str, pictures: list[str]) -> tuple[Encoder, str, list[str]]:
    model = load_encoder(encoder)
    model.tower.eval()
    return model, root, pictures


def our_embedding(encoder: Encoder, root: str, pictures: list[str]) -> None:
    embed_images(encoder, root, pictures, batch_size=32, workers=CORES)


def decoded_exactly(encoder: Encoder, root: str, pictures: list[str]) -> None:
    embed_images(encoder, root, pictures, batch_size=32, workers=CORES, decode="exact")


def one_at_a_time(encoder: Encoder, root: str, pictures: list[str]) -> None:
    """The report's way: open, transform and encode one picture after the other."""
    with torch.inference_mode():
        for picture in pictures:
            encoder.tower(encoder.transform(Image.open(Path(root, picture)).convert("RGB"))[None]).numpy()


def decoding_and_encoding_alone(encoder: Encoder, root: str, pictures: list[str]) -> float:
    """Seconds of one core for decoding everything plus those for encoding everything, one after the other."""
    torch.set_num_threads(1)
    encoder.tower.to(memory_format=torch.channels_last)
    decoded = Pictures(Path(root), pictures, encoder, fast=True)
    start = time.process_time()
    batch = torch.stack([decoded[i] for i in range(len(decoded))])
    for few in batch.split(CPU_BATCH):
        encoder.encode_images(few)
    return time.process_time() - start


def our_reading(path: str) -> None:
    read_embeddings(path)


def arrow_reading(path: str) -> None:
    column = pq.read_table(path)["embedding"].combine_chunks()
    column.flatten().to_numpy().reshape(len(column), -1)


def cached_embedding(encoder: Encoder, root: str, pictures: list[str], n: int, folder: str) -> int:
    """What the rule does: the cache's missing rows, then the table. `n` images, over and over the same files.

    Returns:
        The number of rows that were computed.
    """
    ids = [f"{i:07d}" for i in range(n)]
    cache = RowCache(Path(folder, "cache"), "key", embedding_kind(encoder.dim))
    known = len(cache)
    files = [pictures[i % len(pictures)] for i in range(n)]
    add_missing_images(encoder, root, files, ids, cache, batch_size=32, workers=CORES)
    write_cached(Path(folder, "image.parquet"), ids, ids, cache, encoder.dim, {})
    return len(cache) - known


def with_empty_cache(encoder: str, root: str, pictures: list[str], n: int) -> tuple:
    return *encoder_and_pictures(encoder, root, pictures), n, tempfile.mkdtemp(dir=root)


def with_all_but_ten(encoder: str, root: str, pictures: list[str], n: int) -> tuple:
    arguments = with_empty_cache(encoder, root, pictures, n)
    cached_embedding(*arguments[:3], n - 10, arguments[4])
    return arguments


def ten_more(*arguments: Any) -> int:
    return cached_embedding(*arguments)


our_embedding.prepare = encoder_and_pictures  # type: ignore[attr-defined]
decoded_exactly.prepare = encoder_and_pictures  # type: ignore[attr-defined]
one_at_a_time.prepare = encoder_and_pictures  # type: ignore[attr-defined]
decoding_and_encoding_alone.prepare = encoder_and_pictures  # type: ignore[attr-defined]
cached_embedding.prepare = with_empty_cache  # type: ignore[attr-defined]
ten_more.prepare = with_all_but_ten  # type: ignore[attr-defined]


def rows(small: bool, data: Path | None) -> Iterator[Row]:
    """The rows of stage `embed`."""
    part = 10 if small else 1
    with tempfile.TemporaryDirectory() as folder:
        demo = encoder_folder("config/demo.yaml", "specimen-vit", folder)
        if data is not None:
            yield from _real_pictures(str(data), demo, folder, part)
        yield from _reading(100_000 // part, folder)
        root = str(Path(folder, "drawn"))
        draw_specimens(root, species_per_genus=1, images_per_species=111 // part, image_px=96, seed=1, workers=CORES)
        drawn = pictures_below(root, "*/images")
        n = 5_000 // part
        ours_s, ours_mb, computed = measure(ten_more, demo, root, drawn, n)
        all_s, all_mb, _ = measure(cached_embedding, demo, root, drawn, n)
        note = f"{computed} rows computed"
        yield row("embed", "10 drawn pictures added", n, ours_s, ours_mb, "computing all", all_s, all_mb, note)
        for n in (1_000 // part, 5_000 // part, 20_000 // part):
            seconds, megabytes, _ = measure(cached_embedding, demo, root, drawn, n)
            note = f"{1e3 * seconds / n:.2f} ms a picture"
            yield row("embed", "drawn pictures, the demo's encoder", n, seconds, megabytes, note=note)


def _real_pictures(root: str, demo: str, folder: str, part: int) -> Iterator[Row]:
    lite0 = encoder_folder("config/mini.yaml", "lite0", folder)
    fish = pictures_below(root, "Fish/images")[::part]
    n, peer = len(fish), "one at a time"
    yield compare("embed", "fish, the demo's encoder", n, our_embedding, peer, one_at_a_time, demo, root, fish)
    yield compare("embed", "fish, EfficientNet-Lite0", n, our_embedding, peer, one_at_a_time, lite0, root, fish)
    ours_s, ours_mb, _ = measure(our_embedding, lite0, root, fish)
    _, _, seconds = measure(decoding_and_encoding_alone, lite0, root, fish)
    peer, note = "perfect overlap", "CPU seconds of decoding and encoding alone / cores"
    yield row("embed", "fish, EfficientNet-Lite0", n, ours_s, ours_mb, peer, seconds / CORES, note=note)
    model = load_encoder(lite0)
    fast, exact = (
        normalise(embed_images(model, root, fish, batch_size=32, workers=CORES, decode=decode))
        for decode in ("fast", "exact")
    )
    cosine = (fast * exact).sum(axis=1)
    note = f"cosine between both: median {np.median(cosine):.4f}, lowest {cosine.min():.4f}"
    peer = "decode: exact"
    yield compare("embed", "fish, decode: fast", n, our_embedding, peer, decoded_exactly, lite0, root, fish, note=note)


def _reading(n: int, folder: str) -> Iterator[Row]:
    path = str(Path(folder, "embeddings.parquet"))
    write_embeddings(path, [f"{i:07d}" for i in range(n)], groups(n, 1024, 740)[0], {})
    note = f"the array has {4 * 1024 * n / 1e6:.0f} MB"
    peer = "pyarrow read_table"
    yield compare("embed", "reading 1024-d embeddings", n, our_reading, peer, arrow_reading, path, note=note)


def pictures_below(root: str, pattern: str) -> list[str]:
    """The pictures in the folders that `pattern` finds below `root`."""
    suffixes = (".jpg", ".jpeg", ".png")
    found = (path for folder in Path(root).glob(pattern) for path in folder.iterdir())
    return sorted(path.relative_to(root).as_posix() for path in found if path.suffix.lower() in suffixes)


def encoder_folder(config: str, name: str, folder: str) -> str:
    """The folder of an encoder that a config of the repository defines, made below `folder`."""
    target = Path(folder, name)
    make_encoder_folder(name, yaml.safe_load(Path(config).read_text())["encoders"][name], target)
    return str(target)
