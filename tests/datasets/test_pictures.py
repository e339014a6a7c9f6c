import numpy as np
import pytest
from PIL import Image

from cladeclip.datasets.pictures import open_picture


@pytest.fixture
def gradient():
    y, x = np.mgrid[0:40, 0:60]
    return Image.fromarray(np.stack([4 * x, 6 * y, 128 + 0 * x], axis=-1).astype(np.uint8))


def difference(a, b):
    return np.abs(np.asarray(a, dtype=float) - np.asarray(b, dtype=float)).mean()


def test_every_mode_comes_out_as_a_person_sees_it(gradient, tmp_path):
    grey = gradient.convert("L")
    alpha = gradient.copy()
    alpha.putalpha(255)
    cases = {
        "rgb.png": (gradient, gradient, {}),
        "grey.png": (grey, grey.convert("RGB"), {}),
        "alpha.png": (alpha, gradient, {}),
        "cmyk.jpg": (gradient.convert("CMYK"), gradient, {"quality": 100}),
        "palette.png": (gradient.quantize(256), gradient, {}),
        "deep.png": (Image.fromarray(np.asarray(grey).astype(np.uint16) * 257), grey.convert("RGB"), {}),
        "animated.gif": (gradient.quantize(256), gradient, {"save_all": True, "append_images": [gradient.quantize(8)]}),
    }
    for name, (image, seen, options) in cases.items():
        image.save(tmp_path / name, **options)
        opened = open_picture(tmp_path / name)
        assert (opened.mode, opened.size) == ("RGB", gradient.size), name
        assert difference(opened, seen) < 4, name


def test_transparent_pixels_are_white(tmp_path):
    Image.new("RGBA", (8, 8), (10, 20, 30, 0)).save(tmp_path / "clear.png")
    assert (np.asarray(open_picture(tmp_path / "clear.png")) == 255).all()


def test_exif_rotation_is_applied(gradient, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a turn of 90 degrees clockwise
    gradient.save(tmp_path / "turned.jpg", exif=exif, quality=100)
    assert difference(open_picture(tmp_path / "turned.jpg"), gradient.transpose(Image.Transpose.ROTATE_270)) < 4


def test_reduced_decoding_keeps_the_shorter_side_and_the_picture(tmp_path):
    big = Image.effect_noise((1600, 800), 60).resize((100, 50)).resize((1600, 800)).convert("RGB")
    big.save(tmp_path / "big.jpg", quality=95)
    reduced = open_picture(tmp_path / "big.jpg", reduce_to=150)
    assert 150 <= min(reduced.size) < 300
    assert difference(reduced.resize((100, 50)), big.resize((100, 50))) < 3
