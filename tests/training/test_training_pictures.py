from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import ks_2samp
from timm.data import create_transform
from timm.data.random_erasing import RandomErasing

from cladeclip.encoders.load import load_encoder
from cladeclip.encoders.weights import make_encoder_folder
from cladeclip.training.pictures import (
    BatchFinish,
    as_image,
    decoded,
    drawn_erasure,
    seeded,
    spare_posterize,
    train_transform,
)

CPU = torch.device("cpu")
NOTHING_ERASED = torch.zeros(1, 5, dtype=torch.int64)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("timm")
    make_encoder_folder("it", {"family": "timm", "architecture": "test_vit", "seed": 5, "image_px": 160}, folder)
    return load_encoder(folder)


@pytest.fixture(scope="module")
def picture():
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 300, 3), dtype=np.uint8))


def as_tensor(picture):
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def test_pictures_are_decoded_as_by_pillow(store, images):
    for image_id in images["image_id"][:5]:
        assert as_image(decoded(store.encoded(image_id))).tobytes() == store.read(image_id).tobytes()


def test_worker_and_batch_together_do_what_timms_pipeline_does(encoder, picture):
    picture = picture.resize((40, 30)).resize((300, 200), Image.Resampling.BICUBIC)
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
            ours = train_transform(encoder, "crop_flip")(as_tensor(picture))
        assert ours.dtype == torch.uint8
        finished = BatchFinish(encoder, "crop_flip", 0, CPU)(ours[None], NOTHING_ERASED)[0]
        # Pillow resizes in another order, and rounds in between: two grey levels where nothing is sharper than a pixel.
        levels = (finished - theirs).abs() * 255 * torch.tensor(encoder.std).view(3, 1, 1)
        assert float(levels.max()) < 2.5
        assert float(levels.mean()) < 0.1


def test_the_published_augmentation_erases_a_quarter_of_the_pictures_with_noise(encoder):
    batch = torch.full((400, 3, 32, 32), 128, dtype=torch.uint8)
    plain = BatchFinish(encoder, "crop_flip", 0, CPU)(batch, NOTHING_ERASED.expand(400, 5))
    assert (plain == plain[:1]).all()
    with seeded(5):
        erasures = torch.stack([drawn_erasure(0.25, 32, 32) for _ in range(400)])
    finish = BatchFinish(encoder, "timm", 0, CPU)
    erased = finish(batch, erasures)
    changed = erased != plain
    assert 0.17 < changed.flatten(1).any(1).float().mean() < 0.33
    noise = erased[changed]
    assert abs(float(noise.mean())) < 0.05
    assert abs(float(noise.std()) - 1) < 0.05
    assert torch.equal(finish(batch, erasures), erased)
    # Each where its erasure says, whatever lies beside it in the batch.
    for place in torch.nonzero(erasures[:, 2]).squeeze(1).tolist():
        top, left, tall, wide, _ = erasures[place].tolist()
        expected = torch.zeros(32, 32, dtype=torch.bool)
        expected[top : top + tall, left : left + wide] = True
        assert torch.equal(changed[place].all(0), expected)
        assert torch.equal(finish(batch[:1], erasures[place : place + 1])[0], erased[place])


def test_rectangles_are_those_that_timm_erases():
    """The same law: how many pictures, and the distributions of area, aspect and place, by rank tests."""
    theirs = RandomErasing(1.0, mode="const", device="cpu")
    found = {"timm": [], "ours": []}
    with seeded(7):
        for _ in range(3000):
            picture = torch.ones(3, 64, 96)
            theirs(picture)
            rows, columns = torch.nonzero(picture[0] == 0, as_tuple=True)
            top, left = int(rows.min()), int(columns.min())
            found["timm"].append((top, left, int(rows.max()) - top + 1, int(columns.max()) - left + 1))
            found["ours"].append(tuple(drawn_erasure(1.0, 64, 96)[:4].tolist()))
        assert abs(np.mean([bool(drawn_erasure(0.25, 64, 96)[2]) for _ in range(4000)]) - 0.25) < 0.03
    of_timm, ours = (np.array(found[name], dtype=float) for name in ("timm", "ours"))
    for law in (lambda r: r[:, 0], lambda r: r[:, 1], lambda r: r[:, 2] * r[:, 3], lambda r: r[:, 2] / r[:, 3]):
        assert ks_2samp(law(of_timm), law(ours)).pvalue > 1e-3


def test_the_encoders_own_transform_is_left_as_it_is(encoder, picture):
    batch = train_transform(encoder, "none")(as_tensor(picture))[None]
    assert torch.equal(BatchFinish(encoder, "none", 0, CPU)(batch, NOTHING_ERASED), encoder.transform(picture)[None])


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


@pytest.mark.parametrize("interpolation", ["random", "lanczos", "box", "nearest", "bilinear"])
def test_every_interpolation_that_timm_knows_can_be_an_encoders(encoder, picture, interpolation):
    transform = train_transform(replace(encoder, interpolation=interpolation), "crop_flip")
    with seeded(1):
        assert transform(as_tensor(picture)).shape == (3, 160, 160)
