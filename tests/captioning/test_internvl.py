"""The captioner's own calls on a tiny InternVL of random weights, with a word-level tokenizer: a real generate."""

import multiprocessing
import os
import signal

import pyarrow as pa
import pytest

from cladeclip.atomic import read_json, sha256_of_file
from cladeclip.captioning.internvl import InternVL, add_missing_captions, make_captioner_folder
from cladeclip.datasets.pictures import open_picture
from cladeclip.errors import CladeclipError
from cladeclip.row_cache import RowCache

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


SETTINGS = {"prompt": "describe the animal", "max_new_tokens": 6}


def captioned(folder, specimens, images, cache, batch_size=2):
    ids, contents = list(images["image_id"]), list(images["content_hash"])
    add_missing_captions(folder, specimens, ids, contents, cache, **SETTINGS, batch_size=batch_size)
    return cache.take(contents).to_pylist()


def test_every_picture_gets_the_greedy_caption_of_the_models_own_generate(tiny_internvl, specimens, images, tmp_path):
    some = images[:5]
    captions = captioned(tiny_internvl, specimens, some, RowCache(tmp_path, "k", pa.string()))
    assert len(captions) == 5
    assert any(captions)
    captioner = InternVL(tiny_internvl, **SETTINGS)
    assert captions == [captioner.caption([open_picture(specimens / i)])[0] for i in some["image_id"]]


def test_only_missing_captions_are_generated(tiny_internvl, specimens, images, tmp_path, caplog):
    first = captioned(tiny_internvl, specimens, images[:4], RowCache(tmp_path, "k", pa.string()))
    with caplog.at_level("INFO"):
        more = captioned(tiny_internvl, specimens, images[:6], RowCache(tmp_path, "k", pa.string()))
    assert "captioned 2, reused 4" in caplog.text
    assert more[:4] == first
    # Nothing to do: not even the model is loaded.
    assert captioned("no-such-folder", specimens, images[:6], RowCache(tmp_path, "k", pa.string())) == more


def test_a_kill_costs_no_finished_batch(tiny_internvl, specimens, images, tmp_path, monkeypatch):
    whole = captioned(tiny_internvl, specimens, images[:6], RowCache(tmp_path / "whole", "k", pa.string()))
    process = multiprocessing.get_context("fork").Process(
        target=killed_in_the_third_batch, args=(tiny_internvl, specimens, images[:6], tmp_path / "killed")
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    cache = RowCache(tmp_path / "killed", "k", pa.string())
    assert len(cache) == 4
    assert captioned(tiny_internvl, specimens, images[:6], cache) == whole


def killed_in_the_third_batch(folder, specimens, images, cache_folder):
    import torch

    torch.set_num_threads(1)  # a forked process has none of its parent's threads
    calls, generate = [], InternVL.caption

    def caption(self, pictures):
        calls.append(len(pictures))
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return generate(self, pictures)

    InternVL.caption = caption
    captioned(folder, specimens, images, RowCache(cache_folder, "k", pa.string(), checkpoint_seconds=0))


def test_a_model_that_cannot_be_loaded_is_one_sentence(specimens, images, tmp_path):
    with pytest.raises(CladeclipError, match=r"captioner: .* cannot be loaded .* set the captioner's model"):
        captioned(tmp_path, specimens, images[:1], RowCache(tmp_path / "cache", "k", pa.string()))


def test_a_folder_is_used_where_it_is_and_its_files_are_recorded(tiny_internvl, tmp_path):
    make_captioner_folder("internvl", {"model": str(tiny_internvl)}, tmp_path)
    record = read_json(tmp_path / "captioner.json")
    assert record["folder"] == str(tiny_internvl)
    assert record["files"]["model.safetensors"]["sha256"] == sha256_of_file(tiny_internvl / "model.safetensors")


def test_a_model_that_cannot_be_fetched_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(
        CladeclipError, match=r"captioner 'internvl': OpenGVLab/x .* `hf download OpenGVLab/x .*captioners"
    ):
        make_captioner_folder("internvl", {"model": "OpenGVLab/x"}, tmp_path)
