import numpy as np
import pytest
from sklearn.manifold import trustworthiness

from cladeclip.evaluation.embeddings_map import on_the_plane


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_pca_is_the_singular_value_decomposition_of_what_is_left_after_the_mean(rng):
    embeddings = rng.normal(size=(60, 8)) * np.arange(1, 9)
    units = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    centred = units - units.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    expected = (left * sizes)[:, :2]
    found = on_the_plane(embeddings.astype(np.float32), seed=0, threads=1)[["pca_1", "pca_2"]].to_numpy()
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-5)


def test_tsne_keeps_neighbourhoods_and_is_the_same_again(rng):
    centres = rng.normal(size=(12, 32))
    embeddings = (centres[np.arange(180) % 12] + 0.3 * rng.normal(size=(180, 32))).astype(np.float32)
    plane = on_the_plane(embeddings, seed=0, threads=1)
    units = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    assert trustworthiness(units, plane[["tsne_1", "tsne_2"]], n_neighbors=10) > 0.95
    assert plane.equals(on_the_plane(embeddings, seed=0, threads=1))


@pytest.mark.parametrize("shape", [(1, 4), (2, 4), (3, 4), (5, 1), (6, 2)])
def test_few_pictures_and_few_dimensions_have_a_place(rng, shape):
    plane = on_the_plane(rng.normal(size=shape).astype(np.float32), seed=0, threads=1)
    assert len(plane) == shape[0]
    assert np.isfinite(plane.to_numpy()).all()


def test_pictures_that_are_all_alike_have_one_place():
    plane = on_the_plane(np.ones((10, 4), dtype=np.float32), seed=0, threads=1)
    np.testing.assert_allclose(plane.to_numpy(), 0, atol=1e-6)
