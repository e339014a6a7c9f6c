"""The captioner's own calls on a tiny InternVL of random weights, with a word-level tokenizer: a real generate."""

import multiprocessing
import os
import shutil
import signal

import pyarrow as pa
import pytest
from hub.tiny_models import save_internvl

from cladeclip.captioning.kinds.internvl import InternVL, add_missing_captions, fetch
from cladeclip.datasets.pictures import open_picture
from cladeclip.errors import CladeclipError
from cladeclip.io.atomic import read_json, sha256_of_file, write_json
from cladeclip.io.row_cache import RowCache


@pytest.fixture(scope="module")
def tiny_internvl(tmp_path_factory):
    folder = tmp_path_factory.mktemp("internvl")
    save_internvl(folder)
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


def test_a_model_that_cannot_be_loaded_is_one_sentence(tiny_internvl, specimens, images, tmp_path):
    shutil.copytree(tiny_internvl, tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").unlink()
    with pytest.raises(CladeclipError, match=r"captioner: .* cannot be loaded .* set the captioner's model"):
        captioned(tmp_path / "model", specimens, images[:1], RowCache(tmp_path / "cache", "k", pa.string()))


def test_files_of_an_old_state_of_the_repository_are_noticed_when_they_are_fetched(tiny_internvl, tmp_path):
    """The state before the processor's update of the real repository had no token for videos."""
    old = tmp_path / "old"
    shutil.copytree(tiny_internvl, old)
    config = read_json(old / "tokenizer_config.json")
    config.pop("video_token")
    config["extra_special_tokens"] = [token for token in config["extra_special_tokens"] if token != "<video>"]
    write_json(old / "tokenizer_config.json", config)
    (tmp_path / "it").mkdir()
    with pytest.raises(CladeclipError, match=r"does not work with transformers .* older state") as caught:
        fetch("internvl", {"model": str(old), **SETTINGS}, tmp_path / "it")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "it" / "captioner.json").exists()


def test_a_template_that_does_not_take_the_prompt_is_noticed_when_it_is_fetched(tiny_internvl, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(tiny_internvl, broken)
    (broken / "chat_template.jinja").write_text("{{ messages[0]['nothing']['there'] }}")
    with pytest.raises(CladeclipError, match="does not work with transformers"):
        fetch("internvl", {"model": str(broken), **SETTINGS}, tmp_path)


def test_a_folder_is_used_where_it_is_and_its_files_are_recorded(tiny_internvl, tmp_path):
    fetch("internvl", {"model": str(tiny_internvl), **SETTINGS}, tmp_path)
    record = read_json(tmp_path / "captioner.json")
    assert record["folder"] == str(tiny_internvl)
    assert record["files"]["model.safetensors"]["sha256"] == sha256_of_file(tiny_internvl / "model.safetensors")


def test_a_model_that_cannot_be_fetched_says_how_to_get_it(tmp_path):
    with pytest.raises(
        CladeclipError, match=r"captioner 'internvl': .* OpenGVLab/x .* `hf download OpenGVLab/x .*captioners"
    ):
        fetch("internvl", {"model": "OpenGVLab/x", **SETTINGS}, tmp_path)
