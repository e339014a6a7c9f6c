import random
import struct
import time
from collections import Counter
from io import BytesIO

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from cladeclip.datasets.pictures import TURNS, is_picture, open_picture, open_prepared
from cladeclip.datasets.prepare import check_picture
from cladeclip.errors import DataError


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


def exif_block(draw, orientation):
    """A TIFF directory with an orientation among tags of any number, type, count and contents."""
    byte_order, mark = draw(st.sampled_from([("<", b"II"), (">", b"MM")]))
    known = st.sampled_from([0x010E, 0x011A, 0x0131, 0x0132, 0x8769, 0x8825, 0x9286])
    tags = [(0x0112, 3, 1, struct.pack(byte_order + "HH", orientation, 0))]
    tags += draw(
        st.lists(
            st.tuples(
                known | st.integers(0, 65535).filter(lambda tag: tag != 0x0112),
                st.integers(0, 13),
                st.sampled_from([0, 1, 2, 5, 2**31]),
                st.binary(min_size=4, max_size=4),
            ),
            max_size=8,
        )
    )
    block = b"Exif\0\0" + mark + struct.pack(byte_order + "HI", 42, 8) + struct.pack(byte_order + "H", len(tags))
    for tag, kind, count, value in sorted(tags):
        block += struct.pack(byte_order + "HHI", tag, kind, count) + value
    return block + struct.pack(byte_order + "I", draw(st.sampled_from([0, 5, 2**31]))) + draw(st.binary(max_size=40))


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_picture_is_turned_by_its_one_tag_whatever_else_its_metadata_hold(gradient, tmp_path, data):
    orientation = data.draw(st.sampled_from(range(1, 9)))
    gradient.save(tmp_path / "a.jpg", exif=exif_block(data.draw, orientation), quality=95)
    upright = gradient if orientation == 1 else gradient.transpose(TURNS[orientation])
    assert difference(open_picture(tmp_path / "a.jpg"), upright) < 4


def test_turns_are_those_of_pillow(gradient):
    for orientation, turn in TURNS.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        saved = BytesIO()
        gradient.save(saved, "PNG", exif=exif)
        assert difference(ImageOps.exif_transpose(Image.open(saved)), gradient.transpose(turn)) == 0


FORMATS = {
    "jpg": "JPEG", "png": "PNG", "tif": "TIFF", "webp": "WEBP", "bmp": "BMP", "gif": "GIF", "jp2": "JPEG2000",
    "avif": "AVIF", "heic": "HEIF", "jfif": "JPEG", "mpo": "MPO", "ppm": "PPM", "ico": "ICO", "tga": "TGA",
}  # fmt: skip


@pytest.mark.parametrize("suffix", ["png", "webp", "avif", "heic", "tif", "jpg"])
def test_a_turn_is_applied_once_in_every_format_that_can_say_so(gradient, tmp_path, suffix):
    exif = Image.Exif()
    exif[0x0112] = 6
    gradient.save(tmp_path / f"a.{suffix}", FORMATS[suffix], exif=exif.tobytes(), quality=95)
    assert difference(open_picture(tmp_path / f"a.{suffix}"), gradient.transpose(TURNS[6])) < 8


@pytest.mark.parametrize("suffix", [name for name in FORMATS if name != "ico"])
def test_every_format_is_found_and_read(gradient, tmp_path, suffix):
    gradient.save(tmp_path / f"a.{suffix.upper()}", FORMATS[suffix])
    assert is_picture(tmp_path / f"a.{suffix.upper()}")
    assert difference(open_picture(tmp_path / f"a.{suffix.upper()}"), gradient) < 8
    if suffix != "tga":  # nothing at its beginning says what it is
        gradient.save(tmp_path / "a", FORMATS[suffix])
        assert is_picture(tmp_path / "a")
        assert difference(open_picture(tmp_path / "a"), gradient) < 8


def test_other_files_without_a_suffix_are_no_pictures(tmp_path):
    for name, content in {
        "README": b"Pictures of fish",
        "blank": b"",
        "table": b"PAR1",
        "script": b"#!/bin/sh",
    }.items():
        (tmp_path / name).write_bytes(content)
        assert not is_picture(tmp_path / name)


def test_damaged_files_of_every_format_are_read_or_rejected(gradient, tmp_path):
    """Truncated, with flipped bits, and spliced with another file: for 20 seconds, 1,500 files at most."""
    files = []
    for name in FORMATS.values():
        saved = BytesIO()
        gradient.save(saved, name)
        files.append(saved.getvalue())
    stream = random.Random(5)
    outcomes = Counter()
    end = time.monotonic() + 20
    for _ in range(1500):
        content = bytearray(stream.choice(files))
        match stream.randrange(3):
            case 0:
                del content[stream.randrange(len(content)) :]
            case 1:
                for _ in range(stream.randrange(1, 20)):
                    content[stream.randrange(len(content))] ^= 1 << stream.randrange(8)
            case 2:
                other = stream.choice(files)
                content[stream.randrange(len(content)) :] = other[stream.randrange(len(other)) :]
        (tmp_path / "damaged").write_bytes(content)
        check = check_picture("damaged", str(tmp_path))
        outcomes[check.reason or "read"] += 1
        assert bool(check.reason) != bool(check.pixel_hash)
        assert bool(check.reason) == bool(check.detail)
        if time.monotonic() > end:
            break
    assert outcomes["read"]
    assert outcomes["truncated"] + outcomes["unreadable"] + outcomes["not_an_image"] > 50


@pytest.mark.parametrize(
    "error", [RuntimeError, TypeError, IndexError, struct.error, MemoryError, ZeroDivisionError, KeyError]
)
def test_whatever_a_decoder_raises_is_that_pictures(gradient, tmp_path, monkeypatch, error):
    gradient.save(tmp_path / "a.png")

    def fail(self):
        raise error("inside")

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", fail)
    check = check_picture("a.png", str(tmp_path))
    assert check.reason == "unreadable"
    assert error.__name__ in check.detail
    with pytest.raises(DataError, match=r"a\.png: could be read when the data was prepared, but not now"):
        open_prepared(tmp_path, "a.png")


def test_a_picture_that_cannot_be_reduced_while_it_is_decoded_is_decoded_whole(gradient, tmp_path, monkeypatch):
    gradient.resize((600, 400)).save(tmp_path / "a.jpg")

    def fail(*_):
        raise RuntimeError("no draft")

    monkeypatch.setattr("PIL.JpegImagePlugin.JpegImageFile.draft", fail)
    assert open_picture(tmp_path / "a.jpg", reduce_to=50).size == (600, 400)
