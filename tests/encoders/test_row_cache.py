import multiprocessing
import os
import signal
import time

import numpy as np
import pytest
import torch

from cladeclip.encoders.embed import embed_images, embed_missing_images, encode_in_halves
from cladeclip.encoders.handcrafted import DIM, handcrafted_encoder
from cladeclip.encoders.row_cache import MAX_CHUNKS, RowCache

ARGUMENTS = {"batch_size": 4, "workers": 0}


@pytest.fixture
def pictures(images):
    return list(images["image_id"]), list(images["content_hash"])


def embedded(specimens, pictures, cache, monkeypatch=None):
    """The embeddings, and how many pictures were decoded for them."""
    from cladeclip.encoders import embed

    decoded = []
    original = embed.open_picture
    embed.open_picture = lambda path, *rest: decoded.append(path) or original(path, *rest)
    try:
        return embed_missing_images(handcrafted_encoder(), specimens, *pictures, cache, **ARGUMENTS), len(decoded)
    finally:
        embed.open_picture = original


def test_only_missing_rows_are_computed_and_renaming_computes_none(specimens, pictures, tmp_path):
    ids, hashes = pictures
    whole = embed_images(handcrafted_encoder(), specimens, ids, **ARGUMENTS)
    first, n = embedded(specimens, (ids[:-10], hashes[:-10]), RowCache(tmp_path, "k", DIM))
    assert n == len(ids) - 10
    second, n = embedded(specimens, pictures, RowCache(tmp_path, "k", DIM))
    assert n == 10
    np.testing.assert_array_equal(first, whole[:-10])
    np.testing.assert_array_equal(second, whole)
    renamed = [f"renamed/{image_id}" for image_id in ids]
    third, n = embedded(specimens, (renamed, hashes), RowCache(tmp_path, "k", DIM))
    assert n == 0
    np.testing.assert_array_equal(third, whole)


def test_equal_contents_are_computed_once(specimens, pictures, tmp_path):
    ids, hashes = pictures
    twice, n = embedded(specimens, (ids[:5] * 2, hashes[:5] * 2), RowCache(tmp_path, "k", DIM))
    assert n == 5
    np.testing.assert_array_equal(twice[:5], twice[5:])


def test_rows_made_by_something_else_are_not_used(specimens, pictures, tmp_path):
    embedded(specimens, pictures, RowCache(tmp_path, "old weights", DIM))
    _, n = embedded(specimens, pictures, RowCache(tmp_path, "new weights", DIM))
    assert n == len(pictures[0])


def test_a_damaged_chunk_is_computed_again(specimens, pictures, tmp_path):
    whole, _ = embedded(specimens, pictures, RowCache(tmp_path, "k", DIM))
    chunk = next(tmp_path.glob("*.parquet"))
    data = bytearray(chunk.read_bytes())
    data[len(data) // 3 :] = bytes(len(data) - len(data) // 3)
    chunk.write_bytes(data)
    again, n = embedded(specimens, pictures, RowCache(tmp_path, "k", DIM))
    assert n == len(pictures[0])
    np.testing.assert_array_equal(again, whole)


def test_many_chunks_become_one(tmp_path):
    rows = np.arange(40, dtype=np.float32).reshape(20, 2)
    for i in range(20):
        cache = RowCache(tmp_path, "k", 2)
        cache.add([f"{i:02d}"], rows[i : i + 1])
        cache.save()
    assert len(list(tmp_path.glob("*.parquet"))) <= MAX_CHUNKS
    np.testing.assert_array_equal(RowCache(tmp_path, "k", 2).take([f"{i:02d}" for i in range(20)]), rows)


def slow_embedding(specimens, pictures, folder):
    encoder = handcrafted_encoder()
    original = encoder.transform

    def slow(image):
        time.sleep(0.05)
        return original(image)

    encoder.transform = slow
    embed_missing_images(encoder, specimens, *pictures, RowCache(folder, "k", DIM, checkpoint_seconds=0.2), **ARGUMENTS)


def test_after_kill_9_only_the_last_interval_is_computed_again(specimens, pictures, tmp_path):
    whole, _ = embedded(specimens, pictures, RowCache(tmp_path / "undisturbed", "k", DIM))
    process = multiprocessing.get_context("fork").Process(
        target=slow_embedding, args=(specimens, pictures, tmp_path / "c")
    )
    process.start()
    deadline = time.monotonic() + 30
    while len(list((tmp_path / "c").glob("*.parquet"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    known = len(RowCache(tmp_path / "c", "k", DIM).rows)
    assert 4 <= known < len(pictures[0])
    again, n = embedded(specimens, pictures, RowCache(tmp_path / "c", "k", DIM))
    assert n == len(pictures[0]) - known
    np.testing.assert_array_equal(again, whole)


def test_a_batch_that_does_not_fit_into_gpu_memory_is_halved():
    encoder = handcrafted_encoder()
    sizes = []

    class Small(torch.nn.Module):
        def forward(self, batch):
            sizes.append(len(batch))
            if len(batch) > 3:
                raise torch.cuda.OutOfMemoryError
            return 2 * batch

    encoder.tower = Small()
    batch = torch.arange(20.0).reshape(10, 2)
    torch.testing.assert_close(encode_in_halves(encoder, batch), 2 * batch)
    assert sizes == [10, 5, 2, 3, 5, 2, 3]
