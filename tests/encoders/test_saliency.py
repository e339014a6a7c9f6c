"""What an encoder looks at: against the definition of Grad-CAM by plain loops, and on encoders whose answer is known."""

import io

import numpy as np
import open_clip
import pytest
import timm
import torch
from PIL import Image
from torch import nn

from cladeclip.encoders.encoder import Encoder
from cladeclip.encoders.saliency import OVERLAY_PX, overlay, saliency, spatial_layer
from cladeclip.errors import DataError


def encoder_of(tower, px=32):
    mean = std = (0.5, 0.5, 0.5)
    return Encoder("timm", 4, px, mean, std, "bicubic", transform=None, tower=tower.eval(), model=tower)


class Small(nn.Module):
    """A convolution, a mean over places, a linear layer: what Grad-CAM was defined for."""

    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(3, 5, 8, stride=8)
        self.head = nn.Linear(5, 4, bias=False)

    def forward(self, batch):
        return self.head(self.features(batch).mean(dim=(2, 3)))


@pytest.fixture
def pictures():
    return torch.randn(2, 2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_for_a_network_that_ends_in_a_mean_it_is_grad_cam(pictures):
    torch.manual_seed(0)
    tower = Small()
    batch, others = pictures
    maps, cosines = saliency(encoder_of(tower), batch, others)
    for n in range(2):
        with torch.no_grad():
            activation = tower.features(batch[n : n + 1])[0]
            target = nn.functional.normalize(tower(others[n : n + 1])[0], dim=0)
        # The gradient of the cosine by the mean activation of each channel, by central differences.
        mean, weights = activation.mean(dim=(1, 2)).double(), []
        head, target = tower.head.weight.detach().double(), target.double()
        for channel in range(5):
            ends = []
            for step in (1e-4, -1e-4):
                moved = mean.clone()
                moved[channel] += step
                ends.append(nn.functional.normalize(head @ moved, dim=0) @ target)
            weights.append((ends[0] - ends[1]) / 2e-4)
        expected = np.zeros((4, 4))
        for row in range(4):
            for column in range(4):
                expected[row, column] = max(
                    0, sum(w * a for w, a in zip(weights, activation[:, row, column], strict=True))
                )
        np.testing.assert_allclose(maps[n], expected / expected.max(), atol=1e-3)
        embedding = nn.functional.normalize(head @ mean, dim=0)
        assert cosines[n] == pytest.approx(float(embedding @ target), abs=1e-5)


class OnePlace(nn.Module):
    """Sees a picture in quarters and embeds the last one alone."""

    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(3, 4, 16, stride=16)

    def forward(self, batch):
        return self.features(batch)[:, :, 1, 1]


def test_what_plays_no_part_is_dark(pictures):
    batch, _ = pictures
    maps, cosines = saliency(encoder_of(OnePlace()), batch, batch)
    np.testing.assert_allclose(cosines, 1, atol=1e-6)  # at its highest, the cosine has no gradient
    maps, _ = saliency(encoder_of(OnePlace()), batch, pictures[1])
    assert maps.shape == (2, 2, 2)
    for found in maps:
        assert found[0, 0] == found[0, 1] == found[1, 0] == 0


def test_a_picture_does_not_depend_on_its_neighbours_in_the_batch(pictures):
    encoder = encoder_of(Small())
    together, _ = saliency(encoder, *pictures)
    alone, _ = saliency(encoder, pictures[0][:1], pictures[1][:1])
    np.testing.assert_allclose(together[:1], alone, atol=1e-5)


TOWER = {"image_size": 32, "patch_size": 8, "width": 64, "layers": 2, "head_width": 32}
TEXT = {"context_length": 8, "vocab_size": 100, "width": 32, "heads": 2, "layers": 1}


@pytest.mark.parametrize(
    ("make", "layer", "shape"),
    [
        (lambda: open_clip.model.CLIP(32, TOWER, TEXT).visual, "transformer.resblocks.1.ln_1", (4, 4)),
        (
            lambda: open_clip.model.CLIP(32, TOWER | {"layers": (1, 1, 1, 1), "image_size": 64}, TEXT).visual,
            None,
            (2, 2),
        ),
        (lambda: timm.create_model("vit_tiny_patch16_224", img_size=32, num_classes=0), "blocks.11.norm1", (2, 2)),
        (lambda: timm.create_model("tf_efficientnet_lite0", num_classes=0), None, (2, 2)),
        (lambda: timm.create_model("convnext_atto", num_classes=0), None, (2, 2)),
    ],
    ids=["open_clip-vit", "open_clip-resnet", "timm-vit", "timm-efficientnet", "timm-convnext"],
)
def test_the_layer_is_the_last_that_keeps_places(make, layer, shape):
    torch.manual_seed(0)
    tower = make().eval()
    px = 32 if layer else 64
    batch = torch.randn(2, 3, px, px)
    chosen = spatial_layer(tower, batch)
    if layer is not None:
        assert chosen is tower.get_submodule(layer)
    maps, _ = saliency(encoder_of(tower, px), batch, torch.randn(2, 3, px, px))
    assert maps.shape == (2, *shape)
    assert maps.max() == 1
    assert maps.min() >= 0


def test_an_encoder_without_places_is_said():
    tower = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 4))
    with pytest.raises(DataError, match="no layer of this encoder keeps places apart"):
        saliency(encoder_of(tower), torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 32, 32))


def test_the_overlay_is_grey_where_nothing_speaks_for_it_and_coloured_where_something_does():
    heat = np.zeros((2, 2), dtype=np.float32)
    heat[0, 0] = 1
    picture = torch.linspace(-1, 1, 32).expand(3, 32, 32)
    image = Image.open(io.BytesIO(overlay(picture, heat, encoder_of(Small()))))
    assert (image.format, image.size) == ("JPEG", (OVERLAY_PX, OVERLAY_PX))
    colours = np.asarray(image.convert("RGB")).astype(int)
    spread = np.ptp(colours, axis=2)
    assert spread[-20:, -20:].max() < 12
    assert spread[:20, :20].mean() > 40
