"""Pictures that are there twice, and specimens under two names."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cladeclip.curation.correlation import FINE, _details, _highest, correlation
from cladeclip.curation.duplicates import BITS, MOST, _hash, _pairs_of_hashes, alike, duplicates
from cladeclip.datasets.store import PictureStore, build_store


def scene(seed, width=300, height=220):
    """A picture with something in it at every scale."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((height, width))
    for cells in (4, 9, 20, 45):
        small = Image.fromarray((255 * rng.random((cells, cells))).astype(np.uint8))
        picture += np.asarray(small.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float64)
    return Image.fromarray((picture / 4).astype(np.uint8)).convert("RGB")


def again(picture, kind, seed=0):
    rng = np.random.default_rng(seed)
    width, height = picture.size
    match kind:
        case "crop":
            left, top = rng.integers(0, width // 5), rng.integers(0, height // 5)
            return picture.crop((left, top, left + int(0.8 * width), top + int(0.8 * height)))
        case "mirror":
            return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        case "resize":
            return picture.resize((width // 2, height // 2))
        case "recompress":
            buffer = io.BytesIO()
            picture.save(buffer, "JPEG", quality=25)
            return Image.open(buffer).convert("RGB")
        case "mirrored crop":
            return again(again(picture, "crop", seed), "mirror")


@pytest.mark.parametrize("kind", ["crop", "mirror", "resize", "recompress", "mirrored crop"])
@pytest.mark.parametrize("seed", range(3))
def test_a_picture_is_recognised_again_and_others_are_not(kind, seed):
    picture, other = scene(seed).convert("L"), scene(100 + seed).convert("L")
    same = again(scene(seed), kind, seed).convert("L")
    assert correlation(picture, same) > 0.85
    assert correlation(picture, other) < 0.6
    assert correlation(picture, same) == pytest.approx(correlation(same, picture))


def test_correlation_is_the_definition():
    """Against numpy's correlation coefficient of every window."""
    whole, part = _details(scene(1).convert("L"), (40, 30), 5), _details(scene(2).convert("L"), (24, 22), 5)
    image, template = whole[0, 0].double().numpy(), part[0, 0].double().numpy()
    expected = max(
        np.corrcoef(image[top : top + 22, left : left + 24].ravel(), one.ravel())[0, 1]
        for top in range(30 - 22 + 1)
        for left in range(40 - 24 + 1)
        for one in (template, template[:, ::-1])
    )
    assert _highest(whole, part) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("size", [(300, 2), (1, 1), (3, 300), (64, 64)])
def test_plain_and_slim_pictures_are_like_nothing(size):
    plain = Image.new("L", size, 120)
    for other in (plain, scene(1).convert("L")):
        assert correlation(plain, other) < 0.5
    assert FINE.side == 64


@pytest.fixture(scope="module")
def gathered(tmp_path_factory):
    """Five scenes, two of them again; each with a random embedding, near that of what it shows."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    pictures = {f"{n}.png": scene(n) for n in range(5)}
    pictures |= {"5.png": again(scene(0), "crop"), "6.png": again(scene(3), "mirror"), "7.png": scene(1)}
    for name, picture in pictures.items():
        picture.save(folder / name)
    ids = sorted(pictures)
    middles = rng.normal(size=(5, 16))
    shows = {"5.png": 0, "6.png": 3, "7.png": 1}
    embeddings = np.stack([middles[shows.get(name, int(name[0]))] + 0.1 * rng.normal(size=16) for name in ids])
    build_store(folder, ids, folder / "store.arrow", side=112, workers=1)
    images = pd.DataFrame({"image_id": ids, "scientific_name": list("aabbcadb")})
    images["pixel_group"] = ["0.png", "1.png", *ids[2:7], "1.png"]
    # Three specimens: one has two names, one has one, and one picture has none.
    images["content_group"] = ["0.png", "1.png", "2.png", "3.png", "2.png", "5.png", "6.png", "1.png"]
    return images, embeddings.astype(np.float32), PictureStore(folder / "store.arrow")


def test_groups_are_those_that_show_the_same_or_one_specimen_under_several_names(gathered):
    images, embeddings, store = gathered
    found = duplicates(images, embeddings, store, cosine=0.5, least=0.85, workers=1)
    groups = {(key, same): set(rows["image_id"]) for (key, same), rows in found.groupby(["group", "same"])}
    assert groups == {
        ("0.png", "picture"): {"0.png", "5.png"},
        ("1.png", "picture"): {"1.png", "7.png"},
        ("3.png", "picture"): {"3.png", "6.png"},
        ("2.png", "specimen"): {"2.png", "4.png"},
    }
    of_pictures = found[found["same"] == "picture"]
    assert (of_pictures["correlation"] >= 0.85).all()
    assert dict(zip(found["image_id"], found["name"], strict=True))["6.png"] == "d"


def test_what_is_far_apart_and_of_another_hash_is_not_compared(gathered):
    images, embeddings, store = gathered
    found = duplicates(images, embeddings, store, cosine=1.0, least=0.85, workers=1)
    assert set(found.loc[found["same"] == "picture", "image_id"]) == {"1.png", "7.png"}


def test_a_copy_of_few_pixels_is_found_though_its_embedding_is_far_away(tmp_path):
    rng = np.random.default_rng(0)
    for n in range(9):
        scene(n).save(tmp_path / f"{n}.png")
    scene(4).resize((60, 44)).save(tmp_path / "small.png")
    ids = sorted(path.name for path in tmp_path.iterdir())
    build_store(tmp_path, ids, tmp_path / "store.arrow", side=112, workers=1)
    pairs = alike(
        np.array(ids), rng.normal(size=(10, 16)), PictureStore(tmp_path / "store.arrow"), cosine=1.0, workers=1
    )
    assert pairs[["image_id", "other_image_id"]].to_numpy().tolist() == [["4.png", "small.png"]]
    assert pairs["correlation"].iloc[0] > 0.9


def test_plain_pictures_are_alike_by_no_hash_and_of_many_that_are_few_are_compared(tmp_path):
    for n in range(30):
        Image.new("RGB", (80, 60), (n, n, n)).save(tmp_path / f"plain {n:02d}.png")
        again(scene(1), "recompress").save(tmp_path / f"same {n:02d}.png")
    ids = sorted(path.name for path in tmp_path.iterdir())
    build_store(tmp_path, ids, tmp_path / "store.arrow", side=60, workers=1)
    hashes = [_hash(name, PictureStore(tmp_path / "store.arrow")) for name in ids]
    assert hashes[:30] == [None] * 30
    pairs = _pairs_of_hashes(hashes)
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert pairs.min() == 30
    assert np.bincount(pairs[:, 0]).max() == MOST
    # All are linked, through one another.
    assert set(pairs.ravel()) == set(range(30, 60))


def test_hashes_are_compared_as_bits():
    """Against Python's own counting, over the borders of blocks."""
    rng = np.random.default_rng(0)
    hashes = [int(value) for value in rng.integers(0, 2**62, 700)]
    hashes[650] = hashes[3] ^ 0b101
    hashes[699] = hashes[600] ^ 0b111
    expected = {(a, b) for a in range(700) for b in range(a + 1, 700) if (hashes[a] ^ hashes[b]).bit_count() <= BITS}
    assert {tuple(pair) for pair in _pairs_of_hashes(hashes).tolist()} == expected == {(3, 650)}
