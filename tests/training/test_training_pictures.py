import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform

from cladeclip.encoders.load import load_encoder
from cladeclip.encoders.weights import make_encoder_folder
from cladeclip.training.pictures import BatchFinish, seeded, spare_posterize, train_transform

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("timm")
    make_encoder_folder("it", {"family": "timm", "architecture": "test_vit", "seed": 5, "image_px": 160}, folder)
    return load_encoder(folder)


@pytest.fixture(scope="module")
def picture():
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 300, 3), dtype=np.uint8))


def test_worker_and_batch_together_do_what_timms_pipeline_does(encoder, picture):
    pipeline = create_transform(
        160,
        is_training=True,
        interpolation=encoder.interpolation,
        mean=encoder.mean,
        std=encoder.std,
        scale=(0.5, 1.0),
        color_jitter=None,
    )
    for key in range(5):
        with seeded(key):
            theirs = pipeline(picture)
        with seeded(key):
            ours = train_transform(encoder, "crop_flip")(picture)
        assert ours.dtype == torch.uint8
        torch.testing.assert_close(
            BatchFinish(encoder, "crop_flip", 0, CPU)(ours[None], 0)[0], theirs, atol=1e-5, rtol=0
        )


def test_the_published_augmentation_erases_a_quarter_of_the_pictures_with_noise(encoder):
    batch = torch.full((400, 3, 32, 32), 128, dtype=torch.uint8)
    plain = BatchFinish(encoder, "crop_flip", 0, CPU)(batch, 0)
    assert (plain == plain[:1]).all()
    finish = BatchFinish(encoder, "timm", 0, CPU)
    erased = finish(batch, 0)
    changed = erased != plain
    assert 0.17 < changed.flatten(1).any(1).float().mean() < 0.33
    noise = erased[changed]
    assert abs(float(noise.mean())) < 0.05
    assert abs(float(noise.std()) - 1) < 0.05
    assert torch.equal(finish(batch, 0), erased)
    assert not torch.equal(finish(batch, 1), erased)


def test_the_encoders_own_transform_is_left_as_it_is(encoder, picture):
    batch = train_transform(encoder, "none")(picture)[None]
    assert torch.equal(BatchFinish(encoder, "none", 0, CPU)(batch, 0), encoder.transform(picture)[None])


def test_every_operation_works_at_its_strongest(encoder, picture):
    """timm's PosterizeIncreasing asks for 0 bits there, which Pillow refuses."""
    transform = train_transform(encoder, "timm")
    operations = [op for step in transform.transforms for op in getattr(step, "ops", ())]
    assert any("Posterize" in op.name for op in operations)
    for operation in operations:
        operation.prob, operation.magnitude, operation.magnitude_std = 1.0, 10, 0
        with seeded(0):
            assert operation(picture).size == picture.size


def test_posterize_keeps_one_bit_where_none_is_asked_for(picture):
    transform = create_transform(32, is_training=True, auto_augment="rand-m9-mstd0.5-inc1")
    spare_posterize(transform)
    posterize = next(op for step in transform.transforms for op in getattr(step, "ops", ()) if "Posterize" in op.name)
    assert set(np.unique(np.asarray(posterize.aug_fn(picture, 0)))) == {0, 128}
    assert np.array_equal(posterize.aug_fn(picture, 8), picture)


def test_seeding_leaves_the_streams_outside_as_they_were():
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    with seeded(1, 2):
        inside = torch.rand(3)
    assert torch.equal(torch.rand(3), expected)
    with seeded(1, 2):
        assert torch.equal(torch.rand(3), inside)
