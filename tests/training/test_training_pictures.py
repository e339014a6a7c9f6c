import operator
import random
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import ks_2samp
from timm.data import create_transform
from timm.data.random_erasing import RandomErasing
from torch.utils.data import default_collate

from cladeclip.encoders.load import load_encoder
from cladeclip.encoders.weights import make_encoder_folder
from cladeclip.training.pictures import Augmentation, BatchFinish, Read, as_image, decoded, drawn_erasure, seeded
from cladeclip.training.rand_augment import WIDTH

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("timm")
    make_encoder_folder("it", {"family": "timm", "architecture": "test_vit", "seed": 5, "image_px": 160}, folder)
    return load_encoder(folder)


@pytest.fixture(scope="module")
def picture():
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 300, 3), dtype=np.uint8))


def as_batch(*items):
    return default_collate(list(items))


def erased(pixels, erasures):
    """A batch of which nothing else is to be done."""
    return Read(pixels, torch.zeros(len(pixels), 0, WIDTH), erasures)


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
            ours = Augmentation(encoder, "crop_flip")(as_tensor(picture))
        assert ours.pixels.dtype == torch.uint8
        finished = BatchFinish(encoder, "crop_flip", 0, CPU)(as_batch(ours))[0]
        # Pillow resizes in another order, and rounds in between: two grey levels where nothing is sharper than a pixel.
        levels = (finished - theirs).abs() * 255 * torch.tensor(encoder.std).view(3, 1, 1)
        assert float(levels.max()) < 2.5
        assert float(levels.mean()) < 0.1


def test_the_published_augmentation_erases_a_quarter_of_the_pictures_with_noise(encoder):
    batch = torch.full((400, 3, 32, 32), 128, dtype=torch.uint8)
    plain = BatchFinish(encoder, "crop_flip", 0, CPU)(erased(batch, torch.zeros(400, 5, dtype=torch.int64)))
    assert (plain == plain[:1]).all()
    with seeded(5):
        erasures = torch.stack([drawn_erasure(0.25, 32, 32) for _ in range(400)])
    finish = BatchFinish(encoder, "timm", 0, CPU)
    finished = finish(erased(batch, erasures))
    changed = finished != plain
    assert 0.17 < changed.flatten(1).any(1).float().mean() < 0.33
    noise = finished[changed]
    assert abs(float(noise.mean())) < 0.05
    assert abs(float(noise.std()) - 1) < 0.05
    assert torch.equal(finish(erased(batch, erasures)), finished)
    # Each where its erasure says, whatever lies beside it in the batch.
    for place in torch.nonzero(erasures[:, 2]).squeeze(1).tolist():
        top, left, tall, wide, _ = erasures[place].tolist()
        expected = torch.zeros(32, 32, dtype=torch.bool)
        expected[top : top + tall, left : left + wide] = True
        assert torch.equal(changed[place].all(0), expected)
        assert torch.equal(finish(erased(batch[:1], erasures[place : place + 1]))[0], finished[place])


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
    batch = as_batch(Augmentation(encoder, "none")(as_tensor(picture)))
    assert torch.equal(BatchFinish(encoder, "none", 0, CPU)(batch), encoder.transform(picture)[None])


def test_the_published_augmentation_is_timms_whole_pipeline(encoder, picture):
    """With the same random numbers: crop, flip and RandAugment, each by timm on Pillow's pictures."""
    picture = picture.resize((40, 30)).resize((300, 200), Image.Resampling.BICUBIC)
    pipeline = create_transform(
        160,
        is_training=True,
        auto_augment="rand-m9-mstd0.5-inc1",
        interpolation=encoder.interpolation,
        mean=encoder.mean,
        normalize=False,
    )
    ours, finish = Augmentation(encoder, "timm"), BatchFinish(encoder, "timm", 0, CPU)
    mean, std = (255 * torch.tensor(values).view(3, 1, 1) for values in (encoder.mean, encoder.std))
    near = 0
    for key in range(40):
        with seeded(key):
            theirs = pipeline(picture).float()
        with seeded(key):
            read = ours(as_tensor(picture))
        batch = as_batch(read._replace(erasure=torch.zeros(5, dtype=torch.int64)))
        # One crop differs by two grey levels; what equalises, solarises or posterises it makes more of them at some pixels.
        near += float((finish(batch)[0] * std + mean - theirs).abs().mean()) < 1.5
    assert near >= 37


def test_seeding_leaves_the_streams_outside_as_they_were():
    def drawn():
        return [random.random(), np.random.rand(), float(torch.rand(()))]

    def seed():
        random.seed(3)
        np.random.seed(3)
        torch.manual_seed(3)

    seed()
    expected = drawn(), drawn()
    seed()
    first = drawn()
    with seeded(1, 2):
        inside = drawn()
    assert (first, drawn()) == expected
    with seeded(1, 2):
        assert drawn() == inside
    with seeded(1, 3):
        assert all(map(operator.ne, drawn(), inside))


@pytest.mark.parametrize("interpolation", ["random", "lanczos", "box", "nearest", "bilinear"])
def test_every_interpolation_that_timm_knows_can_be_an_encoders(encoder, picture, interpolation):
    for augment in ("crop_flip", "timm"):
        augmentation = Augmentation(replace(encoder, interpolation=interpolation), augment)
        for key in range(20):
            with seeded(key):
                read = augmentation(as_tensor(picture))
            assert BatchFinish(encoder, augment, 0, CPU)(as_batch(read)).shape == (1, 3, 160, 160)


@pytest.mark.parametrize("end", ["raise ValueError('a fault')", "sys.exit(3)", ""])
def test_a_process_ends_that_did_not_read_to_the_end(end):
    """However it ends: the workers take no SIGTERM, by which Python asks its children to stop."""
    code = "import sys\nfrom cladeclip.training.pictures import training_loader\n"
    code += "batches = iter(training_loader(list(range(1000)), [[i] for i in range(1000)], workers=2, pin=False))\n"
    code += f"next(batches)\n{end}\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == (1 if "raise" in end else 3 if end else 0)
    assert done.stderr.strip().splitlines()[-1:] == (["ValueError: a fault"] if "raise" in end else [])
