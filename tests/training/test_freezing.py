import open_clip
import pytest
import timm
import torch

from cladeclip.encoders.unicom_vit import UnicomViT
from cladeclip.errors import ConfigError
from cladeclip.training.freezing import blocks_of, freeze

VIT = {"image_size": 32, "patch_size": 16, "width": 32, "layers": 3, "head_width": 16}
TEXT = {"context_length": 8, "vocab_size": 100, "width": 16, "heads": 2, "layers": 1}


def clip(vision):
    from open_clip.model import CLIP

    return CLIP(embed_dim=16, vision_cfg=vision, text_cfg=TEXT).visual


TOWERS = {
    "open_clip ViT": (lambda: clip(VIT), 3),
    "open_clip ResNet": (lambda: clip({"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None}), 4),
    "open_clip with timm": (
        lambda: clip(
            {"timm_model_name": "test_vit", "timm_model_pretrained": False, "timm_pool": "token", "image_size": 160}
        ),
        6,
    ),
    "timm ViT": (lambda: timm.create_model("test_vit", num_classes=0), 6),
    "timm EfficientNet": (lambda: timm.create_model("tf_efficientnet_lite0", num_classes=0), None),
    "unicom": (lambda: UnicomViT(image_px=32, patch_px=8, width=24, layers=3, heads=2, dim=10), 3),
}


def trainable(tower):
    return {name for name, parameter in tower.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("name", TOWERS)
def test_every_parameter_is_in_one_block_and_freezing_takes_blocks_from_the_start(name):
    make, count = TOWERS[name]
    everything = {name for name, _ in make().named_parameters()}
    blocks = blocks_of(make())
    assert sorted(name for block in blocks for name in block) == sorted(everything)
    if count:
        assert len(blocks) == count + 1
    for what, kept in (
        ("none", blocks),
        ("stem", blocks[1:]),
        ("all_but_last_1", blocks[-1:]),
        ("all_but_last_2", blocks[-2:]),
    ):
        tower = make()
        freeze(tower, what)
        assert trainable(tower) == {name for block in kept for name in block}


def test_the_stem_is_what_sees_the_picture_first():
    for make, first in ((TOWERS["open_clip ViT"][0], "conv1.weight"), (TOWERS["unicom"][0], "patch_embed.proj.weight")):
        assert first in blocks_of(make())[0]
    assert "proj" in blocks_of(clip(VIT))[-1]


def test_more_blocks_than_there_are_and_towers_without_blocks_are_refused():
    with pytest.raises(ConfigError, match=r"the student has 3 blocks and a stem"):
        freeze(clip(VIT), "all_but_last_4")
    freeze(clip(VIT), "all_but_last_3")
    with pytest.raises(ConfigError, match="use none"):
        freeze(torch.nn.Linear(2, 2), "stem")


def test_open_clips_own_lock_keeps_the_same_blocks():
    ours, theirs = clip(VIT), clip(VIT)
    freeze(ours, "all_but_last_1")
    # Its last group is the projection alone, the one before it the last block.
    theirs.lock(unlocked_groups=2)
    assert trainable(ours) == trainable(theirs)
    assert open_clip.__version__
