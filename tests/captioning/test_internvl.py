"""The captioner's own calls on a tiny InternVL of random weights, with a word-level tokenizer: a real generate."""

import pytest

from cladeclip.captioning.internvl import from_internvl
from cladeclip.errors import CladeclipError

SPECIAL = ["<pad>", "<unk>", "<s>", "</s>", "<IMG_CONTEXT>", "<img>", "</img>", "<video>"]
WORDS = ["a", "fish", "bird", "with", "red", "stripes", "describe", "the", "animal", "user", "assistant"]
TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }} {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<IMG_CONTEXT> {% else %}{{ part['text'] }} {% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}assistant {% endif %}"
)


@pytest.fixture(scope="module")
def tiny_internvl(tmp_path_factory):
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
    folder = tmp_path_factory.mktemp("internvl")
    InternVLForConditionalGeneration(config).save_pretrained(folder)
    InternVLProcessor(
        image_processor=GotOcr2ImageProcessor(size={"height": side, "width": side}, crop_to_patches=False),
        tokenizer=fast,
        video_processor=InternVLVideoProcessor(size={"height": side, "width": side}),
        image_seq_length=1,
        chat_template=TEMPLATE,
    ).save_pretrained(folder)
    return folder


def test_every_picture_gets_a_greedy_caption_whatever_the_batch(tiny_internvl, specimens, images):
    ids = list(images["image_id"][:5])
    arguments = {"model": str(tiny_internvl), "prompt": "describe the animal", "max_new_tokens": 6}
    captions = from_internvl(specimens, ids, **arguments, batch_size=2)
    assert len(captions) == 5
    assert all(isinstance(caption, str) for caption in captions)
    assert any(captions)
    assert from_internvl(specimens, ids, **arguments, batch_size=2) == captions


def test_a_model_that_is_not_there_says_how_to_get_it(specimens, tmp_path):
    with pytest.raises(CladeclipError, match=r"cannot be loaded .* `hf download "):
        from_internvl(specimens, [], model=str(tmp_path), prompt="x", max_new_tokens=1)
