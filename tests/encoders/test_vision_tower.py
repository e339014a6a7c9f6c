"""Vision towers of transformers: tiny models of random weights, of the classes that the real ones have."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import RECIPE

from cladeclip.datasets.pictures import open_picture
from cladeclip.encoders.embed import embed_images
from cladeclip.encoders.load import load_encoder
from cladeclip.encoders.weights import make_encoder_folder
from cladeclip.errors import CladeclipError
from cladeclip.reporting.model_card import library_of
from cladeclip.training.checkpoint import save_checkpoint
from cladeclip.training.loop import train


def saved(model, folder, side):
    from transformers import CLIPImageProcessor

    model.save_pretrained(folder)
    processor = CLIPImageProcessor(size={"height": side, "width": side}, do_center_crop=False)
    processor.save_pretrained(folder)
    return processor


@pytest.fixture(scope="module")
def florence(tmp_path_factory):
    from transformers import Florence2Config, Florence2Model

    vision = {
        "depths": [1] * 4, "embed_dim": [8, 8, 16, 16], "num_heads": [1, 1, 2, 2], "num_groups": [1, 1, 2, 2],
        "window_size": 4, "projection_dim": 16,
    }  # fmt: skip
    text = {
        "model_type": "bart", "vocab_size": 64, "d_model": 16, "encoder_layers": 1, "decoder_layers": 1,
        "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16,
    }  # fmt: skip
    torch.manual_seed(0)
    model = Florence2Model(Florence2Config(vision_config=vision, text_config=text, image_token_id=60)).eval()
    folder = tmp_path_factory.mktemp("florence")
    return model, saved(model, folder, 64), folder


def encoder_of(source, folder):
    make_encoder_folder("it", {"family": "transformers", "architecture": f"local-dir:{source}"}, folder)
    return load_encoder(folder)


def test_florence_is_the_mean_over_the_places_of_its_vision_towers_map(florence, specimens, images, tmp_path):
    model, processor, source = florence
    encoder = encoder_of(source, tmp_path)
    assert (encoder.family, encoder.dim, encoder.image_px) == ("transformers", 16, 64)
    ids = list(images["image_id"][:5])
    found = embed_images(encoder, specimens, ids, batch_size=2, workers=0, decode="exact")
    for image_id, row in zip(ids, found, strict=True):
        pixels = processor(images=open_picture(specimens / image_id), return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            maps = model.vision_tower(pixels).last_hidden_state[0].double().numpy()
        expected = [np.mean([maps[c, y, x] for y in range(2) for x in range(2)]) for c in range(16)]
        np.testing.assert_allclose(row, expected, atol=1e-5)


def test_tokens_before_the_patches_are_left_out(tmp_path):
    from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    torch.manual_seed(0)
    model = Dinov2WithRegistersModel(
        Dinov2WithRegistersConfig(
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            image_size=56,
            patch_size=14,
            num_register_tokens=3,
        )
    ).eval()
    saved(model, tmp_path / "source", 56)
    encoder = encoder_of(tmp_path / "source", tmp_path / "encoder")
    batch = torch.rand(2, 3, 56, 56)
    with torch.inference_mode():
        tokens = model(batch).last_hidden_state
    assert tokens.shape[1] == 1 + 3 + 16
    torch.testing.assert_close(encoder.encode_images(batch), tokens[:, 4:].mean(1))


def test_a_folder_without_a_model_is_one_sentence(tmp_path):
    with pytest.raises(CladeclipError, match=r"encoders\.it\.architecture .* cannot be loaded") as caught:
        encoder_of(tmp_path / "nowhere", tmp_path / "it")
    assert "\n" not in str(caught.value)


def test_a_vision_tower_is_trained_and_transformers_loads_it(florence, store, images, tmp_path):
    from transformers import AutoModel

    encoder = encoder_of(florence[2], tmp_path / "before")
    settings = replace(RECIPE, epochs=3, batch_size=9, pct_start=0.2, lr=1e-3, augment="crop_flip")
    labels = np.arange(len(images)) % 7
    history = train(encoder, store, list(images["image_id"]), labels, settings, seed=5, workers=0)
    save_checkpoint(encoder, tmp_path / "before", tmp_path / "after", history)
    before, after = (AutoModel.from_pretrained(tmp_path / name).state_dict() for name in ("before", "after"))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.startswith("vision_tower.") for name in changed)
    batch = torch.stack([encoder.transform(store.read(image_id)) for image_id in images["image_id"][:3]])
    ours = load_encoder(tmp_path / "after")
    torch.testing.assert_close(ours.encode_images(batch), encoder.encode_images(batch))
    assert library_of({path.name: "" for path in (tmp_path / "after").iterdir()}) == "transformers"
