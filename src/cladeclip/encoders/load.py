"""From an encoder folder (see `weights.py`) to an Encoder."""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from cladeclip.encoders.encoder import Encoder, as_floats
from cladeclip.encoders.open_clip_library import open_clip_for
from cladeclip.encoders.weights import HANDCRAFTED_CONFIG, OPEN_CLIP_CONFIG, TIMM_CONFIG, UNICOM_CONFIG, WEIGHTS
from cladeclip.errors import CladeclipError, first_line


def load_encoder(folder: str | Path) -> Encoder:
    """Loads an encoder folder on the CPU; which library it needs is seen from its config file, and no other is imported.

    Raises:
        CladeclipError: the folder holds no known config, or its weights are damaged.
    """
    folder = Path(folder)
    try:
        if (folder / OPEN_CLIP_CONFIG).is_file():
            return _open_clip_encoder(folder)
        if (folder / TIMM_CONFIG).is_file():
            # Both libraries call it config.json; only transformers' names a model_type.
            if "model_type" in json.loads((folder / TIMM_CONFIG).read_text()):
                from cladeclip.encoders.vision_tower import vision_tower_encoder

                return vision_tower_encoder(folder)
            return _timm_encoder(folder)
        if (folder / UNICOM_CONFIG).is_file():
            from cladeclip.encoders.unicom import unicom_encoder

            return unicom_encoder(folder)
        if (folder / HANDCRAFTED_CONFIG).is_file():
            from cladeclip.encoders.handcrafted import handcrafted_encoder

            return handcrafted_encoder(**json.loads((folder / HANDCRAFTED_CONFIG).read_text()))
    except (RuntimeError, OSError, ValueError, SafetensorError) as error:
        raise CladeclipError(
            f"{folder}: the encoder cannot be loaded ({first_line(error)}); delete the folder and run again to rebuild it."
        ) from error
    raise CladeclipError(
        f"{folder}: no {OPEN_CLIP_CONFIG}, {TIMM_CONFIG}, {UNICOM_CONFIG} or {HANDCRAFTED_CONFIG}; not an encoder folder."
    )


def _open_clip_encoder(folder: Path) -> Encoder:
    if not (folder / WEIGHTS).is_file():
        raise CladeclipError(f"{folder}: {WEIGHTS} is missing; delete the folder and run again to rebuild it.")
    model_cfg = json.loads((folder / OPEN_CLIP_CONFIG).read_text())["model_cfg"]
    open_clip = open_clip_for(model_cfg)
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    preprocess: dict[str, Any] = model.visual.preprocess_cfg
    size = preprocess["size"]

    @cache
    def tokenizer() -> Any:
        """Made when the first caption comes: some need transformers, and pictures need none."""
        return open_clip.get_tokenizer(f"local-dir:{folder}")

    @torch.inference_mode()
    def encode_text(captions: Sequence[str]) -> Tensor:
        model.eval()
        device = next(model.parameters()).device
        return model.encode_text(tokenizer()(list(captions)).to(device)).float()

    def count_tokens(caption: str) -> int:
        tokenize = tokenizer()
        if hasattr(tokenize, "encode"):
            return len(tokenize.encode(caption)) + 2  # and the tokens that mark start and end
        return len(tokenize.tokenizer(caption)["input_ids"])

    return Encoder(
        family="open_clip",
        dim=_output_dim(model.visual, size),
        image_px=size if isinstance(size, int) else int(size[0]),
        mean=as_floats(preprocess["mean"]),
        std=as_floats(preprocess["std"]),
        interpolation=preprocess["interpolation"],
        transform=transform,
        tower=model.visual,
        model=model,
        encode_text=encode_text,
        count_tokens=count_tokens,
        context_length=model_cfg.get("text_cfg", {}).get("context_length", open_clip.tokenizer.DEFAULT_CONTEXT_LENGTH),
    )


def _timm_encoder(folder: Path) -> Encoder:
    import timm

    # num_classes 0: the pooled features are the embedding.
    model: Any = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0)
    data = timm.data.resolve_model_data_config(model)
    return Encoder(
        family="timm",
        dim=int(model.num_features),
        image_px=int(data["input_size"][-1]),
        mean=as_floats(data["mean"]),
        std=as_floats(data["std"]),
        interpolation=str(data["interpolation"]),
        transform=timm.data.create_transform(**data, is_training=False),
        tower=model,
        model=model,
    )


def _output_dim(tower: Any, size: Any) -> int:
    if hasattr(tower, "output_dim"):
        return int(tower.output_dim)
    side = size if isinstance(size, int) else int(size[0])
    with torch.inference_mode():
        return int(tower(torch.zeros(1, 3, side, side)).shape[-1])
