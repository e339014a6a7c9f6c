"""Tables and embeddings as other people's packages read them. Checkpoints are in training/: open_clip, timm, pybioclip."""

import datasets
import duckdb
import numpy as np
import pandas as pd
import polars
import pytest

from cladeclip.io.embeddings import read_embeddings, write_embeddings


@pytest.fixture
def embeddings(tmp_path):
    """(path, ids, vectors) of an embeddings table of 300 pictures."""
    path = tmp_path / "image.parquet"
    vectors = np.random.default_rng(5).normal(size=(300, 8)).astype(np.float32)
    write_embeddings(path, [f"Fish/images/{number:03}.jpg" for number in range(300)], vectors, {"stage": "embed"})
    return path, *read_embeddings(path)


def test_duckdb_finds_the_nearest_pictures(embeddings):
    path, ids, vectors = embeddings
    query = f"""
        SELECT b.image_id, array_cosine_similarity(a.embedding::FLOAT[8], b.embedding::FLOAT[8]) AS cosine
        FROM '{path}' AS a, '{path}' AS b
        WHERE a.image_id = '{ids[0]}' AND b.image_id <> a.image_id
        ORDER BY cosine DESC LIMIT 5
    """
    found = duckdb.sql(query).df()
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = unit[1:] @ unit[0]
    nearest = np.argsort(-cosines)[:5]
    assert list(found["image_id"]) == [ids[1 + number] for number in nearest]
    np.testing.assert_allclose(found["cosine"], cosines[nearest], atol=1e-6)


def test_polars_reads_an_array_column(embeddings):
    path, ids, vectors = embeddings
    frame = polars.read_parquet(path)
    assert frame.schema["embedding"] == polars.Array(polars.Float32, 8)
    assert frame["image_id"].to_list() == ids
    np.testing.assert_array_equal(frame["embedding"].to_numpy(), vectors)


def test_hugging_face_datasets_reads_it_as_arrays(embeddings, tmp_path):
    path, ids, vectors = embeddings
    loaded = datasets.load_dataset("parquet", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded["image_id"][:] == ids
    np.testing.assert_array_equal(np.stack(loaded.with_format("numpy")["embedding"][:]), vectors)


def test_pandas_reads_a_row_as_an_array(embeddings):
    path, ids, vectors = embeddings
    frame = pd.read_parquet(path)
    assert list(frame["image_id"]) == ids
    np.testing.assert_array_equal(np.stack(frame["embedding"].to_list()), vectors)
