"""Vision towers of transformers: tiny models of random weights, of the classes that the real ones have."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import RECIPE
from hub.tiny_models import save_florence

from cladeclip.datasets.pictures import open_picture
from cladeclip.encoders.embed import embed_images
from cladeclip.encoders.load import load_encoder
from cladeclip.encoders.weights import family_of, make_encoder_folder
from cladeclip.errors import CladeclipError
from cladeclip.training.checkpoint import save_checkpoint
from cladeclip.training.classes import of_classes
from cladeclip.training.loop import train


def saved(model, folder, side):
    from transformers import CLIPImageProcessor

    model.save_pretrained(folder)
    processor = CLIPImageProcessor(size={"height": side, "width": side}, do_center_crop=False)
    processor.save_pretrained(folder)
    return processor


@pytest.fixture(scope="module")
def florence(tmp_path_factory):
    from transformers import AutoImageProcessor, AutoModel

    folder = tmp_path_factory.mktemp("florence")
    save_florence(folder)
    return AutoModel.from_pretrained(folder).eval(), AutoImageProcessor.from_pretrained(folder), folder


def encoder_of(source, folder):
    make_encoder_folder("it", {"family": "transformers", "architecture": f"local-dir:{source}"}, folder)
    return load_encoder(folder)


def test_florence_is_the_mean_of_the_tokens_that_its_language_model_reads(florence, specimens, images, tmp_path):
    """As the original took it: of a map of h x w places, h w + 1 projected tokens. In float64, by its definition."""
    model, processor, source = florence
    encoder = encoder_of(source, tmp_path)
    assert (encoder.family, encoder.dim, encoder.image_px) == ("transformers", 12, 64)
    ids = list(images["image_id"][:5])
    found = embed_images(encoder, specimens, ids, batch_size=2, workers=0, decode="exact")
    weights = {name: value.double().numpy() for name, value in model.multi_modal_projector.state_dict().items()}
    rows, columns = (
        weights["image_position_embed.row_embeddings.weight"],
        weights["image_position_embed.column_embeddings.weight"],
    )
    # The sine and cosine of time 0, of which a single picture has nothing else.
    time = model.multi_modal_projector.visual_temporal_embed.pos_idx_to_embed[0].double().numpy()
    for image_id, row in zip(ids, found, strict=True):
        pixels = processor(images=open_picture(specimens / image_id), return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            seen = model.vision_tower(pixels).last_hidden_state[0].double().numpy()
            theirs = model.get_image_features(pixels).pooler_output.mean(1)[0]
        places = [
            seen[:, y, x] + np.concatenate([columns[x], rows[y]]) + time
            for y in range(seen.shape[1])
            for x in range(seen.shape[2])
        ]
        tokens = []
        for place in [np.mean(places, axis=0), *places]:
            projected = weights["image_projection.weight"] @ place
            scaled = (projected - projected.mean()) / np.sqrt(projected.var() + 1e-5)
            tokens.append(scaled * weights["image_proj_norm.weight"] + weights["image_proj_norm.bias"])
        np.testing.assert_allclose(row, np.mean(tokens, axis=0), atol=1e-5)
        np.testing.assert_allclose(row, theirs, atol=1e-5)


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
    targets = of_classes(images["image_id"], np.arange(len(images)) % 7, 7)
    history = train(encoder, store, targets, settings, seed=5, workers=0)
    save_checkpoint(encoder, tmp_path / "before", tmp_path / "after", history)
    before, after = (AutoModel.from_pretrained(tmp_path / name).state_dict() for name in ("before", "after"))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.startswith(("vision_tower.", "multi_modal_projector.")) for name in changed)
    batch = torch.stack([encoder.transform(store.read(image_id)) for image_id in images["image_id"][:3]])
    ours = load_encoder(tmp_path / "after")
    torch.testing.assert_close(ours.encode_images(batch), encoder.encode_images(batch))
    assert family_of(tmp_path / "after").name == "transformers"
