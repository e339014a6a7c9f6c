"""UNICOM's tower on random state dicts in its published layout; its real weights are not at hand."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from cladeclip.encoders.load import load_encoder
from cladeclip.encoders.unicom_vit import VIT_B_32, UnicomViT
from cladeclip.encoders.weights import make_encoder_folder
from cladeclip.errors import ConfigError
from cladeclip.io.atomic import sha256_of_file
from cladeclip.training.freezing import blocks_of

SMALL = {"image_px": 32, "patch_px": 8, "width": 24, "layers": 3, "heads": 2, "dim": 10, "drop_path": 0.1}


def layout(image_px, patch_px, width, layers, dim, **_):
    """The published file's keys and shapes."""
    patches = (image_px // patch_px) ** 2
    shapes = {
        "pos_embed": (1, patches, width),
        "patch_embed.proj.weight": (width, 3, patch_px, patch_px),
        "patch_embed.proj.bias": (width,),
    }
    for i in range(layers):
        block = {
            "norm1.weight": (width,),
            "norm1.bias": (width,),
            "attn.qkv.weight": (3 * width, width),
            "attn.proj.weight": (width, width),
            "attn.proj.bias": (width,),
            "norm2.weight": (width,),
            "norm2.bias": (width,),
            "mlp.fc1.weight": (4 * width, width),
            "mlp.fc1.bias": (4 * width,),
            "mlp.fc2.weight": (width, 4 * width),
            "mlp.fc2.bias": (width,),
        }
        shapes |= {f"blocks.{i}.{name}": shape for name, shape in block.items()}
    shapes |= {"norm.weight": (width,), "norm.bias": (width,)}
    shapes |= {"feature.0.weight": (width, patches * width), "feature.2.weight": (dim, width)}
    for number, size in ((1, width), (3, dim)):
        shapes |= {f"feature.{number}.{name}": (size,) for name in ("weight", "bias", "running_mean", "running_var")}
        shapes[f"feature.{number}.num_batches_tracked"] = ()
    return shapes


def random_state(architecture, dtype=torch.float32):
    generator = torch.Generator().manual_seed(3)
    state = {}
    for key, shape in layout(**architecture).items():
        if key.endswith("num_batches_tracked"):
            state[key] = torch.tensor(7)
        else:
            value = torch.randn(shape, generator=generator)
            state[key] = (value.abs() + 0.5 if "var" in key else value * 0.3).to(dtype)
    return state


@pytest.fixture
def folder(tmp_path):
    """An encoder folder made from a half-precision file with `module.` before every key."""
    torch.save({f"module.{k}": v for k, v in random_state(SMALL, torch.float16).items()}, tmp_path / "file.pt")
    definition = {
        "family": "unicom",
        "architecture": SMALL,
        "weights": str(tmp_path / "file.pt"),
        "sha256": sha256_of_file(tmp_path / "file.pt"),
    }
    make_encoder_folder("unicom", definition, tmp_path / "unicom")
    return tmp_path / "unicom"


def by_the_definition(state, picture, patch_px, layers, heads, **_):
    """One picture (3, h, w) through the tower, in float64, written out from its description."""
    w = {key: value.numpy().astype(np.float64) for key, value in state.items()}
    side = picture.shape[1] // patch_px

    def norm(x, name):
        mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        return (x - mean) / np.sqrt(var + 1e-5) * w[f"{name}.weight"] + w[f"{name}.bias"]

    def batchnorm(x, name):
        scaled = (x - w[f"{name}.running_mean"]) / np.sqrt(w[f"{name}.running_var"] + 2e-5)
        return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]

    patches = [
        picture[:, r * patch_px : (r + 1) * patch_px, c * patch_px : (c + 1) * patch_px].ravel()
        for r in range(side)
        for c in range(side)
    ]
    kernel = w["patch_embed.proj.weight"].reshape(len(w["patch_embed.proj.bias"]), -1)
    x = np.stack(patches) @ kernel.T + w["patch_embed.proj.bias"] + w["pos_embed"][0]
    for i in range(layers):
        b = f"blocks.{i}"
        q, k, v = np.split(norm(x, f"{b}.norm1") @ w[f"{b}.attn.qkv.weight"].T, 3, axis=1)
        size = q.shape[1] // heads
        attended = []
        for h in range(heads):
            part = slice(h * size, (h + 1) * size)
            scores = np.exp(q[:, part] @ k[:, part].T / np.sqrt(size))
            attended.append(scores / scores.sum(1, keepdims=True) @ v[:, part])
        x = x + np.concatenate(attended, 1) @ w[f"{b}.attn.proj.weight"].T + w[f"{b}.attn.proj.bias"]
        hidden = norm(x, f"{b}.norm2") @ w[f"{b}.mlp.fc1.weight"].T + w[f"{b}.mlp.fc1.bias"]
        x = x + np.clip(hidden, 0, 6) @ w[f"{b}.mlp.fc2.weight"].T + w[f"{b}.mlp.fc2.bias"]
    z = norm(x, "norm").ravel() @ w["feature.0.weight"].T
    return batchnorm(batchnorm(z, "feature.1") @ w["feature.2.weight"].T, "feature.3")


def test_the_tower_is_what_its_description_says(folder):
    encoder = load_encoder(folder)
    pictures = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    state = random_state(SMALL, torch.float16)
    expected = np.stack([by_the_definition(state, picture.numpy().astype(np.float64), **SMALL) for picture in pictures])
    np.testing.assert_allclose(encoder.encode_images(pictures).numpy(), expected, rtol=1e-4, atol=1e-4)
    assert (encoder.dim, encoder.image_px, encoder.encode_text) == (10, 32, None)


def test_the_published_size_takes_the_published_keys():
    model = UnicomViT(**VIT_B_32)
    assert {key: tuple(value.shape) for key, value in model.state_dict().items()} == layout(**VIT_B_32)
    rates = [block.drop_path.drop_prob for block in model.blocks]
    assert (rates[0], rates[-1]) == (0.0, pytest.approx(0.1))
    assert len(model.blocks) + 1 == len(blocks_of(model))


def test_the_class_beside_the_weights_loads_them_without_this_package(folder):
    code = f"""
import sys
sys.path.insert(0, {str(folder)!r})
sys.modules["cladeclip"] = None
from unicom_vit import load_unicom_vit
import torch
print(load_unicom_vit({str(folder)!r})(torch.ones(1, 3, 32, 32))[0].tolist())
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    ours = load_encoder(folder).encode_images(torch.ones(1, 3, 32, 32))[0]
    np.testing.assert_allclose(np.array(eval(told)), ours.numpy(), atol=1e-5)


def test_the_transform_is_clips(folder):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 80, 3), dtype=np.uint8))
    values = load_encoder(folder).transform(picture)
    assert values.shape == (3, 32, 32)
    black = load_encoder(folder).transform(Image.new("RGB", (40, 40)))
    assert float(black[0, 0, 0]) == pytest.approx(-0.48145466 / 0.26862954)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda state: state.pop("feature.3.weight"), "does not fit UNICOM's tower"),
        (lambda state: state.update(pos_embed=torch.zeros(1, 4, 24)), "does not fit UNICOM's tower"),
    ],
)
def test_a_file_that_does_not_fit_is_named(tmp_path, spoil, words):
    state = random_state(SMALL)
    spoil(state)
    torch.save(state, tmp_path / "file.pt")
    definition = {"family": "unicom", "architecture": SMALL, "weights": str(tmp_path / "file.pt")}
    with pytest.raises(ConfigError, match=words):
        make_encoder_folder("unicom", definition, tmp_path / "unicom")


def test_another_file_than_the_one_wanted_is_refused(tmp_path):
    (tmp_path / "file.pt").write_bytes(b"not it")
    definition = {"family": "unicom", "architecture": SMALL, "weights": str(tmp_path / "file.pt"), "sha256": "0" * 64}
    with pytest.raises(ConfigError, match="sha256 is"):
        make_encoder_folder("unicom", definition, tmp_path / "unicom")
    with pytest.raises(ConfigError, match="does not fit"):
        make_encoder_folder("unicom", {k: v for k, v in definition.items() if k != "sha256"}, tmp_path / "unicom")
