"""What a notebook imports."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import cladeclip
from cladeclip.errors import CladeclipError
from cladeclip.io.embeddings import write_embeddings


def test_importing_the_package_imports_no_large_library():
    code = "import cladeclip, sys; print([m for m in ('numpy', 'pandas', 'pyarrow', 'torch') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
    assert set(cladeclip.__all__) <= set(dir(cladeclip))


def test_embeddings_are_a_frame_of_float32_by_image(tmp_path):
    vectors = np.random.default_rng(5).normal(size=(3, 4)).astype(np.float32)
    write_embeddings(tmp_path / "image.parquet", ["b", "a", "c"], vectors, {})
    frame = cladeclip.load_embeddings(tmp_path / "image.parquet")
    assert frame.index.name == "image_id"
    assert list(frame.index) == ["a", "b", "c"]
    np.testing.assert_array_equal(frame.to_numpy(), vectors[[1, 0, 2]])
    assert frame.to_numpy().dtype == np.float32


def test_a_comparison_is_found_in_its_results_folder(tmp_path):
    with pytest.raises(CladeclipError, match=r"comparison\.parquet"):
        cladeclip.load_comparison(tmp_path)


def test_an_encoder_embeds_pictures(student):
    encoder = cladeclip.load_encoder(student)
    batch = encoder.transform(Image.new("RGB", (90, 60), "red"))[None]
    assert encoder.encode_images(batch).shape == (1, encoder.dim)
    with pytest.raises(CladeclipError, match="nowhere"):
        cladeclip.load_encoder("nowhere")
