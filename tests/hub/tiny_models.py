"""Models of random weights, of the classes that the real ones have, in the files in which the hub has them."""

from pathlib import Path
from typing import Any

SPECIAL = ["<pad>", "<unk>", "<s>", "</s>", "<IMG_CONTEXT>", "<img>", "</img>", "<video>"]
WORDS = ["a", "fish", "bird", "with", "red", "stripes", "describe", "the", "animal", "user", "assistant"]
TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }} {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<IMG_CONTEXT> {% else %}{{ part['text'] }} {% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}assistant {% endif %}"
)
# A CLIP with both towers, in open_clip's words.
CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 32, "layers": 1, "head_width": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


def save_open_clip(folder: Path, weights: str, *, seed: int, squash: bool = False) -> None:
    """A tiny CLIP as open_clip_config.json and a weight file of that name (safetensors, or a pickle)."""
    import json

    import open_clip
    import torch

    preprocess = {
        "mean": list(open_clip.OPENAI_DATASET_MEAN),
        "std": list(open_clip.OPENAI_DATASET_STD),
        "interpolation": "bicubic",
        "resize_mode": "squash" if squash else "shortest",
    }
    folder.mkdir(parents=True)
    config = {"model_cfg": CLIP, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    torch.manual_seed(seed)
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
    save_state(model.state_dict(), folder / weights)
    # They lie there for other libraries: open_clip has CLIP's tokenizer in itself.
    for name in ("vocab.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (folder / name).write_text("{}")
    (folder / "merges.txt").write_text("#version: 0.2\n")


def save_state(state: dict[str, Any], path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    if path.suffix == ".safetensors":
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    else:
        torch.save(state, path)


def save_timm(folder: Path) -> None:
    """timm's own smallest vision transformer."""
    import timm
    import torch
    from timm.models import save_for_hf

    torch.manual_seed(0)
    save_for_hf(timm.create_model("test_vit"), str(folder), safe_serialization=True)


def save_internvl(folder: Path) -> None:
    """An InternVL of 72,000 parameters with a word-level tokenizer: it generates in a second."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        GotOcr2ImageProcessor,
        InternVLConfig,
        InternVLForConditionalGeneration,
        InternVLProcessor,
        InternVLVideoProcessor,
        InternVLVisionConfig,
        PreTrainedTokenizerFast,
        Qwen2Config,
    )

    vocabulary = {word: i for i, word in enumerate(SPECIAL + WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        extra_special_tokens={
            "start_image_token": "<img>",
            "end_image_token": "</img>",
            "context_image_token": "<IMG_CONTEXT>",
            "video_token": "<video>",
        },
    )
    side = 28
    torch.manual_seed(0)
    config = InternVLConfig(
        vision_config=InternVLVisionConfig(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
            image_size=[side, side], patch_size=[14, 14],
        ).to_dict(),
        text_config=Qwen2Config(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2, intermediate_size=64,
            vocab_size=len(vocabulary), bos_token_id=2, eos_token_id=3, pad_token_id=0,
        ).to_dict(),
        image_token_id=vocabulary["<IMG_CONTEXT>"],
        image_seq_length=1,
    )  # fmt: skip
    InternVLForConditionalGeneration(config).save_pretrained(folder)
    InternVLProcessor(
        image_processor=GotOcr2ImageProcessor(size={"height": side, "width": side}, crop_to_patches=False),
        tokenizer=fast,
        video_processor=InternVLVideoProcessor(size={"height": side, "width": side}),
        image_seq_length=1,
        chat_template=TEMPLATE,
    ).save_pretrained(folder)


def save_florence(folder: Path, side: int = 64) -> None:
    """A Florence-2 with its picture processor."""
    import torch
    from transformers import CLIPImageProcessor, Florence2Config, Florence2Model

    vision = {
        "depths": [1] * 4, "embed_dim": [8, 8, 16, 16], "num_heads": [1, 1, 2, 2], "num_groups": [1, 1, 2, 2],
        "window_size": 4, "projection_dim": 12,
    }  # fmt: skip
    text = {
        "model_type": "bart", "vocab_size": 64, "d_model": 12, "encoder_layers": 1, "decoder_layers": 1,
        "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16,
    }  # fmt: skip
    torch.manual_seed(0)
    Florence2Model(Florence2Config(vision_config=vision, text_config=text, image_token_id=60)).save_pretrained(folder)
    CLIPImageProcessor(size={"height": side, "width": side}, do_center_crop=False).save_pretrained(folder)
