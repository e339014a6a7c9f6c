"""UNICOM's own vision transformer (An et al., ICLR 2023, arXiv 2304.05884), with the parameter names of its weight files.

This file lies beside every checkpoint of such a student and loads it, without CladeCLIP; it needs torch, timm and
safetensors:

    from unicom_vit import load_unicom_vit
    encoder = load_unicom_vit("FOLDER")       # (n, 3, 224, 224), normalised with the mean and std of unicom_config.json
    embeddings = encoder(pictures)            # (n, 512)
"""

import json
from pathlib import Path
from typing import Any

import torch
from timm.layers import DropPath
from torch import Tensor, nn
from torch.nn import functional

CONFIG = "unicom_config.json"
# The published ViT-B/32, and CLIP's normalisation, with which it was trained.
VIT_B_32 = {"image_px": 224, "patch_px": 32, "width": 768, "layers": 12, "heads": 12, "dim": 512, "drop_path": 0.1}
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
BATCHNORM_EPS = 2e-5


class Attention(nn.Module):
    """Multi-head self-attention; the projection to queries, keys and values has no bias."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        n, length, width = tokens.shape
        q, k, v = self.qkv(tokens).reshape(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(q, k, v)
        return self.proj(attended.transpose(1, 2).reshape(n, length, width))


class Mlp(nn.Module):
    """Two layers with ReLU6 between them, four times as wide inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.fc2(functional.relu6(self.fc1(tokens)))


class Block(nn.Module):
    """Attention and MLP, each after a LayerNorm and beside a shortcut; while training a share of them is left out."""

    def __init__(self, width: int, heads: int, drop_path: float) -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(width), Attention(width, heads)
        self.norm2, self.mlp = nn.LayerNorm(width), Mlp(width)
        self.drop_path = DropPath(drop_path)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.drop_path(self.attn(self.norm1(tokens)))
        return tokens + self.drop_path(self.mlp(self.norm2(tokens)))


class PatchEmbedding(nn.Module):
    """The picture in patches, (n, 3, h, w) to (n, patches, width)."""

    def __init__(self, width: int, patch_px: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch_px, patch_px)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.proj(pictures).flatten(2).transpose(1, 2)


class UnicomViT(nn.Module):
    """Pictures (n, 3, image_px, image_px) to embeddings (n, dim). There is no class token: all patch tokens are read out."""

    def __init__(
        self, *, image_px: int, patch_px: int, width: int, layers: int, heads: int, dim: int, drop_path: float = 0.1
    ) -> None:
        super().__init__()
        patches = (image_px // patch_px) ** 2
        self.patch_embed = PatchEmbedding(width, patch_px)
        self.pos_embed = nn.Parameter(torch.zeros(1, patches, width))
        # The deeper the block, the more often it is left out.
        rates = torch.linspace(0, drop_path, layers).tolist()
        self.blocks = nn.ModuleList(Block(width, heads, rate) for rate in rates)
        self.norm = nn.LayerNorm(width)
        self.feature = nn.Sequential(
            nn.Linear(patches * width, width, bias=False),
            nn.BatchNorm1d(width, eps=BATCHNORM_EPS),
            nn.Linear(width, dim, bias=False),
            nn.BatchNorm1d(dim, eps=BATCHNORM_EPS),
        )
        nn.init.trunc_normal_(self.pos_embed, std=0.02)

    def forward(self, pictures: Tensor) -> Tensor:
        tokens = self.patch_embed(pictures) + self.pos_embed
        for block in self.blocks:
            tokens = block(tokens)
        return self.feature(self.norm(tokens).flatten(1))

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Stem, blocks, and what follows the last of them, in timm's notation."""
        return {
            "stem": r"^(?:pos_embed|patch_embed)",
            "blocks": [(r"^blocks\.(\d+)", None), (r"^(?:norm|feature)\.", (99999,))],
        }


def load_unicom_vit(folder: str | Path) -> UnicomViT:
    """The encoder of a folder with `model.safetensors` and `unicom_config.json`, ready to embed (in eval mode)."""
    from safetensors.torch import load_file

    encoder = UnicomViT(**json.loads(Path(folder, CONFIG).read_text(encoding="utf-8"))["architecture"])
    encoder.load_state_dict(load_file(Path(folder, "model.safetensors")))
    return encoder.eval()
