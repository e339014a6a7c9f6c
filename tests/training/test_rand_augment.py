"""Beside timm's own operations on Pillow's pictures, and what timm's own RandAugment draws."""

import random
from collections import Counter

import numpy as np
import pytest
import torch
from conftest import DEVICE
from PIL import Image, ImageFilter, ImageOps
from scipy.stats import chisquare, ks_2samp
from timm.data.auto_augment import AugmentOp, rand_augment_transform

from cladeclip.training.pictures import as_image, seeded
from cladeclip.training.rand_augment import AFFINE, NOTED, NOTHING, POSTERIZE, WIDTH, DrawnOperations, carried_out

PX = 48
FILL = (104, 117, 124)
LAW = "rand-m9-mstd0.5-inc1"
KINDS = [
    *("AutoContrast", "Equalize", "Invert", "Rotate", "PosterizeIncreasing", "SolarizeIncreasing", "SolarizeAdd"),
    *("ColorIncreasing", "ContrastIncreasing", "BrightnessIncreasing", "SharpnessIncreasing"),
    *("ShearX", "ShearY", "TranslateXRel", "TranslateYRel"),
]
MOVES = {"Rotate", "ShearX", "ShearY", "TranslateXRel", "TranslateYRel"}
# timm's names of the filters, and Pillow's.
FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


def pictures():
    """(7, 3, PX, PX) uint8: noise, noise without sharp edges, dark, one-coloured, two-coloured, a ramp, nearly black."""
    noise = np.random.default_rng(0).integers(0, 256, (PX, PX, 3), dtype=np.uint8)
    soft = np.asarray(Image.fromarray(noise).filter(ImageFilter.GaussianBlur(2)))
    ramp = np.broadcast_to(np.linspace(0, 255, PX).astype(np.uint8)[:, None], (PX, PX, 3))
    two = np.where(noise[..., :1] > 200, np.uint8(130), np.uint8(90)).repeat(3, axis=2)
    drawn = [noise, soft, noise // 3 + 20, np.full_like(noise, 77), two, ramp, noise // 255]
    return torch.from_numpy(np.stack(drawn)).permute(0, 3, 1, 2).contiguous()


def operation(name, magnitude, filtered=Image.Resampling.BICUBIC):
    return AugmentOp(name, 1.0, magnitude, {"img_mean": FILL, "interpolation": filtered})


def noted_by(name, magnitude, key, filtered=Image.Resampling.BICUBIC):
    """(1, WIDTH): what is noted of timm's operation with timm's own draws."""
    law = rand_augment_transform("rand-m9-n1", {})
    law.ops = [operation(name, magnitude, filtered)]
    draw = DrawnOperations(law, PX)
    with seeded(key):
        return draw()


def ours(name, magnitude, key, filtered=Image.Resampling.BICUBIC):
    given = pictures()
    noted = noted_by(name, magnitude, key, filtered)
    return on_device(given, noted.expand(len(given), 1, WIDTH))


def on_device(pictures, operations):
    fill = torch.tensor(FILL, dtype=torch.uint8, device=DEVICE)
    return carried_out(pictures.to(DEVICE, copy=True), operations, fill).cpu()


def theirs(name, magnitude, key, filtered=Image.Resampling.BICUBIC):
    found = []
    for picture in pictures():
        law = rand_augment_transform("rand-m9-n1", {})
        law.ops = [operation(name, magnitude, filtered)]
        if "Posterize" in name:
            # Of no bits Pillow makes an error, or black; we keep one.
            law.ops[0].aug_fn = lambda image, bits, **_: ImageOps.posterize(image, max(bits, 1)) if bits < 8 else image
        with seeded(key):
            found.append(torch.from_numpy(np.array(law(as_image(picture)))).permute(2, 0, 1))
    return torch.stack(found)


@pytest.mark.parametrize("magnitude", [0, 1, 9, 10])
@pytest.mark.parametrize("name", KINDS)
def test_each_operation_does_what_timms_does(name, magnitude):
    for key in range(4):
        difference = (ours(name, magnitude, key).int() - theirs(name, magnitude, key).int()).abs()
        assert difference.max() <= 1
        # Pillow cuts off what is not whole: where a filter gives nearly a whole number, float32 may fall on its other side.
        assert (difference > 0).float().mean() < (1e-2 if name in MOVES else 1e-3)


@pytest.mark.parametrize("filtered", FILTERS)
def test_each_filter_is_pillows(filtered):
    for name in ("Rotate", "ShearX", "TranslateYRel"):
        first, second = (made(name, 7, 3, FILTERS[filtered]).int() for made in (ours, theirs))
        # Where a place lies between two pixels, the nearest of them is a matter of rounding.
        assert ((first - second).abs() > 1).float().mean() < (5e-3 if filtered == "nearest" else 1e-9)


def test_a_filter_that_cannot_turn_pictures_is_replaced_by_the_bicubic():
    assert torch.equal(ours("Rotate", 9, 3, Image.Resampling.LANCZOS), ours("Rotate", 9, 3, Image.Resampling.BICUBIC))


def test_timm_knows_no_operation_that_we_do_not():
    law = rand_augment_transform(LAW, {})
    assert {op.name for op in law.ops} == set(KINDS)
    DrawnOperations(law, PX)
    law.ops.append(AugmentOp("Desaturate"))
    with pytest.raises(ValueError, match="there is no operation 'Desaturate'"):
        DrawnOperations(law, PX)


def test_a_drawn_operation_needs_the_same_random_numbers_as_timms():
    """Whatever is drawn: what comes after, the erasing, is the same whether an operation is noted or carried out."""
    picture = as_image(pictures()[0])
    for key in range(50):
        law = rand_augment_transform(LAW, {"img_mean": FILL})
        for op in law.ops:
            if "Posterize" in op.name:
                op.aug_fn = lambda image, bits, **_: image
        with seeded(key):
            law(picture)
            expected = random.random(), np.random.rand()
        with seeded(key):
            DrawnOperations(rand_augment_transform(LAW, {"img_mean": FILL}), PX)()
            assert (random.random(), np.random.rand()) == expected


def test_operations_probabilities_and_magnitudes_are_timms():
    """Each kind is equally likely, half of the layers do nothing, and the levels have timm's distribution."""
    of_timm = {}
    for name in KINDS:
        law = rand_augment_transform(LAW, {})
        op = next(op for op in law.ops if op.name == name)
        op.prob = 1.0
        levels = []
        op.aug_fn = lambda image, *level, levels=levels, **_: levels.append(level[0] if level else 0.0)
        with seeded(11):
            for _ in range(500):
                op(None)
        of_timm[name] = levels
    law = rand_augment_transform(LAW, {})
    kinds = Counter()
    drawn = {name: [] for name in KINDS}
    draw = DrawnOperations(law, 1)
    for op in law.ops:
        op.aug_fn = watched(op.name, op.aug_fn, drawn)
    n = 15_000
    with seeded(12):
        for _ in range(n):
            kinds[sum(row[0] != NOTHING for row in draw().tolist())] += 1
    assert chisquare([kinds[0], kinds[1], kinds[2]], [n / 4, n / 2, n / 4]).pvalue > 1e-3
    assert chisquare([len(levels) for levels in drawn.values()]).pvalue > 1e-3
    for name, levels in drawn.items():
        assert ks_2samp(levels, of_timm[name]).pvalue > 1e-3, name


def watched(name, noting, drawn):
    def watching(noted, *level, **rest):
        drawn[name].append(level[0] if level else 0.0)
        return noting(noted, *level, **rest)

    return watching


def test_a_picture_does_not_depend_on_its_neighbours():
    law = rand_augment_transform(LAW, {})
    draw = DrawnOperations(law, PX)
    batch = pictures().repeat(10, 1, 1, 1)
    with seeded(4):
        operations = torch.stack([draw() for _ in batch])
    assert set(operations[:, :, 0].flatten().tolist()) >= {NOTHING, AFFINE, POSTERIZE}
    together = on_device(batch, operations)
    for row in range(len(batch)):
        alone = on_device(batch[row : row + 1], operations[row : row + 1])
        assert torch.equal(alone[0], together[row])


def test_rows_of_zeros_do_nothing():
    batch = pictures()
    nothing = torch.zeros(len(batch), 2, WIDTH)
    assert torch.equal(on_device(batch, nothing), batch)


def test_every_noted_name_is_one_of_timms():
    assert {name.removesuffix("Increasing").removesuffix("Rel") for name in KINDS} == set(NOTED)
