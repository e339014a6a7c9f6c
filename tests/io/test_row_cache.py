import multiprocessing
import os
import signal
import time

import numpy as np
import pyarrow as pa
import pytest
import torch

from cladeclip.encoders.embed import add_missing_images, embed_images, in_halves, write_cached
from cladeclip.encoders.families.handcrafted import DIM, handcrafted_encoder
from cladeclip.io.embeddings import embedding_column, embedding_kind, embedding_rows, join_embeddings, read_embeddings
from cladeclip.io.row_cache import RowCache
from cladeclip.shards import in_shard, shard_names

ARGUMENTS = {"batch_size": 4, "workers": 0}
KIND = embedding_kind(DIM)


@pytest.fixture
def pictures(images):
    return list(images["image_id"]), list(images["content_hash"])


def embedded(specimens, pictures, cache):
    """The embeddings, and how many pictures were decoded for them."""
    from cladeclip.encoders import embed

    decoded = []
    original = embed.open_prepared
    embed.open_prepared = lambda path, *rest: decoded.append(path) or original(path, *rest)
    try:
        add_missing_images(handcrafted_encoder(), specimens, *pictures, cache, **ARGUMENTS)
        return embedding_rows(cache.take(pictures[1])), len(decoded)
    finally:
        embed.open_prepared = original


def test_only_missing_rows_are_computed_and_renaming_computes_none(specimens, pictures, tmp_path):
    ids, hashes = pictures
    whole = embed_images(handcrafted_encoder(), specimens, ids, **ARGUMENTS)
    first, n = embedded(specimens, (ids[:-10], hashes[:-10]), RowCache(tmp_path, "k", KIND))
    assert n == len(ids) - 10
    second, n = embedded(specimens, pictures, RowCache(tmp_path, "k", KIND))
    assert n == 10
    np.testing.assert_array_equal(first, whole[:-10])
    np.testing.assert_array_equal(second, whole)
    renamed = [f"renamed/{image_id}" for image_id in ids]
    third, n = embedded(specimens, (renamed, hashes), RowCache(tmp_path, "k", KIND))
    assert n == 0
    np.testing.assert_array_equal(third, whole)


def test_equal_contents_are_computed_once(specimens, pictures, tmp_path):
    ids, hashes = pictures
    twice, n = embedded(specimens, (ids[:5] * 2, hashes[:5] * 2), RowCache(tmp_path, "k", KIND))
    assert n == 5
    np.testing.assert_array_equal(twice[:5], twice[5:])


def test_rows_made_by_something_else_are_not_used(specimens, pictures, tmp_path):
    embedded(specimens, pictures, RowCache(tmp_path, "old weights", KIND))
    _, n = embedded(specimens, pictures, RowCache(tmp_path, "new weights", KIND))
    assert n == len(pictures[0])


def test_a_damaged_chunk_is_computed_again(specimens, pictures, tmp_path):
    whole, _ = embedded(specimens, pictures, RowCache(tmp_path, "k", KIND))
    chunk = next(tmp_path.glob("*/*.arrow"))
    data = bytearray(chunk.read_bytes())
    data[len(data) // 3 :] = bytes(len(data) - len(data) // 3)
    chunk.write_bytes(data)
    again, n = embedded(specimens, pictures, RowCache(tmp_path, "k", KIND))
    assert n == len(pictures[0])
    np.testing.assert_array_equal(again, whole)


def test_many_chunks_become_few_and_keep_every_value(tmp_path):
    rows = np.arange(600, dtype=np.float32).reshape(300, 2)
    names = [f"{i:03d}" for i in range(300)]
    for i in range(0, 300, 3):
        cache = RowCache(tmp_path, "k", embedding_kind(2))
        cache.add(names[i : i + 3], embedding_column(rows[i : i + 3]))
        cache.save()
        np.testing.assert_array_equal(embedding_rows(cache.take(names[: i + 3])), rows[: i + 3])
    assert len(list(tmp_path.glob("*/*.arrow"))) <= np.log2(100) + 1
    order = np.random.default_rng(0).permutation(300)
    again = RowCache(tmp_path, "k", embedding_kind(2)).take([names[i] for i in order])
    np.testing.assert_array_equal(embedding_rows(again), rows[order])


def test_texts_are_values_as_well(tmp_path):
    cache = RowCache(tmp_path, "k", pa.string())
    cache.add(["a", "b"], pa.array(["eine Forelle", ""]))
    cache.save()
    assert RowCache(tmp_path, "k", pa.string()).take(["b", "a", "b"]).to_pylist() == ["", "eine Forelle", ""]
    assert RowCache(tmp_path, "k", pa.string()).take([]).to_pylist() == []


def test_another_number_of_shards_computes_nothing(specimens, pictures, tmp_path):
    ids, hashes = pictures
    whole, _ = embedded(specimens, pictures, RowCache(tmp_path, "k", KIND))
    computed, tables = 0, []
    for shard in shard_names(3):
        mine = np.flatnonzero(in_shard(ids, shard))
        part = [ids[i] for i in mine], [hashes[i] for i in mine]
        cache = RowCache(tmp_path, "k", KIND, shard)
        computed += embedded(specimens, part, cache)[1]
        tables.append(tmp_path / f"{shard}.parquet")
        write_cached(tables[-1], *part, cache, DIM, {"encoder": "x"})
    assert computed == 0
    join_embeddings(tables, tmp_path / "joined.parquet")
    write_cached(tmp_path / "whole.parquet", ids, hashes, RowCache(tmp_path, "k", KIND), DIM, {"encoder": "x"})
    assert (tmp_path / "joined.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    found, rows = read_embeddings(tmp_path / "joined.parquet")
    assert found == ids
    np.testing.assert_array_equal(rows, whole)


def test_shards_are_a_partition_that_new_images_do_not_move():
    ids = [f"Fish/images/{i}.jpg" for i in range(2000)]
    parts = [set(np.array(ids)[in_shard(ids, shard)]) for shard in shard_names(4)]
    assert set.union(*parts) == set(ids)
    assert sum(map(len, parts)) == len(ids)
    assert min(map(len, parts)) > 400
    fewer = [set(np.array(ids[:1500])[in_shard(ids[:1500], shard)]) for shard in shard_names(4)]
    assert all(a <= b for a, b in zip(fewer, parts, strict=True))


def slow_embedding(specimens, pictures, folder):
    encoder = handcrafted_encoder()
    original = encoder.transform

    def slow(image):
        time.sleep(0.05)
        return original(image)

    encoder.transform = slow
    add_missing_images(encoder, specimens, *pictures, RowCache(folder, "k", KIND, checkpoint_seconds=0.2), **ARGUMENTS)


def test_after_kill_9_only_the_last_interval_is_computed_again(specimens, pictures, tmp_path):
    whole, _ = embedded(specimens, pictures, RowCache(tmp_path / "undisturbed", "k", KIND))
    process = multiprocessing.get_context("fork").Process(
        target=slow_embedding, args=(specimens, pictures, tmp_path / "c")
    )
    process.start()
    deadline = time.monotonic() + 30
    # Not a file that is being written: its name begins with a dot until it is whole.
    while not list((tmp_path / "c").glob("*/[!.]*.arrow")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    known = len(RowCache(tmp_path / "c", "k", KIND))
    assert 4 <= known < len(pictures[0])
    again, n = embedded(specimens, pictures, RowCache(tmp_path / "c", "k", KIND))
    assert n == len(pictures[0]) - known
    np.testing.assert_array_equal(again, whole)


def test_a_batch_that_does_not_fit_into_gpu_memory_is_halved():
    sizes = []

    def small(batch):
        sizes.append(len(batch))
        if len(batch) > 3:
            raise torch.cuda.OutOfMemoryError
        return 2 * batch

    batch = torch.arange(20.0).reshape(10, 2)
    torch.testing.assert_close(torch.cat(in_halves(small, batch)), 2 * batch)
    assert sizes == [10, 5, 2, 3, 5, 2, 3]


def test_one_picture_that_does_not_fit_ends_the_job():
    def never(batch):
        raise torch.cuda.OutOfMemoryError

    with pytest.raises(torch.cuda.OutOfMemoryError):
        in_halves(never, ["a picture"])
